//! What is known of an object beside its bytes.

use super::{Answer, Operations, caller};
use crate::s3::convert::{Sums, etag, header, kind_name, read_conditions, size, timestamp};
use crate::s3::finish::BareETag;
use crate::service::{
    AttributesRequest, ObjectParts, STANDARD_CLASS, ServiceError, parse_bucket_name, parse_key,
    parse_version_id,
};
use crate::types::Checksum;
use http::HeaderMap;
use s3s::dto;
use s3s::{S3Request, S3Response};

const ASKED: &str = "x-amz-object-attributes";
const NAMES: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

impl Operations {
    pub(super) async fn get_object_attributes(
        &self,
        request: S3Request<dto::GetObjectAttributesInput>,
    ) -> Answer<dto::GetObjectAttributesOutput> {
        let caller = caller(&request);
        let (input, headers) = (&request.input, &request.headers);
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let names = asked(headers)?;
        let wants = |name: &str| names.contains(&name);
        let asked = AttributesRequest {
            version: input.version_id.as_deref().map(parse_version_id).transpose()?,
            conditions: read_conditions(headers),
            part_marker: number(headers, "x-amz-part-number-marker").unwrap_or(0),
            maximum_parts: number(headers, "x-amz-max-parts"),
        };
        let found = self.service.object_attributes(&caller, &bucket, &key, &asked).await?;
        let info = found.info;
        let class = || info.attributes.storage_class.clone().unwrap_or_else(|| STANDARD_CLASS.to_owned());
        let mut response = S3Response::new(dto::GetObjectAttributesOutput {
            checksum: info.checksum.as_ref().filter(|_| wants("Checksum")).map(checksum),
            e_tag: etag(info.etag).filter(|_| wants("ETag")),
            last_modified: Some(timestamp(info.modified)),
            object_parts: found
                .parts
                .filter(|_| wants("ObjectParts"))
                .map(|page| parts(page, asked.part_marker)),
            object_size: size(info.size).filter(|_| wants("ObjectSize")),
            storage_class: wants("StorageClass").then(class).map(dto::StorageClass::from),
            version_id: info.version_id.map(|id| id.to_string()),
            ..Default::default()
        });
        response.extensions.insert(BareETag);
        Ok(response)
    }
}

/// The attributes named, in one line or in several.
fn asked(headers: &HeaderMap) -> Result<Vec<&str>, ServiceError> {
    let lines = headers.get_all(ASKED).iter().map(|line| line.to_str().unwrap_or("?"));
    let names: Vec<_> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        let reason = "The x-amz-object-attributes header specifying the attributes to be retrieved is either \
                      missing or empty";
        return Err(ServiceError::InvalidRequest { reason: reason.into() });
    }
    match names.iter().find(|name| !NAMES.contains(name)) {
        None => Ok(names),
        Some(unknown) => Err(ServiceError::InvalidArgument {
            name: ASKED,
            value: unknown.chars().take(256).collect(),
            reason: "Invalid attribute name specified.",
        }),
    }
}

/// A header that S3 takes no notice of unless it is a number.
fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    header(headers, name).and_then(|value| value.parse().ok())
}

fn checksum(checksum: &Checksum) -> dto::Checksum {
    let sums = Sums::of(Some(checksum));
    dto::Checksum {
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type: Some(kind_name(checksum.kind())),
    }
}

fn parts(page: ObjectParts, marker: u64) -> dto::GetObjectAttributesParts {
    let marker = i32::try_from(marker).unwrap_or(i32::MAX);
    let last = page.parts.last().map_or(marker, |part| i32::from(part.number.get()));
    let count = |n: usize| Some(i32::try_from(n).unwrap_or(i32::MAX));
    let shown = page.parts.into_iter().map(|part| {
        let sums = Sums::of(part.checksum.as_ref());
        dto::ObjectPart {
            checksum_crc32: sums.crc32,
            checksum_crc32c: sums.crc32c,
            checksum_crc64nvme: sums.crc64nvme,
            checksum_sha1: sums.sha1,
            checksum_sha256: sums.sha256,
            part_number: Some(i32::from(part.number.get())),
            size: size(part.size),
        }
    });
    dto::GetObjectAttributesParts {
        parts: Some(shown.collect()),
        is_truncated: Some(page.truncated),
        max_parts: count(page.maximum),
        part_number_marker: Some(marker),
        next_part_number_marker: Some(last),
        total_parts_count: count(page.total),
    }
}
