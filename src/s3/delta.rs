//! Sediment's own extension for stores that replicate to each other (`docs/delta.md`): a body may come as a delta, and a request
//! asks which chunks are there. Both are for the root user, who may read everything, and for requests that are signed in
//! their head: whoever has a presigned URL or a form knows no key (I6).

use super::address::Address;
use super::admission::{Admission, Class, Party};
use super::body::{Document, Documents, Upload, read_bytes};
use super::convert::sent_checksums;
use super::error::refusal_of;
use super::ops::caller_of;
use super::query::Query;
use super::refusal::{Refusal, refuse};
use super::rules::not_implemented;
use crate::service::{ObjectService, ServiceError, parse_bucket_name, parse_key};
use crate::types::{
    BucketName, CHUNKS_ANSWER, CHUNKS_PARAMETER, DELTA_HEADER, MAX_ASKED_CHUNKS, ObjectKey, Principal,
    encode_there, parse_asked,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use s3s::{Body, S3ErrorCode as Code};

pub(super) const OPERATION: &str = "AskForChunks";
const MOST_BYTES: u64 = 32 * MAX_ASKED_CHUNKS as u64;

/// How long the body is that a request's delta stands for; `None` when its body is no delta.
///
/// # Errors
/// `AccessDenied` for whom the extension is not for, `InvalidArgument` for what is no length.
pub(super) fn delta_length(head: &Parts, principal: &Principal) -> Result<Option<u64>, Refusal> {
    let mut values = head.headers.get_all(DELTA_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    check_who(head, principal)?;
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|text| text.parse().ok()).filter(|_| values.next().is_none());
    let wrong = || {
        refuse(Code::InvalidArgument, format!("The header {DELTA_HEADER} is not a length in bytes."))
            .with("ArgumentName", DELTA_HEADER)
    };
    length.map(Some).ok_or_else(wrong)
}

/// # Errors
/// `AccessDenied`.
pub(super) fn check_who(head: &Parts, principal: &Principal) -> Result<(), Refusal> {
    let is_root = matches!(principal, Principal::Root { .. });
    if is_root && head.headers.contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    Err(refuse(Code::AccessDenied, "Access Denied"))
}

/// Which of some chunks are there, asked for the sake of a key.
#[derive(Debug)]
pub(super) struct ChunkQuestion {
    bucket: BucketName,
    key: ObjectKey,
}

impl ChunkQuestion {
    /// The question that a request is, if it is one.
    ///
    /// # Errors
    /// `AccessDenied`; `NotImplemented` for a question that is something else as well.
    pub(super) fn of(
        head: &Parts,
        address: &Address,
        query: &Query,
        principal: &Principal,
    ) -> Result<Option<Self>, Refusal> {
        let Address::Object { bucket, key } = address else { return Ok(None) };
        if head.method != Method::POST || !query.has(CHUNKS_PARAMETER) {
            return Ok(None);
        }
        check_who(head, principal)?;
        // Some SDKs repeat an operation's name there.
        if let Some(other) = query.names().find(|name| !matches!(*name, CHUNKS_PARAMETER | "x-id")) {
            return Err(not_implemented(other));
        }
        let (bucket, key) = (parse_bucket_name(bucket), parse_key(key));
        Ok(Some(Self { bucket: bucket.map_err(refusal_of)?, key: key.map_err(refusal_of)? }))
    }

    /// The body is read first, so that nobody's turn is spent on waiting for it.
    ///
    /// # Errors
    /// `InvalidArgument` for what are no ids, and those of a body and of the operation.
    pub(super) async fn answer(
        self,
        (service, admission, documents): (&ObjectService, &Admission, &Documents),
        (headers, principal): (&HeaderMap, Principal),
        (class, party): (Class, &Party),
        upload: &Upload,
    ) -> Result<Response<Body>, Refusal> {
        if upload.size.is_none_or(|bytes| bytes > MOST_BYTES) {
            return Err(no_ids("the body must have a length, of up to 4,096 chunk ids of 32 bytes"));
        }
        let checksums = sent_checksums(headers).map_err(refusal_of)?;
        let Document { bytes, .. } = &read_bytes((documents, party), headers, checksums, upload).await?;
        let ids = parse_asked(bytes).map_err(no_ids)?;
        let caller = caller_of(principal, headers);
        let asked = async {
            let there = service.which_chunks(&caller, (&self.bucket, &self.key), ids).await;
            there.map_err(refusal_of)
        };
        let there = admission.run(class, party, Box::pin(asked)).await?;
        let mut response = Response::new(Body::from(bytes::Bytes::from(encode_there(&there))));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CHUNKS_ANSWER));
        Ok(response)
    }
}

fn no_ids(why: &'static str) -> Refusal {
    refusal_of(ServiceError::InvalidArgument { name: CHUNKS_PARAMETER, value: String::new(), reason: why })
}
