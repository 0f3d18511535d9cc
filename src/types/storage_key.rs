//! How S3 names become keys of the metadata store: byte order is S3's list order.
//!
//! A row's key is `namespace:u8 bucket:u32be escaped(object key) 00 01 order:u64be`. A zero byte inside the
//! object key is escaped as `00 FF`, as FoundationDB's tuples do, so that no key is a prefix of another and
//! `a` sorts before `a\0` and `ab`. For versions, `order` is the complement of the commit that wrote them:
//! newest first, so the current version is the first row under the key. For uploads it is that commit itself.

use super::{BucketId, ObjectKey};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    Versions,
    Uploads,
}

impl Namespace {
    const fn byte(self) -> u8 {
        match self {
            Self::Versions => 0x10,
            Self::Uploads => 0x20,
        }
    }
}

/// Where a scan over all keys that begin with `prefix` starts. An empty prefix starts the bucket.
#[must_use]
pub fn scan_prefix(namespace: Namespace, bucket: BucketId, prefix: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(5 + prefix.len() + 10);
    key.push(namespace.byte());
    key.extend_from_slice(&bucket.get().to_be_bytes());
    for &byte in prefix {
        key.push(byte);
        if byte == 0 {
            key.push(0xFF);
        }
    }
    key
}

/// Where the rows of one object key begin.
#[must_use]
pub fn object_prefix(namespace: Namespace, bucket: BucketId, key: &[u8]) -> Vec<u8> {
    let mut row = scan_prefix(namespace, bucket, key);
    row.extend_from_slice(&[0, 1]);
    row
}

/// The first possible row behind all rows of one object key.
#[must_use]
pub fn object_prefix_end(namespace: Namespace, bucket: BucketId, key: &[u8]) -> Vec<u8> {
    let mut row = scan_prefix(namespace, bucket, key);
    row.extend_from_slice(&[0, 2]);
    row
}

/// One row's key.
#[must_use]
pub fn row_key(namespace: Namespace, bucket: BucketId, key: &[u8], order: u64) -> Vec<u8> {
    let mut row = object_prefix(namespace, bucket, key);
    row.extend_from_slice(&order.to_be_bytes());
    row
}

/// The inverse of [`row_key`]; `None` for bytes that it never made.
#[must_use]
pub fn decode_row_key(row: &[u8]) -> Option<(Namespace, BucketId, ObjectKey, u64)> {
    let (&namespace, rest) = row.split_first()?;
    let namespace = match namespace {
        0x10 => Namespace::Versions,
        0x20 => Namespace::Uploads,
        _ => return None,
    };
    let (bucket, mut rest) = rest.split_first_chunk::<4>()?;
    let mut key = Vec::with_capacity(rest.len());
    loop {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        if byte != 0 {
            key.push(byte);
            continue;
        }
        let (&mark, tail) = rest.split_first()?;
        rest = tail;
        match mark {
            0xFF => key.push(0),
            1 => break,
            _ => return None,
        }
    }
    let order = u64::from_be_bytes(rest.try_into().ok()?);
    Some((namespace, BucketId::new(u32::from_be_bytes(*bucket)), ObjectKey::opaque(key), order))
}

#[cfg(test)]
mod tests {
    use super::{Namespace, decode_row_key, object_prefix, object_prefix_end, row_key, scan_prefix};
    use crate::types::BucketId;
    use proptest::prelude::*;

    const NS: Namespace = Namespace::Versions;
    const BUCKET: BucketId = BucketId::new(7);

    #[test]
    fn i1_rows_are_written_as_documented() {
        let row = row_key(NS, BUCKET, b"a\0b", !5);
        assert_eq!(hex::encode(row), "10000000076100ff620001fffffffffffffffa");
        assert_eq!(
            row_key(Namespace::Uploads, BUCKET, b"", 5)[..],
            *b"\x20\0\0\0\x07\0\x01\0\0\0\0\0\0\0\x05"
        );
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xFF), any::<u8>()], 0..12)
    }

    proptest! {
        #[test]
        fn rows_sort_by_key_then_order(a in key(), b in key(), x: u64, y: u64) {
            let rows = row_key(NS, BUCKET, &a, x).cmp(&row_key(NS, BUCKET, &b, y));
            prop_assert_eq!(rows, a.cmp(&b).then(x.cmp(&y)));
        }

        #[test]
        fn rows_decode_to_themselves(a in key(), order: u64) {
            let (ns, bucket, key, decoded) = decode_row_key(&row_key(NS, BUCKET, &a, order)).unwrap();
            prop_assert_eq!((ns, bucket, key.as_bytes(), decoded), (NS, BUCKET, &a[..], order));
        }

        #[test]
        fn an_objects_rows_stand_between_its_bounds(a in key(), b in key(), order: u64) {
            let row = row_key(NS, BUCKET, &a, order);
            prop_assert!(object_prefix(NS, BUCKET, &a) <= row && row < object_prefix_end(NS, BUCKET, &a));
            let inside = object_prefix(NS, BUCKET, &b) <= row && row < object_prefix_end(NS, BUCKET, &b);
            prop_assert_eq!(inside, a == b);
        }

        #[test]
        fn a_scan_prefix_begins_exactly_the_keys_with_that_prefix(a in key(), p in key(), order: u64) {
            let row = row_key(NS, BUCKET, &a, order);
            prop_assert_eq!(row.starts_with(&scan_prefix(NS, BUCKET, &p)), a.starts_with(&p));
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_row_key(&bytes);
        }
    }
}
