//! Replication configurations: documents to rules, and back as they were written. What is not done is refused by name.

use super::{Answer, Operations, caller, refuse};
use crate::service::{ObjectInfo, STORAGE_CLASSES, ServiceError, parse_bucket_name};
use crate::types::{
    DestinationArn, FilterForm, LifecycleFilter, ReplicaOf, ReplicationRule, ReplicationRules, Tag,
};
use http::{HeaderMap, HeaderValue};
use s3s::dto;
use s3s::{S3Request, S3Response};

type Parsed<T> = Result<T, ServiceError>;

const MALFORMED: ServiceError = ServiceError::MalformedDocument;

/// Who writes a replica names with it what it is a copy of.
pub(in crate::s3) const REPLICA_OF: &str = "x-sediment-replica-of";

impl Operations {
    pub(super) async fn put_bucket_replication(
        &self,
        request: S3Request<dto::PutBucketReplicationInput>,
    ) -> Answer<dto::PutBucketReplicationOutput> {
        refuse(request.input.token.is_some(), "x-amz-bucket-object-lock-token")?;
        let caller = caller(&request);
        let bucket = parse_bucket_name(&request.input.bucket)?;
        let dto::ReplicationConfiguration { role, rules } = request.input.replication_configuration;
        let rules = rules.into_iter().map(rule).collect::<Parsed<_>>()?;
        self.service.put_replication(&caller, &bucket, ReplicationRules { role, rules }).await?;
        Ok(S3Response::new(dto::PutBucketReplicationOutput {}))
    }

    pub(super) async fn get_bucket_replication(
        &self,
        request: S3Request<dto::GetBucketReplicationInput>,
    ) -> Answer<dto::GetBucketReplicationOutput> {
        let bucket = parse_bucket_name(&request.input.bucket)?;
        let ReplicationRules { role, rules } = self.service.replication(&caller(&request), &bucket).await?;
        let rules = rules.into_iter().map(shown).collect();
        let replication_configuration = Some(dto::ReplicationConfiguration { role, rules });
        Ok(S3Response::new(dto::GetBucketReplicationOutput { replication_configuration }))
    }

    pub(super) async fn delete_bucket_replication(
        &self,
        request: S3Request<dto::DeleteBucketReplicationInput>,
    ) -> Answer<dto::DeleteBucketReplicationOutput> {
        let bucket = parse_bucket_name(&request.input.bucket)?;
        self.service.delete_replication(&caller(&request), &bucket).await?;
        Ok(S3Response::new(dto::DeleteBucketReplicationOutput {}))
    }
}

/// What the request says that it writes a copy of. The header is signed, as every one that means something.
pub(in crate::s3) fn replica_of(headers: &HeaderMap) -> Parsed<Option<ReplicaOf>> {
    let mut sent = headers.get_all(REPLICA_OF).iter();
    let Some(value) = sent.next() else { return Ok(None) };
    let parsed =
        value.to_str().ok().filter(|_| sent.next().is_none()).and_then(|text| ReplicaOf::parse(text).ok());
    let wrong = || ServiceError::InvalidArgument {
        name: REPLICA_OF,
        value: String::from_utf8_lossy(value.as_bytes()).chars().take(256).collect(),
        reason: "The header must be there once, and have 1 to 200 visible characters",
    };
    parsed.map(Some).ok_or_else(wrong)
}

/// What a replica is a copy of, for whoever sends it again.
pub(in crate::s3) fn origin(info: &ObjectInfo) -> Option<HeaderValue> {
    let origin = info.attributes.replica_of.as_ref()?;
    HeaderValue::from_str(origin.as_str()).ok()
}

fn is_enabled(status: &str) -> Parsed<bool> {
    match status {
        "Enabled" => Ok(true),
        "Disabled" => Ok(false),
        _ => Err(MALFORMED),
    }
}

fn rule(rule: dto::ReplicationRule) -> Parsed<ReplicationRule> {
    check_selection(rule.source_selection_criteria.as_ref())?;
    let markers = rule.delete_marker_replication.and_then(|markers| markers.status);
    let existing = rule.existing_object_replication;
    let (destination, storage_class) = destination(rule.destination)?;
    Ok(ReplicationRule {
        id: rule.id.unwrap_or_default(),
        enabled: is_enabled(rule.status.as_str())?,
        priority: rule.priority.map(u32::try_from).transpose().map_err(|_| MALFORMED)?,
        filter: filter(rule.filter, rule.prefix)?,
        destination,
        storage_class,
        delete_markers: markers.map(|status| is_enabled(status.as_str())).transpose()?,
        existing_objects: existing.map(|existing| is_enabled(existing.status.as_str())).transpose()?,
        since: crate::types::CommitSeq::ZERO,
    })
}

fn check_selection(criteria: Option<&dto::SourceSelectionCriteria>) -> Parsed<()> {
    let Some(criteria) = criteria else { return Ok(()) };
    if let Some(modifications) = &criteria.replica_modifications {
        refuse(is_enabled(modifications.status.as_str())?, "ReplicaModifications")?;
    }
    if let Some(encrypted) = &criteria.sse_kms_encrypted_objects {
        refuse(is_enabled(encrypted.status.as_str())?, "SseKmsEncryptedObjects")?;
    }
    Ok(())
}

