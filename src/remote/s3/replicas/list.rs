//! What the bucket has.

use super::S3Replicas;
use crate::remote::s3::errors::failed;
use crate::remote::s3::whole::Whole;
use crate::remote::{Class, RemoteError, Verb};
use crate::types::ETag;
use aws_sdk_s3::types::EncodingType;

/// An object or a version, as a listing tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaStat {
    pub bytes: u64,
    /// `None`: one of another kind than AWS makes.
    pub etag: Option<ETag>,
}

/// A page of a listing: keys in the order in which the server names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaPage {
    pub objects: Vec<(String, ReplicaStat)>,
    /// Behind which the next page begins.
    pub next: Option<String>,
}

/// Everything that stands under one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaHistory {
    /// The oldest first. Delete markers are left out: listings do not tell where among the versions they stand.
    pub objects: Vec<ReplicaStat>,
    /// Whether a delete marker is on top.
    pub is_deleted: bool,
}

/// Undoes what listings do to keys that XML cannot carry.
fn decoded(text: &str, encoding: Option<&EncodingType>) -> Option<String> {
    if encoding != Some(&EncodingType::Url) || !text.contains(['%', '+']) {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, tail) = rest.split_first_chunk::<2>()?;
                rest = tail;
                *hex::decode(digits).ok()?.first()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn stat(tag: Option<&str>, bytes: Option<i64>) -> ReplicaStat {
    let bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
    ReplicaStat { bytes, etag: tag.and_then(|tag| ETag::parse(tag).ok()) }
}

fn unreadable(call: (Verb, &str)) -> RemoteError {
    RemoteError::new(Class::Wrong, call.0, call.1, "a name that cannot be read, or none")
}

impl S3Replicas {
    /// Objects whose keys begin so, behind `after`.
    ///
    /// # Errors
    /// Those of a remote.
    pub async fn list(&self, prefix: &str, after: Option<&str>) -> Result<ReplicaPage, RemoteError> {
        let call = (Verb::List, prefix);
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let request = request.encoding_type(EncodingType::Url).set_start_after(after.map(str::to_owned));
        let request = request.customize().interceptor(Whole);
        let sent = self.within(call, 0, async { request.send().await.map_err(|error| failed(call, &error)) });
        let listed = sent.await?;
        let mut page = ReplicaPage::default();
        for object in listed.contents() {
            let key = object.key().and_then(|key| decoded(key, listed.encoding_type()));
            let key = key.ok_or_else(|| unreadable(call))?;
            page.objects.push((key, stat(object.e_tag(), object.size())));
        }
        if listed.is_truncated() == Some(true) {
            let last = page.objects.last().map(|(key, _)| key.clone());
            page.next = Some(last.ok_or_else(|| unreadable(call))?);
        }
        Ok(page)
    }

    /// What a key has and had.
    ///
    /// # Errors
    /// Those of a remote; `Refused` when it has more than `most` versions.
    pub async fn history(&self, key: &str, most: usize) -> Result<ReplicaHistory, RemoteError> {
        let call = (Verb::List, key);
        let mut history = ReplicaHistory::default();
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let request = self.client.list_object_versions().bucket(&self.bucket).prefix(key);
            let request = request.encoding_type(EncodingType::Url);
            let request =
                request.set_key_marker(key_marker.take()).set_version_id_marker(version_marker.take());
            let request = request.customize().interceptor(Whole);
            let sent =
                self.within(call, 0, async { request.send().await.map_err(|error| failed(call, &error)) });
            let listed = sent.await?;
            let encoding = listed.encoding_type();
            let is_it = |named: Option<&str>| {
                named.and_then(|named| decoded(named, encoding)).as_deref() == Some(key)
            };
            let own = listed.versions().iter().filter(|version| is_it(version.key()));
            history.objects.extend(own.map(|version| stat(version.e_tag(), version.size())));
            let mut markers = listed.delete_markers().iter().filter(|marker| is_it(marker.key()));
            history.is_deleted |= markers.any(|marker| marker.is_latest() == Some(true));
            if history.objects.len() > most {
                let why = format!("more than {most} versions");
                return Err(RemoteError::new(Class::Refused, call.0, call.1, why));
            }
            let next = listed.next_key_marker().map(|next| decoded(next, encoding));
            // Keys that only begin so come behind it.
            if listed.is_truncated() != Some(true) || !matches!(&next, Some(Some(next)) if next == key) {
                history.objects.reverse();
                return Ok(history);
            }
            key_marker = next.flatten();
            version_marker = listed.next_version_id_marker().map(str::to_owned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::decoded;
    use aws_sdk_s3::types::EncodingType;

    #[test]
    fn keys_come_back_as_they_are_whatever_the_server_did_to_them() {
        let url = |text| decoded(text, Some(&EncodingType::Url));
        assert_eq!(url("a%2Fb+c%2Bd%C3%A9").as_deref(), Some("a/b c+dé"));
        assert_eq!(url("plain/key").as_deref(), Some("plain/key"));
        assert_eq!(
            decoded("100%+", None).as_deref(),
            Some("100%+"),
            "as it is, if the server does not say so"
        );
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(url(bad), None, "{bad}");
        }
    }
}
