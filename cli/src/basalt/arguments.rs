//! The words of `basalt`'s command line. What later versions bring is not declared: an unknown word is refused with near ones.

pub mod config;
pub mod image;
pub mod maintenance;
pub mod osd_crush;
pub mod setup;

use basalt_cli::output::Format;
use basalt_cluster::quantity;
use basalt_net::message::monitor::ChangeMode;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Objects, administration and bench of a Basalt cluster.
#[derive(Parser, Debug)]
#[command(name = "basalt", version, about, infer_long_args = false, args_override_self = true)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    /// The same as the command `status`.
    #[arg(short = 's', long = "status")]
    pub status: bool,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What every command takes, anywhere on its line.
#[derive(Args, Debug, Clone)]
pub struct Global {
    /// The cluster's configuration.
    #[arg(
        short = 'c',
        long = "config",
        global = true,
        env = "BASALT_CONFIG",
        default_value = "/etc/basalt/basalt.toml",
        value_name = "FILE"
    )]
    pub config: PathBuf,
    /// The answer on stdout: text for people, or one JSON document.
    #[arg(short = 'f', long = "format", global = true, value_enum, default_value_t = Format::Plain)]
    pub format: Format,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Objects: store, read, list, and whole trees of files.
    #[command(subcommand)]
    Obj(Obj),
    /// The cluster at a glance.
    Status,
    /// HEALTH_OK, or what is wrong.
    Health {
        /// `detail` names every OSD, pool and placement group concerned.
        #[arg(value_parser = ["detail"])]
        detail: Option<String>,
    },
    /// Space: in all and by pool.
    Df {
        /// `detail` for more columns.
        #[arg(value_parser = ["detail"])]
        detail: Option<String>,
    },
    /// What clients read and write now.
    Iostat(Iostat),
    /// Live: what pools, OSDs and clients do; `q` ends it.
    ///
    /// Where stdout is no terminal, with --once or with --format json: one look, of a second.
    Top(Top),
    /// All that is needed to understand a fault, in one document, without secrets: for a bug report.
    ///
    /// Status, health, maps, versions, settings, configuration, latencies, slow requests and sessions. It has names of pools, hosts and
    /// slow objects, addresses, and no keys.
    Report {
        /// Writes it there instead of to stdout.
        #[arg(short = 'o', long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// The version of each daemon.
    Versions,
    /// OSDs, pools and tiers.
    #[command(subcommand)]
    Osd(Osd),
    /// Placement groups.
    #[command(subcommand)]
    Pg(Pg),
    /// Who is known to the cluster, by which keys, and what each may do.
    #[command(subcommand)]
    Auth(crate::auth::Auth),
    /// How the cluster and its daemons are set, centrally.
    #[command(subcommand)]
    Config(config::Config),
    /// Work on a host, or a power cut: out of service and back, without data being copied.
    #[command(subcommand)]
    Maintenance(maintenance::Maintenance),
    /// Users of the S3 gateway.
    #[command(subcommand)]
    User(crate::user::User),
    /// Buckets of the S3 gateway.
    #[command(subcommand)]
    Bucket(crate::bucket::Bucket),
    /// What S3 users have deleted and is still to be removed.
    #[command(subcommand)]
    Gc(crate::bucket::Gc),
    /// What S3 users' rules let expire.
    #[command(subcommand)]
    Lc(crate::bucket::Lc),
    /// Crush maps in files, with no cluster: compile, decompile, try out.
    #[command(subcommand)]
    Crush(Crush),
    /// The hot tier, with no cluster: how large an SSD should be.
    #[command(subcommand)]
    Tier(TierTool),
    /// Block images: make, snapshot, clone, copy. `basaltd nbd` serves them.
    #[command(subcommand)]
    Image(image::Image),
    /// Makes the first host of a new cluster: its file, the key, a place for the monitor's store. Says what is next.
    Bootstrap(setup::Bootstrap),
    /// More hosts of a cluster.
    #[command(subcommand)]
    Host(setup::Host),
    /// This host's disks, and which of them are OSDs.
    #[command(subcommand)]
    Disk(setup::Disk),
    /// The script that has a shell complete this program's words.
    Completion { shell: Shell },
    /// Writes a man page for each command into a folder.
    Man { dir: PathBuf },
    /// Load in fio's language, on a pool, an image or a raw device.
    ///
    /// Either a job file, or its options as words: --name=t --pool=data --rw=randwrite --bs=4k --iodepth=32 --size=1G --runtime=10
    /// --time_based. --image=POOL/NAME instead of --pool writes to an image; --filename=PATH measures a raw device through the same ring. --output-format=json prints what
    /// fio prints, --summary one line a job.
    ///
    /// --yardstick=FILE [--pool=POOL] [--daemon-pid=PID] [--size=256M] [--runtime=5] measures a raw file or device and the pool in turn, and
    /// what an operation costs the process that serves the pool.
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "JOB_FILE | --OPTION=VALUE")]
        words: Vec<OsString>,
    },
}

