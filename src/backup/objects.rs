//! Binary objects in the bucket: sealed on the way there, opened on the way back.

use super::container::{ContainerError, Header, Kind, Plan, RangedReader, Sealed, Sealer, open};
use super::{BackupError, Nonce, ObjectName, Repository, Stamp};
use crate::engine::EngineError;
use crate::remote::{Class, PART_BYTES, PutOptions, RemoteError, Span, upload};
use crate::sys::Random;
use crate::types::UnixMillis;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// How much content is asked for at a time.
const READ_BYTES: u64 = 4 << 20;

/// What an object is made of. Calls block.
pub trait Content: Send + Sync + 'static {
    fn length(&self) -> u64;

    /// # Errors
    /// When it cannot be read; the object is not written then.
    fn read(&self, range: Range<u64>) -> Result<Bytes, EngineError>;
}

impl Content for Bytes {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes, EngineError> {
        let place = |at| usize::try_from(at).map_err(|_| EngineError::Range);
        Ok(self.slice(place(range.start)?..place(range.end)?))
    }
}

/// How objects are written.
#[derive(Debug, Clone)]
pub struct Writing {
    pub random: Arc<dyn Random>,
    /// zstd's; 0 stores everything as it is.
    pub level: i32,
    /// Parts of one object that are sent at a time.
    pub parts_in_flight: usize,
    /// Object lock.
    pub retain_until: Option<UnixMillis>,
}

/// Puts an object that nobody may have put before. One that is there already counts if it holds the same: its stamp is
/// given then. It is read for that, but for pieces of plain bodies, whose names say what they hold. Memory: `parts_in_flight + 3` parts.
///
/// # Errors
/// Of the content, or of the remote; `Content` when something else stands there.
pub async fn put(
    repository: &Arc<Repository>,
    name: ObjectName,
    kind: Kind,
    content: Arc<dyn Content>,
    writing: &Writing,
) -> Result<Stamp, BackupError> {
    let (length, own) = (content.length(), Arc::clone(&content));
    let options = PutOptions { retain_until: writing.retain_until, ..PutOptions::ABSENT };
    match send(repository, name, kind, content, (writing, options)).await {
        Err(BackupError::Repository(super::RepositoryError::Remote(RemoteError {
            class: Class::Conflict,
            ..
        }))) => {
            let stamp = standing(repository, name, kind, length).await?;
            if kind != Kind::Plain {
                compare(repository, name, kind, stamp, own).await?;
            }
            Ok(stamp)
        }
        put => put,
    }
}

/// As [`put`], of a piece of a plain body that may have been sent when it was damaged: where another one stands there it is written over.
///
/// # Errors
/// Of the content, or of the remote.
pub async fn put_same(
    repository: &Arc<Repository>,
    name: ObjectName,
    kind: Kind,
    content: Arc<dyn Content>,
    writing: &Writing,
) -> Result<Stamp, BackupError> {
    let compared = match put(repository, name, kind, Arc::clone(&content), writing).await {
        // Rare: what was just put is read back as well.
        Ok(stamp) => compare(repository, name, kind, stamp, Arc::clone(&content)).await.map(|()| stamp),
        failed => failed,
    };
    match compared {
        Err(error) if error.is_damage() => put_over(repository, name, kind, content, writing).await,
        compared => compared,
    }
}

/// As [`put`], of an object whose name decides its content, over what stands there damaged.
///
/// # Errors
/// Of the content, or of the remote.
pub async fn put_over(
    repository: &Arc<Repository>,
    name: ObjectName,
    kind: Kind,
    content: Arc<dyn Content>,
    writing: &Writing,
) -> Result<Stamp, BackupError> {
    let options = PutOptions { retain_until: writing.retain_until, ..PutOptions::ALWAYS };
    send(repository, name, kind, content, (writing, options)).await
}

async fn send(
    repository: &Arc<Repository>,
    name: ObjectName,
    kind: Kind,
    content: Arc<dyn Content>,
    (writing, options): (&Writing, PutOptions),
) -> Result<Stamp, BackupError> {
    let plan = Plan::new(kind, content.length(), repository.description().encrypted, writing.level);
    let sealed = Arc::new(OnceLock::new());
    let filling = Filling {
        repository: Arc::clone(repository),
        name,
        plan,
        content,
        random: Arc::clone(&writing.random),
        sealer: None,
        at: 0,
        out: BytesMut::new(),
        sealed: Arc::clone(&sealed),
    };
    let parts = parts(filling);
    upload(repository.remote(), &name.key(), &options, parts, writing.parts_in_flight).await?;
    let sealed = sealed.get().ok_or(BackupError::Worker)?;
    Ok(Stamp { bytes: sealed.bytes, nonce: Nonce(sealed.nonce) })
}

