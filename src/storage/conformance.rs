//! What every [`StorageLayer`] must do, as checks that panic with what went wrong. Run them against an empty
//! layer, on a Tokio runtime.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() {
//! sediment::storage::conformance::run(&sediment::storage::MemoryStorage::new()).await;
//! # }
//! ```

#![expect(clippy::unwrap_used, reason = "a test suite: its verdict is a panic")]

use super::{StorageError, StorageLayer, StorageLayerExt};
use bytes::Bytes;
use futures::future::join_all;
use futures::stream::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Runs every check. The layer must be empty; it is empty again at the end.
///
/// # Panics
/// When the layer breaks its contract.
pub async fn run(layer: &dyn StorageLayer) {
    expect_contents(layer, &Model::new()).await;
    nothing_there(layer).await;
    values(layer).await;
    awkward_keys(layer).await;
    scans(layer).await;
    scan_while_writing(layer).await;
    concurrent_writers(layer).await;
    expect_contents(layer, &Model::new()).await;
}

/// Values of up to `max_bytes` are kept, longer ones refused, and what was there before stays.
///
/// # Panics
/// When the layer breaks its contract.
pub async fn longest_values(layer: &dyn StorageLayer, max_bytes: usize) {
    let key = b"longest";
    for len in [max_bytes - 1, max_bytes] {
        let value = value_of(key, len);
        layer.put(key, &value).await.unwrap();
        assert!(layer.get(key).await.unwrap().unwrap() == value, "a value of {len} bytes comes back");
    }
    assert!(layer.put(key, &value_of(b"", max_bytes + 1)).await.is_err(), "a longer value is refused");
    assert!(layer.get(key).await.unwrap().unwrap() == value_of(key, max_bytes), "the value before it stays");
    layer.delete(key).await.unwrap();
}

/// Whoever goes away in the middle of a put or a delete leaves the old value or the new one. What was begun may
/// still end later, so the layer may not be empty at the end.
///
/// # Panics
/// When the layer breaks its contract.
pub async fn cancellation(layer: &dyn StorageLayer) {
    for (round, polls) in [0, 1, 2, 3, 5, 8, 20].into_iter().cycle().take(21).enumerate() {
        let key = format!("cancelled/{round}").into_bytes();
        let (old, new) = (value_of(&key, 90_000), value_of(&key, 150_000));
        layer.put(&key, &old).await.unwrap();
        let is_whole = |got: Option<&Bytes>| got.is_some_and(|got| *got == old || *got == new);
        give_up_after(polls, layer.put(&key, &new)).await;
        for _ in 0..3 {
            let got = layer.get(&key).await.unwrap();
            assert!(is_whole(got.as_ref()), "i2: a put given up after {polls} polls left a torn value");
        }
        give_up_after(polls, layer.delete(&key)).await;
        for _ in 0..3 {
            let got = layer.get(&key).await.unwrap();
            assert!(got.is_none() || is_whole(got.as_ref()), "i2: a delete given up left a torn value");
        }
    }
}

