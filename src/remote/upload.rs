//! What is said in terms of the calls: whole listings, and objects of any length in parts.

use super::{Class, Listed, PutOptions, Remote, RemoteError, RemoteKey, Tag, UploadName, Verb};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStream, TryStreamExt};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How an object in parts is cut: 8 MiB. Its last part may be shorter.
pub const PART_BYTES: usize = 8 << 20;
/// How long an abandoned upload is tried to be ended.
const ABORT_TIME: Duration = Duration::from_secs(60);

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    pub tag: Tag,
    pub bytes: u64,
}

/// Everything below a prefix, in order, page by page.
pub fn list_all<'a, R: Remote + ?Sized>(
    remote: &'a R,
    prefix: &'a str,
) -> BoxStream<'a, Result<Listed, RemoteError>> {
    let pages = stream::try_unfold(Some(None::<String>), move |after| async move {
        let Some(after) = after else { return Ok(None) };
        let page = remote.list(prefix, after.as_deref()).await?;
        // Whoever ignores where a page begins would be asked for ever.
        if page.next.is_some() && page.next <= after {
            return Err(RemoteError::new(Class::Wrong, Verb::List, prefix, "its pages do not advance"));
        }
        Ok(Some((stream::iter(page.objects).map(Ok), page.next.map(Some))))
    });
    pages.try_flatten().boxed()
}

/// Puts an object of pieces of [`PART_BYTES`] each, the last one of any length: in one call if there is one piece, else in parts,
/// `in_flight` of them at a time, so that it holds `in_flight + 2` pieces at most. Dropped or failed, it ends the upload that it began.
///
/// # Errors
/// The first one, of the pieces or of the remote. The object may be there all the same if its class says so.
pub async fn upload<R, P, E>(
    remote: &Arc<R>,
    key: &RemoteKey,
    options: &PutOptions,
    pieces: P,
    in_flight: usize,
) -> Result<Uploaded, E>
where
    R: Remote + ?Sized + 'static,
    P: TryStream<Ok = Bytes, Error = E> + Send,
    E: From<RemoteError> + Send,
{
    let mut pieces = pin!(pieces.into_stream());
    let first = pieces.try_next().await?.unwrap_or_default();
    let Some(second) = pieces.try_next().await? else {
        let bytes = first.len() as u64;
        return Ok(Uploaded { tag: remote.put(key, first, options).await?, bytes });
    };
    let name = remote.begin_upload(key, options).await?;
    let mut begun = Begun { remote, key, name: Some(name.clone()) };
    let name = &name;
    let send = |(at, piece): (usize, Result<Bytes, E>)| async move {
        let too_many = || RemoteError::new(Class::Refused, Verb::PutPart, key, "more than 10,000 parts");
        let number = u16::try_from(at + 1).ok().filter(|number| *number <= 10_000).ok_or_else(too_many)?;
        Ok::<_, E>(remote.put_part(key, name, number, piece?).await?)
    };
    let all = stream::iter([Ok(first), Ok(second)]).chain(pieces);
    let parts: Vec<_> = all.enumerate().map(send).buffered(in_flight.max(1)).try_collect().await?;
    let tag = remote.complete_upload(key, name, &parts, &options.condition).await?;
    begun.name = None;
    Ok(Uploaded { tag, bytes: parts.iter().map(|part| part.bytes).sum() })
}

/// An upload that is ended when it is dropped before it was completed.
struct Begun<'a, R: Remote + ?Sized + 'static> {
    remote: &'a Arc<R>,
    key: &'a RemoteKey,
    name: Option<UploadName>,
}

impl<R: Remote + ?Sized + 'static> Drop for Begun<'_, R> {
    fn drop(&mut self) {
        let (Some(name), Ok(runtime)) = (self.name.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let (remote, key) = (Arc::clone(self.remote), self.key.clone());
        // What cannot be ended now is left to the bucket's rule for incomplete uploads.
        runtime
            .spawn(async move { tokio::time::timeout(ABORT_TIME, remote.abort_upload(&key, &name)).await });
    }
}

#[cfg(test)]
mod tests {
    use super::{PART_BYTES, list_all, upload};
    use crate::remote::{
        Class, Fault, Faulty, MemoryRemote, PutOptions, Remote, RemoteError, RemoteKey, Span, Verb,
    };
    use crate::sys::ManualClock;
    use bytes::Bytes;
    use futures::{StreamExt, TryStreamExt, stream};
    use std::sync::Arc;

