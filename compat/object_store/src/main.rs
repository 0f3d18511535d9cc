//! object_store: the suite that it publishes for makers of stores, then what its users build on it. Prints its cases as
//! compat/run counts them, and ends with 1 if one failed.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum, S3CopyIfNotExists};
use object_store::integration as suite;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, UpdateVersion, WriteMultipart};
use tokio::runtime::Runtime;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn builder() -> AmazonS3Builder {
    AmazonS3Builder::from_env().with_allow_http(true).with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
}

fn body(len: usize) -> Bytes {
    // Xorshift: neither compressible nor repeating, and the same in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
    .take(len)
    .collect()
}

fn expect(holds: bool, what: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(what.into().into()) }
}

/// Runs cases one after the other, each on a thread of its own, as the suite panics where a store fails.
struct Cases {
    failed: bool,
}

impl Cases {
    fn run<F>(&mut self, name: &str, case: F)
    where
        F: AsyncFnOnce(AmazonS3) -> Outcome + Send + 'static,
    {
        self.run_on(name, builder(), case);
    }

    fn run_on<F>(&mut self, name: &str, builder: AmazonS3Builder, case: F)
    where
        F: AsyncFnOnce(AmazonS3) -> Outcome + Send + 'static,
    {
        let thread =
            std::thread::spawn(move || Runtime::new()?.block_on(async { case(builder.build()?).await }));
        match thread.join() {
            Ok(Ok(())) => println!("ok {name}"),
            Ok(Err(error)) => self.fail(name, &error.to_string()),
            Err(_) => self.fail(name, "it panicked; the reason is above"),
        }
    }

    fn fail(&mut self, name: &str, reason: &str) {
        self.failed = true;
        println!("FAILED {name}\n    {reason}");
    }
}

fn published_suite(cases: &mut Cases) {
    cases.run("published suite: put, get, delete, list", async |s| Ok(suite::put_get_delete_list(&s).await));
    cases.run("published suite: streams", async |s| Ok(suite::stream_get(&s).await));
    cases.run("published suite: folders", async |s| Ok(suite::list_uses_directories_correctly(&s).await));
    cases.run("published suite: delimiter", async |s| Ok(suite::list_with_delimiter(&s).await));
    cases.run("published suite: list with offset", async |s| {
        Ok(suite::list_with_offset_exclusivity(&s).await)
    });
    cases.run("published suite: pages", async |s| Ok(suite::list_paginated(&s, &s).await));
    cases.run("published suite: rename and copy", async |s| Ok(suite::rename_and_copy(&s).await));
    cases.run("published suite: copy of what is not there", async |s| {
        Ok(suite::copy_rename_nonexistent_object(&s).await)
    });
    cases.run("published suite: copy if not exists", async |s| Ok(suite::copy_if_not_exists(&s).await));
    cases.run("published suite: multipart", async |s| Ok(suite::multipart(&s, &s).await));
    cases.run("published suite: multipart with options", async |s| {
        Ok(suite::multipart_with_opts(&s, &s).await)
    });
    cases.run("published suite: multipart, parts out of order", async |s| {
        suite::multipart_put_part_out_of_order(&s, &s).await;
        Ok(suite::multipart_out_of_order(&s).await)
    });
    cases.run("published suite: multipart, racing uploads", async |s| {
        Ok(suite::multipart_race_condition(&s, true).await)
    });
    cases.run_on("published suite: unsigned payload", builder().with_unsigned_payload(true), async |s| {
        Ok(suite::put_get_delete_list(&s).await)
    });
    for (name, checksum) in [("SHA-256", Checksum::SHA256), ("CRC64NVME", Checksum::CRC64NVME)] {
        let with_checksum = builder().with_checksum_algorithm(checksum);
        cases.run_on(&format!("published suite: {name}"), with_checksum.clone(), async |s| {
            Ok(suite::put_get_delete_list(&s).await)
        });
        cases.run_on(&format!("published suite: {name}, copy if not exists"), with_checksum, async |s| {
            Ok(suite::copy_if_not_exists(&s).await)
        });
    }
    // Last: these leave objects behind, and the others start with an empty bucket.
    cases.run("published suite: get options", async |s| Ok(suite::get_opts(&s).await));
    cases.run("published suite: attributes", async |s| Ok(suite::put_get_attributes(&s).await));
    cases.run("published suite: conditional put", async |s| Ok(suite::put_opts(&s, true).await));
    cases.run("published suite: no such object", async |s| {
        let found = suite::get_nonexistent_object(&s, None).await;
        expect(matches!(found, Err(object_store::Error::NotFound { .. })), format!("found {found:?}"))
    });
}

