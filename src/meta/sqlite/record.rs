//! Log records as they are stored: MessagePack with named fields, roots in their own encoding.

use super::columns::{array, pack, unpack};
use super::error::corrupt;
use crate::meta::{Change, LogRecord, ManifestRow, MetaError};
use crate::types::{CommitSeq, Manifest, ManifestId, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// A manifest with its root encoded: the writer never has to decode one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EncodedManifest {
    id: ByteBuf,
    root: ByteBuf,
}

impl EncodedManifest {
    pub(super) fn new(id: &[u8], root: Vec<u8>) -> Self {
        Self { id: ByteBuf::from(id), root: ByteBuf::from(root) }
    }

    fn decode(&self) -> Result<ManifestRow, MetaError> {
        let root = Manifest::decode(&self.root).map_err(corrupt)?;
        Ok(ManifestRow { id: ManifestId::new(array(&self.id)?), root })
    }
}

#[derive(Serialize)]
struct Written<'a> {
    change: &'a Change,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    added: &'a [EncodedManifest],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    dropped: &'a [EncodedManifest],
}

#[derive(Deserialize)]
struct Stored {
    change: Change,
    #[serde(default)]
    added: Vec<EncodedManifest>,
    #[serde(default)]
    dropped: Vec<EncodedManifest>,
}

pub(super) fn encode(
    change: &Change,
    added: &[EncodedManifest],
    dropped: &[EncodedManifest],
) -> Result<Vec<u8>, MetaError> {
    pack(&Written { change, added, dropped })
}

pub(super) fn decode(seq: CommitSeq, at: UnixMillis, record: &[u8]) -> Result<LogRecord, MetaError> {
    let Stored { change, added, dropped } = unpack(record)?;
    let rows = |manifests: Vec<EncodedManifest>| manifests.iter().map(EncodedManifest::decode).collect();
    let (added, dropped): (Result<_, _>, Result<_, _>) = (rows(added), rows(dropped));
    Ok(LogRecord { seq, at, change, added: added?, dropped: dropped? })
}
