//! References to bodies in the model: a body lasts as long as a row names it.

use super::rows::Counted;
use super::state::{Draft, State};
use crate::meta::{CommitError, ManifestRow, NewBody};
use crate::types::Body;

impl State {
    pub(super) fn check_body(&self, body: &NewBody) -> Result<(), CommitError> {
        let there = match body {
            NewBody::Inline(_) | NewBody::Manifest(_) | NewBody::Plain(_) => true,
            NewBody::SharedManifest(id) => self.manifests.contains_key(id),
            NewBody::SharedPlain(id) => self.plains.contains_key(id),
        };
        if there { Ok(()) } else { Err(CommitError::BodyGone) }
    }

    /// Counts one more reference. Always before the same command's releases, so that a body dropped and taken
    /// again in one command never counts as new or as gone.
    pub(super) fn hold(&mut self, body: NewBody, draft: &mut Draft) -> Body {
        match body {
            NewBody::Inline(bytes) => Body::Inline(bytes),
            NewBody::Manifest(root) => {
                let id = root.id();
                let counted = self.manifests.entry(id).or_insert_with(|| {
                    draft.added.push(ManifestRow { id, root: root.clone() });
                    Counted { references: 0, value: root }
                });
                counted.references += 1;
                Body::Chunked(id)
            }
            NewBody::SharedManifest(id) => {
                if let Some(counted) = self.manifests.get_mut(&id) {
                    counted.references += 1;
                }
                Body::Chunked(id)
            }
            NewBody::Plain(id) | NewBody::SharedPlain(id) => {
                self.plains.entry(id).or_insert(Counted { references: 0, value: () }).references += 1;
                Body::Plain(id)
            }
        }
    }

    pub(super) fn release(&mut self, body: &Body, draft: &mut Draft) {
        match body {
            Body::Inline(_) => {}
            Body::Chunked(id) => {
                let Some(counted) = self.manifests.get_mut(id) else { return };
                counted.references -= 1;
                if counted.references == 0
                    && let Some(gone) = self.manifests.remove(id)
                {
                    draft.dropped.push(ManifestRow { id: *id, root: gone.value });
                }
            }
            Body::Plain(id) => {
                let Some(counted) = self.plains.get_mut(id) else { return };
                counted.references -= 1;
                if counted.references == 0 {
                    self.plains.remove(id);
                }
            }
        }
    }
}
