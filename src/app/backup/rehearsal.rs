//! Serving what a drill has restored, to a client of its own: on a free port of this machine, by the code that serves the store.

use crate::app::credentials::letters;
use crate::app::server::s3_service;
use crate::backup::{Rehearsal, RestoredStore};
use crate::config::Settings;
use crate::http::HttpServer;
use crate::remote::{S3Credentials, S3Settings, SmokeReport, SmokeScript, smoke};
use crate::s3::Credentials;
use crate::service::ObjectService;
use crate::sys::{OsRandom, SystemClock};
use async_trait::async_trait;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

const SCRIPT: SmokeScript =
    SmokeScript { buckets: 10, objects: 10, reads_bodies: true, most_bytes: 256 << 20 };
/// The script has ended when it is to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// Where every client makes buckets without saying where.
const REGION: &str = "us-east-1";

/// Serves as the settings say, with credentials that nobody else knows.
#[derive(Debug)]
pub(super) struct Loopback(Box<Settings>);

impl Loopback {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut settings = settings.clone();
        REGION.clone_into(&mut settings.service.region);
        Self(Box::new(settings))
    }
}

#[async_trait]
impl Rehearsal for Loopback {
    async fn rehearse(&self, store: RestoredStore, stop: &CancellationToken) -> io::Result<SmokeReport> {
        let settings = &*self.0;
        let (access_key, secret_key) = (letters(&OsRandom, 20), Zeroizing::new(letters(&OsRandom, 40)));
        let keys = Credentials::new(&access_key, &secret_key);
        let memory = store.engine.parts().memory.clone();
        let service = ObjectService::new(
            store.meta,
            Arc::new(store.engine),
            Arc::new(OsRandom),
            Arc::new(SystemClock),
            settings.service.clone(),
        );
        let service = s3_service(service, keys, settings, memory).map_err(io::Error::other)?;
        let listener = HttpServer::bind("127.0.0.1:0").await?;
        let server = HttpServer::start_with("drill", listener, settings.http.clone(), service)?;
        let at = S3Settings {
            endpoint: Some(format!("http://{}", server.address())),
            region: REGION.to_owned(),
            path_style: Some(true),
            ..S3Settings::default()
        };
        let credentials = S3Credentials { access_key, secret_key, session_token: None };
        let script = SmokeScript { reads_bodies: store.is_whole, ..SCRIPT };
        let report = smoke(&at, &credentials, script, &OsRandom, stop).await;
        // Nobody waits for an answer that was given up.
        server.shutdown(if stop.is_cancelled() { Duration::ZERO } else { DRAIN }).await;
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::Loopback;
    use crate::backup::testing_store::TestStore;
    use crate::backup::{Rehearsal, RestoredStore};
    use crate::config::Settings;
    use crate::remote::SmokeReport;
    use crate::sys::{Random, SeededRandom};
    use tokio_util::sync::CancellationToken;

    async fn rehearse(store: &TestStore, is_whole: bool) -> SmokeReport {
        let restored = RestoredStore { meta: store.meta.clone(), engine: store.engine.clone(), is_whole };
        let loopback = Loopback::new(&Settings::default());
        loopback.rehearse(restored, &CancellationToken::new()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn i4_a_client_reads_what_is_whole_and_tells_what_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = TestStore::open(dir.path()).await;
        for (n, len) in [0, 10, 3_000, 250_000].into_iter().enumerate() {
            let mut body = vec![0; len];
            SeededRandom::new(n as u64).fill(&mut body);
            // Also a name that XML cannot hold.
            store.put(&format!("key +%{n}\u{1}"), &body, n == 2).await;
        }
        store.follow().await;
        let found = rehearse(&store, true).await;
        assert_eq!(found.problems, [""; 0]);
        assert_eq!((found.buckets, found.listed, found.heads, found.whole), (1, 4, 4, 4));
        assert!(found.ranges == 3 && found.written == 1 && found.bytes >= 353_010, "{found:?}");
        let heads = rehearse(&store, false).await;
        assert!(
            (heads.heads, heads.whole, heads.written) == (4, 0, 1) && heads.problems.is_empty(),
            "{heads:?}"
        );

        store.harm_plain();
        let found = rehearse(&store, true).await;
        assert!(!found.problems.is_empty() && found.written == 1, "{found:?}");
        assert!(found.problems.iter().all(|problem| problem.starts_with("bucket/key +%2")), "{found:?}");
    }
}
