//! Whether a server keeps its word on conditional writes. Some ignore the headers, and two writers would ruin each other's
//! backup: so it is tried before anything is written.

use super::ObjectName;
use crate::remote::{Class, Condition, PutOptions, Remote, RemoteError, RemoteKey, Span, Tag};
use crate::sys::Random;
use crate::types::UnixMillis;
use bytes::Bytes;

/// Why a remote cannot hold a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    #[error(
        "this server cannot hold backups: {0}. Without conditional writes two gateways could ruin each other's backup; AWS S3, \
         another Sediment, and MinIO and Ceph of 2026 have them, Garage 2.5 has not. Where nothing else ever writes the repository, \
         backup.exclusive does without"
    )]
    Unfit(&'static str),
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// Tries conditional writes on objects of its own. Tells the remote's time, to the second.
///
/// # Errors
/// When one of them is not what S3 promises, or the remote fails.
pub async fn probe(remote: &dyn Remote, random: &dyn Random) -> Result<UnixMillis, ProbeError> {
    let name = ObjectName::Probe(random.id128()).key();
    let time = conditions(remote, &name).await;
    let never = ObjectName::Probe(random.id128()).key();
    let absent = match time {
        Ok(_) => absent_does_not_match(remote, &never).await,
        Err(_) => Ok(()),
    };
    // Credentials may be without the right to delete: what is left is a few bytes.
    let _ = remote.delete(&[name, never]).await;
    absent.and(time)
}

async fn conditions(remote: &dyn Remote, name: &RemoteKey) -> Result<UnixMillis, ProbeError> {
    let put = async |text: &'static str, options: PutOptions| {
        remote.put(name, Bytes::from_static(text.as_bytes()), &options).await
    };
    let first = put("first", PutOptions::ABSENT).await.map_err(unsupported)?;
    refused(put("second", PutOptions::ABSENT).await, "it overwrites an object in spite of If-None-Match")?;
    let other = Tag("\"00000000000000000000000000000000\"".to_owned());
    refused(put("third", PutOptions::matching(other)).await, "it overwrites an object in spite of If-Match")?;
    put("fourth", PutOptions::matching(first.clone())).await.map_err(unsupported)?;
    refused(
        put("fifth", PutOptions::matching(first)).await,
        "it overwrites an object in spite of an If-Match that held before",
    )?;
    parts(remote, name).await?;
    let piece = remote.get(name, Span::Whole).await?;
    let piece = piece.filter(|piece| piece.bytes == "fourth");
    let piece = piece.ok_or(ProbeError::Unfit("a write that it refused changed the object all the same"))?;
    Ok(piece.stat.modified)
}

/// Large objects are written in parts, and must not overwrite either.
async fn parts(remote: &dyn Remote, name: &RemoteKey) -> Result<(), ProbeError> {
    let upload = remote.begin_upload(name, &PutOptions::ABSENT).await?;
    let part = remote.put_part(name, &upload, 1, Bytes::from_static(b"sixth")).await?;
    let completed = remote.complete_upload(name, &upload, &[part], &Condition::Absent).await;
    // What was refused is still open.
    let _ = remote.abort_upload(name, &upload).await;
    refused(completed, "it overwrites an object in parts in spite of If-None-Match")
}

async fn absent_does_not_match(remote: &dyn Remote, never: &RemoteKey) -> Result<(), ProbeError> {
    let options = PutOptions::matching(Tag("\"00000000000000000000000000000000\"".to_owned()));
    let put = remote.put(never, Bytes::from_static(b"seventh"), &options).await;
    refused(put, "it takes If-Match to hold where there is no object")
}

/// A server without the header may say so.
fn unsupported(error: RemoteError) -> ProbeError {
    match error.class {
        Class::Unsupported => ProbeError::Unfit("it does not take If-None-Match and If-Match on writes"),
        Class::Conflict => ProbeError::Unfit("it refuses a write whose condition holds"),
        _ => error.into(),
    }
}

