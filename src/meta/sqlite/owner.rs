//! Which store a database belongs to: the id that its data directory has in `STORE`, too.

use super::sql;
use crate::meta::MetaError;
use rusqlite::Connection;
use std::path::Path;

/// Notes the store's id, durably, in a database that has none yet.
///
/// # Errors
/// `Incompatible` for the database of another store.
pub(super) fn check(db: &Connection, path: &Path, store_id: &str) -> Result<(), MetaError> {
    let owner: Option<String> = db.query_row(sql::OWNER, [], |row| row.get(0))?;
    match owner {
        None => {
            db.execute(sql::SET_OWNER, [store_id])?;
            Ok(())
        }
        Some(owner) if owner == store_id => Ok(()),
        Some(owner) => Err(MetaError::Incompatible(format!(
            "{} belongs to the store {owner}, but STORE says {store_id}: put back the one of the two that belongs here; see docs/operations.md",
            path.display()
        ))),
    }
}

/// A copy belongs to nobody, until a store is opened from it.
pub(super) fn disown(copy: &Connection) -> rusqlite::Result<()> {
    copy.execute(sql::DISOWN, []).map(drop)
}
