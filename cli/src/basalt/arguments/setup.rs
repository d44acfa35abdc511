//! The words that set hosts and disks up.

use clap::{Args, Subcommand};
use std::net::IpAddr;
use std::path::PathBuf;

/// Where a host is, and what it is called.
#[derive(Args, Debug)]
pub struct HostArguments {
    /// Where clients reach this host.
    #[arg(long, value_name = "IP")]
    pub public_address: IpAddr,
    /// Where the OSDs of other hosts do; the public one unless given.
    #[arg(long, value_name = "IP")]
    pub cluster_address: Option<IpAddr>,
    /// What the host is called in the map; its own name unless given.
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// Of the OSDs for clients; the next one is theirs for each other.
    #[arg(long, default_value_t = 6800, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..65535))]
    pub osd_port: u16,
}

#[derive(Args, Debug)]
pub struct Bootstrap {
    #[command(flatten)]
    pub host: HostArguments,
    /// Below it is the monitor's store.
    #[arg(long, default_value = "/var/lib/basalt", value_name = "DIR")]
    pub data: PathBuf,
    /// What the first rule keeps apart: hosts, or, where there is to be one host only, its OSDs.
    #[arg(long, default_value = "host", value_parser = ["host", "osd"])]
    pub failure_domain: String,
    #[arg(long, default_value_t = 6789, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub monitor_port: u16,
}

#[derive(Subcommand, Debug)]
pub enum Host {
    /// What another host needs to join: the cluster's fsid, key and monitors. Whoever has it is an administrator.
    Token,
    /// Writes this host's file and key from a token of a host that is in the cluster.
    Add {
        /// As `host token` printed it; `-`: from stdin, where neither `ps` nor a shell's history shows it.
        #[arg(long)]
        token: String,
        #[command(flatten)]
        host: HostArguments,
    },
}

#[derive(Subcommand, Debug)]
pub enum Disk {
    /// This host's disks and partitions: size, kind, what they hold, and which OSD has them.
    Ls,
    /// Makes an OSD's store on a device, and gives it a place in the host's file.
    Add {
        /// A disk, a partition, or a file.
        device: PathBuf,
        /// A partition of an SSD, as the OSD's hot slice.
        #[arg(long, value_name = "DEVICE")]
        hot: Option<PathBuf>,
        /// The OSD's number; the lowest that is free in the cluster unless given.
        #[arg(long, value_name = "N")]
        osd: Option<u32>,
        /// Even where a device holds something. What it holds is lost.
        #[arg(long = "yes-i-really-really-mean-it")]
        sure: bool,
    },
    /// Takes an OSD that nothing needs any more out of the host's file. Its store is left as it is.
    Rm {
        /// Its number.
        osd: u32,
        /// Even where the cluster still needs what is on it.
        #[arg(long = "yes-i-really-really-mean-it")]
        sure: bool,
    },
}
