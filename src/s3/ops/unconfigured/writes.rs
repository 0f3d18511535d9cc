//! Writes of what is so anyway.

use super::{Answer, Operations, caller};
use crate::s3::ops::refuse;
use crate::service::{Action, ServiceError, parse_bucket_name, parse_key, parse_version_id};
use crate::types::BucketName;
use s3s::dto;
use s3s::{S3Request, S3Response};

of_a_bucket! {
    put_bucket_accelerate_configuration: PutBucketAccelerateConfigurationInput => PutBucketAccelerateConfigurationOutput, PutAccelerateConfiguration, |input, _| so_unless(asks_acceleration(input)?, "transfer acceleration");
    put_bucket_logging: PutBucketLoggingInput => PutBucketLoggingOutput, PutBucketLogging, |input, _| so_unless(input.bucket_logging_status.logging_enabled.is_some(), "access logs in a bucket");
    put_bucket_notification_configuration: PutBucketNotificationConfigurationInput => PutBucketNotificationConfigurationOutput, PutBucketNotification, |input, _| so_unless(asks_events(&input.notification_configuration), "event notifications");
    put_bucket_ownership_controls: PutBucketOwnershipControlsInput => PutBucketOwnershipControlsOutput, PutBucketOwnershipControls, |input, _| so_unless(asks_acls(input)?, "object ownership other than the bucket owner's");
    put_bucket_request_payment: PutBucketRequestPaymentInput => PutBucketRequestPaymentOutput, PutBucketRequestPayment, |input, _| so_unless(asks_payment(input)?, "requester pays");
}

/// A success, since it is so anyway, unless more is asked for.
fn so_unless<T: Default>(asks: bool, what: &'static str) -> Result<T, ServiceError> {
    refuse(asks, what).map(|()| T::default())
}

fn asks_acceleration(input: &dto::PutBucketAccelerateConfigurationInput) -> Result<bool, ServiceError> {
    use dto::BucketAccelerateStatus as Status;
    one_of(
        input.accelerate_configuration.status.as_ref().map(Status::as_str),
        Status::SUSPENDED,
        &[Status::ENABLED],
    )
}

fn asks_payment(input: &dto::PutBucketRequestPaymentInput) -> Result<bool, ServiceError> {
    let payer = input.request_payment_configuration.payer.as_str();
    one_of(Some(payer), dto::Payer::BUCKET_OWNER, &[dto::Payer::REQUESTER])
}

fn asks_acls(input: &dto::PutBucketOwnershipControlsInput) -> Result<bool, ServiceError> {
    use dto::ObjectOwnership as Ownership;
    let others = [Ownership::BUCKET_OWNER_PREFERRED, Ownership::OBJECT_WRITER];
    match &input.ownership_controls.rules[..] {
        [rule] => one_of(Some(rule.object_ownership.as_str()), Ownership::BUCKET_OWNER_ENFORCED, &others),
        _ => Err(ServiceError::MalformedDocument),
    }
}

fn asks_events(asked: &dto::NotificationConfiguration) -> bool {
    let some = |is_empty: Option<bool>| is_empty == Some(false);
    asked.event_bridge_configuration.is_some()
        || some(asked.lambda_function_configurations.as_ref().map(Vec::is_empty))
        || some(asked.queue_configurations.as_ref().map(Vec::is_empty))
        || some(asked.topic_configurations.as_ref().map(Vec::is_empty))
}

/// Whether one of the other values is asked for. What is none at all makes the document malformed.
fn one_of(asked: Option<&str>, default: &str, others: &[&str]) -> Result<bool, ServiceError> {
    match asked {
        Some(asked) if asked == default => Ok(false),
        Some(asked) if others.contains(&asked) => Ok(true),
        _ => Err(ServiceError::MalformedDocument),
    }
}

impl Operations {
    /// An object with an archive's storage class can be read at any time: it is restored already.
    pub(in crate::s3::ops) async fn restore_object(
        &self,
        request: S3Request<dto::RestoreObjectInput>,
    ) -> Answer<dto::RestoreObjectOutput> {
        let (caller, input) = (caller(&request), request.input);
        let (bucket, key) = (parse_bucket_name(&input.bucket)?, parse_key(&input.key)?);
        let version = input.version_id.as_deref().map(parse_version_id).transpose()?;
        let asked = input.restore_request.ok_or(ServiceError::MissingDocument)?;
        refuse(asked.select_parameters.is_some() || asked.type_.is_some(), "queries of archived objects")?;
        self.service.restore_archived(&caller, (&bucket, &key), version).await?;
        Ok(S3Response::new(dto::RestoreObjectOutput::default()))
    }
}
