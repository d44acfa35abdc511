//! One role of a cluster as a process: a monitor, or a host's OSDs.

use crate::devices;
use crate::service::{Service, StopRequest};
use crate::signals::{self, Stop};
use basalt_cli::{Failure, Result, errno};
use basalt_cluster::Config;
use basalt_cluster::monitor::shell::{Monitor, MonitorConfig, MonitorError};
use basalt_net::key::KeyError;
use basalt_osd::{Host, HostConfig};
use std::process::ExitCode;
use std::time::Duration;

const HOST_CHECK_INTERVAL: Duration = Duration::from_millis(200);

pub fn monitor(config: &Config) -> Result<ExitCode> {
    let stop = signals::listen()?;
    let monitor =
        Monitor::bind(MonitorConfig::from_config(config).map_err(monitor_failure)?).map_err(monitor_failure)?;
    let monitor = start_monitor(monitor)?;
    let outcome = run_until(stop, monitor_has_ended(&monitor));
    // What the monitor itself says is nearer to the cause.
    monitor.stop()?;
    outcome?;
    Ok(ExitCode::SUCCESS)
}

pub async fn monitor_has_ended(monitor: &Service) -> Failure {
    monitor.ended().await;
    Failure::new(libc::EIO, "the monitor ended although nobody asked it to")
}

pub fn osd(config: &Config) -> Result<ExitCode> {
    let stop = signals::listen()?;
    let host = start_host(config)?;
    run_until(stop, host_has_ended(&host))?;
    host.stop().map_err(host_failure)?;
    Ok(ExitCode::SUCCESS)
}

pub fn start_host(config: &Config) -> Result<Host> {
    let host = HostConfig::from_config(config).map_err(host_failure)?;
    devices::wait_until_free(host.osds.iter().flat_map(|osd| std::iter::once(&osd.base).chain(&osd.hot)));
    Host::start(host).map_err(host_failure)
}

/// Resolves, with the reason, when the host serves nobody any more although nobody asked it to end.
pub async fn host_has_ended(host: &Host) -> Failure {
    loop {
        if let Some(failure) = host.failure() {
            return host_failure(failure);
        }
        if !host.is_running() {
            return Failure::new(libc::EIO, "a thread of the OSDs has ended by itself; the log above says why");
        }
        tokio::time::sleep(HOST_CHECK_INTERVAL).await;
    }
}

pub fn host_failure(error: basalt_osd::Error) -> Failure {
    Failure::new(error.errno(), error.to_string())
}

/// Serves on a thread of its own.
pub fn start_monitor(monitor: Monitor) -> Result<Service> {
    Service::start("monitor", |stop: StopRequest| {
        tokio_uring::start(async { monitor.run(stop.wanted()).await }).map_err(monitor_failure)
    })
}

pub fn monitor_failure(error: MonitorError) -> Failure {
    let errno = match &error {
        MonitorError::Key(KeyError::Read { source, .. } | KeyError::Create { source, .. }) => errno::of_io(source),
        MonitorError::Key(KeyError::Malformed { .. }) => libc::EINVAL,
        MonitorError::Listen { source, .. } => errno::of_io(source),
        MonitorError::Name { .. } | MonitorError::NoSection { .. } | MonitorError::WithoutEtcd => libc::EINVAL,
        MonitorError::Store(_) | MonitorError::Restore(_) | MonitorError::ElectionEnded => libc::EIO,
    };
    Failure::new(errno, error.to_string())
}

/// Waits for a signal, or for the daemon's own end, which is a failure.
pub fn run_until(stop: Stop, ended: impl Future<Output = Failure>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Failure::new(errno::of_io(&error), format!("cannot wait for signals: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            () = stop.wanted() => Ok(()),
            failure = ended => Err(failure),
        }
    })
}