fn destination(destination: dto::Destination) -> Parsed<(DestinationArn, Option<String>)> {
    refuse(destination.access_control_translation.is_some(), "AccessControlTranslation")?;
    refuse(destination.account.is_some(), "Account")?;
    refuse(destination.encryption_configuration.is_some(), "EncryptionConfiguration")?;
    refuse(destination.metrics.is_some(), "Metrics")?;
    refuse(destination.replication_time.is_some(), "ReplicationTime")?;
    let arn = DestinationArn::parse(&destination.bucket).map_err(|_| ServiceError::InvalidArgument {
        name: "Bucket",
        value: destination.bucket.chars().take(256).collect(),
        reason: "Invalid bucket ARN",
    })?;
    let class = destination.storage_class.map(|class| class.as_str().to_owned());
    if class.as_deref().is_some_and(|class| !STORAGE_CLASSES.contains(&class)) {
        return Err(MALFORMED);
    }
    Ok((arn, class))
}

fn filter(filter: Option<dto::ReplicationRuleFilter>, prefix: Option<String>) -> Parsed<LifecycleFilter> {
    let of_form = |form| LifecycleFilter { form, ..LifecycleFilter::default() };
    let Some(filter) = filter else {
        return Ok(LifecycleFilter { prefix: prefix.unwrap_or_default(), ..of_form(FilterForm::Rule) });
    };
    if prefix.is_some() {
        return Err(MALFORMED);
    }
    match (filter.and, filter.prefix, filter.tag) {
        (None, None, None) => Ok(of_form(FilterForm::Empty)),
        (None, Some(prefix), None) => Ok(LifecycleFilter { prefix, ..of_form(FilterForm::Prefix) }),
        (None, None, Some(of)) => Ok(LifecycleFilter { tags: vec![tag(of)?], ..of_form(FilterForm::Tag) }),
        (Some(and), None, None) => {
            let tags = and.tags.unwrap_or_default().into_iter().map(tag).collect::<Parsed<_>>()?;
            Ok(LifecycleFilter { prefix: and.prefix.unwrap_or_default(), tags, ..of_form(FilterForm::And) })
        }
        _ => Err(MALFORMED),
    }
}

fn tag(tag: dto::Tag) -> Parsed<Tag> {
    let key = tag.key.ok_or(MALFORMED)?;
    Ok(Tag { key, value: tag.value.unwrap_or_default() })
}

const fn status(enabled: bool) -> &'static str {
    if enabled { "Enabled" } else { "Disabled" }
}

fn shown(rule: ReplicationRule) -> dto::ReplicationRule {
    let (prefix, filter) = shown_filter(rule.filter);
    let markers = |on| dto::DeleteMarkerReplicationStatus::from_static(status(on));
    let existing = |on| dto::ExistingObjectReplication {
        status: dto::ExistingObjectReplicationStatus::from_static(status(on)),
    };
    dto::ReplicationRule {
        delete_marker_replication: rule
            .delete_markers
            .map(|on| dto::DeleteMarkerReplication { status: Some(markers(on)) }),
        destination: dto::Destination {
            access_control_translation: None,
            account: None,
            bucket: rule.destination.to_string(),
            encryption_configuration: None,
            metrics: None,
            replication_time: None,
            storage_class: rule.storage_class.map(dto::StorageClass::from),
        },
        existing_object_replication: rule.existing_objects.map(existing),
        filter,
        id: Some(rule.id),
        prefix,
        priority: rule.priority.and_then(|priority| i32::try_from(priority).ok()),
        source_selection_criteria: None,
        status: dto::ReplicationRuleStatus::from_static(status(rule.enabled)),
    }
}

fn shown_filter(filter: LifecycleFilter) -> (Option<String>, Option<dto::ReplicationRuleFilter>) {
    let tag = |tag: Tag| dto::Tag { key: Some(tag.key), value: Some(tag.value) };
    let mut tags: Vec<_> = filter.tags.into_iter().map(tag).collect();
    let empty = dto::ReplicationRuleFilter { and: None, prefix: None, tag: None };
    let filter = match filter.form {
        FilterForm::Rule => return (Some(filter.prefix), None),
        FilterForm::Prefix => dto::ReplicationRuleFilter { prefix: Some(filter.prefix), ..empty },
        FilterForm::Tag => dto::ReplicationRuleFilter { tag: tags.pop(), ..empty },
        FilterForm::And => {
            let prefix = Some(filter.prefix).filter(|prefix| !prefix.is_empty());
            let and = dto::ReplicationRuleAndOperator { prefix, tags: Some(tags) };
            dto::ReplicationRuleFilter { and: Some(and), ..empty }
        }
        FilterForm::Empty | FilterForm::LargerThan | FilterForm::SmallerThan => empty,
    };
    (None, Some(filter))
}
