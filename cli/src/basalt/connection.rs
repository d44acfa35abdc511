//! From a configuration file to a connected client on a ring of its own.

use crate::arguments::Global;
use basalt_cli::{Failure, Result};
use basalt_client::{Client, ClientConfig};
use basalt_cluster::Config;
use basalt_cluster::config::ClientRole;
use basalt_ring::Ring;
use basalt_ring::uring::{self, UringConfig};

/// How to reach the cluster that the configuration describes.
pub fn client_config(global: &Global) -> Result<ClientConfig> {
    let config = Config::load(&global.config).map_err(|error| {
        let failure = Failure::from(error);
        if failure.errno() == libc::ENOENT {
            Failure::new(
                failure.errno(),
                format!("{}; name the cluster's configuration with -c FILE or $BASALT_CONFIG", failure.message()),
            )
        } else {
            failure
        }
    })?;
    Ok(ClientConfig::from_config(&config, ClientRole::Administrator)?)
}

/// Registered memory serves devices, which only a bench opens; without it a command that asks one question starts at once.
const UNREGISTERED: UringConfig =
    UringConfig { entries: 256, cpu: None, registered_bytes: 0, busy_poll: std::time::Duration::ZERO };

/// Runs `work` with a connected client; the sessions end with it.
pub fn with_client<T, F>(global: &Global, work: impl FnOnce(Client) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let config = client_config(global)?;
    on_ring(UNREGISTERED, async |ring| {
        let client = Client::connect(&ring, config).await?;
        work(client).await
    })
}

pub fn on_ring<T, F>(config: UringConfig, work: impl FnOnce(Ring) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    uring::run(config, work).map_err(|error| no_ring(&error))?
}

pub fn no_ring(error: &std::io::Error) -> Failure {
    Failure::new(
        basalt_cli::errno::of_io(error),
        format!("io_uring cannot be set up: {error}; Linux 5.19 or newer is needed, and kernel.io_uring_disabled = 0"),
    )
}
