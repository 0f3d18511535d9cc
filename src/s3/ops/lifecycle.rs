//! Lifecycle configurations: documents to rules, and back as they were written. Both forms of the API are the same
//! document to s3s; the older one has its prefix in the rule.

use super::{Answer, Operations, caller};
use crate::s3::convert::timestamp;
use crate::service::{ServiceError, parse_bucket_name};
use crate::types::{
    Expiration, FilterForm, LifecycleFilter, LifecycleRule, LifecycleRules, NoncurrentExpiration,
    NoncurrentTransition, SmallObjects, Tag, Transition, UnixMillis,
};
use s3s::dto::{self, TransitionDefaultMinimumObjectSize as MinimumSize};
use s3s::{S3Request, S3Response};
use time::OffsetDateTime;

type Parsed<T> = Result<T, ServiceError>;

impl Operations {
    pub(super) async fn put_bucket_lifecycle_configuration(
        &self,
        request: S3Request<dto::PutBucketLifecycleConfigurationInput>,
    ) -> Answer<dto::PutBucketLifecycleConfigurationOutput> {
        let caller = caller(&request);
        let bucket = parse_bucket_name(&request.input.bucket)?;
        let document = request.input.lifecycle_configuration.ok_or(MALFORMED)?;
        let small = small_objects(request.input.transition_default_minimum_object_size.as_ref())?;
        let rules = document.rules.into_iter().map(|asked| rule(asked, small)).collect::<Parsed<_>>()?;
        self.service.put_lifecycle(&caller, &bucket, LifecycleRules(rules)).await?;
        let transition_default_minimum_object_size = Some(shown_small_objects(small));
        Ok(S3Response::new(dto::PutBucketLifecycleConfigurationOutput {
            transition_default_minimum_object_size,
        }))
    }

    pub(super) async fn get_bucket_lifecycle_configuration(
        &self,
        request: S3Request<dto::GetBucketLifecycleConfigurationInput>,
    ) -> Answer<dto::GetBucketLifecycleConfigurationOutput> {
        let bucket = parse_bucket_name(&request.input.bucket)?;
        let rules = self.service.lifecycle(&caller(&request), &bucket).await?;
        let small = rules.0.first().map(|rule| rule.small_objects).unwrap_or_default();
        Ok(S3Response::new(dto::GetBucketLifecycleConfigurationOutput {
            rules: Some(rules.0.into_iter().map(shown).collect()),
            transition_default_minimum_object_size: Some(shown_small_objects(small)),
        }))
    }

    pub(super) async fn delete_bucket_lifecycle(
        &self,
        request: S3Request<dto::DeleteBucketLifecycleInput>,
    ) -> Answer<dto::DeleteBucketLifecycleOutput> {
        let bucket = parse_bucket_name(&request.input.bucket)?;
        self.service.delete_lifecycle(&caller(&request), &bucket).await?;
        Ok(S3Response::new(dto::DeleteBucketLifecycleOutput {}))
    }
}

const MALFORMED: ServiceError = ServiceError::MalformedDocument;

/// A number of days as a rule has it. Zero is for the service to refuse.
fn days(days: i32, name: &'static str, reason: &'static str) -> Parsed<u32> {
    u32::try_from(days).map_err(|_| ServiceError::InvalidArgument { name, value: days.to_string(), reason })
}

fn size(bytes: i64) -> Parsed<u64> {
    u64::try_from(bytes).map_err(|_| MALFORMED)
}

fn date(date: dto::Timestamp) -> UnixMillis {
    let date = OffsetDateTime::from(date);
    UnixMillis::new(i64::try_from(date.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX))
}

fn tag(tag: dto::Tag) -> Parsed<Tag> {
    let key = tag.key.ok_or(MALFORMED)?;
    Ok(Tag { key, value: tag.value.unwrap_or_default() })
}

/// As the header says it; Terraform waits until it is shown.
fn small_objects(asked: Option<&MinimumSize>) -> Parsed<SmallObjects> {
    match asked.map(MinimumSize::as_str) {
        None | Some(MinimumSize::ALL_STORAGE_CLASSES_128K) => Ok(SmallObjects::Stay),
        Some(MinimumSize::VARIES_BY_STORAGE_CLASS) => Ok(SmallObjects::Archived),
        Some(other) => Err(ServiceError::InvalidArgument {
            name: "x-amz-transition-default-minimum-object-size",
            value: other.to_owned(),
            reason: "The value must be all_storage_classes_128K or varies_by_storage_class",
        }),
    }
}

fn shown_small_objects(small: SmallObjects) -> MinimumSize {
    MinimumSize::from_static(match small {
        SmallObjects::Stay => MinimumSize::ALL_STORAGE_CLASSES_128K,
        SmallObjects::Archived => MinimumSize::VARIES_BY_STORAGE_CLASS,
    })
}

