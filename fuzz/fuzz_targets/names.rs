#![no_main]
use libfuzzer_sys::fuzz_target;
use sediment::service::ListToken;
use sediment::types::{BucketName, ChunkId, ETag, ObjectKey, UploadId, VersionId};

fuzz_target!(|text: &str| {
    let _ = BucketName::parse(text);
    let _ = ChunkId::parse(text);
    let _ = ETag::parse(text);
    let _ = ObjectKey::parse(text);
    let _ = UploadId::parse(text);
    let _ = ListToken::parse(text);
    if let Ok(version) = VersionId::parse(text) {
        assert_eq!(VersionId::parse(&version.to_string()).ok(), Some(version));
    }
});
