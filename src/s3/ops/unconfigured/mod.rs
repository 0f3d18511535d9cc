//! Features of AWS that nothing here uses: reads answer as for a bucket without them, deletes have nothing to do, and a
//! write that asks for what is so anyway succeeds. Any other write is `NotImplemented`.

/// Operations on a bucket, which must exist, and which the caller must be allowed. What they answer is a function of
/// their input and of the bucket's name.
macro_rules! of_a_bucket {
    ($($name:ident: $input:ident => $output:ident, $action:ident, $answer:expr;)*) => {
        impl Operations {
            $(pub(in crate::s3::ops) async fn $name(
                &self,
                request: S3Request<dto::$input>,
            ) -> Answer<dto::$output> {
                let bucket = parse_bucket_name(&request.input.bucket)?;
                self.service.unconfigured(&caller(&request), Action::$action, &bucket).await?;
                let answer: fn(&dto::$input, BucketName) -> Result<dto::$output, ServiceError> = $answer;
                answer(&request.input, bucket).map(S3Response::new)
            })*
        }
    };
}

mod acl;
mod deletes;
mod reads;
mod writes;

use super::{Answer, Operations, caller};
use crate::service::{Feature, ServiceError};
use crate::types::BucketName;

/// What the bucket would have only once it was given some.
fn lacks<T>(bucket: BucketName, feature: Feature) -> Result<T, ServiceError> {
    Err(ServiceError::NotConfigured { bucket, feature })
}
