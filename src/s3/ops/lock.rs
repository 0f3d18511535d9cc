//! Object lock: configurations of buckets, retention and legal holds of versions.

use super::{Answer, Operations, caller};
use crate::s3::body::is_one_element;
use crate::s3::convert::timestamp;
use crate::s3::digest::require_digest;
use crate::s3::gateway::SentDocument;
use crate::s3::lock::{legal_hold, mode_name, parse_legal_hold, parse_mode, until};
use crate::service::{ServiceError, parse_bucket_name, parse_key, parse_version_id};
use crate::types::{DefaultRetention, LockSettings, Retention, RetentionPeriod};
use s3s::dto;
use s3s::{S3Request, S3Response};

impl Operations {
    pub(super) async fn get_object_lock_configuration(
        &self,
        request: S3Request<dto::GetObjectLockConfigurationInput>,
    ) -> Answer<dto::GetObjectLockConfigurationOutput> {
        let bucket = parse_bucket_name(&request.input.bucket)?;
        let settings = self.service.lock_settings(&caller(&request), &bucket).await?;
        let rule = settings.default_retention.map(|retention| {
            let (days, years) = match retention.period {
                RetentionPeriod::Days(days) => (i32::try_from(days).ok(), None),
                RetentionPeriod::Years(years) => (None, i32::try_from(years).ok()),
            };
            let mode = dto::ObjectLockRetentionMode::from_static(mode_name(retention.mode));
            let default_retention = dto::DefaultRetention { days, mode: Some(mode), years };
            dto::ObjectLockRule { default_retention: Some(default_retention) }
        });
        let enabled = dto::ObjectLockEnabled::from_static(dto::ObjectLockEnabled::ENABLED);
        let configuration = dto::ObjectLockConfiguration { object_lock_enabled: Some(enabled), rule };
        let object_lock_configuration = Some(configuration);
        Ok(S3Response::new(dto::GetObjectLockConfigurationOutput { object_lock_configuration }))
    }

    pub(super) async fn put_object_lock_configuration(
        &self,
        request: S3Request<dto::PutObjectLockConfigurationInput>,
    ) -> Answer<dto::PutObjectLockConfigurationOutput> {
        require_digest(&request.headers)?;
        let caller = caller(&request);
        let bucket = parse_bucket_name(&request.input.bucket)?;
        let settings = settings(request.input.object_lock_configuration)?;
        self.service.set_lock_settings(&caller, &bucket, settings).await?;
        Ok(S3Response::new(dto::PutObjectLockConfigurationOutput::default()))
    }

    pub(super) async fn get_object_retention(
        &self,
        request: S3Request<dto::GetObjectRetentionInput>,
    ) -> Answer<dto::GetObjectRetentionOutput> {
        let input = &request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let version = input.version_id.as_deref().map(parse_version_id).transpose()?;
        let found = self.service.retention(&caller(&request), &bucket, &key, version).await?;
        let mode = dto::ObjectLockRetentionMode::from_static(mode_name(found.mode));
        let retain_until_date = Some(timestamp(found.until));
        let retention = Some(dto::ObjectLockRetention { mode: Some(mode), retain_until_date });
        Ok(S3Response::new(dto::GetObjectRetentionOutput { retention }))
    }

    pub(super) async fn put_object_retention(
        &self,
        request: S3Request<dto::PutObjectRetentionInput>,
    ) -> Answer<dto::PutObjectRetentionOutput> {
        require_digest(&request.headers)?;
        let caller = caller(&request);
        let document = request.extensions.get::<SentDocument>().cloned();
        let input = request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let version = input.version_id.as_deref().map(parse_version_id).transpose()?;
        let retention = retention(input.retention, document.as_ref())?;
        let bypass = input.bypass_governance_retention == Some(true);
        self.service.set_retention(&caller, (&bucket, &key), version, retention, bypass).await?;
        Ok(S3Response::new(dto::PutObjectRetentionOutput::default()))
    }

    pub(super) async fn get_object_legal_hold(
        &self,
        request: S3Request<dto::GetObjectLegalHoldInput>,
    ) -> Answer<dto::GetObjectLegalHoldOutput> {
        let input = &request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let version = input.version_id.as_deref().map(parse_version_id).transpose()?;
        let on = self.service.legal_hold(&caller(&request), &bucket, &key, version).await?;
        let hold = dto::ObjectLockLegalHold { status: Some(legal_hold(on)) };
        Ok(S3Response::new(dto::GetObjectLegalHoldOutput { legal_hold: Some(hold) }))
    }

    pub(super) async fn put_object_legal_hold(
        &self,
        request: S3Request<dto::PutObjectLegalHoldInput>,
    ) -> Answer<dto::PutObjectLegalHoldOutput> {
        require_digest(&request.headers)?;
        let caller = caller(&request);
        let input = request.input;
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let version = input.version_id.as_deref().map(parse_version_id).transpose()?;
        let status = input.legal_hold.and_then(|hold| hold.status);
        let on = status.and_then(|status| parse_legal_hold(status.as_str()));
        let on = on.ok_or(ServiceError::MalformedDocument)?;
        self.service.set_legal_hold(&caller, (&bucket, &key), version, on).await?;
        Ok(S3Response::new(dto::PutObjectLegalHoldOutput::default()))
    }
}

fn settings(sent: Option<dto::ObjectLockConfiguration>) -> Result<LockSettings, ServiceError> {
    let sent = sent.ok_or(ServiceError::MalformedDocument)?;
    let enabled = sent.object_lock_enabled.as_ref().map(dto::ObjectLockEnabled::as_str);
    if enabled != Some(dto::ObjectLockEnabled::ENABLED) {
        return Err(ServiceError::MalformedDocument);
    }
    let Some(rule) = sent.rule else { return Ok(LockSettings::default()) };
    let default = rule.default_retention.ok_or(ServiceError::MalformedDocument)?;
    let mode =
        default.mode.and_then(|mode| parse_mode(mode.as_str())).ok_or(ServiceError::MalformedDocument)?;
    let period = match (default.days, default.years) {
        (Some(days), None) => RetentionPeriod::days(i64::from(days)),
        (None, Some(years)) => RetentionPeriod::years(i64::from(years)),
        _ => return Err(ServiceError::MalformedDocument),
    };
    let asked = default.days.or(default.years).unwrap_or_default();
    let period = period.map_err(|_| {
        ServiceError::InvalidRetentionPeriod(if asked < 1 {
            "Default retention period must be a positive integer value."
        } else {
            "Default retention period is too long: at most 36500 days or 100 years."
        })
    })?;
    Ok(LockSettings { default_retention: Some(DefaultRetention { mode, period }) })
}

/// An empty one ends the retention: empty as it was sent, not only as it was understood.
fn retention(
    sent: Option<dto::ObjectLockRetention>,
    document: Option<&SentDocument>,
) -> Result<Option<Retention>, ServiceError> {
    let sent = sent.ok_or(ServiceError::MalformedDocument)?;
    match (sent.mode, sent.retain_until_date) {
        (None, None) if document.is_some_and(|document| is_one_element(&document.0)) => Ok(None),
        (Some(mode), Some(date)) => {
            let mode = parse_mode(mode.as_str()).ok_or(ServiceError::MalformedDocument)?;
            Ok(Some(Retention { mode, until: until(date.into()) }))
        }
        _ => Err(ServiceError::MalformedDocument),
    }
}