async fn give_up_after(polls: usize, work: impl Future<Output = Result<(), StorageError>>) {
    let mut work = Box::pin(work);
    for _ in 0..polls {
        if futures::poll!(&mut work).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Bytes that differ from key to key and place to place.
fn value_of(key: &[u8], len: usize) -> Vec<u8> {
    let seed =
        key.iter().fold(len as u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3));
    (0..len as u64).map(|i| ((i ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

async fn expect_contents(layer: &dyn StorageLayer, model: &Model) {
    let scanned = layer.scan_vec(b"").await.unwrap();
    let expected: Vec<_> = model.clone().into_iter().collect();
    let keys = |entries: &[(Vec<u8>, Vec<u8>)]| -> Vec<String> {
        entries.iter().map(|(key, _)| key.escape_ascii().to_string()).collect()
    };
    assert_eq!(keys(&scanned), keys(&expected), "a scan gives every key once, in byte order");
    assert!(scanned == expected, "a scan gives every key its own value");
    for (key, value) in model {
        let got = layer.get(key).await.unwrap();
        assert!(got.as_deref() == Some(&value[..]), "get {} gives its value", key.escape_ascii());
    }
}

/// Several at once: durable writes are slow one by one.
const AT_ONCE: usize = 16;

async fn fill(layer: &dyn StorageLayer, keys: impl IntoIterator<Item = Vec<u8>>) -> Model {
    let with_value = |(at, key): (usize, Vec<u8>)| (key.clone(), value_of(&key, at % 50));
    let model: Model = keys.into_iter().enumerate().map(with_value).collect();
    let puts = model.iter().map(|(key, value)| layer.put(key, value));
    futures::stream::iter(puts).buffer_unordered(AT_ONCE).try_collect::<()>().await.unwrap();
    model
}

async fn empty(layer: &dyn StorageLayer, model: Model) {
    let deletes = model.keys().map(|key| layer.delete(key));
    futures::stream::iter(deletes).buffer_unordered(AT_ONCE).try_collect::<()>().await.unwrap();
    for key in model.keys() {
        assert_eq!(layer.get(key).await.unwrap(), None, "{} is deleted", key.escape_ascii());
    }
}

async fn nothing_there(layer: &dyn StorageLayer) {
    for key in [&b""[..], b"a", b"absent", &[0xFF; 300]] {
        assert_eq!(layer.get(key).await.unwrap(), None);
        layer.delete(key).await.unwrap();
        assert_eq!(layer.scan_vec(key).await.unwrap(), []);
    }
}

/// Every length, and overwriting with longer, shorter and no bytes at all.
async fn values(layer: &dyn StorageLayer) {
    let key = b"value";
    for len in [0, 1, 1_023, 1_024, 70_000, 300_000, 5, 0, 4_096] {
        let value = value_of(key, len);
        layer.put(key, &value).await.unwrap();
        let got = layer.get(key).await.unwrap().unwrap();
        assert!(got == value, "a value of {len} bytes comes back as it was");
        assert_eq!(layer.scan_vec(b"").await.unwrap().len(), 1, "an overwrite leaves one value");
    }
    layer.delete(key).await.unwrap();
    assert_eq!(layer.get(key).await.unwrap(), None);
    layer.put(key, b"again").await.unwrap();
    assert_eq!(layer.get(key).await.unwrap().unwrap(), b"again"[..]);
    layer.delete(key).await.unwrap();
    layer.delete(key).await.unwrap();
}

/// Keys that break encodings: empty, one the beginning of another, longer than a file name, path-like, zeros.
async fn awkward_keys(layer: &dyn StorageLayer) {
    let text = [
        "", "a", "ab", "abc", "a/b", "a/", "/", ".", "..", "../x", "_", "~", ".tmp", "a\0", "a\0b", "ü",
        "%41",
    ];
    let lengths = [2, 126, 127, 128, 129, 254, 255, 256, 257, 381, 382, 383, 1_023, 1_024, 1_500, 3_000];
    let mut keys: Vec<Vec<u8>> = text.iter().map(|key| key.as_bytes().to_vec()).collect();
    keys.extend((0..=255).map(|byte| vec![byte]));
    keys.extend(lengths.iter().map(|len| vec![b'k'; *len]));
    keys.extend(lengths.iter().map(|len| [vec![b'k'; *len - 1], vec![b'j']].concat()));
    keys.extend(
        [&[0][..], &[0, 0], &[0, 0xFF], &[0, 1], &[0xFF, 0xFF], &[0xFF, 0xFF, 0xFF]].map(<[u8]>::to_vec),
    );
    let mut model = fill(layer, keys).await;
    expect_contents(layer, &model).await;

    for prefix in
        [&b"a"[..], b"a\0", b"", &[0], &[0xFF], &[b'k'; 127], &[b'k'; 128], &[b'k'; 300], &[b'k'; 1_400]]
    {
        let scanned = layer.keys(prefix).await.unwrap();
        let expected: Vec<_> = model.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert!(scanned == expected, "the keys below {} and no others", prefix.escape_ascii());
    }
    for gone in [&b""[..], b"a", &[b'k'; 128], &[b'k'; 3_000]] {
        layer.delete(gone).await.unwrap();
        model.remove(gone);
    }
    expect_contents(layer, &model).await;
    empty(layer, model).await;
}

async fn scans(layer: &dyn StorageLayer) {
    let key = |n: u32| format!("scan/{:04}", n.wrapping_mul(7_919) % 1_000).into_bytes();
    let model = fill(layer, (0..300).map(key).chain([b"scam".to_vec(), b"scan0".to_vec()])).await;
    expect_contents(layer, &model).await;
    let below: Vec<_> = model.keys().filter(|key| key.starts_with(b"scan/")).cloned().collect();
    assert_eq!(layer.keys(b"scan/").await.unwrap(), below);
    assert_eq!(
        layer.keys(&below[17]).await.unwrap(),
        [below[17].clone()],
        "a whole key is a prefix of itself"
    );
    assert_eq!(layer.keys(b"scan/x").await.unwrap(), Vec::<Bytes>::new());
    let first: Vec<_> = layer.scan(b"scan/").take(3).try_collect().await.unwrap();
    assert!(first.iter().map(|(key, _)| key).eq(&below[..3]), "a scan may be dropped half-way");
    empty(layer, model).await;
}

/// What stays untouched appears exactly once, in order, whatever happens around it.
async fn scan_while_writing(layer: &dyn StorageLayer) {
    let key = |kind: &str, n: u32| format!("{n:04}-{kind}").into_bytes();
    let stays = fill(layer, (0..150).map(|n| key("stays", n))).await;
    let goes = fill(layer, (0..150).map(|n| key("goes", n))).await;
    let mut scan = layer.scan(b"");
    let mut seen = Vec::new();
    for n in 0.. {
        let Some(entry) = scan.try_next().await.unwrap() else { break };
        seen.push(entry.0);
        if n < 150 {
            layer.delete(&key("goes", 149 - n)).await.unwrap();
            layer.put(&key("comes", n), b"new").await.unwrap();
        }
    }
    drop(scan);
    assert!(seen.is_sorted_by(|a, b| a < b), "in order, without repetition");
    seen.retain(|key| key.ends_with(b"-stays"));
    assert!(seen.iter().eq(stays.keys()), "every key that was left alone appears");
    empty(layer, stays).await;
    empty(layer, goes).await;
    layer.delete_prefix(b"").await.unwrap();
}

/// Readers see whole values only, and the last of several writes stays.
async fn concurrent_writers(layer: &dyn StorageLayer) {
    let value = |n: u8| value_of(&[n], 2_000 + 100 * usize::from(n));
    let values: Vec<_> = (0..16).map(value).collect();
    layer.put(b"shared", &values[0]).await.unwrap();
    let writers = values.iter().map(|value| layer.put(b"shared", value));
    let readers = (0..32).map(|_| async {
        let got = layer.get(b"shared").await.unwrap().unwrap();
        assert!(values.iter().any(|value| got == *value), "i2: a reader saw a torn value");
    });
    let (written, ()) = futures::join!(join_all(writers), async {
        join_all(readers).await;
    });
    written.into_iter().collect::<Result<(), _>>().unwrap();
    let last = layer.get(b"shared").await.unwrap().unwrap();
    assert!(values.iter().any(|value| last == *value));
    layer.put(b"shared", b"last").await.unwrap();
    assert_eq!(layer.get(b"shared").await.unwrap().unwrap(), b"last"[..]);
    layer.delete(b"shared").await.unwrap();

    let keys: Vec<_> = (0..64u8).map(|n| format!("{n}-own").into_bytes()).collect();
    join_all(keys.iter().map(|key| async { layer.put(key, key).await.unwrap() })).await;
    expect_contents(layer, &keys.iter().map(|key| (key.clone(), key.clone())).collect()).await;
    join_all(keys.iter().map(|key| async { layer.delete(key).await.unwrap() })).await;
}
