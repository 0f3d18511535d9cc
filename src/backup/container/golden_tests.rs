//! Containers byte for byte as `docs/backup-format.md` has them, made by another implementation. A change that breaks this makes
//! backups unreadable.

#![allow(clippy::unwrap_used)]

use super::{Binding, Kind, Plan, open, seal};
use crate::backup::{BackupKey, RepositoryId};
use crate::remote::RemoteKey;
use crate::sys::Random;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Bytes 0 to 31.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f6aaffdf6";
const REPOSITORY: RepositoryId = RepositoryId::new([0xAB; 16]);
/// The eight bytes `sediment` as bytes 0–8 of pack 0123456789abcdef.
const ENCRYPTED: &str = "\
    5365644261636b0a01000201000010000800000000000000404142434445464748494a4b4c4d4e4fabababababababababab\
    abababababab000000009994b1e90800000000000000923e75e7c1e064f44cf7669344cd32ffed56fa639c3e8b3108000000\
    5365644261636b0a01000201000010000800000000000000404142434445464748494a4b4c4d4e4fabababababababababab\
    abababababab000000009994b1e90100000050e3f35d53656442456e640a";
const AUTHENTICATED: &str = "\
    5365644261636b0a01000200000010000800000000000000404142434445464748494a4b4c4d4e4fabababababababababab\
    abababababab000000009b2a372e0800000000000000736564696d656e741c1eeb63e160858dc56c4e0b081b552c08000000\
    5365644261636b0a01000200000010000800000000000000404142434445464748494a4b4c4d4e4fabababababababababab\
    abababababab000000009b2a372e0100000050e3f35d53656442456e640a";

/// Gives 0x40, 0x41 and so on.
#[derive(Debug)]
struct Counting;

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = 0x40 + at as u8;
        }
    }
}

fn sealed(name: &str, plan: &Plan, content: &[u8]) -> Vec<u8> {
    let (key, name) = (BackupKey::parse(KEY).unwrap(), RemoteKey::parse(name).unwrap());
    let binding = Binding { key: &key, repository: REPOSITORY, name: &name };
    let (bytes, sealed) = seal(binding, plan, content, &Counting).unwrap();
    assert_eq!(
        (sealed.bytes, sealed.sha256[..].to_vec()),
        (bytes.len() as u64, Sha256::digest(&bytes).to_vec())
    );
    assert_eq!(open(binding, plan.kind, &bytes).unwrap(), content);
    bytes.to_vec()
}

#[test]
fn i1_a_container_is_written_and_read_as_documented() {
    let name = "packs/0123456789abcdef/00000000-00000008";
    for (encrypt, golden) in [(true, ENCRYPTED), (false, AUTHENTICATED)] {
        let plan = Plan::new(Kind::Extent, 8, encrypt, 3);
        assert_eq!(hex::encode(sealed(name, &plan, b"sediment")), golden);
    }
}

#[test]
fn i1_frames_follow_each_other_as_documented() {
    let content: Vec<u8> = (0..1500).map(|at| ((at * 7 + at / 256) % 256) as u8).collect();
    let plan = Plan { frame_bytes: 1024, ..Plan::new(Kind::Log, 1500, true, 0) };
    let bytes = sealed("log/00000001/0/0000000000000001-0000000000000009", &plan, &content);
    let golden = "c4a1bcee3ad5f918dec7a5586e077f1678462815649cb8edc04d80080d4e1c8c";
    assert_eq!((bytes.len(), hex::encode(Sha256::digest(&bytes)).as_str()), (1700, golden));
    let bytes = sealed("base/00000001-0000000000000009/00000000", &Plan::new(Kind::Base, 0, true, 3), b"");
    let golden = "135eb70efd095a8410514201ad30ce651bec085a828162c673e8dfcec874ad88";
    assert_eq!((bytes.len(), hex::encode(Sha256::digest(&bytes)).as_str()), (172, golden));
}

#[test]
fn i1_keys_and_signatures_are_as_documented() {
    let key = BackupKey::parse(KEY).unwrap();
    assert_eq!(key.id().to_string(), "ac6939e43fc6e3cc");
    let digits: String = key.to_text().lines().nth(1).unwrap().split(' ').collect();
    assert_eq!(digits, KEY);
    for (name, repository, signature) in [
        ("lease", Some(REPOSITORY), "a5060b652ab051a71e3d5ab5bfd57c7ff47afca0f8d8d9357bb329d395ad6b44"),
        ("repository.json", None, "df3e02ae3dab58fee778b84a8a9fa47f4b1510add0c8ce557e3416e2c856c396"),
    ] {
        let (signer, name) = (key.signer(repository), RemoteKey::parse(name).unwrap());
        let bytes = signer.seal(&name, &json!({ "epoch": 1 })).unwrap();
        assert_eq!(bytes, format!("{{\"epoch\":1}}\n{signature}\n"));
        assert_eq!(signer.open::<Value>(&name, &bytes).unwrap(), json!({ "epoch": 1 }));
    }
}
