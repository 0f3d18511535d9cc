//! Comparing a store with what clients were told.

use super::body::{Body, Value};
use super::oracle::{Allowed, AllowedUpload};
use super::store::{Store, is_value};
use crate::engine::BodyStore;
use crate::meta::MetaStore;
use crate::types::UploadId;
use std::collections::BTreeMap;

/// What is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) keys: BTreeMap<u8, Value>,
    pub(super) uploads: BTreeMap<UploadId, BTreeMap<u8, Body>>,
}

/// I1: what was acknowledged is there, byte for byte. I2: what was not is there whole, or not at all.
pub(super) async fn look(store: &Store, allowed: &Allowed) -> Result<Seen, String> {
    let mut seen = Seen::default();
    for (key, values) in &allowed.keys {
        let value = look_at_key(store, *key, values).await?;
        seen.keys.extend(value.map(|value| (*key, value)));
    }
    for (id, upload) in &allowed.uploads {
        let parts = look_at_upload(store, *id, upload).await?;
        seen.uploads.extend(parts.map(|parts| (*id, parts)));
    }
    Ok(seen)
}

async fn look_at_key(store: &Store, key: u8, values: &[Option<Value>]) -> Result<Option<Value>, String> {
    let Some((hold, body, size)) = store.row(key).await else {
        return match values.contains(&None) {
            true => Ok(None),
            false => Err(format!("I1: key {key} is gone; it must be one of {values:?}")),
        };
    };
    let bytes = store.read(hold, &body, size).await;
    let bytes = bytes.map_err(|error| format!("I1: key {key} cannot be read: {error}; {body:?}"))?;
    let found = values.iter().flatten().find(|value| is_value(&bytes, value));
    let wrong = || format!("I1, I2: key {key} has {} bytes that are none of {values:?}", bytes.len());
    found.cloned().map(Some).ok_or_else(wrong)
}

async fn look_at_upload(
    store: &Store,
    id: UploadId,
    allowed: &AllowedUpload,
) -> Result<Option<BTreeMap<u8, Body>>, String> {
    let is_there = store.ledger.upload(id).await.unwrap().is_some();
    if !is_there {
        return match allowed.may_be_gone {
            true => Ok(None),
            false => Err(format!("I1: upload {id:?} is gone")),
        };
    }
    if !allowed.may_be_there {
        return Err(format!("I1: upload {id:?} came back"));
    }
    let mut seen = BTreeMap::new();
    // Taken before the rows are read.
    let holds: Vec<_> = (0..allowed.parts.len()).map(|_| store.engine.hold()).collect();
    let rows = store.ledger.parts(id, None, 10).await.unwrap();
    for ((number, bodies), hold) in allowed.parts.iter().zip(holds) {
        let Some(row) = rows.iter().find(|row| row.number.get() == u16::from(*number)) else {
            if bodies.contains(&None) {
                continue;
            }
            return Err(format!("I1: part {number} of {id:?} is gone"));
        };
        let bytes = store.read(hold, &row.body, row.size).await;
        let bytes = bytes.map_err(|error| format!("I1: part {number} cannot be read: {error}"))?;
        let found = bodies.iter().flatten().find(|body| is_value(&bytes, &[**body]));
        let wrong = || format!("I1, I2: part {number} is none of {bodies:?}");
        seen.insert(*number, *found.ok_or_else(wrong)?);
    }
    Ok(Some(seen))
}
