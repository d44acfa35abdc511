//! `basaltd dev`: a whole cluster on this machine, in one process: a monitor and an OSD that talk over TCP on loopback.

mod bring_up;
mod folder;

use crate::arguments::Dev;
use crate::roles;
use crate::service::Service;
use crate::signals::{self, Stop};
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result};
use basalt_cluster::Config;
use basalt_cluster::monitor::shell::{Monitor, MonitorConfig};
use basalt_osd::Host;
use folder::Folder;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// An OSD whose replay takes longer than this is taken for stuck.
const OPEN_TIMEOUT: Duration = Duration::from_secs(600);
/// How often a wish to stop is looked for while the OSD opens.
const OPEN_POLL: Duration = Duration::from_millis(100);

pub fn run(dev: &Dev) -> Result<ExitCode> {
    refuse_what_is_not_here_yet(dev)?;
    let stop = signals::listen()?;
    let folder = Folder::claim(&dev.dir)?;
    let mut config = folder.configuration(dev)?;
    config.write()?;
    folder.make_devices(&config, dev)?;
    let monitor = MonitorConfig::from_config(&config).and_then(Monitor::bind).map_err(roles::monitor_failure)?;
    // Ports are those that were free at this start; whoever reads the file from here on finds the monitor.
    config.monitors = vec![monitor.address()];
    config.write()?;
    let monitor = roles::start_monitor(monitor)?;
    let served = serve(dev, &config, &stop, &monitor);
    let stopped = monitor.stop();
    served?;
    stopped?;
    Ok(ExitCode::SUCCESS)
}

fn serve(dev: &Dev, config: &Config, stop: &Stop, monitor: &Service) -> Result<()> {
    let host = roles::start_host(config)?;
    let outcome = serve_until_stopped(dev, config, stop, monitor, &host);
    let stopped = host.stop().map_err(roles::host_failure);
    outcome.and(stopped)
}

fn serve_until_stopped(dev: &Dev, config: &Config, stop: &Stop, monitor: &Service, host: &Host) -> Result<()> {
    let begun = Instant::now();
    while let Err(error) = host.wait_ready(OPEN_POLL) {
        if stop.is_wanted() {
            return Ok(());
        }
        if !matches!(error, basalt_osd::Error::NotReady { .. }) || begun.elapsed() > OPEN_TIMEOUT {
            return Err(roles::host_failure(error));
        }
    }
    if !bring_up::run(config, dev.size, stop)? {
        return Ok(());
    }
    let mut output = Output::new(Default::default());
    // Somebody may have started the cluster without caring for its stdout.
    let _ = output.line("ready").and_then(|()| output.finish());
    roles::run_until(stop.clone(), async {
        tokio::select! {
            failure = roles::monitor_has_ended(monitor) => failure,
            failure = roles::host_has_ended(host) => failure,
        }
    })
}

fn refuse_what_is_not_here_yet(dev: &Dev) -> Result<()> {
    for (option, value) in [("--osds", dev.osds), ("--hosts", dev.hosts), ("--size", dev.size)] {
        if value != 1 {
            return Err(Failure::invalid(format!(
                "{option} {value} is not possible in this version: only {option} 1 is"
            )));
        }
    }
    for (option, given) in [("--s3", dev.s3.is_some()), ("--nbd", dev.nbd.is_some())] {
        if given {
            return Err(Failure::invalid(format!(
                "{option} is not possible in this version: objects are served to `basalt` only"
            )));
        }
    }
    Ok(())
}