/// An object that is there holds what was to be written.
async fn compare(
    repository: &Arc<Repository>,
    name: ObjectName,
    kind: Kind,
    stamp: Stamp,
    own: Arc<dyn Content>,
) -> Result<(), BackupError> {
    let standing = get(repository, name, kind, Some(stamp)).await?;
    let same = tokio::task::spawn_blocking(move || {
        let (mut at, length) = (0, own.length());
        while at < length {
            let until = length.min(at + READ_BYTES);
            if own.read(at..until)? != standing.slice(at as usize..until as usize) {
                return Ok(false);
            }
            at = until;
        }
        Ok::<_, EngineError>(true)
    });
    if same.await?? {
        return Ok(());
    }
    let why = "something else stands there: another writer has the same epoch".to_owned();
    Err(BackupError::Content { name: name.to_string(), why })
}

/// What stands under a name.
async fn standing(
    repository: &Repository,
    name: ObjectName,
    kind: Kind,
    length: u64,
) -> Result<Stamp, BackupError> {
    let stat = repository.remote().head(&name.key()).await?;
    let bytes = stat.ok_or_else(|| BackupError::Missing(name.to_string()))?.bytes;
    let reader = ranged(repository, name, kind, bytes).await?;
    if reader.length() != length {
        let why = format!("it holds {} bytes where {length} belong", reader.length());
        return Err(BackupError::Content { name: name.to_string(), why });
    }
    if length > 0 {
        // The first frame's seal covers the header: now its nonce is known to be true.
        reader.read(0..1).await.map_err(|why| of(name, why))?;
    }
    Ok(Stamp { bytes, nonce: Nonce(reader.nonce()) })
}

/// An object to be read in ranges.
///
/// # Errors
/// When its end cannot be read, or is none.
pub async fn ranged(
    repository: &Repository,
    name: ObjectName,
    kind: Kind,
    bytes: u64,
) -> Result<RangedReader, BackupError> {
    let key = name.key();
    let reader =
        RangedReader::open(Arc::clone(repository.remote()), repository.binding(&key), kind, bytes).await;
    reader.map_err(|why| of(name, why))
}

/// The content of an object of at most [`MAX_PIECE_BYTES`](crate::remote::MAX_PIECE_BYTES), all of it verified; of that stamp, if one is given.
///
/// # Errors
/// When it is missing, or another one.
pub async fn get(
    repository: &Arc<Repository>,
    name: ObjectName,
    kind: Kind,
    stamp: Option<Stamp>,
) -> Result<Bytes, BackupError> {
    let (content, found) = get_stamped(repository, name, kind).await?;
    match stamp {
        Some(stamp) if stamp != found => {
            let why = "it was written another time than the one that is meant".to_owned();
            Err(BackupError::Content { name: name.to_string(), why })
        }
        _ => Ok(content),
    }
}

/// As [`get`], with the stamp of what was found.
///
/// # Errors
/// As [`get`].
pub async fn get_stamped(
    repository: &Arc<Repository>,
    name: ObjectName,
    kind: Kind,
) -> Result<(Bytes, Stamp), BackupError> {
    let piece = repository.remote().get(&name.key(), Span::Whole).await?;
    let bytes = piece.ok_or_else(|| BackupError::Missing(name.to_string()))?.bytes;
    let header = Header::decode(&bytes).map_err(|why| of(name, why))?;
    let stamp = Stamp { bytes: bytes.len() as u64, nonce: Nonce(header.nonce) };
    let repository = Arc::clone(repository);
    let opened = tokio::task::spawn_blocking(move || {
        let key = name.key();
        open(repository.binding(&key), kind, &bytes).map(Bytes::from)
    });
    Ok((opened.await?.map_err(|why| of(name, why))?, stamp))
}

pub(super) fn of(name: ObjectName, why: ContainerError) -> BackupError {
    match why {
        ContainerError::Missing(name) => BackupError::Missing(name),
        ContainerError::Remote(error) => error.into(),
        why => BackupError::Object { name: name.to_string(), why },
    }
}

/// An object on its way: read, sealed and cut into parts on threads that may block.
struct Filling {
    repository: Arc<Repository>,
    name: ObjectName,
    plan: Plan,
    content: Arc<dyn Content>,
    random: Arc<dyn Random>,
    sealer: Option<Sealer>,
    at: u64,
    out: BytesMut,
    sealed: Arc<OnceLock<Sealed>>,
}

fn parts(filling: Filling) -> impl Stream<Item = Result<Bytes, BackupError>> + Send {
    stream::try_unfold(Some(filling), |filling| async move {
        let Some(mut filling) = filling else { return Ok(None) };
        let step = tokio::task::spawn_blocking(move || {
            let part = filling.part()?;
            let more = !(filling.is_done() && filling.out.is_empty());
            Ok::<_, BackupError>((part, more.then_some(filling)))
        });
        step.await?.map(Some)
    })
}

impl Filling {
    fn is_done(&self) -> bool {
        self.sealed.get().is_some()
    }

