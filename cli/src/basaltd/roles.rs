//! One role of a cluster as a process: a monitor, or a host's OSDs.

use crate::central;
use crate::devices;
use crate::metrics::{Endpoint, Sources};
use crate::notify;
use crate::pid_file::PidFile;
use crate::service::{Service, StopRequest};
use crate::signals::{self, Stop};
use crate::supervisor::Supervisor;
use basalt_cli::{Failure, Result, errno};
use basalt_cluster::Config;
use basalt_cluster::monitor::shell::{Monitor, MonitorConfig, MonitorError};
use basalt_net::key::KeyError;
use basalt_osd::{Host, HostConfig, Phase};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const HOST_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// An OSD whose replay takes longer than this is taken for stuck.
const OPEN_TIMEOUT: Duration = Duration::from_secs(600);
/// How often a wish to stop is looked for while OSDs open.
const OPEN_POLL: Duration = Duration::from_millis(100);

pub fn monitor(config: &Config) -> Result<ExitCode> {
    let stop = signals::listen()?;
    let monitor =
        Monitor::bind(MonitorConfig::from_config(config).map_err(monitor_failure)?).map_err(monitor_failure)?;
    let sources = Sources { monitor: Some(monitor.inquirer()), ..Sources::default() };
    let monitor = start_monitor(monitor)?;
    let _metrics = Endpoint::start(config.metrics.as_ref(), |section| section.monitor, "monitor", sources)?;
    notify::ready("serves");
    let outcome = run_until(stop, async { Err(monitor_has_ended(&monitor).await) });
    notify::stopping();
    // What the monitor itself says is nearer to the cause.
    monitor.stop()?;
    outcome?;
    Ok(ExitCode::SUCCESS)
}

pub async fn monitor_has_ended(monitor: &Service) -> Failure {
    monitor.ended().await;
    Failure::new(libc::EIO, "the monitor ended although nobody asked it to")
}

pub fn osd(config: &Config, is_supervised: bool) -> Result<ExitCode> {
    let stop = signals::listen()?;
    let pid_file = config.osd.as_ref().and_then(|section| section.pid_file.as_deref());
    let _pid_file = pid_file.map(|path| PidFile::claim(path, &config.path.display().to_string())).transpose()?;
    let supervisor = if is_supervised { Some(Supervisor::listen()?) } else { None };
    let host = start_host(config)?;
    let sources = Sources { osds: Some(host.figures()), ..Sources::default() };
    let name = config.osd.as_ref().map_or("osd", |section| section.host.as_str());
    let _metrics = Endpoint::start(config.metrics.as_ref(), |section| section.osd, name, sources)?;
    let is_stop_wanted = || stop.is_wanted() || supervisor.as_ref().is_some_and(Supervisor::wants_stop);
    if wait_open(&host, is_stop_wanted)? {
        notify::ready("its stores are open");
    }
    if let Some(supervisor) = &supervisor
        && wait_ready(&host, is_stop_wanted)?
    {
        supervisor.say_ready();
    }
    run_until(stop, async {
        tokio::select! {
            failure = host_has_ended(&host) => Err(failure),
            () = stop_wanted(supervisor.as_ref()) => Ok(()),
        }
    })?;
    notify::stopping();
    host.stop().map_err(host_failure)?;
    Ok(ExitCode::SUCCESS)
}

/// Waits until each store is open, or is known not to: being up is the monitor's to say, and a host in maintenance may not be. Returns
/// false if it is to stop before.
fn wait_open(host: &Host, is_stop_wanted: impl Fn() -> bool) -> Result<bool> {
    while host.phases().values().any(|phase| matches!(phase, Phase::Opening)) && host.failure().is_none() {
        if is_stop_wanted() || !host.is_running() {
            return Ok(false);
        }
        std::thread::sleep(OPEN_POLL);
    }
    match host.failure() {
        Some(failure) => Err(host_failure(failure)),
        None => Ok(true),
    }
}

async fn stop_wanted(supervisor: Option<&Supervisor>) {
    match supervisor {
        Some(supervisor) => supervisor.stop_wanted().await,
        None => std::future::pending().await,
    }
}

/// Waits until all the host's OSDs are up. Returns false if it is to stop before.
pub fn wait_ready(host: &Host, is_stop_wanted: impl Fn() -> bool) -> Result<bool> {
    let begun = Instant::now();
    while let Err(error) = host.wait_ready(OPEN_POLL) {
        if is_stop_wanted() {
            return Ok(false);
        }
        if !matches!(error, basalt_osd::Error::NotReady { .. }) || begun.elapsed() > OPEN_TIMEOUT {
            return Err(host_failure(error));
        }
    }
    Ok(true)
}

pub fn start_host(config: &Config) -> Result<Host> {
    let config = central::with_options(config);
    let host = HostConfig::from_config(&config).map_err(host_failure)?;
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
        MonitorError::Key(KeyError::Exposed { .. }) => libc::EACCES,
        MonitorError::Listen { source, .. } => errno::of_io(source),
        MonitorError::Name { .. } | MonitorError::NoSection { .. } | MonitorError::WithoutEtcd => libc::EINVAL,
        MonitorError::Store(_) | MonitorError::Restore(_) | MonitorError::ElectionEnded => libc::EIO,
    };
    Failure::new(errno, error.to_string())
}

/// Waits for a signal, or for another end.
pub fn run_until(stop: Stop, ended: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Failure::new(errno::of_io(&error), format!("cannot wait for signals: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            () = stop.wanted() => Ok(()),
            outcome = ended => outcome,
        }
    })
}
