//! Objects in parts.

use super::chunks::as_delta_of;
use super::{
    OnlyOver, ReplicaBody, ReplicaHead, S3Replicas, Sums, date, hold, length, lock_mode, tagging,
    with_headers,
};
use crate::remote::s3::errors::failed;
use crate::remote::{Class, RemoteError, Verb};
use crate::types::{Checksum, ChecksumKind, ETag};
use aws_sdk_s3::types as sdk;
use md5::{Digest, Md5};

/// A part that the server has.
#[derive(Debug, Clone)]
pub struct SentPart {
    pub number: u16,
    pub tag: String,
    pub checksum: Option<Checksum>,
    /// Whether the tag is the MD5 of the bytes: not where they are encrypted.
    pub is_md5: bool,
}

impl SentPart {
    /// Whether the parts there make up that tag, as far as their tags tell.
    #[must_use]
    pub fn make_up(parts: &[Self], etag: ETag) -> bool {
        let mut md5 = Md5::new();
        for part in parts {
            match ETag::parse(&part.tag) {
                Ok(tag) if part.is_md5 && tag.parts() == 0 => md5.update(tag.md5()),
                _ => return true,
            }
        }
        let count = u16::try_from(parts.len()).unwrap_or(u16::MAX);
        ETag::of_parts(md5.finalize().into(), count) == etag
    }
}

impl S3Replicas {
    /// Begins an object in parts. Returns the server's name for it. `checksum`: the source's, of all of it.
    ///
    /// # Errors
    /// Those of a remote.
    pub async fn begin(
        &self,
        key: &str,
        head: &ReplicaHead,
        checksum: Option<&Checksum>,
    ) -> Result<String, RemoteError> {
        let call = (Verb::BeginUpload, key);
        let ReplicaHead { attributes, lock, .. } = head;
        let kind = |checksum: &Checksum| match checksum.kind() {
            ChecksumKind::FullObject => sdk::ChecksumType::FullObject,
            ChecksumKind::Composite => sdk::ChecksumType::Composite,
        };
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .set_checksum_algorithm(
                checksum.map(|checksum| sdk::ChecksumAlgorithm::from(checksum.algorithm().name())),
            )
            .set_checksum_type(checksum.map(kind))
            .content_type(super::content_type(attributes))
            .set_content_encoding(attributes.content_encoding.clone())
            .set_content_language(attributes.content_language.clone())
            .set_content_disposition(attributes.content_disposition.clone())
            .set_cache_control(attributes.cache_control.clone())
            .set_website_redirect_location(attributes.website_redirect_location.clone())
            .set_storage_class(head.storage_class.as_deref().map(sdk::StorageClass::from))
            .set_metadata(Some(attributes.user.clone().into_iter().collect()))
            .set_tagging(tagging(&head.tags))
            .set_object_lock_mode(lock.retention.map(|retention| lock_mode(retention.mode)))
            .set_object_lock_retain_until_date(lock.retention.map(|retention| date(retention.until)))
            .set_object_lock_legal_hold_status(lock.legal_hold.map(hold));
        let request = request
            .customize()
            .mutate_request(with_headers(head.origin.as_ref(), attributes.expires.as_deref()));
        let sent = self.within(call, 0, async { request.send().await.map_err(|error| failed(call, &error)) });
        let none = || RemoteError::new(Class::Wrong, call.0, call.1, "an upload without a name");
        sent.await?.upload_id().map(str::to_owned).ok_or_else(none)
    }

    /// # Errors
    /// Those of a remote.
    pub async fn put_part(
        &self,
        (key, upload): (&str, &str),
        number: u16,
        body: ReplicaBody,
    ) -> Result<SentPart, RemoteError> {
        let call = (Verb::PutPart, key);
        let Sums([crc32, crc32c, crc64nvme, sha1, sha256]) = Sums::of(body.checksum.as_ref());
        let request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload)
            .part_number(number.into())
            .content_length(length(call, body.source.bytes_of(body.bytes))?)
            .set_checksum_crc32(crc32)
            .set_checksum_crc32_c(crc32c)
            .set_checksum_crc64_nvme(crc64nvme)
            .set_checksum_sha1(sha1)
            .set_checksum_sha256(sha256);
        let delta_of = body.source.is_delta().then_some(body.bytes);
        let request = request.body(body.source.stream(body.bytes)).customize();
        let request = request.mutate_request(as_delta_of(delta_of));
        let sent = self
            .within(call, body.bytes, async { request.send().await.map_err(|error| failed(call, &error)) });
        let sent = sent.await?;
        let none = || RemoteError::new(Class::Wrong, call.0, call.1, "an answer without an entity tag");
        let tag = sent.e_tag().map(str::to_owned).ok_or_else(none)?;
        let is_md5 = sent.ssekms_key_id().is_none() && sent.sse_customer_algorithm().is_none();
        Ok(SentPart { number, tag, checksum: body.checksum, is_md5 })
    }

    /// Returns the object's version there.
    ///
    /// # Errors
    /// Those of a remote.
    pub async fn complete(
        &self,
        (key, upload): (&str, &str),
        parts: &[SentPart],
        bytes: u64,
        only: OnlyOver,
    ) -> Result<Option<String>, RemoteError> {
        let call = (Verb::CompleteUpload, key);
        let part = |part: &SentPart| {
            let Sums([crc32, crc32c, crc64nvme, sha1, sha256]) = Sums::of(part.checksum.as_ref());
            let named = sdk::CompletedPart::builder().part_number(part.number.into()).e_tag(&part.tag);
            let named = named.set_checksum_crc32(crc32).set_checksum_crc32_c(crc32c);
            let named = named.set_checksum_crc64_nvme(crc64nvme).set_checksum_sha1(sha1);
            named.set_checksum_sha256(sha256).build()
        };
        let list = sdk::CompletedMultipartUpload::builder().set_parts(Some(parts.iter().map(part).collect()));
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload)
            .set_if_none_match(only.if_none_match())
            .set_if_match(only.if_match())
            .multipart_upload(list.build());
        // Servers put the parts together now, and may take their time.
        let sent =
            self.within(call, bytes, async { request.send().await.map_err(|error| failed(call, &error)) });
        Ok(sent.await?.version_id().map(str::to_owned))
    }

    /// # Errors
    /// Those of a remote.
    pub async fn abort(&self, (key, upload): (&str, &str)) -> Result<(), RemoteError> {
        let call = (Verb::AbortUpload, key);
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload);
        let sent = self.within(call, 0, async { request.send().await.map_err(|error| failed(call, &error)) });
        sent.await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::SentPart;
    use crate::types::ETag;
    use md5::{Digest, Md5};

    #[test]
    fn i4_parts_that_arrived_otherwise_do_not_become_an_object() {
        let md5 = |n: u8| -> [u8; 16] { Md5::digest([n]).into() };
        let part = |n: u8, is_md5| SentPart {
            number: n.into(),
            tag: format!("\"{}\"", hex::encode(md5(n))),
            checksum: None,
            is_md5,
        };
        let whole: [u8; 16] = Md5::digest([md5(1), md5(2)].concat()).into();
        let etag = ETag::of_parts(whole, 2);
        assert!(SentPart::make_up(&[part(1, true), part(2, true)], etag));
        assert!(!SentPart::make_up(&[part(1, true), part(3, true)], etag));
        assert!(!SentPart::make_up(&[part(1, true)], etag));
        let is_unknown = SentPart::make_up(&[part(1, false), part(3, false)], etag);
        assert!(is_unknown, "encrypted parts tell nothing");
    }
}
