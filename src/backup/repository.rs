//! A repository: what a prefix of a bucket says that it is, and its JSON objects.

use super::container::Binding;
use super::signed::lines;
use super::{
    BackupKey, Epoch, EpochRecord, ObjectName, ProbeError, RepositoryId, SignedError, Signer, StoreId,
    Timeline, TimelineError, probe,
};
use crate::remote::{Class, PutOptions, Remote, RemoteError, RemoteKey, Span, Stat, Tag, list_all};
use crate::sys::{Clock, Random};
use crate::types::UnixMillis;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The format that this version reads and writes.
pub(super) const FORMAT: u32 = 1;

/// Small objects that are read at the same time.
const READ_AT_ONCE: usize = 16;

/// `repository.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    pub format: u32,
    pub id: RepositoryId,
    /// The store that it backs up.
    pub store_id: StoreId,
    pub created: UnixMillis,
    /// Which key it was made with.
    pub key_id: String,
    /// Whether contents are encrypted, not only authenticated.
    pub encrypted: bool,
}

/// A repository that was opened with its key.
#[derive(Debug)]
pub struct Repository {
    remote: Arc<dyn Remote>,
    key: BackupKey,
    signer: Signer,
    description: Description,
}

/// Why a repository cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    #[error("there is no backup repository in this bucket and prefix")]
    Missing,
    #[error(
        "the repository was made with backup key {expected}, and this is key {given}: give the key that it was made with"
    )]
    WrongKey { expected: String, given: String },
    #[error("the repository has format {0}, and this version reads format 1: use a newer one")]
    Format(u32),
    #[error(
        "the repository backs up store {expected}, and this is store {given}: give each store a prefix of its own"
    )]
    OtherStore { expected: StoreId, given: StoreId },
    #[error("the repository was made {0}, and the settings say otherwise: that cannot be changed afterwards")]
    Encryption(&'static str),
    #[error("`{name}` in the bucket is not believed: {why}")]
    Untrusted { name: String, why: SignedError },
    #[error("`{0}` was there and is gone")]
    Vanished(String),
    #[error("the epochs in the bucket contradict each other: {0}")]
    Timeline(#[from] TimelineError),
    #[error(transparent)]
    Unfit(#[from] ProbeError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// What a new repository is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRepository {
    pub store_id: StoreId,
    pub encrypted: bool,
}

/// The parts of the description that are read before its signature, to say what is wrong.
#[derive(Deserialize)]
struct Unverified {
    format: u32,
    key_id: String,
}

impl Repository {
    /// As [`Remote::unanswered`].
    pub(super) fn unanswered(&self) -> u64 {
        self.remote.unanswered()
    }

    /// Opens a repository to read it: nothing is written.
    ///
    /// # Errors
    /// When there is none, or the key is not its own.
    pub async fn open(remote: Arc<dyn Remote>, key: BackupKey) -> Result<Self, RepositoryError> {
        let name = ObjectName::Repository.key();
        let piece = remote.get(&name, Span::Whole).await?.ok_or(RepositoryError::Missing)?;
        let description = verified(&key, &name, &piece.bytes)?;
        let signer = key.signer(Some(description.id));
        Ok(Self { remote, key, signer, description })
    }

    /// Opens the store's repository to write it, and makes it if there is none. Of two that make it at the same time one does, and
    /// both open the same.
    ///
    /// # Errors
    /// When the server lacks what writers need, the repository is of another store, key or kind, or the remote fails.
    pub async fn open_or_create(
        remote: Arc<dyn Remote>,
        key: BackupKey,
        new: NewRepository,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<Self, RepositoryError> {
        let found = match Self::open(Arc::clone(&remote), key.clone()).await {
            Err(RepositoryError::Missing) => Self::create(remote, key, new, clock, random).await?,
            found => found?,
        };
        let (expected, given) = (found.description.store_id, new.store_id);
        if expected != given {
            return Err(RepositoryError::OtherStore { expected, given });
        }
        if found.description.encrypted != new.encrypted {
            let made = if found.description.encrypted { "with encryption" } else { "without encryption" };
            return Err(RepositoryError::Encryption(made));
        }
        Ok(found)
    }

    async fn create(
        remote: Arc<dyn Remote>,
        key: BackupKey,
        new: NewRepository,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<Self, RepositoryError> {
        probe(&*remote, random).await?;
        let description = Description {
            format: FORMAT,
            id: RepositoryId::random(random),
            store_id: new.store_id,
            created: clock.now(),
            key_id: key.id().to_string(),
            encrypted: new.encrypted,
        };
        let name = ObjectName::Repository.key();
        let body = key.signer(None).seal(&name, &description).map_err(|why| untrusted(&name, why))?;
        match remote.put(&name, body, &PutOptions::ABSENT).await {
            Err(error) if error.class != Class::Conflict => Err(error.into()),
            // Ours, or of somebody who was faster.
            _ => Self::open(remote, key).await,
        }
    }

    #[must_use]
    pub const fn description(&self) -> &Description {
        &self.description
    }

    #[must_use]
    pub const fn remote(&self) -> &Arc<dyn Remote> {
        &self.remote
    }

    /// What the bytes of the binary object of that name are bound to.
    #[must_use]
    pub const fn binding<'a>(&'a self, name: &'a RemoteKey) -> Binding<'a> {
        Binding { key: &self.key, repository: self.description.id, name }
    }

    /// A JSON object, verified; `None` when it is not there.
    ///
    /// # Errors
    /// When it cannot be read or is not signed by the repository's key.
    pub async fn read<T: DeserializeOwned>(
        &self,
        name: ObjectName,
    ) -> Result<Option<(T, Stat)>, RepositoryError> {
        let name = name.key();
        let Some(piece) = self.remote.get(&name, Span::Whole).await? else { return Ok(None) };
        let value = self.signer.open(&name, &piece.bytes).map_err(|why| untrusted(&name, why))?;
        Ok(Some((value, piece.stat)))
    }

    /// Signs and writes a JSON object.
    ///
    /// # Errors
    /// As [`Remote::put`].
    pub async fn write<T: Serialize + Sync>(
        &self,
        name: ObjectName,
        value: &T,
        options: &PutOptions,
    ) -> Result<Tag, RepositoryError> {
        let name = name.key();
        let body = self.signer.seal(&name, value).map_err(|why| untrusted(&name, why))?;
        Ok(self.remote.put(&name, body, options).await?)
    }

    /// The numbers of all epochs, in order. What else stands there is not looked at.
    ///
    /// # Errors
    /// When the remote fails.
    pub async fn epochs(&self) -> Result<Vec<Epoch>, RepositoryError> {
        let listed = list_all(&*self.remote, ObjectName::EPOCHS).try_filter_map(|found| async move {
            Ok(match ObjectName::parse(found.key.as_str()) {
                Ok(ObjectName::Epoch(epoch)) => Some(epoch),
                _ => None,
            })
        });
        Ok(listed.try_collect().await?)
    }

    /// How the epochs follow one another.
    ///
    /// # Errors
    /// When one cannot be read or is not believed.
    pub async fn timeline(&self) -> Result<Timeline, RepositoryError> {
        match self.read_timeline().await {
            // Pruned between the listing and the reading.
            Err(RepositoryError::Vanished(_)) => self.read_timeline().await,
            read => read,
        }
    }

    async fn read_timeline(&self) -> Result<Timeline, RepositoryError> {
        let read = |epoch| async move {
            let name = ObjectName::Epoch(epoch);
            let found = self.read::<EpochRecord>(name).await?;
            found.map(|(record, _)| record).ok_or_else(|| RepositoryError::Vanished(name.to_string()))
        };
        let epochs = stream::iter(self.epochs().await?);
        let records: Vec<_> = epochs.map(read).buffered(READ_AT_ONCE).try_collect().await?;
        Ok(Timeline::new(records)?)
    }
}

fn untrusted(name: &RemoteKey, why: SignedError) -> RepositoryError {
    RepositoryError::Untrusted { name: name.to_string(), why }
}

/// The description, after saying what people get wrong most.
fn verified(key: &BackupKey, name: &RemoteKey, bytes: &[u8]) -> Result<Description, RepositoryError> {
    let claims = lines(bytes).and_then(|(json, _)| serde_json::from_slice::<Unverified>(json).ok());
    if let Some(claims) = claims {
        if claims.format > FORMAT {
            return Err(RepositoryError::Format(claims.format));
        }
        let given = key.id().to_string();
        if claims.key_id != given {
            return Err(RepositoryError::WrongKey { expected: claims.key_id, given });
        }
    }
    key.signer(None).open(name, bytes).map_err(|why| untrusted(name, why))
}

#[cfg(test)]
mod tests {
    use super::{NewRepository, Repository, RepositoryError};
    use crate::backup::{BackupKey, Epoch, EpochRecord, ObjectName, SignedError, StoreId};
    use crate::remote::{MemoryRemote, PutOptions, Remote};
    use crate::sys::{ManualClock, SeededRandom};
    use crate::types::{CommitSeq, UnixMillis};
    use bytes::Bytes;
    use std::sync::Arc;

    const NEW: NewRepository = NewRepository { store_id: StoreId::new([5; 16]), encrypted: true };

    fn memory() -> Arc<MemoryRemote> {
        Arc::new(MemoryRemote::new(Arc::new(ManualClock::at(UnixMillis::new(1_000_000)))))
    }

    fn key(seed: u64) -> BackupKey {
        BackupKey::generate(&SeededRandom::new(seed))
    }

    async fn open_or_create(
        remote: &Arc<MemoryRemote>,
        seed: u64,
        new: NewRepository,
    ) -> Result<Repository, RepositoryError> {
        let (clock, random) = (ManualClock::at(UnixMillis::new(77)), SeededRandom::new(seed + 100));
        Repository::open_or_create(remote.clone(), key(seed), new, &clock, &random).await
    }

    #[tokio::test]
    async fn a_repository_is_made_once_and_opened_with_its_key() {
        let remote = memory();
        let missing = Repository::open(remote.clone(), key(1)).await.unwrap_err();
        assert!(matches!(missing, RepositoryError::Missing), "{missing}");
        let made = open_or_create(&remote, 1, NEW).await.unwrap();
        let opened = open_or_create(&remote, 1, NEW).await.unwrap();
        let read = Repository::open(remote.clone(), key(1)).await.unwrap();
        assert_eq!(made.description(), opened.description());
        assert_eq!(made.description(), read.description());
        assert_eq!(remote.keys(), ["repository.json"]);
    }

    #[tokio::test]
    async fn what_does_not_belong_together_is_refused_with_both_names() {
        let remote = memory();
        open_or_create(&remote, 1, NEW).await.unwrap();
        let wrong = open_or_create(&remote, 2, NEW).await.unwrap_err().to_string();
        assert!(
            wrong.contains(&key(1).id().to_string()) && wrong.contains(&key(2).id().to_string()),
            "{wrong}"
        );
        let other = NewRepository { store_id: StoreId::new([6; 16]), ..NEW };
        let wrong = open_or_create(&remote, 1, other).await.unwrap_err().to_string();
        assert!(wrong.contains("05050505") && wrong.contains("06060606"), "{wrong}");
        let plain = NewRepository { encrypted: false, ..NEW };
        let wrong = open_or_create(&remote, 1, plain).await.unwrap_err();
        assert!(matches!(wrong, RepositoryError::Encryption("with encryption")), "{wrong}");
    }

    /// Whoever holds the bucket must not talk a gateway into writing in the clear.
    #[tokio::test]
    async fn i6_a_changed_description_is_not_believed() {
        let remote = memory();
        open_or_create(&remote, 1, NEW).await.unwrap();
        remote.damage(&ObjectName::Repository.key(), |bytes| {
            let text = String::from_utf8(bytes.clone())
                .unwrap()
                .replace("\"encrypted\":true", "\"encrypted\":false");
            *bytes = text.into_bytes();
        });
        let refused = Repository::open(remote.clone(), key(1)).await.unwrap_err();
        assert!(
            matches!(refused, RepositoryError::Untrusted { why: SignedError::Signature, .. }),
            "{refused}"
        );
        remote.damage(&ObjectName::Repository.key(), |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap().replace("\"format\":1", "\"format\":2");
            *bytes = text.into_bytes();
        });
        let newer = Repository::open(remote.clone(), key(1)).await.unwrap_err();
        assert!(matches!(newer, RepositoryError::Format(2)), "{newer}");
    }

    #[tokio::test]
    async fn epochs_are_read_in_order_and_a_forged_one_is_refused() {
        let remote = memory();
        let repository = open_or_create(&remote, 1, NEW).await.unwrap();
        let record = |number: u32, parent: Option<u32>| EpochRecord {
            epoch: Epoch::new(number).unwrap(),
            parent: parent.and_then(Epoch::new),
            from_seq: CommitSeq::new(u64::from(number) * 10),
            store_id: NEW.store_id,
            tenure: String::new(),
            holder: String::new(),
            started: UnixMillis::new(0),
        };
        for (number, parent) in [(1, None), (0x1F, Some(1)), (2, Some(1))] {
            let name = ObjectName::Epoch(Epoch::new(number).unwrap());
            repository.write(name, &record(number, parent), &PutOptions::ABSENT).await.unwrap();
        }
        let timeline = repository.timeline().await.unwrap();
        assert_eq!(timeline.newest(), Epoch::new(0x1F));
        assert_eq!(timeline.path_to(Epoch::new(0x1F).unwrap()).unwrap().len(), 2);
        let name = ObjectName::Epoch(Epoch::new(0x20).unwrap());
        let copied =
            remote.get(&ObjectName::Epoch(Epoch::new(2).unwrap()).key(), crate::remote::Span::Whole).await;
        let copied: Bytes = copied.unwrap().unwrap().bytes;
        remote.put(&name.key(), copied, &PutOptions::ALWAYS).await.unwrap();
        let refused = repository.timeline().await.unwrap_err();
        assert!(matches!(refused, RepositoryError::Untrusted { .. }), "a copy under another name: {refused}");
    }
}
