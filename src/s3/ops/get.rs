//! Reading objects.

use super::replication::{REPLICA_OF, origin};
use super::{Answer, Operations, caller};
use crate::s3::convert::{
    Sums, checksum_mode, etag, expiration, kind_name, range, read_conditions, size, storage_class, timestamp,
};
use crate::s3::dates::{date_header, http_date};
use crate::s3::finish::ObjectBytes;
use crate::s3::{lock, stream};
use crate::service::{
    ETagCondition, GetRequest, HeadOutcome, Selection, ServiceError, parse_bucket_name, parse_key,
    parse_part_number, parse_version_id,
};
use crate::types::UnixMillis;
use http::{HeaderMap, HeaderValue, header};
use s3s::dto;
use s3s::{S3Request, S3Response};

impl Operations {
    pub(super) async fn get_object(
        &self,
        request: S3Request<dto::GetObjectInput>,
    ) -> Answer<dto::GetObjectOutput> {
        let caller = caller(&request);
        let input = request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let asked = asked(&request.headers, input.version_id.as_deref(), input.part_number)?;
        let with_checksum = checksum_mode(input.checksum_mode.as_ref())?;
        let got = match if_range(&request.headers, &asked) {
            None => self.service.get(&caller, &bucket, &key, &asked).await?,
            Some(same) => match self.service.get(&caller, &bucket, &key, &same).await {
                // Another version than the client has some of: it gets all of this one.
                Err(ServiceError::PreconditionFailed { .. }) => {
                    let whole = GetRequest { selection: Selection::Whole, ..asked };
                    self.service.get(&caller, &bucket, &key, &whole).await?
                }
                got => got?,
            },
        };
        let Shown { output: shown, mut headers } = describe(&got.head, with_checksum);
        override_expires(&mut headers, input.response_expires);
        let output = dto::GetObjectOutput {
            body: Some(stream::output(got.body)),
            accept_ranges: shown.accept_ranges,
            cache_control: shown.cache_control,
            checksum_crc32: shown.checksum_crc32,
            checksum_crc32c: shown.checksum_crc32c,
            checksum_crc64nvme: shown.checksum_crc64nvme,
            checksum_sha1: shown.checksum_sha1,
            checksum_sha256: shown.checksum_sha256,
            checksum_type: shown.checksum_type,
            content_disposition: shown.content_disposition,
            content_encoding: shown.content_encoding,
            content_language: shown.content_language,
            content_length: shown.content_length,
            content_range: shown.content_range,
            content_type: shown.content_type,
            e_tag: shown.e_tag,
            expiration: shown.expiration,
            last_modified: shown.last_modified,
            metadata: shown.metadata,
            object_lock_legal_hold_status: shown.object_lock_legal_hold_status,
            object_lock_mode: shown.object_lock_mode,
            object_lock_retain_until_date: shown.object_lock_retain_until_date,
            parts_count: shown.parts_count,
            replication_status: shown.replication_status,
            storage_class: shown.storage_class,
            version_id: shown.version_id,
            website_redirect_location: shown.website_redirect_location,
            ..Default::default()
        };
        let mut response = respond(output, headers);
        response.extensions.insert(ObjectBytes);
        Ok(response)
    }

    pub(super) async fn head_object(
        &self,
        request: S3Request<dto::HeadObjectInput>,
    ) -> Answer<dto::HeadObjectOutput> {
        let caller = caller(&request);
        let input = request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let asked = asked(&request.headers, input.version_id.as_deref(), input.part_number)?;
        let with_checksum = checksum_mode(input.checksum_mode.as_ref())?;
        let head = self.service.head(&caller, &bucket, &key, &asked).await?;
        let Shown { mut output, mut headers } = describe(&head, with_checksum);
        override_expires(&mut headers, input.response_expires);
        let overrides = [
            (header::CACHE_CONTROL, input.response_cache_control),
            (header::CONTENT_DISPOSITION, input.response_content_disposition),
            (header::CONTENT_ENCODING, input.response_content_encoding),
            (header::CONTENT_LANGUAGE, input.response_content_language),
        ];
        for (name, value) in overrides {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(name, value);
            }
        }
        output.content_type = input.response_content_type.or(output.content_type);
        Ok(respond(output, headers))
    }
}

