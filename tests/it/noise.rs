//! Whatever arrives: parsers refuse it, they do not panic. The fuzz targets' little counterparts.

use proptest::prelude::*;
use sediment::config::Settings;
use sediment::meta::Change;
use sediment::types::{
    BucketId, BucketName, Checksum, ChecksumAlgorithm, ChunkId, ETag, ObjectKey, UnixMillis, UploadId,
    VersionId, Versioning,
};

proptest! {
    #[test]
    fn names_and_ids(text in "\\PC{0,80}|[0-9a-f]{30,66}|[a-zA-Z0-9._-]{0,70}") {
        let _ = (BucketName::parse(&text), ObjectKey::parse(&text), UploadId::parse(&text));
        let _ = (ChunkId::parse(&text), ETag::parse(&text));
        let _ = Checksum::parse(ChecksumAlgorithm::Crc32, &text);
        if let Ok(version) = VersionId::parse(&text) {
            prop_assert_eq!(VersionId::parse(&version.to_string()).ok(), Some(version));
        }
    }

    #[test]
    fn log_records(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = rmp_serde::from_slice::<Change>(&bytes);
    }

    /// Near misses go deeper than noise.
    #[test]
    fn damaged_log_records(at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let change = Change::BucketCreated(sediment::meta::Bucket {
            id: BucketId::new(7),
            name: BucketName::parse("bucket").unwrap(),
            created: UnixMillis::new(1),
            versioning: Versioning::Enabled,
            owner: None,
            lock: None,
            settings: std::sync::Arc::default(),
        });
        let mut bytes = rmp_serde::to_vec_named(&change).unwrap();
        prop_assert_eq!(rmp_serde::from_slice::<Change>(&bytes).unwrap(), change);
        let (at, cut) = (at.index(bytes.len()), cut.index(bytes.len()));
        bytes[at] = byte;
        let _ = rmp_serde::from_slice::<Change>(&bytes);
        prop_assert!(rmp_serde::from_slice::<Change>(&bytes[..cut]).is_err() || at < cut);
    }

    #[test]
    fn settings(text in "\\PC{0,100}|\\[[a-z]{1,8}\\]\n[a-z_]{1,12} = [0-9\"a-z.-]{0,12}") {
        let _ = toml::from_str::<Settings>(&text);
    }
}
