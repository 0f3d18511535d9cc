//! What another Sediment has already: which chunks are there, and bodies that name them (`docs/delta.md`).

use super::S3Replicas;
use crate::remote::s3::errors::failed;
use crate::remote::{Class, RemoteError, Verb};
use crate::types::{CHUNKS_ANSWER, CHUNKS_PARAMETER, ChunkId, DELTA_HEADER, decode_there};
use aws_sdk_s3::config::http::HttpRequest;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::{Bytes, BytesMut};

/// Says that the body is a delta, and of how many bytes; before the client signs.
pub(super) fn as_delta_of(length: Option<u64>) -> impl Fn(&mut HttpRequest) + Send + Sync + 'static {
    move |request| {
        if let Some(length) = length {
            let _ = request.headers_mut().try_insert(DELTA_HEADER, length.to_string());
        }
    }
}

/// Makes a read of a key the question for the sake of that key: the client has no such request.
fn asking(ids: Bytes) -> impl Fn(&mut HttpRequest) + Send + Sync + 'static {
    move |request| {
        let path = request.uri().split('?').next().unwrap_or_default().to_owned();
        // A request that stays a read is no question, and gets no answer that is one.
        if request.set_uri(format!("{path}?{CHUNKS_PARAMETER}=")).is_ok()
            && request.set_method("POST").is_ok()
        {
            *request.body_mut() = SdkBody::from(ids.clone());
        }
    }
}

/// As many bytes, or `None`.
async fn collect(mut body: ByteStream, bytes: usize) -> Option<Bytes> {
    let mut all = BytesMut::new();
    while let Ok(Some(frame)) = body.try_next().await {
        all.extend_from_slice(&frame);
        if all.len() > bytes {
            return None;
        }
    }
    Some(all.freeze())
}

impl S3Replicas {
    /// Whether each of up to [`crate::types::MAX_ASKED_CHUNKS`] chunks is there. `key`: that of the body they are for.
    ///
    /// # Errors
    /// Those of a remote: what another server answers to a request that it does not know. `Wrong` for an answer to something
    /// else.
    pub async fn which_chunks(&self, key: &str, ids: &[ChunkId]) -> Result<Vec<bool>, RemoteError> {
        let call = (Verb::Ask, key);
        let mut asked = BytesMut::with_capacity(32 * ids.len());
        ids.iter().for_each(|id| asked.extend_from_slice(id.as_bytes()));
        let request = self.client.get_object().bucket(&self.bucket).key(key).customize();
        let request = request.mutate_request(asking(asked.freeze()));
        let ask = async {
            let answer = request.send().await.map_err(|error| failed(call, &error))?;
            let is_one = answer.content_type() == Some(CHUNKS_ANSWER);
            let bits = if is_one { collect(answer.body, ids.len().div_ceil(8)).await } else { None };
            let there = bits.and_then(|bits| decode_there(&bits, ids.len()));
            let wrong =
                || RemoteError::new(Class::Wrong, call.0, call.1, "it does not say which chunks it has");
            there.ok_or_else(wrong)
        };
        self.within(call, 0, ask).await
    }
}
