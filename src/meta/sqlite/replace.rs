//! Other bodies of the same bytes, in the writer's transaction.

use super::apply::{Draft, Session};
use super::sql;
use super::versions::{HeldVersion, Place};
use crate::meta::{Change, CommitError, NewBody, Outcome, VersionPlace, VersionTarget};
use crate::types::PlainId;
use rusqlite::params;

impl Session<'_> {
    pub(super) fn replace_plain(
        &mut self,
        of: VersionPlace,
        plain: PlainId,
        body: NewBody,
        draft: Draft,
    ) -> Result<Outcome, CommitError> {
        let mut place = self.place(of.bucket, of.key)?;
        let object = self.object(&mut place, VersionTarget::Version(of.id))?;
        if !object.is_stored_whole(of.seq, plain) {
            return Err(CommitError::ConditionFailed);
        }
        self.replace_body(place, &object, body, draft)
    }

    /// Gives a version another body, as a command of its own.
    pub(super) fn replace_body(
        &mut self,
        place: Place,
        object: &HeldVersion,
        body: NewBody,
        mut draft: Draft,
    ) -> Result<Outcome, CommitError> {
        self.check_body(&body)?;
        let held = self.hold(body, object.holding().size, &mut draft)?;
        let columns = params![object.row, held.kind, held.manifest, held.bytes()];
        self.db.prepare_cached(sql::SET_BODY)?.execute(columns)?;
        self.release(object.holding(), &mut draft)?;
        self.touch(&place);
        let (id, bucket, key) = (object.id(), place.bucket, place.key);
        self.record(&draft, &Change::BodyReplaced { bucket, key, id, body: held.logged })?;
        Ok(Outcome::Changed { id })
    }
}
