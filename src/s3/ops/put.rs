//! Storing objects.

use super::{Answer, Operations, caller, refuse};
use crate::s3::convert::{Sums, algorithm, attributes, decode_md5, etag, length, sums, write_conditions};
use crate::s3::stream;
use crate::service::{ExpectedChecksum, PutRequest, ServiceError, parse_bucket_name, parse_key};
use crate::types::{Checksum, ChecksumAlgorithm};
use http::HeaderMap;
use s3s::dto;
use s3s::{S3Request, S3Response, TrailingHeaders};

impl Operations {
    pub(super) async fn put_object(
        &self,
        mut request: S3Request<dto::PutObjectInput>,
    ) -> Answer<dto::PutObjectOutput> {
        let caller = caller(&request);
        let trailers = request.trailing_headers.take();
        let mut input = request.input;
        check_put(&input)?;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let checksum = expected(
            sums!(input),
            algorithm(input.checksum_algorithm.as_ref())?,
            &request.headers,
            trailers,
        )?;
        let put = PutRequest {
            attributes: attributes!(input, &request.headers),
            body: stream::input(input.body.take()),
            size: length(input.content_length),
            content_md5: decode_md5(input.content_md5.as_deref())?,
            // s3s checks it as the body comes.
            content_sha256: None,
            checksum,
            conditions: write_conditions(input.if_match, input.if_none_match),
        };
        let done = self.service.put(&caller, &bucket, &key, put).await?;
        let sums = Sums::of(Some(&done.checksum));
        Ok(S3Response::new(dto::PutObjectOutput {
            e_tag: etag(done.etag),
            version_id: done.version_id.map(|id| id.to_string()),
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            checksum_type: sums.kind,
            ..Default::default()
        }))
    }
}

fn check_put(input: &dto::PutObjectInput) -> Result<(), ServiceError> {
    refuse(input.tagging.is_some(), "object tags")?;
    refuse(input.object_lock_mode.is_some() || input.object_lock_legal_hold_status.is_some(), "object lock")?;
    refuse(input.write_offset_bytes.is_some(), "appending")?;
    encryption(input.server_side_encryption.as_ref(), input.sse_customer_algorithm.as_deref())
}

/// Encryption that was asked for must not be forgone in silence.
pub(super) fn encryption(
    server_side: Option<&dto::ServerSideEncryption>,
    customer: Option<&str>,
) -> Result<(), ServiceError> {
    refuse(server_side.is_some() || customer.is_some(), "server-side encryption")
}

/// What the client says of its body's checksum: in a header, in a trailer to come, or only by name.
pub(super) fn expected(
    sent: Sums,
    named: Option<ChecksumAlgorithm>,
    headers: &HeaderMap,
    trailers: Option<TrailingHeaders>,
) -> Result<ExpectedChecksum, ServiceError> {
    if let Some(checksum) = sent.one()? {
        return Ok(ExpectedChecksum::Known(checksum));
    }
    let announced = headers.get("x-amz-trailer").and_then(|value| value.to_str().ok()).and_then(|names| {
        names.split(',').find_map(|name| {
            ChecksumAlgorithm::from_name(name.trim().to_ascii_lowercase().strip_prefix("x-amz-checksum-")?)
        })
    });
    match (announced, trailers, named) {
        (Some(algorithm), Some(trailers), _) => {
            let value = Box::new(move || {
                let name = format!("x-amz-checksum-{}", algorithm.name().to_ascii_lowercase());
                let text = trailers
                    .read(|trailers| trailers.get(&name).and_then(|v| v.to_str().ok()).map(str::to_owned))
                    .flatten();
                text.map(|text| Checksum::parse(algorithm, text.trim())).transpose()
            });
            Ok(ExpectedChecksum::Trailer { algorithm, value })
        }
        (_, _, Some(algorithm)) => Ok(ExpectedChecksum::Compute(algorithm)),
        _ => Ok(ExpectedChecksum::None),
    }
}
