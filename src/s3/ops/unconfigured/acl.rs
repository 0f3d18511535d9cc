//! Access control lists: the owner has full control, and nobody else has any.

use super::{Answer, Operations, caller};
use crate::service::{Action, ServiceError, parse_bucket_name, parse_key, parse_version_id};
use crate::types::AccountId;
use s3s::dto;
use s3s::{S3Request, S3Response};

impl Operations {
    pub(in crate::s3::ops) async fn get_bucket_acl(
        &self,
        request: S3Request<dto::GetBucketAclInput>,
    ) -> Answer<dto::GetBucketAclOutput> {
        let name = parse_bucket_name(&request.input.bucket)?;
        let owner = self.service.unconfigured(&caller(&request), Action::GetBucketAcl, &name).await?;
        let owner = self.owner(owner.as_ref());
        Ok(S3Response::new(dto::GetBucketAclOutput {
            grants: Some(full_control(&owner)),
            owner: Some(owner),
        }))
    }

    /// Refuses all but what is so already. The headers were looked at when the request came.
    pub(in crate::s3::ops) async fn put_bucket_acl(
        &self,
        request: S3Request<dto::PutBucketAclInput>,
    ) -> Answer<dto::PutBucketAclOutput> {
        let (caller, input) = (caller(&request), request.input);
        let name = parse_bucket_name(&input.bucket)?;
        let owner = self.service.unconfigured(&caller, Action::PutBucketAcl, &name).await?;
        self.check(owner.as_ref(), input.acl.is_some(), input.access_control_policy)?;
        Ok(S3Response::new(dto::PutBucketAclOutput {}))
    }

    pub(in crate::s3::ops) async fn get_object_acl(
        &self,
        request: S3Request<dto::GetObjectAclInput>,
    ) -> Answer<dto::GetObjectAclOutput> {
        let (caller, input) = (caller(&request), request.input);
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let version = input.version_id.as_deref().map(parse_version_id).transpose()?;
        let action = Action::get_acl(version);
        let object = (&bucket, &key);
        let (owner, _) = self.service.unconfigured_object(&caller, action, object, version).await?;
        let owner = self.owner(owner.as_ref());
        Ok(S3Response::new(dto::GetObjectAclOutput {
            grants: Some(full_control(&owner)),
            owner: Some(owner),
            request_charged: None,
        }))
    }

    /// As for a bucket.
    pub(in crate::s3::ops) async fn put_object_acl(
        &self,
        request: S3Request<dto::PutObjectAclInput>,
    ) -> Answer<dto::PutObjectAclOutput> {
        let (caller, input) = (caller(&request), request.input);
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let version = input.version_id.as_deref().map(parse_version_id).transpose()?;
        let action = Action::put_acl(version);
        let object = (&bucket, &key);
        let (owner, _) = self.service.unconfigured_object(&caller, action, object, version).await?;
        self.check(owner.as_ref(), input.acl.is_some(), input.access_control_policy)?;
        Ok(S3Response::new(dto::PutObjectAclOutput::default()))
    }

    /// A list in the body may only say what is so.
    fn check(
        &self,
        owner: Option<&AccountId>,
        is_canned: bool,
        list: Option<dto::AccessControlPolicy>,
    ) -> Result<(), ServiceError> {
        let Some(list) = list else {
            return if is_canned { Ok(()) } else { Err(ServiceError::MissingAcl) };
        };
        let mine = self.owner(owner).id;
        let is_mine = |grant: &dto::Grant| {
            let is_full =
                grant.permission.as_ref().map(dto::Permission::as_str) == Some(dto::Permission::FULL_CONTROL);
            is_full && grant.grantee.as_ref().is_some_and(|grantee| grantee.id == mine)
        };
        match list.grants.as_deref() {
            Some([grant]) if is_mine(grant) => Ok(()),
            _ => Err(ServiceError::AclNotSupported),
        }
    }
}

fn full_control(owner: &dto::Owner) -> Vec<dto::Grant> {
    let grantee = dto::Grantee {
        display_name: owner.display_name.clone(),
        email_address: None,
        id: owner.id.clone(),
        type_: dto::Type::from_static(dto::Type::CANONICAL_USER),
        uri: None,
    };
    let permission = dto::Permission::from_static(dto::Permission::FULL_CONTROL);
    vec![dto::Grant { grantee: Some(grantee), permission: Some(permission) }]
}
