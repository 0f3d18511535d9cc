//! Deleting objects.

use super::{Answer, Operations, caller, replica_of};
use crate::s3::convert::{moment, write_conditions};
use crate::s3::error::s3_error;
use crate::service::{
    DeleteConditions, DeleteItem, DeleteRequest, DeletedItem, ETagCondition, MAX_KEYS, ServiceError,
    parse_bucket_name, parse_key, parse_version_id,
};
use s3s::dto;
use s3s::{S3Request, S3Response};

impl Operations {
    pub(super) async fn delete_object(
        &self,
        request: S3Request<dto::DeleteObjectInput>,
    ) -> Answer<dto::DeleteObjectOutput> {
        let caller = caller(&request);
        let input = request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let delete = DeleteRequest {
            version: input.version_id.as_deref().map(parse_version_id).transpose()?,
            conditions: DeleteConditions {
                if_match: write_conditions(&request.headers)?.if_match,
                if_size: input.if_match_size.map(size_condition),
                if_modified_at: input.if_match_last_modified_time.map(moment),
            },
            bypass_governance: input.bypass_governance_retention == Some(true),
        };
        let done = match replica_of(&request.headers)? {
            None => self.service.delete(&caller, &bucket, &key, &delete).await?,
            Some(origin) => self.service.delete_as_replica(&caller, &bucket, &key, &delete, origin).await?,
        };
        Ok(S3Response::new(dto::DeleteObjectOutput {
            delete_marker: done.delete_marker.then_some(true),
            version_id: done.version_id.map(|id| id.to_string()),
            ..Default::default()
        }))
    }

    pub(super) async fn delete_objects(
        &self,
        request: S3Request<dto::DeleteObjectsInput>,
    ) -> Answer<dto::DeleteObjectsOutput> {
        let caller = caller(&request);
        let input = request.input;
        let bucket = parse_bucket_name(&input.bucket)?;
        let quiet = input.delete.quiet == Some(true);
        let (mut items, mut errors) = (Vec::new(), Vec::new());
        let count = input.delete.objects.len();
        if count == 0 || count > MAX_KEYS {
            return Err(ServiceError::TooManyKeys { count, maximum: MAX_KEYS });
        }
        let bypass_governance = input.bypass_governance_retention == Some(true);
        for object in input.delete.objects {
            match item(&object, bypass_governance) {
                Ok(item) => items.push(item),
                Err(error) => errors.push(failed(object.key, object.version_id, error)),
            }
        }
        let mut deleted = Vec::new();
        for done in self.service.delete_many(&caller, &bucket, items).await? {
            let DeletedItem { key, requested, result } = done;
            let (key, requested) = (key.to_text().into_owned(), requested.map(|id| id.to_string()));
            match result {
                Ok(_) if quiet => {}
                Ok(done) => deleted.push(dto::DeletedObject {
                    key: Some(key),
                    delete_marker: done.delete_marker.then_some(true),
                    delete_marker_version_id: done
                        .version_id
                        .filter(|_| done.delete_marker)
                        .map(|id| id.to_string()),
                    version_id: requested,
                }),
                Err(error) => errors.push(failed(key, requested, error)),
            }
        }
        Ok(S3Response::new(dto::DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..Default::default()
        }))
    }
}

fn item(object: &dto::ObjectIdentifier, bypass_governance: bool) -> Result<DeleteItem, ServiceError> {
    let version = object.version_id.as_deref().map(parse_version_id).transpose()?;
    let conditions = DeleteConditions {
        if_match: object.e_tag.as_ref().map(|tag| ETagCondition::parse(tag.value())),
        if_size: object.size.map(size_condition),
        if_modified_at: object.last_modified_time.clone().map(moment),
    };
    let request = DeleteRequest { version, conditions, bypass_governance };
    Ok(DeleteItem { key: parse_key(&object.key)?, request })
}

/// Nothing has a negative size, or the largest.
fn size_condition(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn failed(key: String, version_id: Option<String>, error: ServiceError) -> dto::Error {
    let error = s3_error(error);
    dto::Error {
        code: Some(error.code().as_str().to_owned()),
        message: error.message().map(str::to_owned),
        key: Some(key),
        version_id,
    }
}