/// The same with `If-Range` as a condition, where there is a range that it bears on.
fn if_range(headers: &HeaderMap, asked: &GetRequest) -> Option<GetRequest> {
    let value = headers.get(header::IF_RANGE)?;
    let has_own = asked.conditions.if_match.is_some() || asked.conditions.if_unmodified_since.is_some();
    if !matches!(asked.selection, Selection::Range(_)) || has_own {
        return None;
    }
    let mut same = asked.clone();
    match date_header(value) {
        Some(date) => same.conditions.if_unmodified_since = Some(date),
        None => same.conditions.if_match = Some(ETagCondition::parse(value.to_str().unwrap_or_default())),
    }
    Some(same)
}

fn asked(headers: &HeaderMap, version: Option<&str>, part: Option<i32>) -> Result<GetRequest, ServiceError> {
    Ok(GetRequest {
        version: version.map(parse_version_id).transpose()?,
        conditions: read_conditions(headers),
        selection: selection(headers, part)?,
    })
}

fn selection(headers: &HeaderMap, part: Option<i32>) -> Result<Selection, ServiceError> {
    match (range(headers), part) {
        (None, None) => Ok(Selection::Whole),
        (Some(asked), None) => Ok(Selection::Range(asked)),
        (None, Some(part)) => parse_part_number(i64::from(part)).map(Selection::Part),
        (Some(_), Some(_)) => Err(ServiceError::InvalidRequest {
            reason: "Cannot specify both Range header and partNumber query parameter".into(),
        }),
    }
}

fn respond<T>(output: T, headers: HeaderMap) -> S3Response<T> {
    let mut response = S3Response::new(output);
    response.headers = headers;
    response
}

fn override_expires(headers: &mut HeaderMap, asked: Option<dto::Timestamp>) {
    let Some(asked) = asked else { return };
    let at: time::OffsetDateTime = asked.into();
    let shown = http_date(UnixMillis::new(at.unix_timestamp().saturating_mul(1000)));
    if let Ok(value) = HeaderValue::from_str(&shown) {
        headers.insert(header::EXPIRES, value);
    }
}

struct Shown {
    output: dto::HeadObjectOutput,
    headers: HeaderMap,
}

/// The headers that GET and HEAD share. `Expires` goes out as it came in.
fn describe(head: &HeadOutcome, with_checksum: bool) -> Shown {
    let (info, attributes) = (&head.info, &head.info.attributes);
    let mut headers = HeaderMap::new();
    if let Some(value) = attributes.expires.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
        headers.insert(header::EXPIRES, value);
    }
    if info.tags > 0 {
        headers.insert("x-amz-tagging-count", HeaderValue::from(info.tags));
    }
    if let Some(origin) = origin(info) {
        headers.insert(REPLICA_OF, origin);
    }
    let sums = Sums::of(head.checksum.as_ref().filter(|_| with_checksum));
    // A part's own checksum is shown with the type that the object's has.
    let whole = info.checksum.as_ref().map(|whole| kind_name(whole.kind()));
    let checksum_type = sums.kind.map(|own| whole.unwrap_or(own));
    let content_range = (head.partial && !head.range.is_empty())
        .then(|| format!("bytes {}-{}/{}", head.range.start, head.range.end - 1, info.size));
    let output = dto::HeadObjectOutput {
        accept_ranges: Some("bytes".into()),
        cache_control: attributes.cache_control.clone(),
        checksum_crc32: sums.crc32,
        checksum_crc32c: sums.crc32c,
        checksum_crc64nvme: sums.crc64nvme,
        checksum_sha1: sums.sha1,
        checksum_sha256: sums.sha256,
        checksum_type,
        content_disposition: attributes.content_disposition.clone(),
        content_encoding: attributes.content_encoding.clone(),
        content_language: attributes.content_language.clone(),
        content_length: size(head.range.len()),
        content_range,
        content_type: Some(
            attributes.content_type.clone().unwrap_or_else(|| "binary/octet-stream".to_owned()),
        ),
        e_tag: etag(info.etag),
        expiration: info.expiry.as_ref().map(expiration),
        last_modified: Some(timestamp(info.modified)),
        metadata: Some(attributes.user.clone().into_iter().collect()),
        object_lock_legal_hold_status: info.lock.legal_hold.map(lock::legal_hold),
        object_lock_mode: info.lock.retention.map(|retention| lock::mode(retention.mode)),
        object_lock_retain_until_date: info.lock.retention.map(|retention| timestamp(retention.until)),
        parts_count: head.parts_count.map(i32::from),
        replication_status: info.replication.map(|status| dto::ReplicationStatus::from_static(status.name())),
        storage_class: storage_class(attributes),
        version_id: info.version_id.map(|id| id.to_string()),
        website_redirect_location: attributes.website_redirect_location.clone(),
        ..Default::default()
    };
    Shown { output, headers }
}
