//! Routes, and what guards them.

use super::health::Health;
use super::host;
use super::operations::{BackupRequest, Operations, ScrubRequest};
use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use std::sync::{Arc, OnceLock};
use subtle::ConstantTimeEq;

/// What the routes answer from.
pub struct AdminApi {
    pub health: Arc<Health>,
    pub metrics: PrometheusHandle,
    /// Set once the store is open.
    pub operations: OnceLock<Arc<dyn Operations>>,
    /// What the owner's verbs need, as `Authorization: Bearer …`.
    pub token: String,
    pub allowed_hosts: Vec<String>,
}

impl std::fmt::Debug for AdminApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminApi").field("health", &self.health).finish_non_exhaustive()
    }
}

type Api = State<Arc<AdminApi>>;

/// `/healthz`, `/readyz`, `/metrics`, `/admin/v1/stats`, `/admin/v1/gc`, `/admin/v1/scrub`, `/admin/v1/backup`, `/admin/v1/replication`.
pub fn router(api: Arc<AdminApi>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/admin/v1/stats", get(stats))
        .route("/admin/v1/gc", post(gc))
        .route("/admin/v1/backup", get(backup_status).post(backup_start))
        .route("/admin/v1/backup/prune", post(backup_prune))
        .route("/admin/v1/backup/verify", post(backup_verify))
        .route("/admin/v1/backup/drill", post(backup_drill))
        .route("/admin/v1/replication", get(replication))
        .route("/admin/v1/scrub", get(scrub_status).post(scrub_start).delete(scrub_stop))
        .layer(from_fn_with_state(Arc::clone(&api), guard_host))
        .with_state(api)
}

async fn guard_host(State(api): Api, request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        // HTTP/2 names it in the URI.
        (None, None) => request.uri().authority().map(http::uri::Authority::as_str),
        _ => None,
    };
    if host.is_some_and(|host| host::is_allowed(host, &api.allowed_hosts)) {
        return next.run(request).await;
    }
    let why = "this Host is not served here; use an address, localhost or a name of admin.allowed_hosts\n";
    (StatusCode::MISDIRECTED_REQUEST, why).into_response()
}

async fn ready(State(api): Api) -> Response {
    let problems = api.health.problems();
    if problems.is_empty() {
        let notes = api.health.notes();
        return notes.iter().fold("ready\n".to_owned(), |text, note| text + note + "\n").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n").into_response()
}

async fn metrics(State(api): Api) -> Response {
    let text = api.metrics.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn stats(State(api): Api, headers: HeaderMap) -> Response {
    match api.operations(&headers) {
        Ok(operations) => answer(operations.stats().await),
        Err(refusal) => refusal,
    }
}

async fn gc(State(api): Api, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let dry_run = match query.as_deref() {
        None | Some("" | "dry_run=false") => false,
        Some("dry_run=true") => true,
        Some(_) => return refuse(StatusCode::BAD_REQUEST, "the only parameter is dry_run=true|false"),
    };
    match api.operations(&headers) {
        Ok(operations) => answer(operations.gc(dry_run).await),
        Err(refusal) => refusal,
    }
}

async fn replication(State(api): Api, headers: HeaderMap) -> Response {
    match api.operations(&headers) {
        Ok(operations) => answer(operations.replication().await),
        Err(refusal) => refusal,
    }
}

async fn scrub_status(State(api): Api, headers: HeaderMap) -> Response {
    scrub(&api, &headers, ScrubRequest::Status).await
}

async fn scrub_start(State(api): Api, headers: HeaderMap) -> Response {
    scrub(&api, &headers, ScrubRequest::Start).await
}

async fn scrub_stop(State(api): Api, headers: HeaderMap) -> Response {
    scrub(&api, &headers, ScrubRequest::Stop).await
}

async fn scrub(api: &AdminApi, headers: &HeaderMap, request: ScrubRequest) -> Response {
    match api.operations(headers) {
        Ok(operations) => answer(operations.scrub(request).await),
        Err(refusal) => refusal,
    }
}

async fn backup_status(State(api): Api, headers: HeaderMap) -> Response {
    backup(&api, &headers, BackupRequest::Status).await
}

async fn backup_start(State(api): Api, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let full = match query.as_deref() {
        None | Some("" | "full=false") => false,
        Some("full=true") => true,
        Some(_) => return refuse(StatusCode::BAD_REQUEST, "the only parameter is full=true|false"),
    };
    backup(&api, &headers, BackupRequest::Start { full }).await
}

async fn backup_prune(State(api): Api, headers: HeaderMap) -> Response {
    backup(&api, &headers, BackupRequest::Prune).await
}

async fn backup_verify(State(api): Api, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    match verify_request(query.as_deref().unwrap_or_default()) {
        Some(request) => backup(&api, &headers, request).await,
        None => refuse(StatusCode::BAD_REQUEST, "the parameters are percent=0…100 and all=true|false"),
    }
}

fn verify_request(query: &str) -> Option<BackupRequest> {
    let (mut percent, mut all) = (0, false);
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=')? {
            ("percent", value) => percent = value.parse::<u8>().ok().filter(|percent| *percent <= 100)?,
            ("all", value) => all = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(BackupRequest::Verify { percent, all })
}

async fn backup_drill(State(api): Api, headers: HeaderMap) -> Response {
    backup(&api, &headers, BackupRequest::Drill).await
}

async fn backup(api: &AdminApi, headers: &HeaderMap, request: BackupRequest) -> Response {
    match api.operations(headers) {
        Ok(operations) => answer(operations.backup(request).await),
        Err(refusal) => refusal,
    }
}

impl AdminApi {
    #[expect(clippy::result_large_err, reason = "the error is the answer")]
    fn operations(&self, headers: &HeaderMap) -> Result<Arc<dyn Operations>, Response> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if self.token.is_empty() || !bool::from(given.as_bytes().ct_eq(self.token.as_bytes())) {
            return Err(refuse(StatusCode::UNAUTHORIZED, "the token of run.json is needed"));
        }
        let operations = self.operations.get().map(Arc::clone);
        operations.ok_or_else(|| refuse(StatusCode::SERVICE_UNAVAILABLE, "starting"))
    }
}

fn answer(result: Result<impl serde::Serialize, String>) -> Response {
    match result {
        Ok(value) => respond(StatusCode::OK, &json!(value)),
        Err(why) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &why),
    }
}

fn refuse(status: StatusCode, why: &str) -> Response {
    respond(status, &json!({ "error": why }))
}

fn respond(status: StatusCode, value: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

#[cfg(test)]
#[path = "api_tests.rs"]
mod tests;
