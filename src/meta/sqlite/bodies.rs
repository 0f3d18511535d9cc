//! Bodies in the writer's transaction: counted references to manifests and plain files, and the totals.

use super::apply::{Draft, Session};
use super::columns::{CHUNKED, INLINE, PLAIN, array, blob, unsigned};
use super::error::corrupt;
use super::inline;
use super::record::EncodedManifest;
use super::sql;
use crate::meta::{CommitError, MetaError, NewBody};
use crate::types::{Body, Manifest, ManifestId, PlainId};
use rusqlite::{OptionalExtension, Row, params};
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// A root with its id and bytes, made before the command is queued: the writer has no time for it.
#[derive(Debug, Clone)]
pub(super) struct EncodedRoot {
    id: ManifestId,
    size: u64,
    bytes: Vec<u8>,
}

impl EncodedRoot {
    pub(super) fn new(root: &Manifest) -> Self {
        Self { id: root.id(), size: root.size(), bytes: root.encode() }
    }
}

/// A body with its reference taken, ready for its columns.
#[derive(Debug)]
pub(super) struct Held {
    pub kind: i64,
    pub manifest: Option<i64>,
    pub logged: Body,
}

impl Held {
    /// The column `body`.
    pub(super) fn bytes(&self) -> Option<Cow<'_, [u8]>> {
        match &self.logged {
            Body::Inline(bytes) => Some(inline::encode(bytes).into()),
            Body::Chunked(_) => None,
            Body::Plain(id) => Some(id.as_bytes().as_slice().into()),
        }
    }
}

/// What a row holds of its body, enough to let go of it.
#[derive(Debug, Clone)]
pub(super) struct Holding {
    pub kind: i64,
    pub size: u64,
    manifest: Option<i64>,
    inline_bytes: u64,
    plain: Option<PlainId>,
}

impl Holding {
    /// From the columns `kind, size, manifest, length(body), body if plain`, from `column` on.
    pub(super) fn read(row: &Row<'_>, column: usize) -> Result<Self, MetaError> {
        let kind = row.get(column)?;
        let plain = if kind == PLAIN { Some(PlainId::new(array(blob(row, column + 4)?)?)) } else { None };
        let column_bytes = row.get::<_, Option<i64>>(column + 3)?.unwrap_or(0).cast_unsigned();
        Ok(Self {
            kind,
            size: unsigned(row, column + 1)?,
            manifest: row.get(column + 2)?,
            inline_bytes: inline::len(kind, column_bytes),
            plain,
        })
    }
}

impl Holding {
    /// The file, where it is one.
    pub(super) const fn plain(&self) -> Option<PlainId> {
        self.plain
    }
}

