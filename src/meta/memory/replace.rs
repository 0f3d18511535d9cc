//! Other bodies of the same bytes in the model.

use super::state::{Draft, State};
use crate::meta::{Change, CommitError, NewBody, Outcome, VersionPlace};
use crate::types::{Body, BucketId, ObjectKey, PlainId, VersionId};

impl State {
    pub(super) fn replace_plain(
        &mut self,
        place: VersionPlace,
        plain: PlainId,
        body: NewBody,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let VersionPlace { bucket, key, id, seq, .. } = place;
        self.home(bucket)?;
        let (_, version) = self.find(bucket, key.as_bytes(), id).ok_or(CommitError::NoSuchKey)?;
        let object = version.logged.object.as_ref().ok_or(CommitError::IsDeleteMarker)?;
        if version.seq != seq || object.body != Body::Plain(plain) {
            return Err(CommitError::ConditionFailed);
        }
        self.replace_body((bucket, key), id, body, draft)
    }

    /// Gives a version another body, as a command of its own.
    pub(super) fn replace_body(
        &mut self,
        (bucket, key): (BucketId, ObjectKey),
        id: VersionId,
        body: NewBody,
        mut draft: Draft,
    ) -> Result<Outcome, CommitError> {
        self.home(bucket)?;
        let (row, version) = self.find(bucket, key.as_bytes(), id).ok_or(CommitError::NoSuchKey)?;
        let object = version.logged.object.as_ref().ok_or(CommitError::IsDeleteMarker)?;
        let (row, before) = (row.clone(), object.body.clone());
        self.check_body(&body)?;
        let body = self.hold(body, &mut draft);
        self.release(&before, &mut draft);
        if let Some(object) = self.versions.get_mut(&row).and_then(|version| version.logged.object.as_mut()) {
            object.body = body.clone();
        }
        self.record(draft, Change::BodyReplaced { bucket, key, id, body });
        Ok(Outcome::Changed { id })
    }
}
