//! The words of `basaltd`'s command line.

use basalt_cli::output::Format;
use basalt_cluster::config::BaseModel;
use basalt_cluster::quantity;
use basalt_net::WireMode;
use clap::{Args, Parser, Subcommand, value_parser};
use clap_complete::Shell;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Of one machine: addresses and threads are finite.
const OSDS_MAX: i64 = 64;
const HOSTS_MAX: i64 = 32;

/// Basalt's daemons, and what is done to a store that no daemon has open.
#[derive(Parser, Debug)]
#[command(name = "basaltd", version, about)]
pub struct Arguments {
    /// What mkfs and fsck answer on stdout: text for people, or one JSON document.
    #[arg(short = 'f', long = "format", global = true, value_enum, default_value_t = Format::Plain)]
    pub format: Format,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// A whole cluster on this machine, in the foreground; prints `ready` once it takes writes, stops on SIGTERM or SIGINT.
    Dev(Dev),
    /// The monitor.
    Mon(Role),
    /// All OSDs of this host.
    Osd {
        #[command(flatten)]
        role: Role,
        /// Lives no longer than whoever holds the other end of its stdin; says `ready` on stdout.
        #[arg(long, hide = true)]
        supervised: bool,
    },
    /// Block images as NBD exports.
    Nbd(Role),
    /// A gateway that serves S3.
    S3(Role),
    /// Makes an OSD's store on the devices that the configuration gives it.
    Mkfs {
        #[command(flatten)]
        role: Role,
        /// Which OSD.
        #[arg(long, value_name = "N")]
        osd: u32,
        /// Even where a device holds a filesystem, a partition table or another store. What it holds is lost.
        #[arg(long)]
        force: bool,
    },
    /// The script that has a shell complete this program's words.
    Completion { shell: Shell },
    /// Writes a man page for each command into a folder.
    Man { dir: PathBuf },
    /// Checks a store that no daemon has open; prints one line a fault and exits with 1 if there is any left.
    ///
    /// With --format json: one document with faults[] and repaired[], each of a kind and a message, and what was counted.
    Fsck {
        #[arg(long, value_name = "DEVICE")]
        base: PathBuf,
        #[arg(long, value_name = "DEVICE")]
        hot: Option<PathBuf>,
        /// Reads all data too, and checks it against its checksums.
        #[arg(long)]
        deep: bool,
        /// Frees what nothing refers to, and makes damaged allocation maps anew. Nothing else is written, and nothing at all where more
        /// than the maps is damaged.
        #[arg(long)]
        repair: bool,
    },
}

#[derive(Args, Debug)]
pub struct Role {
    #[arg(
        short = 'c',
        long = "config",
        env = "BASALT_CONFIG",
        default_value = "/etc/basalt/basalt.toml",
        value_name = "FILE"
    )]
    pub config: PathBuf,
}

#[derive(Args, Debug)]
pub struct Dev {
    /// Everything lives below it: devices as sparse files, basalt.toml, the key, the monitor's store.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// How many OSDs; 3 in a new cluster. One that has fewer gets the missing ones.
    #[arg(long, value_parser = value_parser!(u32).range(1..=OSDS_MAX), value_name = "N")]
    pub osds: Option<u32>,
    /// More than 1 spreads the OSDs over as many processes, each with addresses of its own on both networks; 1 in a new cluster.
    #[arg(long, value_parser = value_parser!(u32).range(1..=HOSTS_MAX), value_name = "N")]
    pub hosts: Option<u32>,
    /// Copies in the pool `data` when it is made; 3, or as many as there are hosts, or OSDs where there is one host, to keep them apart.
    #[arg(long, value_parser = value_parser!(u32).range(1..=10), value_name = "N")]
    pub size: Option<u32>,
    /// Size of each base device; 8G when it is made.
    #[arg(long, value_parser = quantity::parse_bytes, value_name = "SIZE")]
    pub base: Option<u64>,
    /// Size of each hot slice, 0 for none; 1G when it is made.
    #[arg(long, value_parser = quantity::parse_bytes, value_name = "SIZE")]
    pub hot: Option<u64>,
    /// `hdd` delays base devices as a 7200 rpm disk would; unless given, as at the last start.
    #[arg(long, value_parser = base_model, value_name = "none|hdd")]
    pub base_model: Option<BaseModel>,
    /// What protects sessions of clients. `secure` encrypts them, as on real networks; a new cluster of this kind, which never leaves this machine's
    /// loopback, has `crc`. Unless given, as at the last start.
    #[arg(long, value_name = "crc|secure")]
    pub public_mode: Option<WireMode>,
    /// Serves S3 there, such as 127.0.0.1:8000.
    #[arg(long, value_name = "ADDR")]
    pub s3: Option<SocketAddr>,
    /// Serves images by NBD on this Unix socket, as exports POOL/NAME.
    #[arg(long, value_name = "SOCKET")]
    pub nbd: Option<PathBuf>,
}

fn base_model(word: &str) -> Result<BaseModel, String> {
    match word {
        "none" => Ok(BaseModel::None),
        "hdd" => Ok(BaseModel::Hdd),
        _ => Err("it is one of none, hdd".to_owned()),
    }
}
