//! The words of `basalt maintenance`.

use basalt_cluster::quantity;
use clap::{Args, Subcommand};
use std::time::Duration;

#[derive(Subcommand, Debug)]
pub enum Maintenance {
    /// Takes a host's OSDs out of service, so that its daemons can be stopped: nothing is copied meanwhile, and no client waits.
    ///
    /// Refused where placement groups would serve nobody. Waits until other OSDs serve all that these did; if they do not, all is as before.
    Enter {
        #[command(flatten)]
        which: Which,
        /// Even where placement groups will serve nobody.
        #[arg(long = "yes-i-really-mean-it")]
        sure: bool,
        /// How long it may take until others serve.
        #[arg(long, default_value = "2m", value_parser = quantity::parse_duration)]
        timeout: Duration,
    },
    /// Waits until the OSDs are up again, takes back what `enter` set, and waits until all copies are there.
    Exit {
        #[command(flatten)]
        which: Which,
        /// Without waiting for OSDs that do not come up: what they held is made anew elsewhere in time.
        #[arg(long = "yes-i-really-mean-it")]
        sure: bool,
        /// How long each of the two may take.
        #[arg(long, default_value = "10m", value_parser = quantity::parse_duration)]
        timeout: Duration,
    },
    /// Who is in maintenance, and since when.
    Status,
}

/// A host, or everything.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// As `osd tree` names it.
    pub host: Option<String>,
    /// The whole cluster, for a power cut: clients wait until `exit`.
    #[arg(long)]
    pub all: bool,
}
