//! What each fuzz target does with its input: no bytes may panic, and what is accepted keeps its promises.
//!
//! Every parser and decoder that reads what a disk or a client may have damaged has one.
//! `tests/it/fuzz.rs` runs them all on stable Rust, over the seeds in `fuzz/corpus` and over mutations of them.

use bytes::Bytes;
use sediment::backup::container::{Binding, Kind, Layout, open};
use sediment::backup::{BackupKey, ObjectName, RepositoryId};
use sediment::config::{Overrides, RootCredentials, Settings, root_credentials};
use sediment::engine::codec::{decode_node, decode_record, encode};
use sediment::engine::pack::{
    Codec, PackSet, PackSettings, Record, RecordHeader, RecordKind, Trailer, decode_footer_entry,
    decode_gaps, decode_pack_header, encode_footer_entry,
};
use sediment::remote::RemoteKey;
use sediment::service::{
    ETagCondition, ListToken, parse_bucket_name, parse_key, parse_upload_id, parse_upload_marker,
    parse_version_id, parse_version_marker,
};
use sediment::storage::{MemoryPackStore, PackId, PackStore};
use sediment::sys::{ManualClock, SeededRandom};
use sediment::types::{
    Checksum, ChecksumAlgorithm, ChunkId, DeltaDecoder, DeltaPiece, ETag, Manifest, Node, VersionId,
    decode_row_key, decode_there, encode_there, row_key,
};
use std::sync::Arc;

/// The pack that inputs pretend to be.
const PACK: PackId = PackId::new(0x0123_4567_89AB_CDEF);
/// Where the seeds' record stands.
const OFFSET: u32 = 32;
/// The key, repository and object that inputs pretend to be of.
const BACKUP_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f6aaffdf6";
const BACKUP_EXTENT: &str = "packs/0123456789abcdef/00000000-00000008";

pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its file in `fuzz_targets` and of its directory in `corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("aws_chunked", aws_chunked),
    ("backup_container", backup_container),
    ("backup_names", backup_names),
    ("codec", codec),
    ("copy_source", copy_source),
    ("credentials", credentials),
    ("delta", delta),
    ("file_name", file_name),
    ("file_record", file_record),
    ("framing", framing),
    ("hot_list", hot_list),
    ("index_rows", index_rows),
    ("key_encoding", key_encoding),
    ("list_token", list_token),
    ("log_record", log_record),
    ("manifest", manifest),
    ("meta_columns", meta_columns),
    ("names", names),
    ("pack", pack),
    ("pack_parts", pack_parts),
    ("plain_trailer", plain_trailer),
    ("post_form", post_form),
    ("post_policy", post_policy),
    ("range", range),
    ("row_key", row_key_bytes),
    ("s3_document", s3_document),
    ("s3_head", s3_head),
    ("settings", settings),
];

/// A whole pack: recovery, scan and reads.
pub fn pack(file: &[u8]) {
    let store = Arc::new(MemoryPackStore::new());
    if store.create(PACK).and_then(|()| store.write_at(PACK, 0, file)).is_err() {
        return;
    }
    let Some(first) = records(&store) else { return };
    // Recovered once, a pack holds the same for ever.
    assert_eq!(records(&store), Some(first));
}

/// What stands in the pack and can be read, or `None` when the store refuses it.
fn records(store: &Arc<MemoryPackStore>) -> Option<Vec<(ChunkId, bool)>> {
    let (clock, random) = (Arc::new(ManualClock::default()), Arc::new(SeededRandom::new(1)));
    let (packs, _) = PackSet::open(Arc::clone(store) as _, clock, random, &PackSettings::default()).ok()?;
    let mut found = Vec::new();
    for pack in packs.ids() {
        packs.scan(pack, &mut |record| found.push((record.id, record.location))).ok()?;
    }
    let read = packs.read(&found).into_iter().zip(found);
    let readable = |record: &Record| match record.kind {
        RecordKind::Chunk => decode_record(record).is_ok(),
        RecordKind::Node => decode_node(record).is_ok(),
    };
    Some(read.map(|(record, (id, _))| (id, record.is_ok_and(|record| readable(&record)))).collect())
}

/// The pieces of a pack, each by itself.
pub fn pack_parts(bytes: &[u8]) {
    let _ = decode_pack_header(bytes, PACK);
    if let Ok((offset, header)) = decode_footer_entry(bytes, PACK) {
        assert!(bytes.starts_with(&encode_footer_entry(&header, PACK, offset)));
    }
    if let Ok(header) = RecordHeader::decode(bytes, PACK, OFFSET) {
        assert!(bytes.starts_with(&header.encode(PACK, OFFSET)));
    }
    if let Ok(trailer) = Trailer::decode(bytes, PACK, 498) {
        assert_eq!(trailer.pack_len(), 498);
    }
    if let Some((crc, gaps)) = bytes.split_first_chunk::<4>() {
        let _ = decode_gaps(gaps, u32::from_le_bytes(*crc));
    }
}

/// A payload behind the length (u32) that its record claims.
pub fn codec(bytes: &[u8]) {
    let Some((raw_len, payload)) = bytes.split_first_chunk::<4>() else { return };
    let (raw_len, payload) = (u32::from_le_bytes(*raw_len), Bytes::copy_from_slice(payload));
    let record =
        |kind, codec, raw_len, payload| Record { id: ChunkId::new([0; 32]), kind, codec, raw_len, payload };
    if let Ok(raw) = decode_record(&record(RecordKind::Chunk, Codec::Zstd, raw_len, payload.clone())) {
        assert_eq!(raw.len(), raw_len as usize);
    }
    assert!(decode_node(&record(RecordKind::Node, Codec::Raw, raw_len, payload.clone())).is_err());
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let (codec, encoded) = encode(&payload, 1);
    let decoded = decode_record(&record(RecordKind::Chunk, codec, len, encoded));
    assert_eq!(decoded.ok(), Some(payload));
}

pub fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes);
    }
    if let Ok(node) = Node::decode(bytes) {
        assert_eq!(node.encode(), bytes);
    }
}

pub fn row_key_bytes(bytes: &[u8]) {
    if let Some((namespace, bucket, key, order)) = decode_row_key(bytes) {
        assert_eq!(row_key(namespace, bucket, key.as_bytes(), order), bytes);
    }
}

pub fn log_record(bytes: &[u8]) {
    sediment::meta::fuzzing::log_record(bytes);
}

pub fn meta_columns(bytes: &[u8]) {
    sediment::meta::fuzzing::columns(bytes);
}

pub fn index_rows(bytes: &[u8]) {
    sediment::engine::fuzzing::index_rows(bytes);
}

pub fn hot_list(bytes: &[u8]) {
    sediment::engine::fuzzing::hot_list(bytes);
}

pub fn plain_trailer(bytes: &[u8]) {
    sediment::engine::fuzzing::plain_trailer(bytes);
}

pub fn file_record(bytes: &[u8]) {
    sediment::storage::fuzzing::file_record(bytes);
}

/// A name in a directory with so many digits of hex above it (u16).
pub fn file_name(bytes: &[u8]) {
    let Some((digits, name)) = bytes.split_first_chunk::<2>() else { return };
    let Ok(name) = std::str::from_utf8(name) else { return };
    for is_dir in [false, true] {
        sediment::storage::fuzzing::file_name(name, is_dir, u16::from_le_bytes(*digits).into());
    }
    sediment::storage::fuzzing::pack_name(name);
}

/// What clients put into paths, queries and headers.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ =
        (parse_bucket_name(text), parse_upload_id(text), ChunkId::parse(text), ETagCondition::parse(text));
    assert_eq!(parse_key(text).is_ok(), (1..=1024).contains(&text.len()));
    if let Ok(version) = parse_version_id(text) {
        assert_eq!(VersionId::parse(&version.to_string()).ok(), Some(version));
    }
    if let Ok(token) = ListToken::parse(text) {
        assert_eq!(token.to_string(), text);
    }
    if let Ok(etag) = ETag::parse(text) {
        assert_eq!(ETag::parse(&etag.to_string()).ok(), Some(etag));
    }
    for algorithm in ChecksumAlgorithm::ALL {
        if let Ok(checksum) = Checksum::parse(algorithm, text) {
            assert_eq!(Checksum::parse(algorithm, &checksum.to_string()).ok(), Some(checksum));
        }
    }
}

/// The markers and tokens of listings: what is accepted is read as it was written. Any key makes a token.
pub fn list_token(bytes: &[u8]) {
    if (1..=1024).contains(&bytes.len()) {
        for token in [ListToken::AfterKey(bytes.to_vec()), ListToken::AfterPrefix(bytes.to_vec())] {
            assert_eq!(ListToken::parse(&token.to_string()).ok(), Some(token));
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = ListToken::parse(text) {
        assert_eq!(token.to_string(), text);
    }
    let shown = text.to_ascii_lowercase();
    if let Ok(version) = parse_version_marker(text) {
        assert_eq!(version.to_string(), shown);
    }
    if let Ok(upload) = parse_upload_marker(text) {
        assert_eq!(upload.to_string(), shown);
    }
}

/// `Range` and `x-amz-copy-source-range`.
pub fn range(bytes: &[u8]) {
    sediment::s3::fuzzing::range(bytes);
}

/// `x-amz-copy-source`.
pub fn copy_source(bytes: &[u8]) {
    sediment::s3::fuzzing::copy_source_header(bytes);
}

/// Names in answers with `encoding-type=url`.
pub fn key_encoding(bytes: &[u8]) {
    sediment::s3::fuzzing::key_encoding(bytes);
}

/// A configuration file; its lines also as `--set`.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = toml::from_str::<Settings>(text);
    let sets = text.lines().take(8).map(str::to_owned).collect();
    let _ = sediment::config::load(&Overrides { sets, ..Overrides::default() });
}

/// An access key and a secret on two lines.
pub fn credentials(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (user, password) = text.split_once('\n').unwrap_or((text, ""));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let environment = [pair("SEDIMENT_ROOT_USER", user), pair("SEDIMENT_ROOT_PASSWORD", password)];
    let given = root_credentials(&environment).ok().flatten();
    assert_eq!(given.is_some(), RootCredentials::new(user, password).is_ok());
    if let Some(given) = given {
        let secret = given.secret_key.as_str();
        assert!(
            given.access_key.contains(secret) || secret.len() < 16 || !format!("{given:?}").contains(secret)
        );
    }
}

/// Bytes of a connection in pieces of so many bytes (u8); where it is cut changes nothing.
pub fn framing(bytes: &[u8]) {
    let Some((piece, stream)) = bytes.split_first() else { return };
    let pieces: Vec<Vec<u8>> = stream.chunks(usize::from(*piece).max(1)).map(<[u8]>::to_vec).collect();
    sediment::http::fuzzing::framing(&pieces);
}

/// As `framing`, for the framing inside a body; the second byte is the announced length.
pub fn aws_chunked(bytes: &[u8]) {
    let [piece, length, stream @ ..] = bytes else { return };
    let pieces: Vec<Vec<u8>> = stream.chunks(usize::from(*piece).max(1)).map(<[u8]>::to_vec).collect();
    sediment::s3::fuzzing::aws_chunked(u64::from(*length), &pieces);
}

/// How long the pieces are that a delta comes in, how many bytes it stands for (u32), and the delta: however it is cut, it stands for
/// the same.
pub fn delta(bytes: &[u8]) {
    let Some(([piece, length @ ..], stream)) = bytes.split_first_chunk::<5>() else { return };
    let length = u64::from(u32::from_le_bytes(*length));
    let decode = |piece: usize| {
        let (mut decoder, mut found) = (DeltaDecoder::new(length), Vec::new());
        let mut pieces = stream.chunks(piece.max(1));
        let fed = pieces.try_for_each(|bytes| decoder.decode(Bytes::copy_from_slice(bytes), &mut found));
        let (mut literals, mut copies, mut total) = (Vec::new(), Vec::new(), 0);
        for piece in found {
            match piece {
                DeltaPiece::Literal(bytes) => literals.extend_from_slice(&bytes),
                DeltaPiece::Copy { id, bytes } => {
                    copies.push((literals.len(), id, bytes));
                    total += u64::from(bytes);
                }
            }
        }
        total += literals.len() as u64;
        assert!(total <= length, "more than announced");
        fed.and_then(|()| decoder.finish()).ok().map(|()| {
            assert_eq!(total, length);
            (literals, copies)
        })
    };
    assert_eq!(decode(usize::from(*piece)), decode(stream.len()));
    if let Some(there) = decode_there(stream, usize::from(*piece)) {
        assert_eq!(encode_there(&there), stream);
    }
}

/// A request's target and headers, a line each.
pub fn s3_head(bytes: &[u8]) {
    sediment::s3::fuzzing::head(bytes);
}

/// The XML of a request.
pub fn s3_document(bytes: &[u8]) {
    sediment::s3::fuzzing::document(bytes);
}

/// How long the pieces are that a form with the boundary `b` comes in, and the form.
pub fn post_form(bytes: &[u8]) {
    let Some((piece, form)) = bytes.split_first() else { return };
    let pieces: Vec<_> = form.chunks(usize::from(*piece).max(1)).map(<[u8]>::to_vec).collect();
    sediment::s3::fuzzing::post_form(&pieces);
}

/// The JSON of a form's policy.
pub fn post_policy(bytes: &[u8]) {
    sediment::s3::fuzzing::post_policy(bytes);
}

/// A pack's extent, read whole and from its middle.
pub fn backup_container(bytes: &[u8]) {
    let (Ok(key), Ok(name)) = (BackupKey::parse(BACKUP_KEY), ObjectName::parse(BACKUP_EXTENT)) else {
        return;
    };
    let (name, repository) = (name.key(), RepositoryId::new([0xAB; 16]));
    let binding = Binding { key: &key, repository, name: &name };
    let whole = open(binding, Kind::Extent, bytes);
    let begin = Layout::footer_bytes(bytes).ok().and_then(|footer| bytes.len().checked_sub(footer));
    let Some(begin) = begin else {
        assert!(whole.is_err());
        return;
    };
    let layout = Layout::read(binding, Kind::Extent, bytes.len() as u64, &bytes[begin..]);
    let Ok(layout) = layout else {
        assert!(whole.is_err());
        return;
    };
    let len = layout.header().length;
    let Ok(cover) = layout.cover(&(len / 2..len)) else { return };
    let piece = &bytes[cover.bytes.start as usize..cover.bytes.end as usize];
    let read = layout.open(binding, &cover, piece);
    if let Ok(whole) = whole {
        assert_eq!(read.as_deref(), Ok(&whole[len as usize / 2..]));
    }
}

/// Names and keys of backups, their signed JSON, and what stands in their containers.
pub fn backup_names(bytes: &[u8]) {
    sediment::backup::fuzzing::signed(bytes);
    sediment::backup::fuzzing::segment(bytes);
    sediment::backup::fuzzing::inventory(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = ObjectName::parse(text) {
        assert_eq!(name.to_string(), text);
        assert_eq!(name.key().as_str(), text);
    }
    if let Ok(key) = RemoteKey::parse(text) {
        assert_eq!(key.as_str(), text);
    }
    if let Ok(key) = BackupKey::parse(text) {
        assert!(BackupKey::parse(&key.to_text()).is_ok_and(|again| again.id() == key.id()));
    }
}
