//! The S3 gateway: a process of its own, or part of a development cluster.

use crate::metrics::{Endpoint, Sources};
use crate::roles;
use crate::signals;
use basalt_cli::{Failure, Result};
use basalt_client::ClientConfig;
use basalt_cluster::Config;
use basalt_cluster::config::S3Section;
use basalt_gateway::s3::{Gateway, GatewayConfig, GatewayError, TlsFiles};
use basalt_net::{EntityName, Fsid, Key};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

const CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// Names below this one lead to this machine, and so can name buckets.
const DEV_DOMAIN: &str = "localhost";

pub fn run(config: &Config) -> Result<ExitCode> {
    let section = config.s3.as_ref().ok_or_else(|| {
        Failure::invalid(format!("{} has no section [s3]; a gateway needs one, with listen", config.path.display()))
    })?;
    let stop = signals::listen()?;
    let gateway = start(config, section)?;
    let sources = Sources { s3: Some(gateway.counts()), ..Sources::default() };
    let _metrics = Endpoint::start(config.metrics.as_ref(), |section| section.s3, "s3", sources)?;
    roles::run_until(stop, async { Err(has_ended(&gateway).await) })?;
    gateway.stop();
    Ok(ExitCode::SUCCESS)
}

/// The gateway of a development cluster.
pub fn start_beside(config: &Config, listen: SocketAddr) -> Result<Gateway> {
    start(config, &S3Section { listen, domains: vec![DEV_DOMAIN.into()], tls: None })
}

fn start(config: &Config, section: &S3Section) -> Result<Gateway> {
    let name = EntityName::new("client.admin").map_err(|error| Failure::invalid(error.to_string()))?;
    let key = Key::load(&config.key_file)?;
    let client = ClientConfig::new(Fsid(config.fsid.into_bytes()), config.monitors.clone(), key, name);
    let tls = section.tls.clone().map(|tls| TlsFiles { certificate: tls.certificate, key: tls.key });
    let lifecycle_day = lifecycle_day()?;
    let config = GatewayConfig { client, listen: section.listen, domains: section.domains.clone(), tls, lifecycle_day };
    Gateway::start(config).map_err(|error| {
        let errno = match &error {
            GatewayError::Listen { source, .. } | GatewayError::Thread(source) | GatewayError::Ring(source) => {
                basalt_cli::errno::of_io(source)
            }
            GatewayError::Cluster(_) => libc::EIO,
            GatewayError::Tls(_) => libc::EINVAL,
        };
        Failure::new(errno, error.to_string())
    })
}

/// Tests of rules of expiration say how many seconds are a day.
const LIFECYCLE_DAY: &str = "BASALT_S3_LIFECYCLE_DAY";

fn lifecycle_day() -> Result<Option<Duration>> {
    let Some(given) = std::env::var_os(LIFECYCLE_DAY) else { return Ok(None) };
    let seconds = given.to_str().and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0_u64);
    match seconds {
        Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
        None => Err(Failure::invalid(format!("{LIFECYCLE_DAY} is a number of seconds, not {}", given.display()))),
    }
}

/// Resolves when the gateway serves nobody any more although nobody asked it to end.
pub async fn has_ended(gateway: &Gateway) -> Failure {
    while gateway.is_running() {
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
    Failure::new(libc::EIO, "a thread of the S3 gateway has ended by itself; the log above says why")
}
