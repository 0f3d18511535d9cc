use super::full;
use crate::service::checksums::combine;
use crate::types::{Checksum, ChecksumAlgorithm as A, ChecksumKind as K};

/// The algorithm, its digest of `123456789` as the standards give it, and the digest of the digests of `12345` and
/// `6789`.
const VALUES: [(A, &str, &str); 5] = [
    (A::Crc32, "cbf43926", "e33b2975"),
    (A::Crc32c, "e3069283", "66b0ccaf"),
    (A::Crc64Nvme, "ae8b14860a799888", "819183099cda01a1"),
    (A::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441", "5069a3e4be7f2bb966b0879c8ba853ab27704c2b"),
    (
        A::Sha256,
        "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
        "ff0890fa31d751472bd7cb5311a7abbb91f570182b603406bdfc641852f3825e",
    ),
];

fn combined(algorithm: A, kind: K, parts: &[&[u8]]) -> Option<Checksum> {
    let sums: Vec<_> = parts.iter().map(|part| full(algorithm, part)).collect();
    let parts: Vec<_> = sums.iter().zip(parts).map(|(sum, part)| (Some(sum), part.len() as u64)).collect();
    combine(algorithm, kind, &parts)
}

#[test]
fn whole_and_composite_checksums_are_those_of_the_standards() {
    for (algorithm, whole, composite) in VALUES {
        let hex = |checksum: &Checksum| hex::encode(checksum.digest());
        assert_eq!(hex(&full(algorithm, b"123456789")), whole, "{algorithm:?}");
        let parts: [&[u8]; 2] = [b"12345", b"6789"];
        let found = combined(algorithm, K::Composite, &parts).unwrap();
        assert_eq!((hex(&found).as_str(), found.parts()), (composite, 2), "{algorithm:?}");
        let joined = combined(algorithm, K::FullObject, &parts).map(|found| hex(&found));
        let combines = !matches!(algorithm, A::Sha1 | A::Sha256);
        assert_eq!(joined.as_deref(), combines.then_some(whole), "{algorithm:?}");
    }
}

#[test]
fn parts_of_any_size_combine_to_the_whole() {
    for algorithm in [A::Crc32, A::Crc32c, A::Crc64Nvme] {
        let body: Vec<u8> = (0..5_000u32).map(|n| (n * n % 251) as u8).collect();
        for cuts in [&[][..], &[0], &[1], &[4_999], &[1, 2, 3], &[100, 100, 2_500]] {
            let mut parts = Vec::new();
            let mut start = 0;
            for end in cuts.iter().copied().chain([body.len()]) {
                parts.push(&body[start..end]);
                start = end;
            }
            let found = combined(algorithm, K::FullObject, &parts);
            assert_eq!(found, Some(full(algorithm, &body)), "{algorithm:?} cut at {cuts:?}");
        }
    }
}

#[test]
fn a_part_without_the_checksum_leaves_the_object_without_one() {
    let (one, other) = (full(A::Crc32, b"1"), full(A::Crc32c, b"2"));
    for kind in [K::FullObject, K::Composite] {
        assert_eq!(combine(A::Crc32, kind, &[(Some(&one), 1), (None, 1)]), None);
        assert_eq!(combine(A::Crc32, kind, &[(Some(&one), 1), (Some(&other), 1)]), None);
    }
}
