//! Nothing but the object itself passes for it, and every way of reading gives the same.

#![allow(clippy::unwrap_used)]

use super::{Binding, ContainerError, Kind, Layout, Plan, RangedReader, Sealer, open, seal};
use crate::backup::{BackupKey, Epoch, ObjectName, RepositoryId};
use crate::remote::{Fault, Faulty, MemoryRemote, PutOptions, Remote, RemoteKey, Verb};
use crate::storage::PackId;
use crate::sys::{ManualClock, Random, SeededRandom};
use bytes::BytesMut;
use proptest::prelude::*;
use std::ops::Range;
use std::sync::Arc;

const REPOSITORY: RepositoryId = RepositoryId::new([3; 16]);
const FRAME: u32 = 1024;

fn key(seed: u64) -> BackupKey {
    BackupKey::generate(&SeededRandom::new(seed))
}

fn name(to: u32) -> RemoteKey {
    ObjectName::Extent { pack: PackId::new(7), from: 0, to, epoch: Epoch::FIRST }.key()
}

/// Frames that compress and frames that do not.
fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![b'a'; len];
    let random = SeededRandom::new(seed);
    for frame in bytes.chunks_mut(FRAME as usize).skip(1).step_by(2) {
        random.fill(frame);
    }
    bytes
}

fn plan(len: usize, encrypt: bool) -> Plan {
    Plan { frame_bytes: FRAME, ..Plan::new(Kind::Extent, len as u64, encrypt, 3) }
}

fn container(seed: u64, len: usize, encrypt: bool) -> Vec<u8> {
    let (key, name) = (key(1), name(1));
    let binding = Binding { key: &key, repository: REPOSITORY, name: &name };
    seal(binding, &plan(len, encrypt), &content(seed, len), &SeededRandom::new(seed)).unwrap().0.to_vec()
}

fn read_whole(bytes: &[u8]) -> Result<Vec<u8>, ContainerError> {
    let (key, name) = (key(1), name(1));
    open(Binding { key: &key, repository: REPOSITORY, name: &name }, Kind::Extent, bytes)
}

fn read_range(bytes: &[u8], range: &Range<u64>) -> Result<Vec<u8>, ContainerError> {
    let (key, name) = (key(1), name(1));
    let binding = Binding { key: &key, repository: REPOSITORY, name: &name };
    let footer = bytes.len().checked_sub(Layout::footer_bytes(bytes)?).ok_or(ContainerError::Short)?;
    let layout = Layout::read(binding, Kind::Extent, bytes.len() as u64, &bytes[footer..])?;
    let cover = layout.cover(range)?;
    layout.open(binding, &cover, &bytes[cover.bytes.start as usize..cover.bytes.end as usize])
}

proptest! {
    #[test]
    fn what_is_written_in_any_pieces_is_read_whole_and_from_any_place(
        seed: u64,
        len in 0usize..9_000,
        encrypt: bool,
        pieces in proptest::collection::vec(1usize..3_000, 1..5),
        one: u64,
        two: u64,
    ) {
        let (key, name, content) = (key(1), name(1), content(seed, len));
        let binding = Binding { key: &key, repository: REPOSITORY, name: &name };
        let mut out = BytesMut::new();
        let mut sealer = Sealer::new(binding, &plan(len, encrypt), &SeededRandom::new(seed), &mut out).unwrap();
        let (mut rest, mut pieces) = (&content[..], pieces.into_iter().cycle());
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(pieces.next().unwrap().min(rest.len()));
            sealer.write(piece, &mut out).unwrap();
            rest = later;
        }
        let sealed = sealer.finish(&mut out).unwrap();
        prop_assert_eq!(sealed.bytes, out.len() as u64);
        prop_assert_eq!(&out[..], container(seed, len, encrypt));
        prop_assert_eq!(&read_whole(&out).unwrap(), &content);
        if len > 0 {
            let (one, two) = (one % len as u64, two % len as u64);
            let range = one.min(two)..one.max(two) + 1;
            let wanted = &content[range.start as usize..range.end as usize];
            prop_assert_eq!(read_range(&out, &range).unwrap(), wanted);
        }
        let past = len as u64;
        let is_refused = matches!(read_range(&out, &(past..past + 1)), Err(ContainerError::Range { .. }));
        prop_assert!(is_refused);
    }

    #[test]
    fn i4_any_changed_byte_and_any_cut_is_refused(
        seed: u64,
        len in 0usize..5_000,
        encrypt: bool,
        at: usize,
        flip in 1u8..=255,
    ) {
        let bytes = container(seed, len, encrypt);
        let at = at % bytes.len();
        let mut changed = bytes.clone();
        changed[at] ^= flip;
        prop_assert!(read_whole(&changed).is_err(), "byte {}", at);
        prop_assert!(read_whole(&bytes[..at]).is_err(), "cut at {}", at);
        let longer = [&bytes[..], &[0]].concat();
        prop_assert!(read_whole(&longer).is_err(), "a byte more");
        // Whoever reads a range may miss a change elsewhere, but gives nothing wrong.
        if len > 0 {
            let range = len as u64 / 3..len as u64 / 3 * 2 + 1;
            let wanted = content(seed, len)[range.start as usize..range.end as usize].to_vec();
            if let Ok(read) = read_range(&changed, &range) {
                prop_assert_eq!(read, wanted);
            }
            prop_assert!(read_range(&bytes[..at], &range).is_err());
        }
    }

    /// Frames of noise all have one length, so that only the seals tell them apart.
    #[test]
    fn i4_frames_of_other_places_and_objects_are_refused(seed: u64, encrypt: bool, one in 0usize..4, two in 0usize..4) {
        let noise = |seed| {
            let mut bytes = vec![0; 4 * FRAME as usize];
            SeededRandom::new(seed).fill(&mut bytes);
            bytes
        };
        let (key, name) = (key(1), name(1));
        let binding = Binding { key: &key, repository: REPOSITORY, name: &name };
        let of = |content: &[u8], nonce| {
            let sealed = seal(binding, &plan(content.len(), encrypt), content, &SeededRandom::new(nonce));
            sealed.unwrap().0.to_vec()
        };
        let frame = |at: usize| 64 + at * (FRAME as usize + 24)..64 + (at + 1) * (FRAME as usize + 24);
        let bytes = of(&noise(seed), seed);
        let mut swapped = bytes.clone();
        swapped[frame(one)].copy_from_slice(&bytes[frame(two)]);
        swapped[frame(two)].copy_from_slice(&bytes[frame(one)]);
        prop_assert_eq!(read_whole(&swapped).is_ok(), one == two);
        // The same content, sealed another time under the same name.
        let mut mixed = bytes.clone();
        mixed[frame(one)].copy_from_slice(&of(&noise(seed), seed ^ 1)[frame(one)]);
        prop_assert_eq!(read_whole(&mixed), Err(ContainerError::Seal(one as u32)));
    }
}

