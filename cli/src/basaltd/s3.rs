//! The S3 gateway: a process of its own, or part of a development cluster.

use crate::metrics::{Endpoint, Sources};
use crate::notify;
use crate::roles;
use crate::signals;
use basalt_cli::{Failure, Result};
use basalt_client::ClientConfig;
use basalt_cluster::Config;
use basalt_cluster::config::{ClientRole, S3Section};
use basalt_gateway::s3::{Gateway, GatewayConfig, GatewayError, StoreSettings, TlsFiles};
use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// Names below this one lead to this machine, and so can name buckets.
const DEV_DOMAIN: &str = "localhost";
/// In the development cluster's folder.
const DEV_KEYS: &str = "s3.keys";

pub fn run(config: &Config) -> Result<ExitCode> {
    let section = config.s3.as_ref().ok_or_else(|| {
        Failure::invalid(format!("{} has no section [s3]; a gateway needs one, with listen", config.path.display()))
    })?;
    let stop = signals::listen()?;
    let gateway = start(config, section)?;
    let sources = Sources { s3: Some(gateway.counts()), ..Sources::default() };
    let _metrics = Endpoint::start(config.metrics.as_ref(), |section| section.s3, "s3", sources)?;
    notify::ready("serves");
    roles::run_until(stop, async { Err(has_ended(&gateway).await) })?;
    notify::stopping();
    gateway.stop();
    Ok(ExitCode::SUCCESS)
}

/// The gateway of a development cluster.
pub fn start_beside(config: &Config, listen: SocketAddr) -> Result<Gateway> {
    let folder = config.path.parent().unwrap_or(Path::new("."));
    let section = S3Section {
        listen,
        domains: vec![DEV_DOMAIN.into()],
        tls: None,
        encryption_keys: Some(dev_keys(&folder.join(DEV_KEYS))?),
        // Nobody but the developer is there to listen.
        sse_c_requires_tls: false,
        objects_per_shard: None,
    };
    start(config, &section)
}

/// Keys for a development cluster, made if there are none: one of the gateway's, and two that have the names that Ceph's tests give theirs.
fn dev_keys(path: &Path) -> Result<PathBuf> {
    if path.exists() {
        return Ok(path.to_owned());
    }
    let mut text = String::new();
    let id = hex(&random::<4>()?);
    for (kind, id) in [("master", id.as_str()), ("kms", "testkey-1"), ("kms", "testkey-2")] {
        text.push_str(&format!("{kind} {id} {}\n", hex(&random::<32>()?)));
    }
    // Under another name first: a file that is there is whole.
    let new = path.with_extension("keys.new");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().map_err(|error| Failure::file(path, &error))?;
    Ok(path.to_owned())
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(libc::EIO, format!("the kernel gives no random bytes: {error}")))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn start(config: &Config, section: &S3Section) -> Result<Gateway> {
    let client = ClientConfig::from_config(config, ClientRole::S3)?;
    let tls = section.tls.clone().map(|tls| TlsFiles { certificate: tls.certificate, key: tls.key });
    let defaults = StoreSettings::default();
    let store = StoreSettings {
        day: seconds(LIFECYCLE_DAY)?.unwrap_or(defaults.day),
        log_roll: seconds(LOG_ROLL)?.unwrap_or(defaults.log_roll),
        key_file: section.encryption_keys.clone(),
        customer_keys_need_tls: section.sse_c_requires_tls,
        objects_per_shard: match section.objects_per_shard {
            Some(0) => None,
            Some(objects) => Some(objects),
            None => defaults.objects_per_shard,
        },
    };
    let config = GatewayConfig { client, listen: section.listen, domains: section.domains.clone(), tls, store };
    Gateway::start(config).map_err(|error| {
        let errno = match &error {
            GatewayError::Listen { source, .. } | GatewayError::Thread(source) | GatewayError::Ring(source) => {
                basalt_cli::errno::of_io(source)
            }
            GatewayError::Cluster(_) => libc::EIO,
            GatewayError::Tls(_) | GatewayError::Keys(_) => libc::EINVAL,
        };
        Failure::new(errno, error.to_string())
    })
}

/// Tests of rules of expiration say how many seconds are a day.
const LIFECYCLE_DAY: &str = "BASALT_S3_LIFECYCLE_DAY";
/// Tests of logs don't wait for minutes.
const LOG_ROLL: &str = "BASALT_S3_LOG_ROLL";

/// A number of seconds in the environment.
fn seconds(name: &str) -> Result<Option<Duration>> {
    let Some(given) = std::env::var_os(name) else { return Ok(None) };
    let seconds = given.to_str().and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0_u64);
    match seconds {
        Some(seconds) => Ok(Some(Duration::from_secs(seconds))),
        None => Err(Failure::invalid(format!("{name} is a number of seconds, not {}", given.display()))),
    }
}

/// Resolves when the gateway serves nobody any more although nobody asked it to end.
pub async fn has_ended(gateway: &Gateway) -> Failure {
    while gateway.is_running() {
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
    Failure::new(libc::EIO, "a thread of the S3 gateway has ended by itself; the log above says why")
}
