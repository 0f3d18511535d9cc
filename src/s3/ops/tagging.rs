//! Tags: nothing can have any yet, so reading them is all there is.

use super::{Answer, Operations, caller};
use crate::service::{GetRequest, parse_bucket_name, parse_key, parse_version_id};
use s3s::dto;
use s3s::{S3Request, S3Response};

impl Operations {
    /// Clients ask for an object's tags before they copy it in parts.
    pub(super) async fn get_object_tagging(
        &self,
        request: S3Request<dto::GetObjectTaggingInput>,
    ) -> Answer<dto::GetObjectTaggingOutput> {
        let input = &request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let version = input.version_id.as_deref().map(parse_version_id).transpose()?;
        let asked = GetRequest { version, ..GetRequest::default() };
        let head = self.service.head(&caller(&request), &bucket, &key, &asked).await?;
        let version_id = head.info.version_id.map(|id| id.to_string());
        Ok(S3Response::new(dto::GetObjectTaggingOutput { tag_set: Vec::new(), version_id }))
    }
}