fn rule(rule: dto::LifecycleRule, small_objects: SmallObjects) -> Parsed<LifecycleRule> {
    const POSITIVE: &str = "'Days' for Expiration action must be a positive integer";
    let enabled = match rule.status.as_str() {
        dto::ExpirationStatus::ENABLED => true,
        dto::ExpirationStatus::DISABLED => false,
        _ => return Err(MALFORMED),
    };
    let abort = rule.abort_incomplete_multipart_upload.map(|abort| {
        let asked = abort.days_after_initiation.ok_or(MALFORMED)?;
        days(asked, "DaysAfterInitiation", "'DaysAfterInitiation' must be a positive integer")
    });
    let noncurrent = rule.noncurrent_version_expiration.map(|noncurrent| {
        let asked = noncurrent.noncurrent_days.ok_or(MALFORMED)?;
        let newer_versions = noncurrent.newer_noncurrent_versions;
        let newer =
            newer_versions.map(|newer| days(newer, "NewerNoncurrentVersions", POSITIVE)).transpose()?;
        Ok::<_, ServiceError>(NoncurrentExpiration {
            days: days(asked, "NoncurrentDays", POSITIVE)?,
            newer_versions: newer,
        })
    });
    Ok(LifecycleRule {
        id: rule.id.unwrap_or_default(),
        enabled,
        filter: filter(rule.prefix, rule.filter)?,
        expiration: rule.expiration.map(expiration).transpose()?,
        noncurrent: noncurrent.transpose()?,
        abort_uploads_days: abort.transpose()?,
        transitions: rule
            .transitions
            .unwrap_or_default()
            .into_iter()
            .map(transition)
            .collect::<Parsed<_>>()?,
        noncurrent_transitions: rule
            .noncurrent_version_transitions
            .unwrap_or_default()
            .into_iter()
            .map(noncurrent_transition)
            .collect::<Parsed<_>>()?,
        small_objects,
    })
}

fn filter(prefix: Option<String>, filter: Option<dto::LifecycleRuleFilter>) -> Parsed<LifecycleFilter> {
    let filter = match (prefix, filter) {
        (Some(_), Some(_)) => return Err(MALFORMED),
        (Some(prefix), None) => {
            return Ok(LifecycleFilter { form: FilterForm::Rule, prefix, ..LifecycleFilter::default() });
        }
        (None, None) => return Err(MALFORMED),
        (None, Some(filter)) => filter,
    };
    let dto::LifecycleRuleFilter { and, object_size_greater_than, object_size_less_than, prefix, tag: one } =
        filter;
    let mut forms = Vec::new();
    let mut parsed = LifecycleFilter::default();
    if let Some(and) = and {
        forms.push(FilterForm::And);
        parsed.prefix = and.prefix.unwrap_or_default();
        parsed.tags = and.tags.unwrap_or_default().into_iter().map(tag).collect::<Parsed<_>>()?;
        parsed.larger_than = and.object_size_greater_than.map(size).transpose()?;
        parsed.smaller_than = and.object_size_less_than.map(size).transpose()?;
    }
    if let Some(bytes) = object_size_greater_than {
        forms.push(FilterForm::LargerThan);
        parsed.larger_than = Some(size(bytes)?);
    }
    if let Some(bytes) = object_size_less_than {
        forms.push(FilterForm::SmallerThan);
        parsed.smaller_than = Some(size(bytes)?);
    }
    if let Some(prefix) = prefix {
        forms.push(FilterForm::Prefix);
        parsed.prefix = prefix;
    }
    if let Some(one) = one {
        forms.push(FilterForm::Tag);
        parsed.tags = vec![tag(one)?];
    }
    match forms[..] {
        [] => Ok(LifecycleFilter::default()),
        [form] => Ok(LifecycleFilter { form, ..parsed }),
        _ => Err(MALFORMED),
    }
}

fn expiration(asked: dto::LifecycleExpiration) -> Parsed<Expiration> {
    const POSITIVE: &str = "'Days' for Expiration action must be a positive integer";
    match (asked.date, asked.days, asked.expired_object_delete_marker) {
        (Some(at), None, None) => Ok(Expiration::Date(date(at))),
        (None, Some(asked), None) => Ok(Expiration::Days(days(asked, "Days", POSITIVE)?)),
        (None, None, Some(markers)) => Ok(Expiration::DeleteMarkers(markers)),
        _ => Err(MALFORMED),
    }
}

fn transition(asked: dto::Transition) -> Parsed<Transition> {
    let class = asked.storage_class.ok_or(MALFORMED)?;
    let reason = "'Days' in Transition action must be nonnegative";
    Ok(Transition {
        days: asked.days.map(|asked| days(asked, "Days", reason)).transpose()?,
        date: asked.date.map(date),
        storage_class: class.as_str().to_owned(),
    })
}

