//! The bucket that the settings name, with everything that goes around it.

use crate::app::error::{AppError, Exit};
use crate::backup::{BackupSettings, ObjectName};
use crate::remote::{Exclusive, Paced, Patience, Patient, Remote, S3Credentials, S3Remote};
use crate::sys::OsRandom;
use std::sync::Arc;

/// The bucket as backups use it: paced, patient, with deletes by credentials of their own if there are any.
pub(super) fn open(settings: &BackupSettings, patience: Patience) -> Result<Arc<dyn Remote>, AppError> {
    let s3 = s3(settings, settings.delete_credentials().as_ref())?;
    let paced = Paced::new(s3, settings.pacing()).ahead(ObjectName::Lease.key());
    let random = Arc::new(OsRandom);
    // Attempts stand outermost: each looks, waits and is counted anew.
    if settings.exclusive {
        return Ok(Arc::new(Patient::new(Exclusive::new(paced), patience, random)));
    }
    Ok(Arc::new(Patient::new(paced, patience, random)))
}

/// The bucket itself, with the credentials that write.
pub(super) fn bucket(settings: &BackupSettings) -> Result<S3Remote, AppError> {
    s3(settings, None)
}

fn s3(settings: &BackupSettings, deletes: Option<&S3Credentials>) -> Result<S3Remote, AppError> {
    let wrong = |why: &str| AppError::new(Exit::Usage, format!("backup.{why}"));
    let place = settings.place().ok_or_else(|| wrong("bucket is not set: there is nowhere to back up to"))?;
    let credentials = settings.credentials().ok_or_else(|| wrong("access_key and secret_key are not set"))?;
    S3Remote::new(&place, &credentials, deletes).map_err(|why| wrong(&why))
}

/// For people.
pub(super) fn place(settings: &BackupSettings) -> String {
    let at = settings.endpoint.clone().unwrap_or_else(|| format!("AWS, {}", settings.region));
    let bucket = settings.bucket.as_deref().unwrap_or_default();
    match settings.prefix.as_deref() {
        Some(prefix) => format!("bucket `{bucket}` at {at}, below `{prefix}`"),
        None => format!("bucket `{bucket}` at {at}"),
    }
}
