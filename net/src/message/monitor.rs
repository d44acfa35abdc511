//! What clients, OSDs and administrators say to the monitor. The map itself travels as bytes that only the cluster crate reads.

use crate::Features;
use rkyv::{Archive, Deserialize, Serialize};

/// To the monitor.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum MonitorRequest {
    /// Send the newest map now if it is newer than `have_epoch`, and every newer one from now on.
    Subscribe { have_epoch: u32 },
    /// An OSD is up and serves at these addresses.
    Boot(OsdBoot),
    /// Stats of one OSD, sent about once a second; also its heartbeat for now.
    Report(OsdReport),
    /// The primary of placement groups asks for changes of their in-sync sets.
    Groups(GroupChanges),
    /// A command of an administrator, answered by `MonitorReply::Command` with the same `tag`.
    Command { tag: u64, command: AdminCommand },
    /// A command that changes something, under an id for good: sent again, with a session to whichever monitor, it is carried out once.
    Change { tag: u64, id: u128, command: AdminCommand },
}

/// What subscribers are sent.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum MapNews {
    Whole {
        epoch: u32,
        map: Vec<u8>,
    },
    /// Of a map that is too large for one message: `total` bytes, these from `offset` on. They come in order; offset 0 begins anew.
    Part {
        epoch: u32,
        offset: u64,
        total: u64,
        bytes: Vec<u8>,
    },
    /// What makes map `epoch` of the one before.
    Increment {
        epoch: u32,
        increment: Vec<u8>,
    },
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum MonitorReply {
    Map(MapNews),
    Command {
        tag: u64,
        reply: CommandReply,
    },
    /// This monitor does not lead; the session ends with this. The leader's address is empty while there is none, or none is known.
    NotLeading {
        leader: String,
    },
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[rkyv(derive(Debug))]
pub struct OsdBoot {
    pub osd: u32,
    pub store_id: [u8; 16],
    /// Drawn at each start of the process: by it a new session is told from a new start.
    pub life: u64,
    pub host: String,
    pub public_address: String,
    pub cluster_address: String,
    pub base_bytes: u64,
    pub hot_bytes: u64,
    pub rotational: bool,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[rkyv(derive(Debug))]
pub struct OsdReport {
    pub osd: u32,
    pub epoch: u32,
    pub base_total_bytes: u64,
    pub base_used_bytes: u64,
    /// Of base: used, or needed once all that is dirty is flushed. By this an OSD is full.
    pub base_promised_bytes: u64,
    pub hot_total_bytes: u64,
    pub hot_used_bytes: u64,
    /// Of the index, omap included, and of the log: on the hot device where there is one.
    pub index_bytes: u64,
    pub log_bytes: u64,
    /// Non-empty if the store is fenced or misbehaves.
    pub fault: String,
    pub checksum_errors: u64,
    pub scrub: ScrubReport,
    pub silent_peers: Vec<PeerSilence>,
    /// Peers that answered on the cluster network lately.
    pub heard_peers: Vec<u32>,
    /// It misses most of its peers on the cluster network: the fault is rather its own.
    pub is_isolated: bool,
    /// Those that are not just active and clean.
    pub groups: Vec<GroupReport>,
    /// How many groups it is the primary of and serves.
    pub groups_active: u32,
    /// Sent to other OSDs for recovery and backfill since the start.
    pub recovered_bytes: u64,
    pub recovered_objects: u64,
    /// Groups of transactions that were made durable since the start, and the nanoseconds that they took together.
    pub commits: u64,
    pub commit_ns: u64,
    /// Writes of clients that were done, and the nanoseconds from their arrival until every member had them.
    pub applies: u64,
    pub apply_ns: u64,
    /// Requests that were slow since the start.
    pub slow_requests: u64,
    /// Requests that have been under way for much longer than any should be, and the age of the oldest, in milliseconds.
    pub stuck_requests: u64,
    pub stuck_oldest_ms: u64,
    pub pools: Vec<PoolReport>,
}

/// Which peers an OSD does not hear from; those it hears from are left out.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[rkyv(derive(Debug))]
pub struct PeerSilence {
    pub osd: u32,
    /// Since when the peer was up, by the reporter's map: a report about an earlier life says nothing of this one.
    pub up_since_epoch: u32,
    /// How long it has been silent on each network, in milliseconds; 0: it is not.
    pub cluster_ms: u64,
    pub public_ms: u64,
    /// Nobody listens at its cluster address: the process is gone.
    pub is_refused: bool,
}

/// What a primary asks of the monitor for its placement groups.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[rkyv(derive(Debug))]
pub struct GroupChanges {
    pub primary: u32,
    pub joins: Vec<GroupJoin>,
}

/// A member that has all that was written may join the in-sync set.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct GroupJoin {
    pub pool: u32,
    pub pg: u32,
    pub reign: u32,
    pub osd: u32,
    /// The life of the OSD that was filled; another one may have lost it.
    pub up_since_epoch: u32,
    /// Of the map by which it belongs to the group.
    pub epoch: u32,
}

/// What a primary says of a placement group that is not just active and clean.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[rkyv(derive(Debug))]
pub struct GroupReport {
    pub pool: u32,
    pub pg: u32,
    pub reign: u32,
    pub is_active: bool,
    /// What it waits for, in words; empty if for nothing.
    pub waits_for: String,
    /// OSDs that are on their way into the in-sync set.
    pub recovering: Vec<MemberProgress>,
    pub scrub: GroupScrub,
}

/// Of the comparison of a group's copies.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[rkyv(derive(Debug))]
pub struct GroupScrub {
    pub is_running: bool,
    pub is_deep: bool,
    /// Objects of which the last one left copies that differ.
    pub inconsistent: u64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[rkyv(derive(Debug))]
pub struct MemberProgress {
    pub osd: u32,
    /// All of its objects are compared, and not those of the log alone.
    pub is_backfill: bool,
    pub objects_done: u64,
    pub objects_total: u64,
    pub bytes_done: u64,
    /// It waits for its turn, or is held back by a flag.
    pub is_waiting: bool,
}

/// What an OSD's last pass over its store found, and how far the one under way is.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[rkyv(derive(Debug))]
pub struct ScrubReport {
    /// Found damaged and not repaired: by the last pass that ended, and beyond that by the one under way.
    pub errors: u64,
    /// The first of them, a line each.
    pub findings: Vec<String>,
    /// Repaired since the OSD's start.
    pub repaired: u64,
    pub is_running: bool,
    /// What the pass under way, or else the last one, has read since the OSD's start.
    pub pass_bytes: u64,
    /// When the last pass ended, in seconds since 1970.
    pub finished_unix_s: u64,
}

/// One OSD's figures for one pool. Counters count since the OSD's start; sizes are now.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[rkyv(derive(Debug))]
pub struct PoolReport {
    pub pool: u32,
    pub objects: u64,
    pub data_bytes: u64,
    pub omap_bytes: u64,
    pub target_bytes: u64,
    pub hot_bytes: u64,
    pub dirty_bytes: u64,
    pub clean_bytes: u64,
    pub dirty_objects: u64,
    pub flushed_bytes: u64,
    pub evicted_bytes: u64,
    pub promoted_bytes: u64,
    pub hit_reads: u64,
    pub miss_reads: u64,
    /// Likewise, but of about the last ten minutes.
    pub recent_hit_reads: u64,
    pub recent_miss_reads: u64,
    /// Writes that the tier held before it took them.
    pub slowed_writes: u64,
    /// Writes that were to be hot and went to base, for want of room.
    pub written_through: u64,
    /// Younger than a minute, than ten, than an hour, and older.
    pub dirty_bytes_by_age: [u64; 4],
    pub oldest_dirty_s: u64,
    pub flush_reason: FlushReason,
    /// What the flusher asks for, for this pool, and what base was measured to sustain, for all of them. Bytes a second.
    pub wanted_flush_rate: u64,
    pub base_rate: u64,
    pub read_operations: u64,
    pub read_bytes: u64,
    pub write_operations: u64,
    pub write_bytes: u64,
}

/// Why an OSD flushes a pool: the most urgent of what applies, in order of urgency.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[rkyv(derive(Debug))]
pub enum FlushReason {
    /// Nothing is to be flushed.
    #[default]
    None,
    /// Base has nothing else to do.
    Idle,
    /// Something reaches `cache_max_dirty_age`.
    Age,
    /// Past `cache_target_dirty_ratio`.
    DirtyRatio,
    /// A mode in which nothing stays dirty.
    Mode,
    /// `osd tier drain`.
    Drain,
    /// Past `cache_target_dirty_high_ratio`.
    HighRatio,
    /// The slice is short of room that only flushes can make.
    SliceShort,
}

/// `basalt …` administration commands, already parsed from words.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum AdminCommand {
    Status,
    HealthDetail,
    Df,
    Versions,
    OsdTree,
    OsdDf,
    OsdStat,
    OsdDump,
    OsdLs,
    OsdMap {
        pool: String,
        name: Vec<u8>,
    },
    PoolCreate {
        name: String,
        pg_num: Option<u32>,
        rule: Option<String>,
        size: Option<u32>,
    },
    PoolLs {
        detail: bool,
    },
    PoolGet {
        name: String,
        variable: String,
    },
    PoolSet {
        name: String,
        variable: String,
        value: String,
    },
    PoolRename {
        name: String,
        to: String,
    },
    PoolRm {
        name: String,
        again: String,
        sure: bool,
    },
    PoolSetQuota {
        name: String,
        variable: String,
        value: String,
    },
    PoolGetQuota {
        name: String,
    },
    PoolStats {
        name: Option<String>,
    },
    PoolApplication {
        name: String,
        action: String,
        application: String,
    },
    TierStatus {
        pool: Option<String>,
    },
    Tier(TierCommand),
    PgStat,
    PgDump,
    /// OSDs refuse whatever this client sends, from the map on that says so.
    BlocklistAdd {
        client: u64,
    },
    BlocklistRm {
        client: u64,
    },
    BlocklistLs,
    OsdSetFlag {
        flag: String,
        is_set: bool,
    },
    OsdSetFullRatio {
        line: FullLine,
        ratio: f64,
    },
    /// A change that may move data. `PoolSet` is one as well, with nothing tried out and nothing insisted on.
    Change {
        change: MapChange,
        mode: ChangeMode,
    },
    OsdOkToStop {
        osds: Vec<u32>,
    },
    OsdSafeToDestroy {
        osds: Vec<u32>,
    },
    OsdDfTree,
    Crush(CrushQuestion),
    PgLs {
        which: PgSelection,
    },
    PgQuery {
        pg: String,
    },
    ConfigSet {
        who: String,
        name: String,
        value: String,
    },
    /// One option, or all that `who` has.
    ConfigGet {
        who: String,
        name: Option<String>,
    },
    ConfigDump,
    OsdPerf,
    ConfigRm {
        who: String,
        name: String,
    },
    /// Of one option, or of all.
    ConfigHelp {
        name: Option<String>,
    },
    /// Flags of hosts.
    OsdSetGroup {
        flags: Vec<String>,
        hosts: Vec<String>,
        is_set: bool,
    },
    Maintenance {
        scope: MaintenanceScope,
        step: MaintenanceStep,
    },
    MaintenanceStatus,
    Auth(AuthCommand),
    /// From now on all must be able to do what this release can; `sure`: clients that can't are cut off.
    OsdRequireRelease {
        release: String,
        sure: bool,
    },
}

impl AdminCommand {
    /// What a monitor must have to know the command. One that does not would end the session.
    pub fn needed_features(&self) -> Features {
        match self {
            AdminCommand::OsdRequireRelease { .. } => Features::REQUIRED_IN_MAP,
            _ => Features::NONE,
        }
    }

    /// Whether it changes nothing: it may be carried out twice, and by whoever may see what the cluster is like.
    pub fn only_looks(&self) -> bool {
        match self {
            AdminCommand::Status
            | AdminCommand::HealthDetail
            | AdminCommand::Df
            | AdminCommand::Versions
            | AdminCommand::OsdTree
            | AdminCommand::OsdDf
            | AdminCommand::OsdDfTree
            | AdminCommand::OsdStat
            | AdminCommand::OsdDump
            | AdminCommand::OsdLs
            | AdminCommand::OsdMap { .. }
            | AdminCommand::OsdPerf
            | AdminCommand::OsdOkToStop { .. }
            | AdminCommand::OsdSafeToDestroy { .. }
            | AdminCommand::BlocklistLs
            | AdminCommand::PoolLs { .. }
            | AdminCommand::PoolGet { .. }
            | AdminCommand::PoolGetQuota { .. }
            | AdminCommand::PoolStats { .. }
            | AdminCommand::TierStatus { .. }
            | AdminCommand::PgStat
            | AdminCommand::PgDump
            | AdminCommand::PgLs { .. }
            | AdminCommand::PgQuery { .. }
            | AdminCommand::Crush(_)
            | AdminCommand::ConfigGet { .. }
            | AdminCommand::ConfigDump
            | AdminCommand::ConfigHelp { .. }
            | AdminCommand::MaintenanceStatus
            | AdminCommand::Auth(AuthCommand::Ls | AuthCommand::Get { .. }) => true,
            AdminCommand::Change { mode, .. } => mode.dry_run,
            AdminCommand::PoolApplication { action, .. } => action == "get",
            // What is added to the list of commands later is taken for a change.
            _ => false,
        }
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub enum MaintenanceScope {
    /// The cluster as a whole: for a power cut.
    All,
    Host(String),
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub enum MaintenanceStep {
    /// `sure`: also where groups will serve nobody.
    Enter {
        sure: bool,
    },
    /// OSDs may come up again; until the exit, what is down is not made anew elsewhere.
    ComeUp,
    Exit,
}

/// Who is known to the cluster, by which public keys, and what each may do.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum AuthCommand {
    Ls,
    Get {
        entity: String,
    },
    /// A new entity. Capabilities in Ceph's words, empty for none.
    Add {
        entity: String,
        public_key: [u8; 32],
        mon: String,
        osd: String,
    },
    /// All capabilities of an entity anew.
    Caps {
        entity: String,
        mon: String,
        osd: String,
    },
    Rm {
        entity: String,
    },
    /// A second key beside the one it has.
    Rotate {
        entity: String,
        public_key: [u8; 32],
    },
    /// Its last key stays.
    RmKey {
        entity: String,
        public_key: [u8; 32],
    },
}

/// Which pool caches which, by their names.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum TierCommand {
    Add { base: String, cache: String, even_if_it_holds_objects: bool },
    AddCache { base: String, cache: String, size: String },
    Rm { base: String, cache: String },
    CacheMode { cache: String, mode: String },
    SetOverlay { base: String, cache: String },
    RmOverlay { base: String },
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum MapChange {
    Osds {
        osds: Vec<u32>,
        what: OsdChange,
    },
    Crush(CrushChange),
    /// The whole CRUSH map, as text or encoded.
    CrushMap {
        map: Vec<u8>,
    },
    PoolSet {
        name: String,
        variable: String,
        value: String,
    },
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[rkyv(derive(Debug))]
pub struct ChangeMode {
    /// Says what would move, and changes nothing.
    pub dry_run: bool,
    /// The operator insists on what is risky.
    pub sure: bool,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum OsdChange {
    In,
    Out,
    Down,
    /// The share of what falls to it that it takes, 0 to 1.
    Reweight {
        weight: f64,
    },
    /// Its data is given up; its number and its place stay, for a new device.
    Destroy,
    /// Its data, number and place are given up.
    Purge,
}

/// Places are words `type=name`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum CrushChange {
    AddBucket {
        name: String,
        type_name: String,
        place: Vec<String>,
    },
    Move {
        name: String,
        place: Vec<String>,
    },
    /// Puts an OSD at a place with this weight; `is_new`: as `osd crush add` words it.
    Set {
        osd: u32,
        weight: f64,
        place: Vec<String>,
        is_new: bool,
    },
    Reweight {
        name: String,
        weight: f64,
    },
    ReweightSubtree {
        name: String,
        weight: f64,
    },
    ReweightAll,
    Rm {
        name: String,
    },
    RenameBucket {
        from: String,
        to: String,
    },
    RuleCreateReplicated {
        name: String,
        root: String,
        failure_domain: String,
        class: Option<String>,
    },
    RuleCreateSimple {
        name: String,
        root: String,
        failure_domain: String,
        mode: String,
    },
    RuleRm {
        name: String,
    },
    RuleRename {
        from: String,
        to: String,
    },
    SetDeviceClass {
        class: String,
        osds: Vec<u32>,
    },
    RmDeviceClass {
        osds: Vec<u32>,
    },
    ClassRename {
        from: String,
        to: String,
    },
    Tunables {
        profile: String,
    },
    SetTunable {
        name: String,
        value: u32,
    },
    SetAllStrawBucketsToStraw2,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum CrushQuestion {
    Tree {
        shadows: bool,
    },
    Dump,
    /// As text.
    Map,
    Ls {
        bucket: String,
    },
    RuleLs,
    /// Of all rules, or one by its name.
    RuleDump {
        name: Option<String>,
    },
    ClassLs,
    ClassLsOsd {
        class: String,
    },
    Tunables,
}

/// All that is given must be so.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[rkyv(derive(Debug))]
pub struct PgSelection {
    /// By number or name.
    pub pool: Option<String>,
    /// In the acting set.
    pub osd: Option<u32>,
    /// Each in the state's name.
    pub states: Vec<String>,
}

/// The lines across a base device that `osd set-…-ratio` moves.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub enum FullLine {
    NearFull,
    BackfillFull,
    Full,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub struct CommandReply {
    /// 0, or a positive errno.
    pub errno: i32,
    /// On an error: what is wrong and what would be right. On success: the line Ceph prints, if any.
    pub message: String,
    /// A JSON document with Ceph's keys; `null` where there is nothing to show.
    pub json: String,
}
