//! One running gateway: start, serve, drain, stop.

use super::background::Background;
use super::credentials::{self, letters};
use super::data_dir::DataDir;
use super::disk::{Disk, GuardedBodies};
use super::error::{AppError, Exit};
use super::operations::StoreOperations;
use super::replication::Replicating;
use super::running::Running;
use super::store::Store;
use super::{backup, metrics, private_file, stats};
use crate::admin::{AdminApi, Health, Phase, router};
use crate::config::{RootCredentials, Settings, account_keys};
use crate::engine::MemoryBudget;
use crate::http::{Handler, HttpServer, HttpService, Refuser, ResponseBody, Unreadable};
use crate::s3::{self, Credentials, S3Gateway};
use crate::service::ObjectService;
use crate::sys::{FailPoint, OsRandom, SystemClock};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;

/// Admin requests are short; they do not hold up a stop.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

/// How long a fault of the device stands in `/readyz`.
const FAULTS_SHOWN: Duration = Duration::from_secs(600);

/// What a start needs beside the settings.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// Written when requests are served, whole: `{"s3":"http://…","admin":"http://…"}`.
    pub ready_file: Option<PathBuf>,
    /// Where credentials may stand: variables as of the environment.
    pub environment: Vec<(String, String)>,
}

/// A gateway that serves. Dropping it does not stop it: [`Server::stop`] does.
#[derive(Debug)]
pub struct Server {
    s3: HttpServer,
    admin: HttpServer,
    health: Arc<Health>,
    background: Background,
    store: Arc<Store>,
    settings: Settings,
    credentials: RootCredentials,
    unshown_credentials: bool,
    ready_file: Option<PathBuf>,
}