/// Of a change that may move data.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Mode {
    /// Says how many placement groups and bytes would move, and changes nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Does what is risky all the same.
    #[arg(long = "yes-i-really-mean-it")]
    pub sure: bool,
}

impl From<Mode> for ChangeMode {
    fn from(mode: Mode) -> ChangeMode {
        ChangeMode { dry_run: mode.dry_run, sure: mode.sure }
    }
}

#[derive(Subcommand, Debug)]
pub enum Blocklist {
    Ls,
    /// For a day. `image info` shows who holds an image.
    Add {
        #[arg(value_parser = client_id)]
        client: u64,
    },
    Rm {
        #[arg(value_parser = client_id)]
        client: u64,
    },
}

fn client_id(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| "a client is named by up to 16 hexadecimal digits".to_owned())
}

#[derive(Args, Debug)]
pub struct Iostat {
    /// Shows a line each so many seconds until interrupted; without it, one line for the last second.
    #[arg(value_parser = quantity::parse_duration, value_name = "SECONDS")]
    pub period: Option<Duration>,
    /// Ends after so many lines.
    #[arg(long)]
    pub count: Option<u64>,
    /// Also what the tiers flush, evict and promote, and the part of the reads that was hot.
    #[arg(long)]
    pub tier: bool,
}

#[derive(Args, Debug)]
pub struct Top {
    /// How often it looks anew.
    #[arg(long, default_value = "2s", value_parser = quantity::parse_duration, value_name = "TIME")]
    pub interval: Duration,
    /// One look, as text.
    #[arg(long)]
    pub once: bool,
}

/// An object of a pool. Names are any bytes.
#[derive(Args, Debug)]
pub struct Object {
    pub pool: String,
    pub name: OsString,
}

/// A tree of files, as objects named by their paths below it.
#[derive(Args, Debug)]
pub struct Tree {
    pub pool: String,
    pub dir: PathBuf,
    /// Files under way at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: u16,
}

