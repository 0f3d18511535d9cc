use super::{AdminApi, router};
use crate::admin::{BackupRequest, Operations, Phase, ScrubRequest, StoreStats};
use async_trait::async_trait;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

#[derive(Debug)]
struct Fake;

#[async_trait]
impl Operations for Fake {
    async fn stats(&self) -> Result<StoreStats, String> {
        Ok(StoreStats { logical_bytes: 7, ..StoreStats::default() })
    }

    async fn gc(&self, dry_run: bool) -> Result<Value, String> {
        if dry_run { Ok(json!({ "dry_run": true })) } else { Err("busy".to_owned()) }
    }

    async fn replication(&self) -> Result<Value, String> {
        Ok(json!([]))
    }

    async fn scrub(&self, request: ScrubRequest) -> Result<Value, String> {
        Ok(json!(format!("{request:?}")))
    }

    async fn backup(&self, request: BackupRequest) -> Result<Value, String> {
        Ok(json!(format!("{request:?}")))
    }
}

fn api() -> Arc<AdminApi> {
    Arc::new(AdminApi {
        health: Arc::default(),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        operations: OnceLock::new(),
        token: "t0ken".to_owned(),
        allowed_hosts: Vec::new(),
    })
}

async fn ask(
    api: &Arc<AdminApi>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, String) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let service = TowerToHyperService::new(router(Arc::clone(api)));
    let response = service.call(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

const HERE: (&str, &str) = ("host", "127.0.0.1:9001");
const OWNER: (&str, &str) = ("authorization", "Bearer t0ken");

#[tokio::test]
async fn i5_alive_is_not_yet_ready() {
    let api = api();
    assert_eq!(ask(&api, "GET", "/healthz", &[HERE]).await.0, StatusCode::OK);
    let (status, said) = ask(&api, "GET", "/readyz", &[HERE]).await;
    assert_eq!((status, said.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "starting\n"));
    api.health.set(Phase::Running);
    assert_eq!(ask(&api, "GET", "/readyz", &[HERE]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn i6_a_foreign_host_is_refused_on_every_route() {
    let api = api();
    for path in ["/healthz", "/readyz", "/metrics", "/admin/v1/stats"] {
        let foreign = ask(&api, "GET", path, &[("host", "evil.example:9001"), OWNER]).await;
        assert_eq!(foreign.0, StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert_eq!(
            ask(&api, "GET", path, &[OWNER]).await.0,
            StatusCode::MISDIRECTED_REQUEST,
            "{path} without"
        );
        let twice = ask(&api, "GET", path, &[HERE, ("host", "evil.example"), OWNER]).await;
        assert_eq!(twice.0, StatusCode::MISDIRECTED_REQUEST, "{path} twice");
    }
}

#[tokio::test]
async fn i6_the_verbs_need_the_token() {
    let api = api();
    assert_eq!(ask(&api, "GET", "/admin/v1/stats", &[HERE, OWNER]).await.0, StatusCode::SERVICE_UNAVAILABLE);
    api.operations.set(Arc::new(Fake)).unwrap();
    for wrong in [None, Some("Bearer "), Some("Bearer t0keN"), Some("t0ken"), Some("Basic t0ken")] {
        let mut headers = vec![HERE];
        headers.extend(wrong.map(|value| ("authorization", value)));
        assert_eq!(
            ask(&api, "GET", "/admin/v1/stats", &headers).await.0,
            StatusCode::UNAUTHORIZED,
            "{wrong:?}"
        );
        assert_eq!(
            ask(&api, "POST", "/admin/v1/gc", &headers).await.0,
            StatusCode::UNAUTHORIZED,
            "{wrong:?}"
        );
    }
    let (status, said) = ask(&api, "GET", "/admin/v1/stats", &[HERE, OWNER]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(serde_json::from_str::<StoreStats>(&said).unwrap().logical_bytes, 7);
    let (status, said) = ask(&api, "POST", "/admin/v1/gc?dry_run=true", &[HERE, OWNER]).await;
    assert_eq!((status, said.as_str()), (StatusCode::OK, r#"{"dry_run":true}"#));
    let (status, said) = ask(&api, "POST", "/admin/v1/gc", &[HERE, OWNER]).await;
    assert_eq!((status, said.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, r#"{"error":"busy"}"#));
    assert_eq!(ask(&api, "POST", "/admin/v1/gc?dryrun=1", &[HERE, OWNER]).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(ask(&api, "GET", "/admin/v1/gc", &[HERE, OWNER]).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn i6_backups_are_the_owners_and_each_method_asks_for_one_thing() {
    let api = api();
    let _ = api.operations.set(Arc::new(Fake));
    let path = "/admin/v1/backup";
    for (method, query, asked) in [
        ("GET", "", "Status"),
        ("POST", "", "Start { full: false }"),
        ("POST", "?full=true", "Start { full: true }"),
        ("POST", "/prune", "Prune"),
        ("POST", "/verify", "Verify { percent: 0, all: false }"),
        ("POST", "/verify?percent=5&all=true", "Verify { percent: 5, all: true }"),
        ("POST", "/drill", "Drill"),
    ] {
        let path = format!("{path}{query}");
        assert_eq!(ask(&api, method, &path, &[HERE]).await.0, StatusCode::UNAUTHORIZED);
        let (status, body) = ask(&api, method, &path, &[HERE, OWNER]).await;
        assert!(status == StatusCode::OK && body.contains(asked), "{body}");
    }
    for wrong in ["?all=1", "/verify?percent=101", "/verify?all=1", "/verify?percent"] {
        let path = format!("{path}{wrong}");
        assert_eq!(ask(&api, "POST", &path, &[HERE, OWNER]).await.0, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn i6_scrubbing_is_the_owners_and_each_method_asks_for_one_thing() {
    let api = api();
    api.operations.set(Arc::new(Fake)).unwrap();
    for (method, asked) in [("GET", "Status"), ("POST", "Start"), ("DELETE", "Stop")] {
        assert_eq!(ask(&api, method, "/admin/v1/scrub", &[HERE]).await.0, StatusCode::UNAUTHORIZED);
        let (status, body) = ask(&api, method, "/admin/v1/scrub", &[HERE, OWNER]).await;
        assert_eq!((status, body), (StatusCode::OK, format!("\"{asked}\"")));
    }
}