fn refused(answer: Result<Tag, RemoteError>, otherwise: &'static str) -> Result<(), ProbeError> {
    match answer {
        Ok(_) => Err(ProbeError::Unfit(otherwise)),
        Err(error) if error.class == Class::Conflict => Ok(()),
        Err(error) => Err(unsupported(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{ProbeError, probe};
    use crate::remote::{
        Class, Condition, Fault, Faulty, MemoryRemote, Page, Part, Piece, PutOptions, Remote, RemoteError,
        RemoteKey, Span, Stat, Tag, UploadName, Verb,
    };
    use crate::sys::{ManualClock, SeededRandom};
    use crate::types::UnixMillis;
    use async_trait::async_trait;
    use bytes::Bytes;
    use std::sync::Arc;

    /// What a server may get wrong.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Carelessness {
        IgnoresAbsent,
        IgnoresMatch,
        MatchesNothing,
        IgnoresInParts,
        WritesAndRefuses,
        Unsupported,
    }

    #[derive(Debug)]
    struct Careless(MemoryRemote, Carelessness);

    #[async_trait]
    impl Remote for Careless {
        async fn head(&self, key: &RemoteKey) -> Result<Option<Stat>, RemoteError> {
            self.0.head(key).await
        }

        async fn get(&self, key: &RemoteKey, span: Span) -> Result<Option<Piece>, RemoteError> {
            self.0.get(key, span).await
        }

        async fn put(&self, key: &RemoteKey, body: Bytes, options: &PutOptions) -> Result<Tag, RemoteError> {
            let there = self.0.head(key).await?.is_some();
            let is_ignored = match (&options.condition, self.1) {
                (Condition::Absent, Carelessness::IgnoresAbsent) => true,
                (Condition::Matches(_), Carelessness::IgnoresMatch) => there,
                (Condition::Matches(_), Carelessness::MatchesNothing) => !there,
                (Condition::Absent | Condition::Matches(_), Carelessness::Unsupported) => {
                    return Err(RemoteError::new(Class::Unsupported, Verb::Put, key, "no such header"));
                }
                _ => false,
            };
            let put = self.0.put(key, body.clone(), options).await;
            if is_ignored || (put.is_err() && self.1 == Carelessness::WritesAndRefuses) {
                let forced = self.0.put(key, body, &PutOptions::ALWAYS).await;
                return if is_ignored { forced } else { put };
            }
            put
        }

        async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, RemoteError> {
            self.0.list(prefix, after).await
        }

        async fn delete(&self, keys: &[RemoteKey]) -> Result<(), RemoteError> {
            self.0.delete(keys).await
        }

        async fn retain(&self, key: &RemoteKey, until: UnixMillis) -> Result<(), RemoteError> {
            self.0.retain(key, until).await
        }

        async fn begin_upload(
            &self,
            key: &RemoteKey,
            options: &PutOptions,
        ) -> Result<UploadName, RemoteError> {
            self.0.begin_upload(key, options).await
        }

        async fn put_part(
            &self,
            key: &RemoteKey,
            upload: &UploadName,
            number: u16,
            body: Bytes,
        ) -> Result<Part, RemoteError> {
            self.0.put_part(key, upload, number, body).await
        }

        async fn complete_upload(
            &self,
            key: &RemoteKey,
            upload: &UploadName,
            parts: &[Part],
            condition: &Condition,
        ) -> Result<Tag, RemoteError> {
            let condition =
                if self.1 == Carelessness::IgnoresInParts { &Condition::Always } else { condition };
            self.0.complete_upload(key, upload, parts, condition).await
        }

        async fn abort_upload(&self, key: &RemoteKey, upload: &UploadName) -> Result<(), RemoteError> {
            self.0.abort_upload(key, upload).await
        }
    }

    fn memory() -> MemoryRemote {
        MemoryRemote::new(Arc::new(ManualClock::at(UnixMillis::new(77_999))))
    }

    #[tokio::test]
    async fn a_server_that_keeps_its_word_passes_and_tells_its_time() {
        let remote = memory();
        assert_eq!(probe(&remote, &SeededRandom::new(1)).await, Ok(UnixMillis::new(77_000)));
        assert_eq!(remote.keys(), Vec::<String>::new());
        assert_eq!(remote.open_uploads(), 0);
    }

    #[tokio::test]
    async fn every_way_to_be_careless_is_noticed_and_named() {
        for (fault, named) in [
            (Carelessness::IgnoresAbsent, "in spite of If-None-Match"),
            (Carelessness::IgnoresMatch, "in spite of If-Match"),
            (Carelessness::MatchesNothing, "where there is no object"),
            (Carelessness::IgnoresInParts, "in parts"),
            (Carelessness::WritesAndRefuses, "whose condition holds"),
            (Carelessness::Unsupported, "does not take If-None-Match"),
        ] {
            let remote = Careless(memory(), fault);
            let found = probe(&remote, &SeededRandom::new(1)).await.unwrap_err();
            assert!(
                matches!(found, ProbeError::Unfit(_)) && found.to_string().contains(named),
                "{fault:?}: {found}"
            );
            assert_eq!(remote.0.keys(), Vec::<String>::new(), "{fault:?}");
        }
    }

    #[tokio::test]
    async fn a_failing_remote_is_not_called_unfit_and_deletes_need_no_right() {
        let remote = Faulty::new(memory());
        remote.script(Verb::Put, Fault::Fail(Class::Unavailable));
        let failed = probe(&remote, &SeededRandom::new(1)).await.unwrap_err();
        assert!(matches!(failed, ProbeError::Remote(_)), "{failed}");
        remote.script(Verb::Delete, Fault::Fail(Class::Denied));
        assert!(probe(&remote, &SeededRandom::new(2)).await.is_ok());
    }
}