impl Server {
    /// Returns when requests are served. Needs a multi-threaded runtime.
    ///
    /// # Errors
    /// With one line and the exit code; nothing keeps running then.
    pub async fn start(settings: Settings, options: StartOptions) -> Result<Self, AppError> {
        let data = DataDir::open(&settings.storage.data_dir, true, &OsRandom)?;
        Running::remove(data.path());
        forget(options.ready_file.as_deref())?;
        let found = credentials::find(&data, &options.environment, &OsRandom)?;
        let keys = access_keys(&found.credentials, &settings)?;
        let replicating = Replicating::of(&settings)?;
        let s3_listener = bind("server.listen", &settings.server.listen).await?;
        let admin_listener = bind("admin.listen", &settings.admin.listen).await?;

        // Health is answered from the first moment, honestly.
        let health = Arc::new(Health::default());
        let api = Arc::new(AdminApi {
            health: Arc::clone(&health),
            metrics: metrics::handle()?,
            operations: OnceLock::new(),
            token: letters(&OsRandom, 40),
            allowed_hosts: settings.admin.allowed_hosts.clone(),
        });
        let admin = serve_admin(admin_listener, &settings, admin_handler(&api))?;
        let opened = open(data, &settings, keys, (&replicating, &health)).await;
        let (store, disk, service) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                admin.shutdown(ADMIN_DRAIN).await;
                return Err(error);
            }
        };
        stats::refresh(store.parts(), store.collector.last_plain_census()).await;
        let kept = match backup::kept(&store, &settings) {
            Ok(kept) => kept,
            Err(error) => {
                admin.shutdown(ADMIN_DRAIN).await;
                return Err(error);
            }
        };
        let background = Background::start(&store, &disk, &settings, (&replicating, kept.as_ref()), &health);
        let keeper = kept.map(|kept| kept.keeper);
        let operations =
            StoreOperations::new(Arc::clone(&store), keeper, background.token(), replicating.reports);
        let _ = api.operations.set(Arc::new(operations));
        let s3 = HttpServer::start_with("s3", s3_listener, settings.http.clone(), service)
            .map_err(|error| AppError::failure("cannot listen", error))?;
        let server = Self {
            s3,
            admin,
            health,
            background,
            store,
            settings,
            credentials: found.credentials,
            unshown_credentials: found.is_unshown,
            ready_file: options.ready_file,
        };
        if let Err(error) = server.announce(&api.token) {
            let _ = server.stop().await;
            return Err(error);
        }
        Ok(server)
    }

    #[must_use]
    pub const fn s3_address(&self) -> SocketAddr {
        self.s3.address()
    }

    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    #[must_use]
    pub const fn credentials(&self) -> &RootCredentials {
        &self.credentials
    }

    /// Whether the credentials are random ones that nobody has been shown, at this start or an earlier one that failed.
    #[must_use]
    pub const fn has_unshown_credentials(&self) -> bool {
        self.unshown_credentials
    }

    /// Notes that the credentials have been shown: later starts keep them to themselves.
    ///
    /// # Errors
    /// When the data directory cannot be written.
    pub fn mark_credentials_shown(&self) -> Result<(), AppError> {
        credentials::mark_shown(&self.store.data, &self.credentials)
    }

    /// The region that requests are signed for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.settings.service.region
    }

    fn announce(&self, token: &str) -> Result<(), AppError> {
        let (s3, admin) =
            (format!("http://{}", self.s3_address()), format!("http://{}", self.admin_address()));
        let running = Running {
            pid: std::process::id(),
            s3: s3.clone(),
            admin: self.admin_address(),
            token: token.to_owned(),
        };
        running.write(&self.store.data).map_err(|error| AppError::failure("cannot write run.json", error))?;
        FailPoint::Serving.pass().map_err(|error| AppError::failure("cannot serve", error))?;
        self.health.set(Phase::Running);
        if let Some(path) = &self.ready_file {
            let text = serde_json::json!({ "s3": s3, "admin": admin }).to_string() + "\n";
            let written = private_file::write_public(path, text.as_bytes());
            written.map_err(|error| AppError::failure(&format!("cannot write {}", path.display()), error))?;
        }
        tracing::info!(%s3, %admin, data = %self.store.data.path().display(), store = self.store.data.store_id(), "serving");
        Ok(())
    }

    /// Stops accepting, lets requests finish within `http.drain_timeout_seconds`, leaves the store tidy. Returns
    /// whether all requests finished.
    ///
    /// # Errors
    /// When the store could not be left tidy; nothing acknowledged is lost by that.
    pub async fn stop(self) -> Result<bool, AppError> {
        self.health.set(Phase::Draining);
        tracing::info!("draining");
        if let Some(path) = &self.ready_file {
            let _ = std::fs::remove_file(path);
        }
        Running::remove(self.store.data.path());
        let finished = self.s3.shutdown(self.settings.http.drain_timeout()).await;
        if !finished {
            tracing::warn!("requests were still under way at the end of the drain; they were cut off");
        }
        FailPoint::StopDrained.pass_or_die();
        self.background.stop().await;
        FailPoint::StopIdle.pass_or_die();
        self.admin.shutdown(ADMIN_DRAIN).await;
        let store = self.store;
        let tidied = tokio::task::spawn_blocking(move || store.close()).await;
        tidied.map_err(|error| AppError::failure("cannot close the store", error))??;
        tracing::info!("stopped");
        Ok(finished)
    }
}

