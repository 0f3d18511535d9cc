//! Listing objects and versions.

use super::{Answer, Operations, caller};
use crate::meta::ListedObject;
use crate::s3::contents::Contents;
use crate::s3::convert::{Names, algorithm_name, etag, kind_name, size, whole_seconds};
use crate::service::{
    ListObjectsRequest, ListToken, ListVersionsRequest, ObjectsStart, parse_bucket_name, parse_version_marker,
};
use s3s::dto;
use s3s::{S3Request, S3Response};

const STANDARD: &str = "STANDARD";

impl Operations {
    pub(super) async fn list_objects(
        &self,
        request: S3Request<dto::ListObjectsInput>,
    ) -> Answer<dto::ListObjectsOutput> {
        let caller = caller(&request);
        let input = request.input;
        let bucket = parse_bucket_name(&input.bucket)?;
        let names = Names::new(input.encoding_type.as_ref())?;
        let start = input.marker.clone().filter(|marker| !marker.is_empty());
        let asked = ListObjectsRequest {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            start: start.map_or(ObjectsStart::Beginning, ObjectsStart::After),
            maximum: input.max_keys.map(i64::from),
        };
        let page = self.service.list_objects(&caller, &bucket, asked).await?;
        let owner = self.service.owner(page.owner.as_ref());
        let contents = Contents::of(&page.objects, names, Some(&owner));
        let mut response = S3Response::new(dto::ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(names.show(&input.prefix.unwrap_or_default())),
            marker: Some(names.show(&input.marker.unwrap_or_default())),
            max_keys: Some(limit(page.maximum)),
            is_truncated: Some(page.next.is_some()),
            next_marker: page.next_marker.as_deref().map(|marker| names.show(marker)),
            common_prefixes: names.prefixes(&page.common_prefixes),
            delimiter: names.show_given(input.delimiter),
            encoding_type: input.encoding_type,
            ..Default::default()
        });
        response.extensions.insert(contents);
        Ok(response)
    }

    pub(super) async fn list_objects_v2(
        &self,
        request: S3Request<dto::ListObjectsV2Input>,
    ) -> Answer<dto::ListObjectsV2Output> {
        let caller = caller(&request);
        let input = request.input;
        let bucket = parse_bucket_name(&input.bucket)?;
        let names = Names::new(input.encoding_type.as_ref())?;
        let after = input.start_after.clone().filter(|after| !after.is_empty());
        let start = match (&input.continuation_token, after) {
            (Some(token), _) => ObjectsStart::Token(ListToken::parse(token)?),
            (None, Some(after)) => ObjectsStart::After(after),
            (None, None) => ObjectsStart::Beginning,
        };
        let asked = ListObjectsRequest {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            start,
            maximum: input.max_keys.map(i64::from),
        };
        let page = self.service.list_objects(&caller, &bucket, asked).await?;
        let owner = (input.fetch_owner == Some(true)).then(|| self.service.owner(page.owner.as_ref()));
        let contents = Contents::of(&page.objects, names, owner.as_ref());
        let mut response = S3Response::new(dto::ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(names.show(&input.prefix.unwrap_or_default())),
            max_keys: Some(limit(page.maximum)),
            key_count: Some(limit(page.objects.len() + page.common_prefixes.len())),
            continuation_token: input.continuation_token,
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.as_ref().map(ToString::to_string),
            common_prefixes: names.prefixes(&page.common_prefixes),
            delimiter: names.show_given(input.delimiter),
            encoding_type: input.encoding_type,
            start_after: input.start_after.map(|after| names.show(&after)),
            ..Default::default()
        });
        response.extensions.insert(contents);
        Ok(response)
    }

    pub(super) async fn list_object_versions(
        &self,
        request: S3Request<dto::ListObjectVersionsInput>,
    ) -> Answer<dto::ListObjectVersionsOutput> {
        let caller = caller(&request);
        let input = request.input;
        let bucket = parse_bucket_name(&input.bucket)?;
        let names = Names::new(input.encoding_type.as_ref())?;
        let version_marker = input.version_id_marker.as_deref().filter(|marker| !marker.is_empty());
        let asked = ListVersionsRequest {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            key_marker: input.key_marker.clone(),
            version_marker: version_marker.map(parse_version_marker).transpose()?,
            maximum: input.max_keys.map(i64::from),
        };
        let page = self.service.list_versions(&caller, &bucket, asked).await?;
        let owner = self.owner(page.owner.as_ref());
        let (mut versions, mut delete_markers) = (Vec::new(), Vec::new());
        for listed in &page.versions {
            let key = Some(names.show(&listed.key.to_text()));
            let (is_latest, version_id) = (Some(listed.is_latest), Some(listed.id.to_string()));
            let (last_modified, owner) = (Some(whole_seconds(listed.modified)), Some(owner.clone()));
            match &listed.object {
                None => {
                    delete_markers.push(dto::DeleteMarkerEntry {
                        is_latest,
                        key,
                        last_modified,
                        owner,
                        version_id,
                    });
                }
                Some(object) => versions.push(dto::ObjectVersion {
                    checksum_algorithm: object.checksum.map(|(algorithm, _)| vec![algorithm_name(algorithm)]),
                    checksum_type: object.checksum.map(|(_, kind)| kind_name(kind)),
                    e_tag: etag(object.etag),
                    is_latest,
                    key,
                    last_modified,
                    owner,
                    size: size(object.size),
                    storage_class: Some(class(object).into()),
                    version_id,
                    ..Default::default()
                }),
            }
        }
        Ok(S3Response::new(dto::ListObjectVersionsOutput {
            common_prefixes: names.prefixes(&page.common_prefixes),
            delete_markers: Some(delete_markers),
            delimiter: names.show_given(input.delimiter),
            encoding_type: input.encoding_type,
            is_truncated: Some(page.next_key_marker.is_some()),
            key_marker: Some(names.show(&input.key_marker.unwrap_or_default())),
            max_keys: Some(limit(page.maximum)),
            name: Some(input.bucket),
            next_key_marker: page.next_key_marker.as_deref().map(|marker| names.show(marker)),
            next_version_id_marker: page.next_version_marker.map(|id| id.to_string()),
            prefix: Some(names.show(&input.prefix.unwrap_or_default())),
            version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
            versions: Some(versions),
            ..Default::default()
        }))
    }
}

/// Limits are a thousand at most.
pub(super) fn limit(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn class(object: &ListedObject) -> String {
    object.storage_class.clone().unwrap_or_else(|| STANDARD.to_owned())
}
