//! The gateway's threads: one with the cluster's client, some that speak HTTP.

mod connection;
mod encryption;
mod form;
mod form_file;
mod front;
mod lingering_body;
mod request_counts;
mod routing_rule;
mod side_body;
mod signature_v2;
mod signature_v4;
mod tls;
mod website;

use super::bridge::{self, Bridge};
use super::encryption::{KeyFileError, Keys};
use super::limits;
use super::service::Service;
use super::store::request_log::LoggedBuckets;
use super::store::{Store, StoreSettings};
use basalt_client::{Client, ClientConfig};
use basalt_ring::uring::{self, UringConfig};
pub use form::FormFields;
pub use front::CrossOrigin;
use front::Front;
pub use front::without_secrets;
pub use request_counts::{MethodFigures, RequestCounts, STATUSES};
pub use side_body::{SideBody, Taken};
pub use signature_v4::uri_encoded;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;
pub use website::Site;

#[derive(Clone, Debug)]
pub struct GatewayConfig {
    pub client: ClientConfig,
    pub listen: SocketAddr,
    /// Buckets are also served as `BUCKET.DOMAIN` for each of these.
    pub domains: Vec<String>,
    /// HTTPS instead of HTTP: files with the certificate chain and its key, in PEM, read anew when they change.
    pub tls: Option<TlsFiles>,
    pub store: StoreSettings,
}

#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("the S3 gateway cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the S3 gateway cannot start a thread: {0}")]
    Thread(io::Error),
    #[error("the S3 gateway cannot set io_uring up: {0}")]
    Ring(io::Error),
    #[error("the S3 gateway cannot use the cluster: {0}")]
    Cluster(String),
    #[error("the S3 gateway's certificate is no good: {0}")]
    Tls(String),
    #[error("the S3 gateway's keys for encryption are no good: {0}")]
    Keys(#[from] KeyFileError),
}

/// Serves until it is stopped.
pub struct Gateway {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    counts: Arc<RequestCounts>,
}

const HTTP_THREADS_MAX: usize = 4;

impl Gateway {
    /// Returns once requests are served.
    pub fn start(config: GatewayConfig) -> Result<Gateway, GatewayError> {
        let address = config.listen;
        let listener =
            std::net::TcpListener::bind(address).map_err(|source| GatewayError::Listen { address, source })?;
        let unusable = |source| GatewayError::Listen { address, source };
        listener.set_nonblocking(true).map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let tls = config.tls.as_ref().map(tls::Certificate::load).transpose().map_err(GatewayError::Tls)?;
        if let Some(path) = &config.store.key_file {
            Keys::load(path)?;
        }
        let (stop, stop_wanted) = watch::channel(false);
        let (bridge, logged, cluster) = start_cluster_thread(config.client, config.store)?;
        let front = Front::new(Service::new(bridge, logged), &config.domains);
        let counts = Arc::new(RequestCounts::default());
        let counted = counts.clone();
        let http = std::thread::Builder::new()
            .name("s3-http".into())
            .spawn(move || serve_http(listener, front, tls, counted, stop_wanted))
            .map_err(GatewayError::Thread)?;
        tracing::info!(%address, "S3 is served");
        Ok(Gateway { address, stop, threads: vec![http, cluster], counts })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Of its requests, from now on as well.
    pub fn counts(&self) -> Arc<RequestCounts> {
        self.counts.clone()
    }

    /// Whether all its threads still run.
    pub fn is_running(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Lets requests that are under way come to their end, for a while.
    pub fn stop(mut self) {
        self.stop_threads();
    }

    fn stop_threads(&mut self) {
        let _ = self.stop.send(true);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the S3 gateway ended by a bug; see the lines above");
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop_threads();
    }
}

async fn wanted(mut stop: watch::Receiver<bool>) {
    // A sender that is gone has nobody left to serve for.
    let _ = stop.wait_for(|wanted| *wanted).await;
}

fn start_cluster_thread(
    config: ClientConfig,
    settings: StoreSettings,
) -> Result<(Bridge, LoggedBuckets, JoinHandle<()>), GatewayError> {
    let (bridge, jobs) = bridge::bridge();
    let (ready, is_ready) = mpsc::channel();
    let body = move || {
        let started = ready.clone();
        let uring = UringConfig { registered_bytes: 0, ..UringConfig::default() };
        let run = uring::run(uring, |ring| async move {
            let opened = async {
                let client = Client::connect(&ring, config).await?;
                Store::open_with(client, settings).await
            };
            let store = match opened.await {
                Ok(store) => store,
                Err(fault) => {
                    let _ = started.send(Err(GatewayError::Cluster(fault.to_string())));
                    return;
                }
            };
            let _ = started.send(Ok(store.logged.clone()));
            let collecting = store.clone();
            let garbage = ring.spawn(async move { collecting.collect_garbage_again_and_again().await });
            let growing = store.clone();
            let reshards = ring.spawn(async move { growing.reshard_again_and_again().await });
            let expiring = store.clone();
            let lifecycle = ring.spawn(async move { expiring.expire_again_and_again().await });
            let logging = store.clone();
            let logs = ring.spawn(async move { logging.store_logs_again_and_again().await });
            let last = store.clone();
            // The HTTP threads drop the bridge when they are done; until then requests under way need the cluster.
            jobs.carry_out(store).await;
            garbage.abort();
            // What it was about is given up by the next who looks.
            reshards.abort();
            lifecycle.abort();
            logs.abort();
            last.store_logs(Duration::ZERO).await;
        });
        if let Err(error) = run {
            let _ = ready.send(Err(GatewayError::Ring(error)));
        }
    };
    let thread = std::thread::Builder::new().name("s3-cluster".into()).spawn(body).map_err(GatewayError::Thread)?;
    match is_ready.recv() {
        Ok(Ok(logged)) => Ok((bridge, logged, thread)),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(GatewayError::Cluster("its thread ended by a bug; see the lines above".into())),
    }
}

fn serve_http(
    listener: std::net::TcpListener,
    front: Front,
    tls: Option<tls::Certificate>,
    counts: Arc<RequestCounts>,
    stop: watch::Receiver<bool>,
) {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get()).min(HTTP_THREADS_MAX);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).thread_name("s3-http").enable_all().build();
    match runtime {
        Ok(runtime) => {
            runtime.block_on(connection::accept(listener, front, tls, counts, wanted(stop)));
            runtime.shutdown_timeout(limits::STOP_WAIT);
        }
        Err(error) => tracing::error!(%error, "the S3 gateway cannot start its threads"),
    }
}
