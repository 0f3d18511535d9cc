//! Buckets and their versioning.

use super::{Answer, Operations, caller, refuse};
use crate::s3::convert::timestamp;
use crate::s3::gateway::SentDocument;
use crate::s3::tagging::tags_of_creation;
use crate::service::{ListBucketsRequest, ServiceError, parse_bucket_name};
use crate::types::{AccountId, Versioning};
use s3s::dto;
use s3s::{S3Request, S3Response};

impl Operations {
    pub(super) async fn create_bucket(
        &self,
        request: S3Request<dto::CreateBucketInput>,
    ) -> Answer<dto::CreateBucketOutput> {
        let caller = caller(&request);
        let tags = tags_of_creation(request.extensions.get::<SentDocument>())?;
        let input = request.input;
        check_ownership(input.object_ownership.as_ref())?;
        let name = parse_bucket_name(&input.bucket)?;
        let configuration = input.create_bucket_configuration;
        let is_directory = |c: &dto::CreateBucketConfiguration| c.location.is_some() || c.bucket.is_some();
        refuse(configuration.as_ref().is_some_and(is_directory), "directory buckets")?;
        let location = configuration.and_then(|c| c.location_constraint);
        let location = location.as_ref().map(dto::BucketLocationConstraint::as_str);
        let lock = input.object_lock_enabled_for_bucket == Some(true);
        self.service.create_tagged_bucket(&caller, &name, location, lock, tags).await?;
        Ok(S3Response::new(dto::CreateBucketOutput { location: Some(format!("/{name}")) }))
    }

    pub(super) async fn head_bucket(
        &self,
        request: S3Request<dto::HeadBucketInput>,
    ) -> Answer<dto::HeadBucketOutput> {
        let name = parse_bucket_name(&request.input.bucket)?;
        self.service.head_bucket(&caller(&request), &name).await?;
        let bucket_region = Some(self.service.region().to_owned());
        Ok(S3Response::new(dto::HeadBucketOutput { bucket_region, ..Default::default() }))
    }

    pub(super) async fn delete_bucket(
        &self,
        request: S3Request<dto::DeleteBucketInput>,
    ) -> Answer<dto::DeleteBucketOutput> {
        let name = parse_bucket_name(&request.input.bucket)?;
        self.service.delete_bucket(&caller(&request), &name).await?;
        Ok(S3Response::new(dto::DeleteBucketOutput {}))
    }

    pub(super) async fn list_buckets(
        &self,
        request: S3Request<dto::ListBucketsInput>,
    ) -> Answer<dto::ListBucketsOutput> {
        let caller = caller(&request);
        let input = request.input;
        let asked = ListBucketsRequest {
            prefix: input.prefix.clone(),
            continuation_token: input.continuation_token,
            maximum: input.max_buckets.map(i64::from),
        };
        let region = self.service.region();
        let mut page = self.service.list_buckets(&caller, &asked).await?;
        if input.bucket_region.is_some_and(|asked| asked != region) {
            page.buckets.clear();
        }
        let buckets = page.buckets.into_iter().map(|bucket| dto::Bucket {
            name: Some(bucket.name.to_string()),
            creation_date: Some(timestamp(bucket.created)),
            bucket_region: Some(region.to_owned()),
        });
        let buckets = Some(buckets.collect());
        let (owner, prefix) = (Some(self.owner(caller.account())), input.prefix);
        let continuation_token = page.next;
        Ok(S3Response::new(dto::ListBucketsOutput { buckets, owner, continuation_token, prefix }))
    }

    pub(super) async fn get_bucket_location(
        &self,
        request: S3Request<dto::GetBucketLocationInput>,
    ) -> Answer<dto::GetBucketLocationOutput> {
        let name = parse_bucket_name(&request.input.bucket)?;
        let caller = caller(&request);
        let region = self.service.bucket_location(&caller, &name).await?;
        // The oldest region has no name here.
        let location = Some(region.to_owned()).filter(|region| region != "us-east-1");
        let location_constraint = location.map(dto::BucketLocationConstraint::from);
        Ok(S3Response::new(dto::GetBucketLocationOutput { location_constraint }))
    }

    pub(super) async fn get_bucket_versioning(
        &self,
        request: S3Request<dto::GetBucketVersioningInput>,
    ) -> Answer<dto::GetBucketVersioningOutput> {
        let name = parse_bucket_name(&request.input.bucket)?;
        let status = match self.service.versioning(&caller(&request), &name).await? {
            Versioning::Unversioned => None,
            Versioning::Enabled => Some(dto::BucketVersioningStatus::ENABLED),
            Versioning::Suspended => Some(dto::BucketVersioningStatus::SUSPENDED),
        };
        let status = status.map(dto::BucketVersioningStatus::from_static);
        Ok(S3Response::new(dto::GetBucketVersioningOutput { status, ..Default::default() }))
    }

    pub(super) async fn put_bucket_versioning(
        &self,
        request: S3Request<dto::PutBucketVersioningInput>,
    ) -> Answer<dto::PutBucketVersioningOutput> {
        let name = parse_bucket_name(&request.input.bucket)?;
        let asked = &request.input.versioning_configuration;
        match asked.mfa_delete.as_ref().map(dto::MFADelete::as_str) {
            None | Some(dto::MFADelete::DISABLED) => {}
            Some(dto::MFADelete::ENABLED) => refuse(true, "MFA delete")?,
            Some(_) => return Err(ServiceError::MalformedDocument),
        }
        let versioning = match asked.status.as_ref().map(dto::BucketVersioningStatus::as_str) {
            Some(dto::BucketVersioningStatus::ENABLED) => Versioning::Enabled,
            Some(dto::BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
            None => return Err(ServiceError::MissingVersioningStatus),
            Some(_) => return Err(ServiceError::MalformedDocument),
        };
        self.service.set_versioning(&caller(&request), &name, versioning).await?;
        Ok(S3Response::new(dto::PutBucketVersioningOutput {}))
    }

    pub(super) fn owner(&self, account: Option<&AccountId>) -> dto::Owner {
        let owner = self.service.owner(account);
        dto::Owner { display_name: Some(owner.name), id: Some(owner.id) }
    }
}

/// Objects belong to the bucket's owner.
fn check_ownership(asked: Option<&dto::ObjectOwnership>) -> Result<(), ServiceError> {
    use dto::ObjectOwnership as Ownership;
    match asked.map(Ownership::as_str) {
        None | Some(Ownership::BUCKET_OWNER_ENFORCED) => Ok(()),
        Some(Ownership::BUCKET_OWNER_PREFERRED | Ownership::OBJECT_WRITER) => {
            refuse(true, "object ownership other than the bucket owner's")
        }
        Some(unknown) => Err(ServiceError::InvalidArgument {
            name: "x-amz-object-ownership",
            value: unknown.chars().take(64).collect(),
            reason: "Invalid x-amz-object-ownership header",
        }),
    }
}
