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

/// The number that limits a page, with the name and the words that AWS has for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageLimit {
    name: &'static str,
    reason: &'static str,
}

impl PageLimit {
    pub(super) const KEYS: Self =
        Self { name: "maxKeys", reason: "Argument maxKeys must be an integer between 0 and 2147483647" };
    pub(super) const UPLOADS: Self = Self {
        name: "max-uploads",
        reason: "Argument max-uploads must be an integer between 0 and 2147483647",
    };
    pub(super) const PARTS: Self =
        Self { name: "max-parts", reason: "Argument max-parts must be an integer between 0 and 2147483647" };

    /// The entries of a page: 1,000 unless fewer were asked for.
    pub(super) fn of(self, asked: Option<i64>) -> Result<usize, ServiceError> {
        let Some(asked) = asked else { return Ok(MAX_KEYS) };
        let size = usize::try_from(asked).map_err(|_| invalid(self.name, &asked.to_string(), self.reason))?;
        Ok(size.min(MAX_KEYS))
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