    /// The next [`PART_BYTES`], or what is left.
    fn part(&mut self) -> Result<Bytes, BackupError> {
        let name = self.name;
        self.fill(PART_BYTES).map_err(|error| match error {
            BackupError::Object { why, .. } => of(name, why),
            error => error,
        })?;
        let len = self.out.len().min(PART_BYTES);
        Ok(self.out.split_to(len).freeze())
    }

    fn fill(&mut self, wanted: usize) -> Result<(), BackupError> {
        let object = |why| BackupError::Object { name: String::new(), why };
        while self.out.len() < wanted && !self.is_done() {
            let mut sealer = match self.sealer.take() {
                Some(sealer) => sealer,
                None => {
                    let key = self.name.key();
                    let binding = self.repository.binding(&key);
                    Sealer::new(binding, &self.plan, &*self.random, &mut self.out).map_err(object)?
                }
            };
            let until = self.plan.length.min(self.at + READ_BYTES);
            if until > self.at {
                let content = self.content.read(self.at..until)?;
                sealer.write(&content, &mut self.out).map_err(object)?;
                self.at = until;
            }
            if self.at < self.plan.length {
                self.sealer = Some(sealer);
            } else {
                let sealed = sealer.finish(&mut self.out).map_err(object)?;
                let _ = self.sealed.set(sealed);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Writing, get, put, ranged};
    use crate::backup::container::Kind;
    use crate::backup::testing::repository;
    use crate::backup::{BackupError, Epoch, Nonce, ObjectName, Stamp};
    use crate::remote::{PART_BYTES, PutOptions, Remote};
    use crate::sys::{Random, SeededRandom};
    use crate::types::PlainId;
    use bytes::Bytes;
    use std::sync::Arc;

    fn writing(seed: u64) -> Writing {
        Writing {
            random: Arc::new(SeededRandom::new(seed)),
            level: 1,
            parts_in_flight: 2,
            retain_until: None,
        }
    }

    fn noise(len: usize) -> Bytes {
        let (random, mut bytes) = (SeededRandom::new(len as u64), vec![0; len]);
        for chunk in bytes.chunks_mut(16) {
            let drawn = random.id128();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
        bytes.into()
    }

    #[tokio::test]
    async fn i4_an_object_of_any_length_comes_back_and_has_its_stamp() {
        let (repository, remote) = repository(true).await;
        for (piece, len) in [0, 1, PART_BYTES - 200, PART_BYTES, 2 * PART_BYTES + 77].into_iter().enumerate()
        {
            let name = ObjectName::Plain { id: PlainId::new([1; 16]), piece: piece as u32 };
            let content = noise(len);
            let stamp =
                put(&repository, name, Kind::Plain, Arc::new(content.clone()), &writing(1)).await.unwrap();
            assert_eq!(get(&repository, name, Kind::Plain, Some(stamp)).await.unwrap(), content, "{len}");
            let stat = remote.head(&name.key()).await.unwrap().unwrap();
            assert_eq!(stat.bytes, stamp.bytes);
            let reader = ranged(&repository, name, Kind::Plain, stamp.bytes).await.unwrap();
            assert_eq!((reader.length(), reader.nonce()), (len as u64, stamp.nonce.0));
            // Whoever finds it there takes it as it is.
            let again = put(&repository, name, Kind::Plain, Arc::new(content), &writing(2)).await.unwrap();
            assert_eq!(again, stamp);
            let other = Stamp { nonce: Nonce([9; 16]), ..stamp };
            let refused = get(&repository, name, Kind::Plain, Some(other)).await.unwrap_err();
            assert!(matches!(refused, BackupError::Content { .. }), "{refused}");
        }
    }

    #[tokio::test]
    async fn i1_what_stands_there_in_an_epoch_must_be_the_same() {
        let (repository, _) = repository(true).await;
        let name = ObjectName::Inventory { epoch: Epoch::FIRST, number: 0 };
        let writing = writing(1);
        let put = |content| put(&repository, name, Kind::Inventory, Arc::new(content), &writing);
        let one = put(Bytes::from_static(b"one")).await.unwrap();
        assert_eq!(put(Bytes::from_static(b"one")).await.unwrap(), one);
        let refused = put(Bytes::from_static(b"two")).await;
        assert!(matches!(refused, Err(BackupError::Content { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn i4_what_stands_there_must_be_an_object_of_that_length() {
        let (repository, remote) = repository(true).await;
        let name = ObjectName::Plain { id: PlainId::new([1; 16]), piece: 0 };
        put(&repository, name, Kind::Plain, Arc::new(noise(10)), &writing(1)).await.unwrap();
        let refused = put(&repository, name, Kind::Plain, Arc::new(noise(11)), &writing(1)).await;
        assert!(matches!(refused, Err(BackupError::Content { .. })), "{refused:?}");
        remote.put(&name.key(), noise(100), &PutOptions::ALWAYS).await.unwrap();
        let refused = put(&repository, name, Kind::Plain, Arc::new(noise(10)), &writing(1)).await;
        assert!(matches!(refused, Err(BackupError::Object { .. })), "{refused:?}");
    }
}
