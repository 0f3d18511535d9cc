//! Multipart uploads.

use super::copy::source;
use super::list::limit;
use super::put::expected;
use super::{Answer, Operations, caller, replica_of, upload};
use crate::s3::convert::{
    Names, Sums, algorithm, algorithm_name, attributes, content_md5, copy_range, etag, expiration, kind,
    kind_name, size, source_conditions, sums, timestamp, whole_seconds, write_conditions,
};
use crate::s3::lock::lock_of;
use crate::s3::tagging::tags_of_header;
use crate::service::{
    CompleteRequest, CompletedPart, CopyPartRequest, CreateUploadRequest, ListPartsRequest,
    ListUploadsRequest, PutPartRequest, ServiceError, parse_bucket_name, parse_key, parse_part_number,
    parse_upload_id, parse_upload_marker,
};
use crate::types::{Attributes, Checksum, ETag};
use s3s::dto;
use s3s::{S3Request, S3Response};

impl Operations {
    pub(super) async fn create_multipart_upload(
        &self,
        request: S3Request<dto::CreateMultipartUploadInput>,
    ) -> Answer<dto::CreateMultipartUploadOutput> {
        let caller = caller(&request);
        let mut input = request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let create = CreateUploadRequest {
            attributes: Attributes {
                replica_of: replica_of(&request.headers)?,
                ..attributes!(input, &request.headers)
            },
            lock: lock_of(&request.headers)?,
            checksum: algorithm(input.checksum_algorithm.as_ref())?,
            kind: kind(input.checksum_type.as_ref())?,
            tags: tags_of_header(input.tagging.as_deref())?,
        };
        let created = self.service.create_upload(&caller, &bucket, &key, create).await?;
        Ok(S3Response::new(dto::CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(created.id.to_string()),
            checksum_algorithm: created.checksum.map(|(algorithm, _)| algorithm_name(algorithm)),
            checksum_type: created.checksum.map(|(_, kind)| kind_name(kind)),
            abort_date: created.expiry.as_ref().map(|expiry| timestamp(expiry.at)),
            abort_rule_id: created.expiry.map(|expiry| expiry.rule),
            ..Default::default()
        }))
    }

    pub(super) async fn upload_part(
        &self,
        request: S3Request<dto::UploadPartInput>,
    ) -> Answer<dto::UploadPartOutput> {
        let caller = caller(&request);
        let upload = upload(&request.extensions)?;
        let mut input = request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let put = PutPartRequest {
            upload: parse_upload_id(&input.upload_id)?,
            number: parse_part_number(i64::from(input.part_number))?,
            size: upload.size,
            content_md5: content_md5(&request.headers)?,
            content_sha256: upload.sha256,
            checksum: expected(sums!(input), &request.headers, &upload)?,
            body: upload.take_stream(),
        };
        let done = self.service.put_part(&caller, &bucket, &key, put).await?;
        let sums = Sums::of(Some(&done.checksum));
        Ok(S3Response::new(dto::UploadPartOutput {
            e_tag: etag(done.etag),
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            ..Default::default()
        }))
    }

    pub(super) async fn upload_part_copy(
        &self,
        request: S3Request<dto::UploadPartCopyInput>,
    ) -> Answer<dto::UploadPartCopyOutput> {
        let caller = caller(&request);
        let input = request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let copy = CopyPartRequest {
            upload: parse_upload_id(&input.upload_id)?,
            number: parse_part_number(i64::from(input.part_number))?,
            source: source(&input.copy_source)?,
            range: copy_range(input.copy_source_range.as_deref())?,
            source_conditions: source_conditions(&request.headers)?,
        };
        let done = self.service.copy_part(&caller, &bucket, &key, &copy).await?;
        let sums = Sums::of(Some(&done.part.checksum));
        Ok(S3Response::new(dto::UploadPartCopyOutput {
            copy_part_result: Some(dto::CopyPartResult {
                e_tag: etag(done.part.etag),
                last_modified: Some(timestamp(done.part.modified)),
                checksum_crc32: sums.crc32,
                checksum_crc32c: sums.crc32c,
                checksum_crc64nvme: sums.crc64nvme,
                checksum_sha1: sums.sha1,
                checksum_sha256: sums.sha256,
            }),
            copy_source_version_id: done.source_version_id.map(|id| id.to_string()),
            ..Default::default()
        }))
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        request: S3Request<dto::CompleteMultipartUploadInput>,
    ) -> Answer<dto::CompleteMultipartUploadOutput> {
        let caller = caller(&request);
        let mut input = request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let parts = input.multipart_upload.take().and_then(|upload| upload.parts).unwrap_or_default();
        let complete = CompleteRequest {
            upload: parse_upload_id(&input.upload_id)?,
            parts: parts.into_iter().map(completed_part).collect::<Result<_, _>>()?,
            checksum: sums!(input).one()?,
            kind: kind(input.checksum_type.as_ref())?,
            size: object_size(input.mpu_object_size)?,
            conditions: write_conditions(&request.headers)?,
        };
        let done = self.service.complete_upload(&caller, &bucket, &key, &complete).await?;
        let sums = Sums::of(done.checksum.as_ref());
        Ok(S3Response::new(dto::CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
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

    pub(super) async fn abort_multipart_upload(
        &self,
        request: S3Request<dto::AbortMultipartUploadInput>,
    ) -> Answer<dto::AbortMultipartUploadOutput> {
        let input = &request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let upload = parse_upload_id(&input.upload_id)?;
        self.service.abort_upload(&caller(&request), &bucket, &key, upload).await?;
        Ok(S3Response::new(dto::AbortMultipartUploadOutput::default()))
    }

    pub(super) async fn list_parts(
        &self,
        request: S3Request<dto::ListPartsInput>,
    ) -> Answer<dto::ListPartsOutput> {
        let caller = caller(&request);
        let input = request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let asked = ListPartsRequest {
            upload: parse_upload_id(&input.upload_id)?,
            marker: input.part_number_marker.map(i64::from),
            maximum: input.max_parts.map(i64::from),
        };
        let page = self.service.list_parts(&caller, &bucket, &key, &asked).await?;
        let parts = page.parts.into_iter().map(|part| {
            let sums = Sums::of(part.checksum.as_ref());
            dto::Part {
                checksum_crc32: sums.crc32,
                checksum_crc32c: sums.crc32c,
                checksum_crc64nvme: sums.crc64nvme,
                checksum_sha1: sums.sha1,
                checksum_sha256: sums.sha256,
                e_tag: etag(part.etag),
                last_modified: Some(whole_seconds(part.modified)),
                part_number: Some(i32::from(part.number.get())),
                size: size(part.size),
            }
        });
        let owner = self.owner(page.owner.as_ref());
        Ok(S3Response::new(dto::ListPartsOutput {
            parts: Some(parts.collect()),
            abort_date: page.expiry.as_ref().map(|expiry| timestamp(expiry.at)),
            abort_rule_id: page.expiry.map(|expiry| expiry.rule),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(limit(page.maximum)),
            part_number_marker: Some(input.part_number_marker.unwrap_or(0)),
            next_part_number_marker: Some(page.next_marker.map_or(0, |number| i32::from(number.get()))),
            is_truncated: Some(page.truncated),
            checksum_algorithm: page.checksum.map(|(algorithm, _)| algorithm_name(algorithm)),
            checksum_type: page.checksum.map(|(_, kind)| kind_name(kind)),
            initiator: Some(dto::Initiator {
                display_name: owner.display_name.clone(),
                id: owner.id.clone(),
            }),
            owner: Some(owner),
            storage_class: Some(page.storage_class.unwrap_or_else(|| "STANDARD".into()).into()),
            ..Default::default()
        }))
    }

    pub(super) async fn list_multipart_uploads(
        &self,
        request: S3Request<dto::ListMultipartUploadsInput>,
    ) -> Answer<dto::ListMultipartUploadsOutput> {
        let caller = caller(&request);
        let input = request.input;
        let bucket = parse_bucket_name(&input.bucket)?;
        let names = Names::new(input.encoding_type.as_ref())?;
        // Without a key it says nothing, whatever it is.
        let has_key = input.key_marker.as_deref().is_some_and(|key| !key.is_empty());
        let upload_marker = input.upload_id_marker.as_deref().filter(|marker| has_key && !marker.is_empty());
        let asked = ListUploadsRequest {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            key_marker: input.key_marker.clone(),
            upload_marker: upload_marker.map(parse_upload_marker).transpose()?,
            maximum: input.max_uploads.map(i64::from),
        };
        let page = self.service.list_uploads(&caller, &bucket, asked).await?;
        let owner = self.owner(page.owner.as_ref());
        let initiator = dto::Initiator { display_name: owner.display_name.clone(), id: owner.id.clone() };
        let uploads = page.uploads.into_iter().map(|upload| dto::MultipartUpload {
            checksum_algorithm: upload.checksum.map(|(algorithm, _)| algorithm_name(algorithm)),
            checksum_type: upload.checksum.map(|(_, kind)| kind_name(kind)),
            initiated: Some(whole_seconds(upload.initiated)),
            initiator: Some(initiator.clone()),
            key: Some(names.show(&upload.key.to_text())),
            owner: Some(owner.clone()),
            storage_class: Some(upload.storage_class.unwrap_or_else(|| "STANDARD".into()).into()),
            upload_id: Some(upload.id.to_string()),
        });
        Ok(S3Response::new(dto::ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            bucket: Some(input.bucket),
            common_prefixes: names.prefixes(&page.common_prefixes),
            delimiter: names.show_given(input.delimiter),
            encoding_type: input.encoding_type,
            is_truncated: Some(page.truncated),
            key_marker: Some(names.show(&input.key_marker.unwrap_or_default())),
            max_uploads: Some(limit(page.maximum)),
            next_key_marker: Some(names.show(&page.next_key_marker.unwrap_or_default())),
            next_upload_id_marker: Some(page.next_upload_marker.map(|id| id.to_string()).unwrap_or_default()),
            prefix: names.show_given(input.prefix),
            upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
            ..Default::default()
        }))
    }
}

fn completed_part(mut part: dto::CompletedPart) -> Result<CompletedPart, ServiceError> {
    let malformed =
        ServiceError::InvalidRequest { reason: "A part without a number cannot be completed.".into() };
    Ok(CompletedPart {
        number: parse_part_number(i64::from(part.part_number.ok_or(malformed)?))?,
        etag: part.e_tag.as_ref().and_then(|tag| ETag::parse(tag.value()).ok()),
        checksum: named_checksum(sums!(part))?,
    })
}

/// One checksum at most, in one of the fields.
fn named_checksum(sums: Sums) -> Result<Option<Checksum>, ServiceError> {
    let value = sums.listed();
    match sums.parse() {
        Ok(mut named) if named.len() < 2 => Ok(named.pop()),
        _ => Err(ServiceError::InvalidArgument {
            name: "Checksum",
            value,
            reason: "Invalid Base64 or multiple checksums present in request",
        }),
    }
}

fn object_size(asked: Option<i64>) -> Result<Option<u64>, ServiceError> {
    asked.map(u64::try_from).transpose().map_err(|_| ServiceError::InvalidRequest {
        reason: "Value for x-amz-mp-object-size header is invalid.".into(),
    })
}