fn noncurrent_transition(asked: dto::NoncurrentVersionTransition) -> Parsed<NoncurrentTransition> {
    let class = asked.storage_class.ok_or(MALFORMED)?;
    let reason = "'NoncurrentDays' in NoncurrentVersionTransition action must be nonnegative";
    let after = asked.noncurrent_days.ok_or(MALFORMED)?;
    let newer = asked.newer_noncurrent_versions;
    Ok(NoncurrentTransition {
        days: days(after, "NoncurrentDays", reason)?,
        newer_versions: newer.map(|newer| days(newer, "NewerNoncurrentVersions", reason)).transpose()?,
        storage_class: class.as_str().to_owned(),
    })
}

fn number(days: u32) -> Option<i32> {
    i32::try_from(days).ok()
}

fn shown(rule: LifecycleRule) -> dto::LifecycleRule {
    let status = if rule.enabled { dto::ExpirationStatus::ENABLED } else { dto::ExpirationStatus::DISABLED };
    let is_old_form = rule.filter.form == FilterForm::Rule;
    let abort = rule
        .abort_uploads_days
        .map(|days| dto::AbortIncompleteMultipartUpload { days_after_initiation: number(days) });
    let noncurrent = rule.noncurrent.map(|noncurrent| dto::NoncurrentVersionExpiration {
        newer_noncurrent_versions: noncurrent.newer_versions.and_then(number),
        noncurrent_days: number(noncurrent.days),
    });
    let expiration = rule.expiration.map(|expiration| match expiration {
        Expiration::Days(days) => dto::LifecycleExpiration { days: number(days), ..Default::default() },
        Expiration::Date(at) => dto::LifecycleExpiration { date: Some(timestamp(at)), ..Default::default() },
        Expiration::DeleteMarkers(markers) => {
            dto::LifecycleExpiration { expired_object_delete_marker: Some(markers), ..Default::default() }
        }
    });
    let transitions = rule.transitions.into_iter().map(|transition| dto::Transition {
        date: transition.date.map(timestamp),
        days: transition.days.and_then(number),
        storage_class: Some(transition.storage_class.into()),
    });
    let noncurrent_transitions =
        rule.noncurrent_transitions.into_iter().map(|transition| dto::NoncurrentVersionTransition {
            newer_noncurrent_versions: transition.newer_versions.and_then(number),
            noncurrent_days: number(transition.days),
            storage_class: Some(transition.storage_class.into()),
        });
    dto::LifecycleRule {
        abort_incomplete_multipart_upload: abort,
        expiration,
        prefix: is_old_form.then(|| rule.filter.prefix.clone()),
        filter: (!is_old_form).then(|| shown_filter(rule.filter)),
        id: Some(rule.id),
        noncurrent_version_expiration: noncurrent,
        noncurrent_version_transitions: some(noncurrent_transitions.collect()),
        status: dto::ExpirationStatus::from_static(status),
        transitions: some(transitions.collect()),
    }
}

fn some<T>(all: Vec<T>) -> Option<Vec<T>> {
    Some(all).filter(|all| !all.is_empty())
}

fn shown_filter(filter: LifecycleFilter) -> dto::LifecycleRuleFilter {
    let tag = |tag: Tag| dto::Tag { key: Some(tag.key), value: Some(tag.value) };
    let bytes = |size: Option<u64>| size.and_then(|size| i64::try_from(size).ok());
    let LifecycleFilter { form, prefix, tags, larger_than, smaller_than } = filter;
    let empty = dto::LifecycleRuleFilter::default();
    match form {
        FilterForm::Rule | FilterForm::Empty => empty,
        FilterForm::Prefix => dto::LifecycleRuleFilter { prefix: Some(prefix), ..empty },
        FilterForm::Tag => dto::LifecycleRuleFilter { tag: tags.into_iter().next().map(tag), ..empty },
        FilterForm::LargerThan => {
            dto::LifecycleRuleFilter { object_size_greater_than: bytes(larger_than), ..empty }
        }
        FilterForm::SmallerThan => {
            dto::LifecycleRuleFilter { object_size_less_than: bytes(smaller_than), ..empty }
        }
        FilterForm::And => {
            let and = dto::LifecycleRuleAndOperator {
                object_size_greater_than: bytes(larger_than),
                object_size_less_than: bytes(smaller_than),
                prefix: Some(prefix).filter(|prefix| !prefix.is_empty()),
                tags: some(tags.into_iter().map(tag).collect()),
            };
            dto::LifecycleRuleFilter { and: Some(and), ..empty }
        }
    }
}
