//! Listings: what S3's markers and limits mean to the metadata's queries.

mod objects;
mod uploads;
mod versions;

pub use objects::{ListObjectsRequest, ObjectsPage, ObjectsStart};
pub use uploads::{ListUploadsRequest, ListedUpload, UploadsPage};
pub use versions::{ListVersionsRequest, VersionsPage};

use super::ServiceError;
use super::names::invalid;
use super::settings::MAX_KEYS;
use crate::meta::ListFrom;

/// The entries of a page: 1,000 unless fewer were asked for.
pub(super) fn page_size(name: &'static str, asked: Option<i64>) -> Result<usize, ServiceError> {
    match asked.map(usize::try_from) {
        None => Ok(MAX_KEYS),
        Some(Ok(asked)) => Ok(asked.min(MAX_KEYS)),
        Some(Err(_)) => Err(invalid(
            name,
            &asked.unwrap_or_default().to_string(),
            "Argument must be an integer between 0 and 2147483647",
        )),
    }
}

/// An empty delimiter is none.
fn delimiter(asked: Option<&str>) -> Option<Vec<u8>> {
    asked.filter(|d| !d.is_empty()).map(|d| d.as_bytes().to_vec())
}

/// Where a listing continues behind a marker. A marker inside a common prefix stands for the whole of it, which
/// an earlier page has shown.
fn after_marker(prefix: &str, delimiter: Option<&[u8]>, marker: &str) -> ListFrom {
    let (marker, prefix) = (marker.as_bytes(), prefix.as_bytes());
    if marker.is_empty() {
        return ListFrom::Start;
    }
    if let (Some(delimiter), Some(rest)) = (delimiter, marker.strip_prefix(prefix))
        && let Some(at) = rest.windows(delimiter.len()).position(|w| w == delimiter)
    {
        return ListFrom::AfterPrefix(marker[..prefix.len() + at + delimiter.len()].to_vec());
    }
    ListFrom::AfterKey(marker.to_vec())
}

#[cfg(test)]
mod tests;
