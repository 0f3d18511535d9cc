//! Storing objects.

use super::{Answer, Operations, caller, replica_of, upload};
use crate::s3::body::Upload;
use crate::s3::convert::{
    Sums, attributes, checksum_header, content_md5, etag, expiration, sums, write_conditions,
};
use crate::s3::lock::lock_of_put;
use crate::s3::tagging::tags_of_header;
use crate::service::{ExpectedChecksum, PutRequest, ServiceError, parse_bucket_name, parse_key};
use crate::types::{Attributes, Checksum, ChecksumAlgorithm};
use http::HeaderMap;
use s3s::dto;
use s3s::{S3Request, S3Response};

impl Operations {
    pub(super) async fn put_object(
        &self,
        request: S3Request<dto::PutObjectInput>,
    ) -> Answer<dto::PutObjectOutput> {
        let caller = caller(&request);
        let upload = upload(&request.extensions)?;
        let mut input = request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let (sent, attributes) = (sums!(input), attributes!(input, &request.headers));
        let put = put_request(&request.headers, &upload, sent, attributes, input.tagging.as_deref())?;
        let done = self.service.put(&caller, &bucket, &key, put).await?;
        let sums = Sums::of(Some(&done.checksum));
        Ok(S3Response::new(dto::PutObjectOutput {
            e_tag: etag(done.etag),
            expiration: done.expiry.as_ref().map(expiration),
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

/// A put, from what s3s reads of it and from the headers as they were sent.
pub(in crate::s3) fn put_request(
    headers: &HeaderMap,
    upload: &Upload,
    sent: Sums,
    mut attributes: Attributes,
    tagging: Option<&str>,
) -> Result<PutRequest, ServiceError> {
    attributes.replica_of = replica_of(headers)?;
    Ok(PutRequest {
        attributes,
        checksum: expected(sent, headers, upload)?,
        lock: lock_of_put(headers)?,
        body: upload.take_stream(),
        size: upload.size,
        content_md5: content_md5(headers)?,
        content_sha256: upload.sha256,
        conditions: write_conditions(headers)?,
        tags: tags_of_header(tagging)?,
    })
}

/// What the client says of its body's checksum: in a header, or in a trailer to come.
pub(super) fn expected(
    sent: Sums,
    headers: &HeaderMap,
    upload: &Upload,
) -> Result<ExpectedChecksum, ServiceError> {
    let several = || ServiceError::InvalidRequest {
        reason: "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.".into(),
    };
    let known = sent.one()?;
    let lines = headers.get_all("x-amz-trailer").iter().filter_map(|value| value.to_str().ok());
    let mut announced = lines.flat_map(|line| line.split(',')).filter_map(|name| {
        ChecksumAlgorithm::from_name(name.trim().to_ascii_lowercase().strip_prefix("x-amz-checksum-")?)
    });
    let algorithm = announced.next();
    if announced.next().is_some() {
        return Err(several());
    }
    let used = known.as_ref().map(Checksum::algorithm).or(algorithm);
    let sdk = headers.get("x-amz-sdk-checksum-algorithm").and_then(|name| name.to_str().ok());
    if used.zip(sdk.and_then(ChecksumAlgorithm::from_name)).is_some_and(|(used, said)| used != said) {
        let reason = "Value for x-amz-sdk-checksum-algorithm header is invalid.";
        return Err(ServiceError::InvalidRequest { reason: reason.into() });
    }
    match (known, algorithm) {
        (Some(_), Some(_)) => Err(several()),
        (Some(checksum), None) => Ok(ExpectedChecksum::Known(checksum)),
        (None, Some(algorithm)) => {
            let upload = upload.clone();
            let value = Box::new(move || {
                let text = upload.trailer(checksum_header(algorithm));
                text.map(|text| Checksum::parse(algorithm, &text)).transpose()
            });
            Ok(ExpectedChecksum::Trailer { algorithm, value })
        }
        (None, None) => Ok(ExpectedChecksum::None),
    }
}
