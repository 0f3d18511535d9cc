//! What the protocol costs of one small request: signature, rules, s3s, the service, the answer's head and body. Metadata
//! and bodies are in memory and there are no sockets, so neither a disk nor a network is in the numbers.
//!
//! `cargo bench --bench edge [-- OPERATION…]`. With `--once N` each operation is made N times and nothing is measured:
//! for counting instructions from outside (`valgrind --tool=callgrind`), twice, and subtracting.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_debug_implementations)]

use async_trait::async_trait;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use futures::StreamExt;
use http::Request;
use http_body_util::{BodyExt, Full};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use sediment::engine::{
    BodySpec, BodyStore, BodyStream, BodyWriter, Digests, EngineError, ReadHold, StagedBody,
};
use sediment::meta::{MemoryStore, NewBody, StoredBody};
use sediment::s3::{Credentials, S3Gateway, S3Settings};
use sediment::service::{ObjectService, ServiceSettings};
use sediment::sys::{ManualClock, OsRandom};
use sediment::types::{Checksum, ChecksumAlgorithm, ResolvedRange, UnixMillis};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};
use tokio::runtime::Runtime;

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW: u64 = 1_764_000_000;
/// Objects, and as many different requests: what is cached by request would show nothing here.
const OBJECTS: usize = 1_000;
const OBJECT_BYTES: usize = 4 << 10;
const RUNS: usize = 15;
const NAMES: [&str; 4] = ["PUT", "HEAD", "GET", "LIST"];

/// Bodies in their rows, digested by nobody.
#[derive(Debug)]
struct Bodies;

struct Writer(Vec<u8>);

#[async_trait]
impl BodyStore for Bodies {
    async fn writer(&self, _spec: BodySpec) -> Result<Box<dyn BodyWriter>, EngineError> {
        Ok(Box::new(Writer(Vec::new())))
    }

    fn hold(&self) -> ReadHold {
        Box::new(())
    }

    async fn read(
        &self,
        _hold: ReadHold,
        body: &StoredBody,
        _size: u64,
        range: ResolvedRange,
    ) -> Result<BodyStream, EngineError> {
        let StoredBody::Inline(bytes) = body else { panic!("an inline body") };
        let bytes = bytes.slice(range.start as usize..range.end as usize);
        Ok(futures::stream::iter([Ok(bytes)]).boxed())
    }

    async fn join(&self, _bodies: Vec<(StoredBody, u64)>) -> Result<StagedBody, EngineError> {
        panic!("nothing is joined here")
    }
}

#[async_trait]
impl BodyWriter for Writer {
    async fn admit(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), EngineError> {
        self.0.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<StagedBody, EngineError> {
        let checksums = vec![Checksum::full(ChecksumAlgorithm::Crc64Nvme, &[0; 8]).unwrap()];
        let (digests, size) = (Digests { md5: [0; 16], checksums }, self.0.len() as u64);
        Ok(StagedBody { body: NewBody::Inline(self.0.into()), size, digests, hold: Box::new(()) })
    }
}

fn gateway() -> S3Gateway {
    let clock = Arc::new(ManualClock::at(UnixMillis::new(NOW as i64 * 1000)));
    let random = Arc::new(OsRandom);
    let meta = Arc::new(MemoryStore::new(clock.clone(), random.clone()));
    let settings = ServiceSettings::default();
    let service = ObjectService::new(meta, Arc::new(Bodies), random, clock.clone(), settings);
    let keys = Credentials::new(ACCESS_KEY, SECRET_KEY);
    S3Gateway::new(service, &S3Settings::default(), keys, &OsRandom, clock).unwrap()
}

/// With the headers that SDKs send, signed by AWS's own code.
fn request(method: &str, path: &str, body: &Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1:9000")
        .header("accept-encoding", "identity")
        .header("user-agent", "aws-sdk-rust/1.3 os/linux lang/rust/1.95")
        .header("amz-sdk-invocation-id", "5f0f7c1d-3b7e-4f0d-9a4e-2d1a7c9e8b63")
        .header("amz-sdk-request", "attempt=1; max=3");
    if !body.is_empty() {
        request = request.header("content-length", body.len()).header("content-type", "text/plain");
    }
    let mut request = request.body(Full::new(body.clone())).unwrap();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let identity = aws_credential_types::Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "bench").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("s3")
        .time(UNIX_EPOCH + Duration::from_secs(NOW))
        .settings(settings)
        .build()
        .unwrap();
    let uri = format!("http://127.0.0.1:9000{path}");
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let payload = SignableBody::UnsignedPayload;
    let signable = SignableRequest::new(method, &uri, headers, payload).unwrap();
    let (instructions, _) = sign(signable, &params.into()).unwrap().into_parts();
    instructions.apply_to_request_http1x(&mut request);
    request
}

