//! One role of a cluster as a process: a monitor, or a host's OSDs.

use crate::service::{Service, StopRequest};
use crate::signals;
use basalt_cli::{Failure, Result};
use basalt_cluster::Config;
use basalt_cluster::monitor::shell::{Monitor, MonitorConfig, MonitorError};
use std::process::ExitCode;

pub fn monitor(config: &Config) -> Result<ExitCode> {
    let stop = signals::listen()?;
    let monitor = Monitor::bind(MonitorConfig::from_config(config).map_err(monitor_failure)?).map_err(monitor_failure)?;
    run_until(stop, start_monitor(monitor)?)
}

pub fn osd(_config: &Config) -> Result<ExitCode> {
    Err(Failure::new(libc::EOPNOTSUPP, "osd is not wired yet"))
}

/// Serves on a thread of its own.
pub fn start_monitor(monitor: Monitor) -> Result<Service> {
    Service::start("monitor", |stop: StopRequest| {
        tokio_uring::start(async { monitor.run(stop.wanted()).await }).map_err(monitor_failure)
    })
}

pub fn monitor_failure(error: MonitorError) -> Failure {
    let errno = match &error {
        MonitorError::Listen { source, .. } => basalt_cli::errno::of_io(source),
        MonitorError::Key(key) => return Failure::new(libc::EACCES, key.to_string()),
        MonitorError::Name { .. } | MonitorError::NoSection { .. } => libc::EINVAL,
        MonitorError::Store(_) | MonitorError::Restore(_) => libc::EIO,
    };
    Failure::new(errno, error.to_string())
}

/// Waits for a signal, or for the service to end by itself, which is a failure.
fn run_until(stop: signals::Stop, service: Service) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Failure::new(basalt_cli::errno::of_io(&error), format!("cannot wait for signals: {error}")))?;
    let asked = runtime.block_on(async {
        tokio::select! {
            () = stop.wanted() => true,
            () = service.ended() => false,
        }
    });
    let name = service.name();
    service.stop()?;
    if asked {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::new(libc::EIO, format!("the {name} ended although nobody asked it to")))
    }
}