/// 64 writers want to create one object: what a lease or a table's next commit is.
async fn one_creator(store: AmazonS3) -> Outcome {
    let path = Path::from("race/create");
    let writers = (0..64).map(|writer| {
        let (store, path) = (&store, &path);
        async move {
            let created =
                store.put_opts(path, format!("writer {writer}").into(), PutMode::Create.into()).await;
            match created {
                Ok(_) => Ok(Some(writer)),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        }
    });
    let winners: Vec<i32> =
        futures_util::future::try_join_all(writers).await?.into_iter().flatten().collect();
    let kept = store.get(&path).await?.bytes().await?;
    expect(
        winners.len() == 1 && kept == format!("writer {}", winners[0]),
        format!("{winners:?} won; {kept:?} is kept"),
    )
}

/// Adds one to a counter by compare and swap, as often as others come first.
async fn increment(store: &AmazonS3, path: &Path) -> Outcome {
    loop {
        let read = store.get(path).await?;
        let version = UpdateVersion { e_tag: read.meta.e_tag.clone(), version: read.meta.version.clone() };
        let count: u32 = std::str::from_utf8(&read.bytes().await?)?.parse()?;
        match store.put_opts(path, (count + 1).to_string().into(), PutMode::Update(version).into()).await {
            Ok(_) => return Ok(()),
            Err(object_store::Error::Precondition { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

async fn no_increment_is_lost(store: AmazonS3) -> Outcome {
    let path = Path::from("race/counter");
    store.put(&path, "0".into()).await?;
    let all = (0..8).map(async |_| {
        for _ in 0..10 {
            increment(&store, &path).await?;
        }
        Outcome::Ok(())
    });
    futures_util::future::try_join_all(all).await?;
    let count = store.get(&path).await?.bytes().await?;
    expect(count == "80", format!("80 increments came to {count:?}"))
}

async fn large_object(store: AmazonS3) -> Outcome {
    let (path, whole) = (Path::from("large/ünï çødé"), body(17 << 20));
    let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(&path).await?, 5 << 20);
    for piece in whole.chunks(1_000_003) {
        upload.wait_for_capacity(4).await?;
        upload.write(piece);
    }
    upload.finish().await?;
    expect(store.get(&path).await?.bytes().await? == whole, "the body differs")?;
    let spans = [0..10, 5_242_870..5_242_890, 9_000_000..12_000_001, (17 << 20) - 1..17 << 20];
    let found = store.get_ranges(&path, &spans).await?;
    for (found, span) in found.iter().zip(spans) {
        expect(found[..] == whole[span.start as usize..span.end as usize], format!("{span:?} differs"))?;
    }
    Ok(())
}

async fn aborted_upload(store: AmazonS3) -> Outcome {
    let path = Path::from("large/aborted");
    let mut upload = store.put_multipart(&path).await?;
    upload.put_part(body(5 << 20).into()).await?;
    upload.abort().await?;
    let found = store.head(&path).await;
    expect(matches!(found, Err(object_store::Error::NotFound { .. })), format!("found {found:?}"))
}

async fn signed_url(store: AmazonS3) -> Outcome {
    let path = Path::from("signed/a b+c");
    store.put(&path, "content".into()).await?;
    let url = store.signed_url(reqwest::Method::GET, &path, Duration::from_secs(60)).await?;
    let found = reqwest::get(url.clone()).await?.error_for_status()?.bytes().await?;
    expect(found == "content", format!("found {found:?}"))?;
    let forged = reqwest::get(format!("{url}0")).await?.status();
    expect(forged == 403, format!("a forged URL is answered {forged}"))
}

async fn bulk_delete(store: AmazonS3) -> Outcome {
    let paths: Vec<Path> = (0..1100).map(|i| Path::from(format!("bulk/{i:04}"))).collect();
    let puts = futures_util::stream::iter(&paths).map(|path| store.put(path, "x".into()));
    puts.buffered(16).try_collect::<Vec<_>>().await?;
    let gone = futures_util::stream::iter(paths.clone()).map(Ok).boxed();
    let gone = store.delete_stream(gone).try_collect::<Vec<_>>().await?;
    let left = store.list(Some(&Path::from("bulk"))).try_collect::<Vec<_>>().await?;
    expect(gone.len() == 1100 && left.is_empty(), format!("{} deleted, {} left", gone.len(), left.len()))
}

fn main() -> ExitCode {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    let mut cases = Cases { failed: false };
    published_suite(&mut cases);
    cases.run("conditional put: one of 64 racing creators wins", one_creator);
    cases.run("conditional put: a counter loses no increment", no_increment_is_lost);
    cases.run("multipart: 17 MiB and ranges of it", large_object);
    cases.run("multipart: aborted", aborted_upload);
    cases.run("signed URLs: get, forged", signed_url);
    cases.run("bulk delete: 1,100 objects", bulk_delete);
    ExitCode::from(u8::from(cases.failed))
}
