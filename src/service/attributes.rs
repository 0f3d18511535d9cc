//! What is known of an object beside its bytes, its parts page by page.

use super::authorize::authorize_in;
use super::conditions::Verdict;
use super::settings::MAX_KEYS;
use super::{Action, Caller, ObjectInfo, ObjectService, ReadConditions, Resource, ServiceError};
use crate::meta::ObjectData;
use crate::types::{BucketName, ObjectKey, PartLayout, VersionId};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttributesRequest {
    pub version: Option<VersionId>,
    pub conditions: ReadConditions,
    /// Parts behind this number.
    pub part_marker: u64,
    /// The most parts to show; 1,000 when absent, and at most.
    pub maximum_parts: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectAttributes {
    pub info: ObjectInfo,
    /// `None` for an object put in one piece.
    pub parts: Option<ObjectParts>,
}

/// A page of an object's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectParts {
    /// Of all pages.
    pub total: usize,
    pub parts: Vec<PartLayout>,
    /// There are more parts behind these.
    pub truncated: bool,
    pub maximum: usize,
}

impl ObjectService {
    /// # Errors
    /// As for reading the object.
    pub async fn object_attributes(
        &self,
        caller: &Caller,
        bucket: &BucketName,
        key: &ObjectKey,
        request: &AttributesRequest,
    ) -> Result<ObjectAttributes, ServiceError> {
        let resource = Resource::Object(bucket, key);
        let home = self.inner.allowed_object(caller, Action::get(request.version), (bucket, key)).await?;
        authorize_in(caller, Action::get_attributes(request.version), resource, Some(&home))?;
        let (version, data) = self.inner.find(&home, key, request.version).await?;
        let info = ObjectInfo::new(home.versioning, version.key, version.id, version.modified, &data);
        match request.conditions.evaluate(data.etag, version.modified) {
            Verdict::Proceed => Ok(ObjectAttributes { parts: page(&data, request), info }),
            Verdict::NotModified(_) => Err(ServiceError::NotModified { info: Box::new(info) }),
            Verdict::Failed(condition) => Err(ServiceError::PreconditionFailed { condition }),
        }
    }
}

fn page(data: &ObjectData, request: &AttributesRequest) -> Option<ObjectParts> {
    if data.parts.is_empty() {
        return None;
    }
    let asked = request.maximum_parts.and_then(|asked| usize::try_from(asked).ok());
    let maximum = asked.map_or(MAX_KEYS, |asked| asked.min(MAX_KEYS));
    let behind = data.parts.iter().filter(|part| u64::from(part.number.get()) > request.part_marker);
    let parts: Vec<_> = behind.clone().take(maximum).cloned().collect();
    let truncated = behind.count() > parts.len();
    Some(ObjectParts { total: data.parts.len(), parts, truncated, maximum })
}