/// The answer's length, all of it taken.
async fn answer(gateway: &S3Gateway, request: Request<Full<Bytes>>) -> usize {
    let response = gateway.handle(request).await;
    assert!(response.status().is_success(), "{}", response.status());
    response.into_body().collect().await.unwrap().to_bytes().len()
}

fn object(n: usize) -> String {
    format!("/bucket/folder-{:02}/object-{n:08}.dat", n % 10)
}

fn operations() -> Vec<(&'static str, Vec<Request<Full<Bytes>>>)> {
    let (empty, body) = (Bytes::new(), Bytes::from(vec![7; OBJECT_BYTES]));
    let each = |method: &str, body: &Bytes| (0..OBJECTS).map(|n| request(method, &object(n), body)).collect();
    let list = "/bucket?list-type=2&prefix=&encoding-type=url";
    vec![
        (NAMES[0], each("PUT", &body)),
        (NAMES[1], each("HEAD", &empty)),
        (NAMES[2], each("GET", &empty)),
        (NAMES[3], (0..20).map(|_| request("GET", list, &empty)).collect()),
    ]
}

fn measure(runtime: &Runtime, gateway: &S3Gateway, name: &str, requests: &[Request<Full<Bytes>>]) {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let copies = requests.to_vec();
        let began = Instant::now();
        runtime.block_on(async {
            for request in copies {
                answer(gateway, request).await;
            }
        });
        times.push(began.elapsed().as_nanos() as f64 / requests.len() as f64);
    }
    times.sort_by(f64::total_cmp);
    let copy = requests[0].clone();
    let allocated = allocation_counter::measure(|| {
        runtime.block_on(answer(gateway, copy));
    });
    let (median, best, worst) = (times[RUNS / 2], times[0], times[RUNS - 1]);
    let (count, bytes) = (allocated.count_total, allocated.bytes_total);
    println!(
        "{name:<6}{median:>10.0} ns (best {best:.0}, worst {worst:.0}), {count} allocations of {bytes} bytes"
    );
}

/// As in a server: metrics are recorded, and logs filtered.
fn observe() {
    let filter = tracing_subscriber::EnvFilter::new("info,s3s=off");
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let builder = PrometheusBuilder::new();
    let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &[0.001, 0.01]);
    metrics::set_global_recorder(builder.unwrap().build_recorder()).unwrap();
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let once = arguments.iter().position(|argument| argument == "--once");
    let once: Option<usize> = once.map(|at| arguments[at + 1].parse().unwrap());
    let named: Vec<_> = arguments.iter().filter(|argument| NAMES.contains(&argument.as_str())).collect();
    observe();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let gateway = gateway();
    let operations = operations();
    runtime.block_on(answer(&gateway, request("PUT", "/bucket", &Bytes::new())));
    for request in operations[0].1.clone() {
        runtime.block_on(answer(&gateway, request));
    }
    for (name, requests) in operations {
        if !named.is_empty() && !named.iter().any(|named| *named == name) {
            continue;
        }
        match once {
            None => measure(&runtime, &gateway, name, &requests),
            Some(count) => {
                for request in requests.iter().cycle().take(count) {
                    runtime.block_on(answer(&gateway, request.clone()));
                }
            }
        }
    }
}
