//! `basaltd dev`: a whole cluster on this machine that talks over TCP on loopback: a monitor, and OSDs in the same process, or in one
//! process for each host where there are several.

mod bring_up;
mod folder;
mod gateways;
mod host_processes;
mod introduce;
mod layout;

use crate::arguments::Dev;
use crate::metrics::{Endpoint, Sources};
use crate::roles;
use crate::service::Service;
use crate::signals::{self, Stop};
use basalt_cli::Result;
use basalt_cli::output::Output;
use basalt_cluster::monitor::shell::{Monitor, MonitorConfig};
use folder::{Configurations, Folder};
use gateways::Gateways;
use host_processes::HostProcesses;
use layout::Layout;
use std::process::ExitCode;

pub fn run(dev: &Dev) -> Result<ExitCode> {
    if !dev.dir.join(folder::CONFIGURATION).exists() {
        // A folder is not made for what can't be.
        Layout::new(dev, None)?;
    }
    let stop = signals::listen()?;
    let folder = Folder::claim(&dev.dir)?;
    let mut configurations = folder.configurations(dev)?;
    configurations.write()?;
    folder.make_devices(&configurations, dev)?;
    let monitor = MonitorConfig::from_config(&configurations.cluster);
    let monitor = monitor.and_then(Monitor::bind).map_err(roles::monitor_failure)?;
    // Ports are those that were free at this start; whoever reads the files from here on finds the monitor.
    configurations.set_monitor(monitor.address());
    configurations.write()?;
    let sources = Sources { monitor: Some(monitor.inquirer()), ..Sources::default() };
    let monitor = roles::start_monitor(monitor)?;
    let served = match introduce::run(&configurations, &stop) {
        Err(failure) => Err(failure),
        Ok(false) => Ok(()),
        Ok(true) if configurations.hosts.is_empty() => serve_here(dev, &configurations, &stop, &monitor, sources),
        Ok(true) => serve_in_processes(dev, &configurations, &stop, &monitor, sources),
    };
    let stopped = monitor.stop();
    served?;
    stopped?;
    Ok(ExitCode::SUCCESS)
}

/// The OSDs of the one host run in this process.
fn serve_here(
    dev: &Dev,
    configurations: &Configurations,
    stop: &Stop,
    monitor: &Service,
    sources: Sources,
) -> Result<()> {
    let host = roles::start_host(&configurations.cluster)?;
    let sources = Sources { osds: Some(host.figures()), ..sources };
    let outcome = roles::wait_ready(&host, || stop.is_wanted()).and_then(|is_up| {
        if !is_up || !bring_up::run(configurations, dev.size, stop)? {
            return Ok(());
        }
        let gateways = Gateways::start(dev, configurations)?;
        let _metrics = serve_metrics(configurations, gateways.add_to(sources))?;
        say_ready();
        let ended = roles::run_until(stop.clone(), async {
            tokio::select! {
                failure = roles::monitor_has_ended(monitor) => Err(failure),
                failure = roles::host_has_ended(&host) => Err(failure),
                failure = gateways.have_ended() => Err(failure),
            }
        });
        ended.and(gateways.stop())
    });
    outcome.and(host.stop().map_err(roles::host_failure))
}

/// Each host is a process, which may be killed and started again by hand.
fn serve_in_processes(
    dev: &Dev,
    configurations: &Configurations,
    stop: &Stop,
    monitor: &Service,
    sources: Sources,
) -> Result<()> {
    let mut hosts = HostProcesses::start(&configurations.hosts)?;
    let outcome = hosts.wait_ready(stop).and_then(|is_up| {
        if !is_up || !bring_up::run(configurations, dev.size, stop)? {
            return Ok(());
        }
        let gateways = Gateways::start(dev, configurations)?;
        let _metrics = serve_metrics(configurations, gateways.add_to(sources))?;
        say_ready();
        let ended = roles::run_until(stop.clone(), async {
            tokio::select! {
                failure = roles::monitor_has_ended(monitor) => Err(failure),
                failure = gateways.have_ended() => Err(failure),
                () = hosts.watch() => Ok(()),
            }
        });
        ended.and(gateways.stop())
    });
    outcome.and(hosts.stop())
}

/// Of everything that runs in this process.
fn serve_metrics(configurations: &Configurations, sources: Sources) -> Result<Option<Endpoint>> {
    Endpoint::start(configurations.cluster.metrics.as_ref(), |section| section.monitor, "dev", sources)
}

fn say_ready() {
    let mut output = Output::new(Default::default());
    // Somebody may have started the cluster without caring for its stdout.
    let _ = output.line("ready").and_then(|()| output.finish());
}
