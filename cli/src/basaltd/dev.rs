//! `basaltd dev`: a whole cluster on this machine.

mod folder;

use crate::arguments::Dev;
use crate::roles;
use crate::signals;
use basalt_cli::{Failure, Result};
use basalt_cluster::monitor::shell::{Monitor, MonitorConfig};
use folder::Folder;
use std::process::ExitCode;

pub fn run(dev: &Dev) -> Result<ExitCode> {
    refuse_what_is_not_here_yet(dev)?;
    let stop = signals::listen()?;
    let folder = Folder::claim(&dev.dir)?;
    let mut config = folder.configuration(dev)?;
    config.write()?;
    folder.make_devices(&config, dev)?;
    let monitor = MonitorConfig::from_config(&config).and_then(Monitor::bind).map_err(roles::monitor_failure)?;
    config.monitors = vec![monitor.address()];
    let _ = (stop, roles::start_monitor(monitor)?);
    Err(Failure::new(libc::EOPNOTSUPP, "the OSD is not wired yet"))
}

fn refuse_what_is_not_here_yet(dev: &Dev) -> Result<()> {
    for (option, value) in [("--osds", dev.osds), ("--hosts", dev.hosts), ("--size", dev.size)] {
        if value != 1 {
            return Err(Failure::invalid(format!("{option} {value} is not possible in this version: only {option} 1 is")));
        }
    }
    for (option, given) in [("--s3", dev.s3.is_some()), ("--nbd", dev.nbd.is_some())] {
        if given {
            return Err(Failure::invalid(format!("{option} is not possible in this version: objects are served to `basalt` only")));
        }
    }
    Ok(())
}