/// A file that a killed process left behind must not pass for this one's.
fn forget(ready_file: Option<&Path>) -> Result<(), AppError> {
    let Some(path) = ready_file else { return Ok(()) };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(AppError::failure(&format!("cannot remove the old {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

async fn bind(name: &str, address: &str) -> Result<TcpListener, AppError> {
    HttpServer::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => format!("the port is in use; stop what uses it, or set {name}"),
            std::io::ErrorKind::PermissionDenied => format!("this user may not use the port; set {name}"),
            _ => format!("{error}; set {name}"),
        };
        AppError::new(Exit::Address, format!("cannot listen on {address}: {why}"))
    })
}

fn serve_admin(listener: TcpListener, settings: &Settings, handler: Handler) -> Result<HttpServer, AppError> {
    HttpServer::start("admin", listener, settings.http.for_admin(), handler)
        .map_err(|error| AppError::failure("cannot listen", error))
}

fn admin_handler(api: &Arc<AdminApi>) -> Handler {
    let service = TowerToHyperService::new(router(Arc::clone(api)));
    Arc::new(move |request| {
        let answer = service.call(request);
        Box::pin(async move {
            let Ok(response) = answer.await;
            response.map(|body| -> ResponseBody { body.map_err(Into::into).boxed_unsync() })
        })
    })
}

/// All keys that requests may be signed with.
fn access_keys(root: &RootCredentials, settings: &Settings) -> Result<Credentials, AppError> {
    let accounts = account_keys(&settings.s3.accounts)?;
    Credentials::with_accounts(&root.access_key, &root.secret_key, accounts)
        .map_err(|error| AppError::new(Exit::Usage, format!("s3.accounts: {error}")))
}

async fn open(
    data: DataDir,
    settings: &Settings,
    keys: Credentials,
    (replicating, health): (&Replicating, &Health),
) -> Result<(Arc<Store>, Arc<Disk>, HttpService), AppError> {
    let progress = Arc::new(|done: u64, total: u64| {
        tracing::info!(done, total, "bringing the chunk index up to date");
    });
    let rest = backup::unfinished(data.path(), settings).await?;
    let store = Arc::new(Store::open_from(data, settings, rest, progress).await?);
    let parts = store.parts();
    let (fs, dir) = (Arc::clone(&parts.fs), store.data.path().to_owned());
    let min_free_bytes = settings.storage.min_free_bytes;
    let looked = tokio::task::spawn_blocking(move || Disk::new(fs, dir, min_free_bytes)).await;
    let disk = Arc::new(looked.map_err(|error| AppError::failure("cannot look at the disk", error))?);

    let watched = Arc::clone(&disk);
    health.watch(Box::new(move || watched.trouble()));
    let (packs, plain, faults) = (parts.packs.clone(), parts.plain.clone(), store.faults.clone());
    health.watch(Box::new(move || packs.check().and_then(|()| plain.check()).err().map(|e| e.to_string())));
    health.note(Box::new(move || {
        let last = faults.within(FAULTS_SHOWN)?;
        Some(format!(
            "the device fails; what memory holds is served, the rest as far as it can be read: {last}"
        ))
    }));
    // Not kept open by being watched.
    let meta = Arc::downgrade(&store.meta);
    health.watch(Box::new(move || meta.upgrade()?.health().err().map(|error| format!("metadata: {error}"))));

    let bodies = GuardedBodies { inner: Arc::new(store.engine.clone()), disk: Arc::clone(&disk) };
    let service = ObjectService::with_accounts(
        Arc::clone(&parts.meta),
        Arc::new(bodies),
        Arc::clone(&parts.random),
        Arc::clone(&parts.clock),
        settings.service.clone(),
        keys.account_names().collect(),
    );
    replicating.introduce(&service, &store);
    let service = s3_service(service, keys, settings, parts.memory.clone())?;
    Ok((store, disk, service))
}

/// Buckets and objects, served to whoever signs with the keys.
pub(super) fn s3_service(
    service: ObjectService,
    keys: Credentials,
    settings: &Settings,
    memory: MemoryBudget,
) -> Result<HttpService, AppError> {
    let gateway = S3Gateway::new(service, &settings.s3, keys, &OsRandom, Arc::new(SystemClock))
        .map_err(|error| AppError::new(Exit::Usage, error.to_string()))?;
    let (refusing, waited_at) = (gateway.clone(), gateway.clone());
    let maximum_bytes = settings.http.max_header_bytes;
    let handler: Handler = Arc::new(move |request| {
        let gateway = gateway.clone();
        Box::pin(async move { gateway.handle(request).await })
    });
    let refuser: Refuser = Arc::new(move |why| {
        refusing.unreadable(match why {
            Unreadable::Malformed => s3::Unreadable::Malformed,
            Unreadable::HeadTooLarge => s3::Unreadable::HeadTooLarge { maximum_bytes },
            Unreadable::Connect => s3::Unreadable::Connect,
        })
    });
    let waiters = Arc::new(move || memory.waiting() + waited_at.waiting_for_memory());
    Ok(HttpService { handler, refuser, waiters })
}
