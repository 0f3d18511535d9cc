//! Tags of objects and of buckets.

use super::{Answer, Operations, caller};
use crate::s3::tagging::{shown, tags_of};
use crate::service::{parse_bucket_name, parse_key, parse_version_id};
use crate::types::TagSet;
use s3s::dto;
use s3s::{S3Request, S3Response};

impl Operations {
    pub(super) async fn get_object_tagging(
        &self,
        request: S3Request<dto::GetObjectTaggingInput>,
    ) -> Answer<dto::GetObjectTaggingOutput> {
        let input = &request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let version = input.version_id.as_deref().map(parse_version_id).transpose()?;
        let found = self.service.object_tags(&caller(&request), &bucket, &key, version).await?;
        let version_id = found.version_id.map(|id| id.to_string());
        Ok(S3Response::new(dto::GetObjectTaggingOutput { tag_set: shown(&found.tags), version_id }))
    }

    pub(super) async fn put_object_tagging(
        &self,
        request: S3Request<dto::PutObjectTaggingInput>,
    ) -> Answer<dto::PutObjectTaggingOutput> {
        let caller = caller(&request);
        let input = request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let version = input.version_id.as_deref().map(parse_version_id).transpose()?;
        let tags = TagSet::of_object(tags_of(input.tagging.tag_set)?)?;
        let id = self.service.set_object_tags(&caller, &bucket, &key, version, tags).await?;
        let version_id = id.map(|id| id.to_string());
        Ok(S3Response::new(dto::PutObjectTaggingOutput { version_id }))
    }

    pub(super) async fn delete_object_tagging(
        &self,
        request: S3Request<dto::DeleteObjectTaggingInput>,
    ) -> Answer<dto::DeleteObjectTaggingOutput> {
        let input = &request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let version = input.version_id.as_deref().map(parse_version_id).transpose()?;
        let id = self.service.delete_object_tags(&caller(&request), &bucket, &key, version).await?;
        let version_id = id.map(|id| id.to_string());
        Ok(S3Response::new(dto::DeleteObjectTaggingOutput { version_id }))
    }

    pub(super) async fn get_bucket_tagging(
        &self,
        request: S3Request<dto::GetBucketTaggingInput>,
    ) -> Answer<dto::GetBucketTaggingOutput> {
        let name = parse_bucket_name(&request.input.bucket)?;
        let tags = self.service.bucket_tags(&caller(&request), &name).await?;
        Ok(S3Response::new(dto::GetBucketTaggingOutput { tag_set: shown(&tags) }))
    }

    pub(super) async fn put_bucket_tagging(
        &self,
        request: S3Request<dto::PutBucketTaggingInput>,
    ) -> Answer<dto::PutBucketTaggingOutput> {
        let caller = caller(&request);
        let input = request.input;
        let name = parse_bucket_name(&input.bucket)?;
        let tags = TagSet::of_bucket(tags_of(input.tagging.tag_set)?)?;
        self.service.set_bucket_tags(&caller, &name, tags).await?;
        Ok(S3Response::new(dto::PutBucketTaggingOutput {}))
    }

    pub(super) async fn delete_bucket_tagging(
        &self,
        request: S3Request<dto::DeleteBucketTaggingInput>,
    ) -> Answer<dto::DeleteBucketTaggingOutput> {
        let name = parse_bucket_name(&request.input.bucket)?;
        self.service.set_bucket_tags(&caller(&request), &name, TagSet::default()).await?;
        Ok(S3Response::new(dto::DeleteBucketTaggingOutput {}))
    }
}
