//! What a server says that cannot do it now, and waiting until it can.

use super::sediment::Sediment;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Far above anything that is not stuck.
const PATIENCE: Duration = Duration::from_secs(90);
const BETWEEN: Duration = Duration::from_millis(100);

/// A client that is told everything.
pub fn without_retries(server: &Sediment) -> Client {
    let config = server.client().config().to_builder().retry_config(RetryConfig::disabled()).build();
    Client::from_conf(config)
}

/// Status, code, and `Retry-After`.
pub fn refusal<E>(error: &SdkError<E, HttpResponse>) -> (u16, String, Option<String>)
where
    E: ProvideErrorMetadata + Debug,
    SdkError<E, HttpResponse>: ProvideErrorMetadata,
{
    let answer = error.raw_response().unwrap_or_else(|| panic!("no answer: {error:?}"));
    let retry_after = answer.headers().get("retry-after").map(str::to_owned);
    (answer.status().as_u16(), error.code().unwrap_or_default().to_owned(), retry_after)
}

/// Tries until it works; meanwhile nothing but one of these statuses is said.
pub async fn patiently<T, E, F>(statuses: &[u16], mut attempt: impl FnMut() -> F) -> T
where
    E: ProvideErrorMetadata + Debug,
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
{
    let began = Instant::now();
    loop {
        match attempt().await {
            Ok(done) => return done,
            // Answered before its body was sent, and cut off.
            Err(error) if error.raw_response().is_none() => assert!(began.elapsed() < PATIENCE, "{error:?}"),
            Err(error) => {
                let said = refusal(&error);
                assert!(statuses.contains(&said.0), "{said:?}: {error:?}");
                assert!(began.elapsed() < PATIENCE, "still {said:?}");
            }
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

pub async fn patient_put(client: &Client, key: &str, bytes: &[u8], statuses: &[u16]) {
    patiently(statuses, || client.put_object().bucket("bucket").key(key).body(bytes.to_vec().into()).send())
        .await;
}

/// Until something outside is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(BETWEEN).await;
    }
}