    fn remote() -> Arc<Faulty<MemoryRemote>> {
        Arc::new(Faulty::new(MemoryRemote::new(Arc::new(ManualClock::default())).with_pages_of(3)))
    }

    fn key() -> RemoteKey {
        RemoteKey::parse("packs/1").unwrap()
    }

    fn pieces(count: usize) -> Vec<Result<Bytes, RemoteError>> {
        (0..count).map(|n| Ok(Bytes::from(vec![n as u8; 1000]))).collect()
    }

    #[tokio::test]
    async fn an_object_of_any_number_of_pieces_is_whole() {
        for count in [0, 1, 2, 3, 9] {
            let remote = remote();
            let put =
                upload(&remote, &key(), &PutOptions::ABSENT, stream::iter(pieces(count)), 2).await.unwrap();
            let whole = remote.get(&key(), Span::Whole).await.unwrap().unwrap();
            let wanted: Vec<u8> = pieces(count).into_iter().flat_map(Result::unwrap).collect();
            assert_eq!(whole.bytes, wanted);
            assert_eq!((put.bytes, put.tag), (wanted.len() as u64, whole.stat.tag));
            let again = upload(&remote, &key(), &PutOptions::ABSENT, stream::iter(pieces(count)), 2).await;
            assert_eq!(again.unwrap_err().class, Class::Conflict, "{count} pieces");
        }
        // S3 takes no smaller parts.
        const { assert!(PART_BYTES >= 5 << 20) };
    }

    /// Lets tasks that are ready run.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn i5_a_failed_or_dropped_upload_leaves_no_parts_behind() {
        for verb in [Verb::PutPart, Verb::CompleteUpload] {
            let remote = remote();
            remote.script(verb, Fault::Fail(Class::Denied));
            let failed = upload(&remote, &key(), &PutOptions::ALWAYS, stream::iter(pieces(4)), 2).await;
            assert_eq!(failed.unwrap_err().class, Class::Denied);
            settle().await;
            assert_eq!(remote.inner().open_uploads(), 0, "{verb}");
        }
        let remote = remote();
        let endless = stream::iter(pieces(3)).chain(stream::pending());
        let (key, options) = (key(), PutOptions::ALWAYS);
        let mut dropped = Box::pin(upload(&remote, &key, &options, endless, 2));
        assert!(futures::poll!(&mut dropped).is_pending());
        assert_eq!(remote.inner().open_uploads(), 1);
        drop(dropped);
        settle().await;
        assert_eq!(remote.inner().open_uploads(), 0);
        assert_eq!(remote.inner().keys(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_failing_source_of_pieces_fails_the_upload() {
        let remote = remote();
        let mut broken = pieces(3);
        broken.push(Err(RemoteError::new(Class::Wrong, Verb::Get, "elsewhere", "torn")));
        let failed = upload(&remote, &key(), &PutOptions::ALWAYS, stream::iter(broken), 2).await.unwrap_err();
        assert_eq!((failed.class, failed.what.as_str()), (Class::Wrong, "elsewhere"));
        assert_eq!(remote.inner().keys(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_listing_goes_over_all_pages() {
        let remote = remote();
        let names: Vec<String> = (0..10).map(|n| format!("log/{n}")).collect();
        for name in names.iter().chain(&["lo".to_owned(), "logs".to_owned()]) {
            let key = RemoteKey::parse(name).unwrap();
            remote.put(&key, Bytes::new(), &PutOptions::ALWAYS).await.unwrap();
        }
        let listed: Vec<_> =
            list_all(&*remote, "log/").map_ok(|found| found.key.to_string()).try_collect().await.unwrap();
        assert_eq!(listed, names);
    }
}