#[derive(Subcommand, Debug)]
pub enum Obj {
    /// Stores a file, of any size, as an object.
    Put {
        #[command(flatten)]
        object: Object,
        /// `-`: stdin.
        file: PathBuf,
    },
    /// Writes an object to a file.
    Get {
        #[command(flatten)]
        object: Object,
        /// `-`: stdout.
        file: PathBuf,
    },
    /// Removes objects.
    Rm {
        pool: String,
        #[arg(required = true)]
        names: Vec<OsString>,
    },
    /// Names, in byte order.
    Ls {
        pool: String,
        /// Only names that begin so.
        #[arg(long)]
        prefix: Option<OsString>,
        /// Ends each name with a zero byte instead of a line's end.
        #[arg(short = '0', long)]
        null: bool,
    },
    /// Size and time of the last change.
    Stat {
        #[command(flatten)]
        object: Object,
    },
    /// Adds a file to an object's end.
    Append {
        #[command(flatten)]
        object: Object,
        /// `-`: stdin.
        file: PathBuf,
    },
    /// Cuts an object, or lengthens it with zeros.
    Truncate {
        #[command(flatten)]
        object: Object,
        #[arg(value_parser = quantity::parse_bytes)]
        size: u64,
    },
    /// Names of an object's extended attributes.
    Listxattr {
        #[command(flatten)]
        object: Object,
    },
    /// Writes an extended attribute's bytes to stdout.
    Getxattr {
        #[command(flatten)]
        object: Object,
        xattr: OsString,
    },
    /// Sets an extended attribute; from stdin where VALUE is missing.
    Setxattr {
        #[command(flatten)]
        object: Object,
        xattr: OsString,
        #[arg(allow_hyphen_values = true)]
        value: Option<OsString>,
    },
    Rmxattr {
        #[command(flatten)]
        object: Object,
        xattr: OsString,
    },
    /// Keys of an object's omap, in byte order.
    Listomapkeys {
        #[command(flatten)]
        object: Object,
    },
    /// Writes the bytes behind a key to a file, or to stdout.
    Getomapval {
        #[command(flatten)]
        object: Object,
        key: OsString,
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Sets a key; from stdin where VALUE is missing.
    Setomapval {
        #[command(flatten)]
        object: Object,
        key: OsString,
        #[arg(allow_hyphen_values = true)]
        value: Option<OsString>,
    },
    Rmomapkey {
        #[command(flatten)]
        object: Object,
        key: OsString,
    },
    /// Stores a tree of files. Links and special files are passed over, and counted.
    Import {
        #[command(flatten)]
        tree: Tree,
        /// Adds the name of each stored object to this file once the cluster has acknowledged it: JSON, one name a line.
        #[arg(long, value_name = "FILE")]
        acknowledged: Option<PathBuf>,
        /// Takes only the first files, in order of their names, that are not larger than this together.
        #[arg(long, value_parser = quantity::parse_bytes, value_name = "SIZE")]
        max_bytes: Option<u64>,
    },
    /// Writes a pool's objects to files below DIR, never elsewhere: an object whose name is no path below it is refused by name.
    Export {
        #[command(flatten)]
        tree: Tree,
        #[arg(long)]
        prefix: Option<OsString>,
    },
    /// Reads every object of a tree and compares it with its file; names what differs and exits with 1 if anything does.
    Verify {
        #[command(flatten)]
        tree: Tree,
        /// As given to import.
        #[arg(long, value_parser = quantity::parse_bytes, value_name = "SIZE")]
        max_bytes: Option<u64>,
    },
}

#[derive(Subcommand, Debug)]
pub enum Osd {
    /// OSDs in their places.
    Tree,
    /// Space by OSD.
    Df {
        /// `tree`: with the buckets that they are in.
        #[arg(value_parser = ["tree"])]
        tree: Option<String>,
    },
    /// Data is placed on them again.
    In(Osds),
    /// No data is placed on them any more: what they have moves away, and full redundancy is kept meanwhile.
    Out(Osds),
    /// Marks them down; those that live come up again.
    Down(Osds),
    /// The share of what falls to an OSD that it takes, 0 to 1.
    Reweight {
        #[arg(value_parser = osd_id, value_name = "ID")]
        osd: u32,
        #[arg(allow_negative_numbers = true)]
        weight: f64,
        #[command(flatten)]
        mode: Mode,
    },
    /// Whether every placement group is served on without them.
    OkToStop(Osds),
    /// Whether nothing needs what is on them.
    SafeToDestroy(Osds),
    /// Gives up the data of an OSD that is down; its number and its place stay for a new device.
    Destroy(Osds),
    /// Gives up an OSD that is down: its data, its number and its place.
    Purge(Osds),
    /// The cluster's crush map, looked at and changed.
    #[command(subcommand)]
    Crush(osd_crush::OsdCrush),
    /// The cluster's crush map as text.
    Getcrushmap {
        #[arg(short = 'o', long, value_name = "OUT")]
        output: Option<PathBuf>,
    },
    /// Takes a file's crush map, as text or as `crush compile` wrote it.
    Setcrushmap {
        /// `-`: stdin.
        #[arg(required_unless_present = "input")]
        file: Option<PathBuf>,
        #[arg(short = 'i', long, value_name = "FILE", conflicts_with = "file")]
        input: Option<PathBuf>,
        #[command(flatten)]
        mode: Mode,
    },
    /// How many OSDs are up and in.
    Stat,
    /// The whole map.
    Dump,
    /// Ids, one a line.
    Ls,
    /// Where an object is.
    Map { pool: String, name: OsString },
    /// Compares everything on an OSD with its checksums, now; what is found is in `health detail`.
    DeepScrub {
        /// `0`, `osd.0`, or `all`.
        #[arg(value_name = "ID", value_parser = osd_choice)]
        osd: OsdChoice,
    },
    /// How long commits and writes take on each OSD, over its last reports.
    ///
    /// commit: from the turn of a group of transactions until it is durable on the OSD's device. apply: from the arrival of a client's write
    /// at its primary until every member has it. 0 where nothing was written.
    Perf,
    /// Requests that are slow: those under way, with what they wait for, and the last ones that were answered, with the stage that was slow.
    ///
    /// Slow is what takes longer than `osd_op_complaint_time` of the OSD's configuration, 1 s unless set.
    #[command(visible_alias = "slow-requests")]
    SlowOps {
        /// `0`, `osd.0`, or `all`.
        #[arg(value_name = "ID", value_parser = osd_choice, default_value = "all")]
        osd: OsdChoice,
    },
    /// Sets a flag of the whole cluster: noscrub, nodeep-scrub, pause, noout and others.
    Set { flag: String },
    /// Takes a flag back.
    Unset { flag: String },
    /// Sets flags for the OSDs of hosts alone: noup, nodown, noin or noout, several with commas between.
    SetGroup {
        flags: String,
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Takes flags of hosts back.
    UnsetGroup {
        flags: String,
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Clients that are fenced off: OSDs refuse whatever they send.
    #[command(subcommand)]
    Blocklist(Blocklist),
    /// From now on daemons and clients must be able to do what this release can; there is no way back.
    RequireOsdRelease {
        /// As `osd dump` and health name it, such as 0.2.
        #[arg(value_name = "RELEASE")]
        release: String,
        /// Although clients that are older are cut off by it.
        #[arg(long = "yes-i-really-mean-it")]
        sure: bool,
    },
    /// From this share of a base device on, health warns; 0.85 unless set.
    SetNearfullRatio {
        #[arg(allow_negative_numbers = true)]
        ratio: f64,
    },
    /// From this share of a base device on, nothing is backfilled to it; 0.9 unless set.
    SetBackfillfullRatio {
        #[arg(allow_negative_numbers = true)]
        ratio: f64,
    },
    /// From this share of a base device on, it takes no writes but what frees space; 0.95 unless set.
    SetFullRatio {
        #[arg(allow_negative_numbers = true)]
        ratio: f64,
    },
    #[command(subcommand)]
    Pool(Pool),
    #[command(subcommand)]
    Tier(Tier),
}

/// OSDs, and how a change of them is meant.
#[derive(Args, Debug)]
pub struct Osds {
    /// `0`, `osd.0`, or `all`.
    #[arg(required = true, value_name = "ID", value_parser = osd_choice)]
    pub osds: Vec<OsdChoice>,
    #[command(flatten)]
    pub mode: Mode,
}

fn osd_id(word: &str) -> Result<u32, String> {
    match osd_choice(word) {
        Ok(OsdChoice::One(id)) => Ok(id),
        _ => Err("an OSD is named as 0 or osd.0".into()),
    }
}

/// Which OSDs a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OsdChoice {
    One(u32),
    All,
}

fn osd_choice(word: &str) -> Result<OsdChoice, String> {
    match word {
        "all" | "any" | "*" => Ok(OsdChoice::All),
        _ => {
            let digits = word.strip_prefix("osd.").unwrap_or(word);
            digits
                .parse()
                .map(OsdChoice::One)
                .map_err(|_| "an OSD is named as 0 or osd.0, and all of them as all".into())
        }
    }
}

#[derive(Subcommand, Debug)]
pub enum Pool {
    Create {
        name: String,
        pg_num: Option<u32>,
        /// Ceph's second count; it must equal the first.
        #[arg(hide = true)]
        pgp_num: Option<u32>,
        #[arg(long)]
        rule: Option<String>,
        #[arg(long)]
        size: Option<u32>,
    },
    Ls {
        #[arg(value_parser = ["detail"])]
        detail: Option<String>,
    },
    /// One variable, or `all`.
    Get {
        name: String,
        variable: String,
    },
    Set {
        name: String,
        variable: String,
        #[arg(allow_negative_numbers = true)]
        value: String,
        #[command(flatten)]
        mode: Mode,
    },
    /// Removes a pool with everything in it. Its name twice and the flag, so that no slip can do it.
    Rm {
        name: String,
        again: Option<String>,
        #[arg(long = "yes-i-really-really-mean-it")]
        sure: bool,
    },
    Rename {
        name: String,
        to: String,
    },
    /// `max_bytes` or `max_objects`; 0 lifts it.
    SetQuota {
        name: String,
        variable: String,
        value: String,
    },
    GetQuota {
        name: String,
    },
    Stats {
        name: Option<String>,
    },
    #[command(subcommand)]
    Application(Application),
}

#[derive(Subcommand, Debug)]
pub enum Application {
    Enable { pool: String, application: String },
    Disable { pool: String, application: String },
    Get { pool: String },
}

#[derive(Subcommand, Debug)]
pub enum Tier {
    /// What is hot, dirty and clean, and how fast it moves.
    Status { pool: Option<String> },
    /// Empties the hot tier: flushes all that is dirty, evicts all that is clean, and waits for it. Says what is left, and why, if that
    /// takes longer than the timeout.
    Drain {
        pool: String,
        #[arg(long, default_value = "10m", value_parser = quantity::parse_duration)]
        timeout: Duration,
    },
    #[command(flatten)]
    Change(TierChange),
}

/// Which pool caches which.
#[derive(Subcommand, Debug)]
pub enum TierChange {
    /// Makes CACHE the pool that holds the settings by which BASE is cached. The cache is the hot slices of the OSDs that hold BASE.
    Add {
        base: String,
        cache: String,
        #[arg(long = "force-nonempty")]
        force_nonempty: bool,
    },
    /// As add, cache-mode writeback, set-overlay and target_max_bytes in one.
    AddCache { base: String, cache: String, size: String },
    #[command(visible_alias = "remove")]
    Rm { base: String, cache: String },
    /// `none`, `writeback`, `readproxy`, `proxy` or `readonly`.
    CacheMode {
        cache: String,
        mode: String,
        /// Taken for Ceph's sake, which asks for it with `readonly`; no mode endangers data here.
        #[arg(long = "yes-i-really-mean-it", hide = true)]
        sure: bool,
    },
    /// From now on CACHE's settings count for BASE.
    SetOverlay { base: String, cache: String },
    #[command(visible_alias = "remove-overlay")]
    RmOverlay { base: String },
}

#[derive(Subcommand, Debug)]
pub enum Pg {
    Stat,
    Dump,
    /// Groups in all of these states.
    Ls {
        #[arg(value_name = "[POOL_ID] STATE")]
        words: Vec<String>,
    },
    LsByPool {
        pool: String,
        states: Vec<String>,
    },
    LsByOsd {
        #[arg(value_parser = osd_id, value_name = "ID")]
        osd: u32,
        states: Vec<String>,
    },
    /// Everything about one group, and in words what it waits for.
    Query {
        pg: String,
    },
    Scrub {
        pg: String,
    },
    /// Compares everything with its checksums, on each OSD that holds the group.
    DeepScrub {
        pg: String,
    },
    Repair {
        pg: String,
    },
}

/// A map is read in either form: as text, or as `compile` wrote it; `-` is stdin.
#[derive(Subcommand, Debug)]
pub enum Crush {
    /// Checks a map and says what is in it and what is odd about it.
    Compile {
        file: PathBuf,
        /// Writes the map in its encoded form; `-`: to stdout.
        #[arg(short = 'o', long, value_name = "OUT")]
        output: Option<PathBuf>,
    },
    /// The map as text, or as `osd crush dump` has it where JSON is wanted.
    Decompile {
        file: PathBuf,
        /// Writes the text to a file; `-`: to stdout.
        #[arg(short = 'o', long, value_name = "OUT")]
        output: Option<PathBuf>,
    },
    /// Where a rule puts many inputs, a line each; with other --show options, what they come to.
    Test(CrushTest),
    /// Where an object of a pool goes, with every OSD up and in.
    MapObject(MapObject),
}

#[derive(Args, Debug)]
pub struct CrushTest {
    pub file: PathBuf,
    /// Its number or name.
    #[arg(long)]
    pub rule: String,
    /// How many OSDs are asked for.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub num_rep: u32,
    #[arg(long, default_value_t = 0)]
    pub min_x: u32,
    #[arg(long, default_value_t = 1023)]
    pub max_x: u32,
    /// The share of what falls to a device that it takes, 0 to 1. For several devices, several times.
    #[arg(long, num_args = 2, value_names = ["DEV", "W"], action = clap::ArgAction::Append, allow_negative_numbers = true)]
    pub weight: Vec<String>,
    #[arg(long)]
    pub show_mappings: bool,
    /// How many mappings have how many OSDs.
    #[arg(long)]
    pub show_statistics: bool,
    /// How often each device is chosen.
    #[arg(long)]
    pub show_utilization: bool,
    /// Mappings that are too short or have holes.
    #[arg(long)]
    pub show_bad_mappings: bool,
}

#[derive(Subcommand, Debug)]
pub enum TierTool {
    /// Plays a trace of block accesses through the tier's policy, for hot slices of several sizes.
    ///
    /// The trace is fio's (write_iolog, versions 2 and 3), or a CSV of time in seconds, operation, offset and size in bytes; `-` is stdin.
    /// For example: basalt tier simulate vm.csv --sizes 64G,128G,256G --set cache_min_flush_age=60
    Simulate(TierSimulate),
}

#[derive(Args, Debug)]
pub struct TierSimulate {
    pub trace: PathBuf,
    /// Of the hot slice; unless given, several parts of what the trace touches.
    #[arg(long, value_delimiter = ',', value_parser = quantity::parse_bytes)]
    pub sizes: Vec<u64>,
    /// A tier variable, as `osd pool set` takes it. For several, several times.
    #[arg(long, value_name = "VARIABLE=VALUE")]
    pub set: Vec<String>,
    /// What devices are cut into.
    #[arg(long, default_value = "4M", value_parser = quantity::parse_bytes)]
    pub object_size: u64,
    /// What the base device reads or writes in a row, bytes a second.
    #[arg(long, default_value = "150M", value_parser = quantity::parse_bytes)]
    pub base_rate: u64,
    /// What it takes to get to another place.
    #[arg(long, default_value = "8ms", value_parser = quantity::parse_duration)]
    pub base_seek: Duration,
    /// Accesses a second of a trace that tells no times.
    #[arg(long, default_value_t = 1000)]
    pub iops: u64,
}

#[derive(Args, Debug)]
pub struct MapObject {
    pub file: PathBuf,
    #[arg(long)]
    pub pool_id: u32,
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub pg_num: u32,
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub size: u32,
    /// Its number or name.
    #[arg(long)]
    pub rule: String,
    pub name: OsString,
}
