//! Files that rot at rest, behind the back of a closed store.

use super::body::Value;
use super::crash::Tried;
use super::life::{Life, put_again};
use super::ops::Dice;
use super::store::{Store, is_value};
use super::trail::scratch;
use crate::meta::StoredBody;
use crate::sys::{Damage, SimulatedFileSystem};
use std::path::Path;

const AGAIN: u8 = 100;
const SECTOR: u64 = 512;

/// # Errors
/// When other bytes are read than were stored, when a check misses what a read meets, or when storing the same bytes
/// again heals nothing.
pub(super) async fn rot(life: &Life, seed: u64) -> Result<Tried, String> {
    let (mut tried, dice) = (Tried::default(), Dice::new(seed ^ 0xD00D));
    let dir = scratch();
    let index = dir.path().join("index");
    life.trail.killed_at(life.fs.calls(), &index);
    let fs = life.fs.killed_at(life.fs.calls(), dice.below(u64::MAX));
    let heals = harm(&fs, &dice);
    let opened = Store::open(&fs, life.history.fork(), &index, life.flaws).await;
    let store = opened.map_err(|error| format!("I5: the store does not open: {error}"))?;
    let allowed = life.oracle.allowed_at(usize::MAX);
    let mut harmed = Vec::new();
    for (key, values) in &allowed.keys {
        if let Some(value) = values.last().and_then(Option::as_ref) {
            let is_chunked = read_or_fail(&store, *key, value).await?;
            harmed.extend(is_chunked.map(|is_chunked| (*key, is_chunked)));
        }
    }
    tried.faults = fs.fault_counts();
    let is_chunk_harmed = harmed.iter().any(|(_, is_chunked)| *is_chunked);
    let is_content = store.check().await.is_ok();
    // What a check can heal it has healed.
    for (key, is_chunked) in harmed.iter().filter(|_| is_content) {
        let Some(value) = allowed.keys[key].last().and_then(Option::as_ref) else { continue };
        if *is_chunked && read_or_fail(&store, *key, value).await?.is_some() {
            return Err(format!("I4: key {key} cannot be read, and the check is content"));
        }
    }
    if heals && is_chunk_harmed {
        heal(&store, &life.oracle.bodies(), &allowed, &harmed).await?;
        tried.went_on += 1;
    }
    Ok(tried)
}

/// Up to three places; whether storing the same bytes again must heal them.
fn harm(fs: &SimulatedFileSystem, dice: &Dice) -> bool {
    let files: Vec<_> = ["packs", "plain"].iter().flat_map(|dir| fs.files_below(Path::new(dir))).collect();
    let mut heals = true;
    for _ in 0..=dice.below(3) {
        if files.is_empty() {
            break;
        }
        let file = &files[dice.below(files.len() as u64) as usize];
        let len = crate::sys::FileSystem::stat(fs, file).unwrap().len.max(1);
        let at = dice.below(len);
        let sector = (at / SECTOR) as usize;
        let damage = match dice.below(4) {
            0 => Damage::Zero { sector },
            1 => Damage::Unreadable { sector },
            _ => Damage::Flip { at: at as usize, bit: dice.below(8) as u8 },
        };
        // What cannot be read now may be readable later: it is not given up.
        heals &= !matches!(damage, Damage::Unreadable { .. });
        fs.damage(file, damage).unwrap();
    }
    heals
}

/// `Some` when it cannot be read: whether it is made of chunks.
async fn read_or_fail(store: &Store, key: u8, value: &Value) -> Result<Option<bool>, String> {
    let (hold, body, size) = store.row(key).await.ok_or_else(|| format!("I1: key {key} is gone"))?;
    match store.read(hold, &body, size).await {
        Ok(bytes) if is_value(&bytes, value) => Ok(None),
        Ok(_) => Err(format!("I4: key {key} is read with other bytes than {value:?}")),
        Err(_) => Ok(Some(matches!(body, StoredBody::Chunked { .. }))),
    }
}

async fn heal(
    store: &Store,
    bodies: &[super::body::Body],
    allowed: &super::oracle::Allowed,
    harmed: &[(u8, bool)],
) -> Result<(), String> {
    for (key, body) in (AGAIN..).zip(bodies) {
        put_again(store, key, *body).await?;
    }
    store.follow().await.map_err(|error| error.to_string())?;
    // A completed upload has nodes of its own, which no body brings back.
    for (key, _) in harmed.iter().filter(|(_, is_chunked)| *is_chunked) {
        let value = allowed.keys[key].last().and_then(Option::as_ref);
        if let Some(value @ [_]) = value.map(Vec::as_slice) {
            let is_whole = read_or_fail(store, *key, &value.to_vec()).await?.is_none();
            if !is_whole {
                return Err(format!("I1: key {key}, {value:?}, was stored again and is not healed"));
            }
        }
    }
    Ok(())
}