impl Session<'_> {
    pub(super) fn check_body(&self, body: &NewBody) -> Result<(), CommitError> {
        let there = match body {
            NewBody::Inline(_) | NewBody::Manifest(_) | NewBody::Plain(_) => true,
            NewBody::SharedManifest(id) => {
                self.db.prepare_cached(sql::HAS_MANIFEST)?.exists([id.as_bytes()])?
            }
            NewBody::SharedPlain(id) => self.db.prepare_cached(sql::HAS_PLAIN)?.exists([id.as_bytes()])?,
        };
        if there { Ok(()) } else { Err(CommitError::BodyGone) }
    }

    /// Takes one more reference. Always before the same command's releases, so that a body dropped and taken
    /// again in one command never counts as new or as gone.
    pub(super) fn hold(&mut self, body: NewBody, size: u64, draft: &mut Draft) -> Result<Held, CommitError> {
        let totals = &mut self.state.totals;
        totals.logical_bytes = totals.logical_bytes.wrapping_add(size);
        match body {
            NewBody::Inline(bytes) => {
                totals.inline_bytes += bytes.len() as u64;
                Ok(Held { kind: INLINE, manifest: None, logged: Body::Inline(bytes) })
            }
            NewBody::Manifest(root) => self.hold_new(&root, draft),
            NewBody::SharedManifest(id) => {
                let mut statement = self.db.prepare_cached(sql::HOLD_MANIFEST)?;
                let n = statement.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
                let n = n.ok_or(CommitError::BodyGone)?;
                Ok(Held { kind: CHUNKED, manifest: Some(n), logged: Body::Chunked(id) })
            }
            NewBody::Plain(id) | NewBody::SharedPlain(id) => {
                self.db.prepare_cached(sql::HOLD_PLAIN)?.execute([id.as_bytes()])?;
                Ok(Held { kind: PLAIN, manifest: None, logged: Body::Plain(id) })
            }
        }
    }

    fn hold_new(&mut self, root: &Manifest, draft: &mut Draft) -> Result<Held, CommitError> {
        let EncodedRoot { id, size, bytes } = draft.root.take().unwrap_or_else(|| EncodedRoot::new(root));
        let mut statement = self.db.prepare_cached(sql::HOLD_NEW_MANIFEST)?;
        let (n, references): (i64, i64) = statement
            .query_row(params![id.as_bytes(), size.cast_signed(), bytes], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        if references == 1 {
            self.state.totals.manifests += 1;
            self.state.totals.manifest_bytes = self.state.totals.manifest_bytes.wrapping_add(size);
            draft.added.push(EncodedManifest::new(id.as_bytes(), bytes));
        }
        Ok(Held { kind: CHUNKED, manifest: Some(n), logged: Body::Chunked(id) })
    }

    pub(super) fn release(&mut self, held: &Holding, draft: &mut Draft) -> Result<(), CommitError> {
        let totals = &mut self.state.totals;
        totals.logical_bytes = totals.logical_bytes.wrapping_sub(held.size);
        totals.inline_bytes = totals.inline_bytes.saturating_sub(held.inline_bytes);
        if let Some(n) = held.manifest {
            let mut statement = self.db.prepare_cached(sql::RELEASE_MANIFEST)?;
            let left: Option<i64> = statement.query_row([n], |row| row.get(0)).optional()?;
            match left.ok_or_else(|| corrupt(format_args!("manifest {n} has no row")))? {
                0 => self.drop_manifest(n, draft)?,
                left if left < 0 => return Err(corrupt(format_args!("manifest {n} has {left} uses")).into()),
                _ => {}
            }
        }
        if let Some(id) = held.plain {
            let mut statement = self.db.prepare_cached(sql::RELEASE_PLAIN)?;
            let left: Option<i64> = statement.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
            if left == Some(0) {
                self.db.prepare_cached(sql::DROP_PLAIN)?.execute([id.as_bytes()])?;
            }
        }
        Ok(())
    }

    fn drop_manifest(&mut self, n: i64, draft: &mut Draft) -> Result<(), CommitError> {
        let mut statement = self.db.prepare_cached(sql::DROP_MANIFEST)?;
        let mut rows = statement.query([n])?;
        let row = rows.next()?.ok_or_else(|| corrupt(format_args!("manifest {n} has no row")))?;
        let totals = &mut self.state.totals;
        totals.manifests = totals.manifests.saturating_sub(1);
        totals.manifest_bytes = totals.manifest_bytes.wrapping_sub(unsigned(row, 1)?);
        let (id, root) = (blob(row, 0)?, blob(row, 2)?);
        let is_whole = Sha256::digest(root)[..] == *id;
        if !is_whole {
            // What it referenced stays counted.
            tracing::error!(
                id = hex::encode(id),
                "a damaged manifest is gone; `fsck --repair` gives its chunks back"
            );
        }
        // Logged all the same, without a root: whoever repeats the record lets go of it, too.
        draft.dropped.push(EncodedManifest::new(id, if is_whole { root.to_vec() } else { Vec::new() }));
        // To its end: only then is the statement done.
        while rows.next()?.is_some() {}
        Ok(())
    }
}