#[test]
fn i4_an_object_of_another_name_key_kind_or_repository_is_refused() {
    for encrypt in [true, false] {
        let bytes = container(1, 3_000, encrypt);
        let (own, other, own_name, other_name) = (key(1), key(2), name(1), name(2));
        let read = |key, repository, name, kind| open(Binding { key, repository, name }, kind, &bytes);
        assert!(read(&own, REPOSITORY, &own_name, Kind::Extent).is_ok());
        assert_eq!(read(&other, REPOSITORY, &own_name, Kind::Extent), Err(ContainerError::Seal(0)));
        assert_eq!(read(&own, REPOSITORY, &other_name, Kind::Extent), Err(ContainerError::Seal(0)));
        assert_eq!(read(&own, REPOSITORY, &own_name, Kind::Log), Err(ContainerError::Kind));
        let elsewhere = RepositoryId::new([4; 16]);
        let refused = Err(ContainerError::OtherRepository(REPOSITORY));
        assert_eq!(read(&own, elsewhere, &own_name, Kind::Extent), refused);
    }
}

#[test]
fn i6_an_encrypted_object_shows_no_content() {
    let content = vec![b's'; 3_000];
    let (key, name) = (key(1), name(1));
    let binding = Binding { key: &key, repository: REPOSITORY, name: &name };
    for (encrypt, shows) in [(true, false), (false, true)] {
        let plan = Plan { level: 0, ..plan(content.len(), encrypt) };
        let (bytes, _) = seal(binding, &plan, &content, &SeededRandom::new(1)).unwrap();
        assert_eq!(bytes.windows(8).any(|window| window == b"ssssssss"), shows);
    }
}

#[test]
fn a_sealer_takes_exactly_what_was_planned() {
    let (key, name, mut out) = (key(1), name(1), BytesMut::new());
    let binding = Binding { key: &key, repository: REPOSITORY, name: &name };
    let mut begin = |len| Sealer::new(binding, &plan(len, true), &SeededRandom::new(1), &mut out);
    let mut more = BytesMut::new();
    assert_eq!(begin(10).unwrap().write(&[0; 11], &mut more), Err(ContainerError::Length));
    let mut less = begin(10).unwrap();
    less.write(&[0; 9], &mut more).unwrap();
    assert_eq!(less.finish(&mut more), Err(ContainerError::Length));
    assert!(begin(70_000 * FRAME as usize).is_err(), "more frames than an object has");
}

#[tokio::test]
async fn a_remote_object_is_read_by_ranges_and_a_lying_remote_is_noticed() {
    let memory = MemoryRemote::new(Arc::new(ManualClock::default()));
    let remote = Arc::new(Faulty::new(memory));
    let (key, name, len) = (key(1), name(1), 2_000 * FRAME as usize);
    let bytes = container(9, len, true);
    let size = bytes.len() as u64;
    remote.put(&name, bytes.into(), &PutOptions::ABSENT).await.unwrap();
    let binding = Binding { key: &key, repository: REPOSITORY, name: &name };
    let begun = remote.calls();
    let reader = RangedReader::open(remote.clone(), binding, Kind::Extent, size).await.unwrap();
    assert_eq!(
        (reader.length(), remote.calls() - begun),
        (len as u64, 2),
        "a long footer takes a second request"
    );
    let whole = content(9, len);
    for range in [0..1, 5_000..5_001, 1_000..300_000, 0..len as u64] {
        let wanted = &whole[range.start as usize..range.end as usize];
        assert!(reader.read(range.clone()).await.unwrap() == wanted, "{range:?}");
    }
    // The last one falls into the last bytes of the footer.
    for fault in [Fault::Truncate(1), Fault::Flip(700), Fault::Flip(4_090)] {
        remote.script(Verb::Get, fault.clone());
        assert!(reader.read(1_000..9_000).await.is_err(), "i4: {fault:?}");
    }
    for fault in [Fault::Truncate(1), Fault::Flip(4_090)] {
        remote.script(Verb::Get, fault.clone());
        assert!(RangedReader::open(remote.clone(), binding, Kind::Extent, size).await.is_err(), "{fault:?}");
    }
    remote.delete(std::slice::from_ref(&name)).await.unwrap();
    assert!(matches!(reader.read(0..1).await, Err(ContainerError::Missing(_))));
}
