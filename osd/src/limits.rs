//! Every bound of this crate, and how they relate. Sizes in bytes.

use basalt_net::message::object::ArchivedOperationResult;
use std::time::Duration;

/// As the store's: a user's name of 2 KiB, and what a client appends to it.
pub const OBJECT_NAME_BYTES_MAX: usize = basalt_blockstore::limits::NAME_BYTES_MAX;
/// Operations in one request.
pub const OPERATIONS_MAX: usize = 1024;
/// What the results of one reply may add up to, besides read data: xattrs, omap pairs, names.
pub const RESULT_BYTES_MAX: usize = 4 << 20;
/// Read data of one reply.
pub const READ_BYTES_MAX: u64 = basalt_net::limits::PAYLOAD_BYTES_MAX as u64;
/// How often a read looks again that meets a write, before it locks the object.
pub const UNLOCKED_READS_MAX: u32 = 3;
/// How often one request has damage put right from other copies before it gives up.
pub const MENDS_MAX: u32 = 8;
pub const REPAIR_WAIT_MAX: Duration = Duration::from_secs(5);
/// Names in one page of a listing.
pub const LIST_NAMES_MAX: usize = 1024;
/// Pairs fetched from the store at once while a page of an omap listing fills.
pub const LIST_PAIRS_STEP: usize = 64;
/// What a request that both reads and writes may bring back: it is kept in the placement group's log, so that a resent request gets the
/// same answer. Ceph bounds it too (`osd_max_write_op_reply_len`).
pub const RECORDED_RESULT_BYTES_MAX: usize = 4096;
/// What each result takes of that besides what it holds, so that many empty ones are bounded too.
pub const RECORDED_RESULT_OVERHEAD: usize = 48;
/// A write to a pool that is at home on the hot slice waits so long for what is cached there to give way, and looks so often.
pub const PINNED_WAIT_MAX: Duration = Duration::from_secs(10);
pub const PINNED_WAIT_STEP: Duration = Duration::from_millis(10);
/// Refusals of writes that the primary of a group remembers, so that a copy of the request is refused as well.
pub const REFUSALS_KEPT: usize = 1024;
/// Of each one's words.
pub const REFUSAL_BYTES_KEPT: usize = 256;
/// Bytes that requests clone at a time; they are read into memory first.
pub const CLONE_BYTES_MAX: u64 = 64 << 20;

/// Tasks of one OSD that wait for requests to work on. Each holds a few KiB.
pub const IDLE_WORKERS_MAX: usize = 128;
/// Requests of one session that are being worked on.
pub const SESSION_REQUESTS_MAX: u64 = 1024;
/// Bytes of read data of one session that are being read or wait to be sent.
pub const SESSION_READ_BYTES_MAX: u64 = 64 << 20;
/// Sessions of one OSD.
pub const SESSIONS_MAX: usize = 16 << 10;
/// Payload bytes, read and written, of all requests that one OSD is working on.
pub const OSD_PAYLOAD_BYTES_MAX: u64 = 512 << 20;
/// A session that was silent this long is asked for a sign of life.
pub const SESSION_PING_AFTER: Duration = Duration::from_secs(15);
/// A session that was silent this long is over.
pub const SESSION_SILENCE_MAX: Duration = Duration::from_secs(60);
pub const SESSION_CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// How long the last replies of a session may take to leave when the OSD stops.
pub const SESSION_FAREWELL_MAX: Duration = Duration::from_secs(5);

/// How often a new primary looks whether it may go on.
pub const FENCE_LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long a member that refused something is left alone.
pub const SYNC_RETRY: Duration = Duration::from_millis(100);
/// How long what groups ask of the monitor is gathered.
pub const JOIN_GATHER: Duration = Duration::from_millis(50);
/// Groups that one report says more of than that they are served.
pub const GROUP_REPORTS_MAX: usize = 4096;
/// How often the monitor is asked again to take a member in.
pub const JOIN_INTERVAL: Duration = Duration::from_secs(1);
/// Groups that one OSD brings up to date at a time by their logs.
pub const RECOVERY_GROUPS_MAX: u64 = 16;
/// Bytes a second of recovery that nobody waits for, of all OSDs that may recover to the same one together: whatever clients see, there are
/// so many. An OSD begins with so many times its part. Beyond so many OSDs the part does not get smaller.
pub const RECOVERY_RATE_FLOOR: f64 = 4e6;
pub const RECOVERY_RATE_FIRST_FLOORS: f64 = 2.0;
pub const RECOVERY_SHARERS_MAX: usize = 32;
pub const RECOVERY_RATE_MAX: f64 = 4e9;
/// By what the rate grows and falls from one window to the next: fast up to where it was too much before, and slowly beyond.
pub const RECOVERY_RATE_GROWTH: f64 = 1.12;
pub const RECOVERY_RATE_CREEPS: f64 = 1.04;
pub const RECOVERY_RATE_FALLS: f64 = 0.9;
pub const RECOVERY_RATE_FALLS_FAR: f64 = 0.5;
/// How much of a rate that was too much counts as familiar.
pub const RECOVERY_FAMILIAR: f64 = 0.8;
/// And with each window in which nothing was recovered.
pub const RECOVERY_RATE_FADES: f64 = 0.9;
/// What an object costs besides its bytes.
pub const RECOVERY_OBJECT_COST: u64 = 16 << 10;
/// So many are let go together.
pub const RECOVERY_BURST_BYTES: f64 = 524_288.0;
/// How long one sleeps at most before it is looked again at which rate.
pub const RECOVERY_TURN_STEP: Duration = Duration::from_millis(100);
/// The effect on clients is looked at after so long, or as soon after it as there are enough requests to tell.
pub const RECOVERY_WINDOW: Duration = Duration::from_millis(500);
pub const RECOVERY_WINDOW_MAX: Duration = Duration::from_secs(2);
pub const LATENCIES_ENOUGH: f64 = 100.0;
/// Of fewer, the slowest hundredth can't be told.
pub const LATENCIES_MIN: f64 = 20.0;
/// Less is not worth a pause to anyone.
pub const CALM_P99_MIN: Duration = Duration::from_micros(100);
/// What clients saw without recovery counts half after this.
pub const CALM_HALVES_AFTER: Duration = Duration::from_secs(30);
/// How much of the slowdown that is allowed is aimed at: requests beyond that are slow.
pub const RECOVERY_SLOWDOWN_AIM: f64 = 0.7;
/// How many of all requests may be slow, and how many of one window's are far too many.
pub const SLOW_SHARE_MAX: f64 = 0.01;
pub const SLOW_SHARE_FAR: f64 = 0.1;
/// How much a window counts in the next one.
pub const JUDGED_FADES: f64 = 0.95;
/// While there are clients, recovery pauses so often and so long; in the first part of it, what was under way ends.
pub const RECOVERY_PAUSE_EVERY: Duration = Duration::from_secs(8);
pub const RECOVERY_PAUSE: Duration = Duration::from_secs(1);
pub const RECOVERY_SETTLES: Duration = Duration::from_millis(250);
/// No client is there if none was heard of for so long.
pub const RECOVERY_CLIENTS_GONE_AFTER: Duration = Duration::from_secs(3);
/// Data that is on its way to members for recovery.
pub const RECOVERY_BYTES_MAX: u64 = 64 << 20;
/// Data of one message that brings an object to another OSD, and omap pairs of one, about.
pub const PUSH_PART_BYTES: u64 = 8 << 20;
pub const PUSH_OMAP_BYTES: usize = 1 << 20;
/// Zeros are looked for in steps of so many bytes.
pub const ZERO_RUN_BYTES: usize = 4096;
/// Bytes of log entries in one message that brings them to another OSD, unless a single one is larger: what the smallest log of a store
/// takes in one transaction.
pub const LOG_PUSH_BYTES: usize = 16 << 10;
/// Entries of the log, or objects, that are asked for or sent at once.
pub const LOG_PUSH_STEP: usize = 256;
pub const COMPARE_STEP: usize = 512;

/// How long a member's answer to a heartbeat lets a primary serve reads, and how long the member itself counts it: clocks may differ in
/// pace by a tenth.
pub const LEASE: Duration = Duration::from_secs(2);
pub const LEASE_GRANTED: Duration = Duration::from_millis(2_200);
/// Up to so many OSDs in a cluster hear each other all; of more, those that share groups do, and so many besides.
pub const PEERS_ALL_MAX: usize = 32;
pub const PEERS_BESIDES: usize = 4;
pub const PEER_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
pub const PEER_RETRY_MIN: Duration = Duration::from_millis(50);
pub const PEER_RETRY_MAX: Duration = Duration::from_secs(1);
/// A peer that is silent so long is connected to anew.
pub const PEER_SILENCE_MAX: Duration = Duration::from_secs(4);
pub const HEARTBEAT_INTERVAL_DEFAULT: Duration = Duration::from_millis(500);
/// How long a request waits for its group to be served, before its client is told to ask again.
pub const GROUP_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a request waits for a map that its client already has.
pub const MAP_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a request waits while the cluster is paused; the client asks again.
pub const PAUSE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Changed ranges and omap keys that an entry of the log lists.
pub const LOGGED_RANGES_MAX: usize = 16;
/// Changed ranges that are remembered of an object that another OSD lacks: every second block of one of 4 MiB.
pub const MISSING_RANGES_MAX: usize = 512;
pub const LOGGED_OMAP_KEY_BYTES_MAX: usize = 1024;
/// Log entries of a placement group that are kept in any case, so that a replica that was away can catch up.
pub const LOG_ENTRIES_KEPT: usize = 3000;
/// Entries trimmed at once: as many as the store takes out in one transaction.
pub const LOG_TRIM_BATCH: usize = 16;
/// Beyond this many, entries go even if their client may still resend them.
pub const LOG_ENTRIES_MAX: usize = 20_000;
/// Entries read from the store at once when a placement group is loaded.
pub const LOG_READ_STEP: usize = 512;

/// A flush batch: small enough that clients' operations on the base device do not wait long behind one.
pub const FLUSH_BATCH_BYTES_MAX: u64 = 4 << 20;
pub const FLUSH_BATCH_OBJECTS_MAX: usize = 64;
pub const EVICT_BATCH_OBJECTS_MAX: usize = 64;
/// Of objects that are flushed whole, for the index's sake.
pub const VACATE_BATCH_OBJECTS_MAX: usize = 8;
/// Promotions that one OSD does at a time; more are dropped, as promotion is never owed.
pub const PROMOTIONS_MAX: u64 = 2;
/// How often an OSD looks for data of pools at home on the hot slice that is on base all the same.
pub const HOMECOMING_INTERVAL: Duration = Duration::from_secs(3600);
/// What of it is brought at once.
pub const HOMECOMING_PIECE_BYTES: u64 = 1 << 20;
/// Hot objects learnt from the store at once.
pub const HOT_LIST_STEP: usize = 256;
/// How often the tier's clock ticks, and how long its loops sleep when nothing is due.
pub const TIER_TICK_INTERVAL: Duration = Duration::from_millis(100);

/// Objects of a removed pool that are deleted in one step, and the pause after it.
pub const REMOVAL_STEP_OBJECTS: usize = 32;
pub const REMOVAL_PAUSE: Duration = Duration::from_millis(20);
/// How long a copy of a group that belongs to other OSDs now is kept, should it come back; and on a device that is nearly full.
pub const STRAY_KEPT: Duration = Duration::from_secs(300);
pub const STRAY_KEPT_NEARFULL: Duration = Duration::from_secs(10);
/// How long removal waits before it looks again when there is nothing to remove.
pub const REMOVAL_IDLE: Duration = Duration::from_secs(5);

pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Slow requests that are remembered, and that are logged one by one.
pub const SLOW_REQUESTS_KEPT: usize = 128;
pub const SLOW_REQUESTS_LOGGED_PER_SECOND: u32 = 5;
/// A request that is under way for so long is stuck: whatever it may wait for on purpose ends before.
pub const STUCK_REQUEST_AFTER: Duration = Duration::from_secs(12);
/// Of the sessions of an OSD, those that are told of one by one.
pub const SESSIONS_SHOWN_MAX: usize = 1000;
/// Of an object's name, while a request for it runs.
pub const RUNNING_NAME_BYTES: usize = 48;
/// How long a core may take to say its figures.
pub const FIGURES_WAIT_MAX: Duration = Duration::from_secs(2);

/// The pool of what an OSD keeps for itself in its store; no map ever has it, as pools are numbered from 1.
pub const OWN_POOL: u32 = 0;

/// What the tier's time is when the machine starts, in nanoseconds: ten years.
pub const TIER_TIME_AT_BOOT: u64 = 10 * 365 * 86_400 * 1_000_000_000;

/// How often it is looked whether hit sets were closed, and are to be kept.
pub const HIT_SET_LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// The set that is open is kept that many times in its period, and not more often than every look: what a crash loses of it is one part.
pub const HIT_SET_PARTS_KEPT: u64 = 8;
/// Names of kept hit sets read in one step.
pub const HIT_SET_LIST_STEP: usize = 256;

/// The pace of a scrub on an OSD that is through with its store in time at it: a twentieth of what a disk streams.
pub const SCRUB_BYTES_PER_SECOND_DEFAULT: u64 = 8 << 20;
/// A step is this part of a second's work, within the bounds after it: on a disk a step is a seek and a few milliseconds.
pub const SCRUB_STEPS_PER_SECOND: u64 = 16;
pub const SCRUB_STEP_BYTES_MIN: u64 = 64 << 10;
pub const SCRUB_STEP_BYTES_MAX: u64 = 4 << 20;
/// How long a step waits for a moment without client requests: with so many steps a second, a busy OSD scrubs at a quarter of its pace.
pub const SCRUB_YIELD_MAX: Duration = Duration::from_millis(250);
/// How often a waiting scrub looks whether it may go on.
/// Objects whose digests are compared at once, and those for which all data is read.
pub const SCRUB_COMPARED_OBJECTS: usize = 256;
pub const SCRUB_READ_OBJECTS: usize = 4;
/// How long a member may take to say them.
pub const SCRUB_ANSWER_MAX: Duration = Duration::from_secs(60);
/// What an object costs, in bytes read, of which only digests are compared.
pub const SCRUB_OBJECT_COST: u64 = 8 << 10;
/// The copies of a group are compared so often in the time in which all data is read once.
pub const COMPARISONS_PER_PASS: u32 = 7;
/// When a comparison that could not be made is tried again.
pub const COMPARISON_RETRY: Duration = Duration::from_secs(30);
pub const SCRUB_LOOK_MIN: Duration = Duration::from_secs(1);
pub const SCRUB_LOOK_MAX: Duration = Duration::from_secs(60);
/// How much of a pass is done again after a crash.
pub const SCRUB_SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// A step that fails so often in a row ends the pass.
pub const SCRUB_FAILURES_MAX: u32 = 5;
/// What is kept and reported of what a pass found: so many lines, and of each so much.
pub const SCRUB_LINES_MAX: usize = 20;
pub const SCRUB_LINE_CHARS_MAX: usize = 200;
/// What a daemon needs of memory whatever it stores: its ring's registered buffers, and itself.
pub const MEMORY_FIXED_BYTES: u64 = 40 << 20;
/// The least that index and data caches get together.
pub const MEMORY_CACHES_MIN: u64 = 8 << 20;
/// How often the caches are fitted to what is resident.
pub const MEMORY_INTERVAL: Duration = Duration::from_secs(1);

/// Peers that have connected and not yet authenticated.
pub const HANDSHAKES_MAX: usize = 128;
/// Sessions, maps and orders on their way to a core.
pub const CORE_MAILBOX_MAX: usize = 4096;
pub const MONITOR_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests to the monitor that wait to be sent; a boot and a report of every OSD of a host fit.
pub const MONITOR_REQUESTS_MAX: usize = 1024;
pub const MONITOR_PING_INTERVAL: Duration = Duration::from_secs(5);
pub const MONITOR_SILENCE_MAX: Duration = Duration::from_secs(20);
pub const MONITOR_RETRY_MIN: Duration = Duration::from_millis(100);
/// Short: once another monitor leads, nothing else stands between a host and its next map.
pub const MONITOR_RETRY_MAX: Duration = Duration::from_secs(1);
/// How long a clean stop waits for requests that are being worked on.
/// How long it waits for members of groups to confirm what is under way.
pub const STOP_COMMIT_WAIT_MAX: Duration = Duration::from_secs(3);
pub const STOP_WAIT_MAX: Duration = Duration::from_secs(30);
pub const OSDS_PER_HOST_MAX: usize = 256;

const _: () = {
    assert!(STUCK_REQUEST_AFTER.as_millis() > MAP_WAIT_MAX.as_millis());
    // Without memory of its own.
    assert!(RUNNING_NAME_BYTES <= basalt_net::message::object::OBJECT_NAME_INLINE_BYTES);
    assert!(RECOVERY_SETTLES.as_millis() * 2 < RECOVERY_PAUSE.as_millis());
    // A pause is no time without clients, and windows fit between pauses.
    assert!(RECOVERY_PAUSE.as_millis() < RECOVERY_CLIENTS_GONE_AFTER.as_millis());
    assert!(RECOVERY_WINDOW_MAX.as_millis() * 2 < RECOVERY_PAUSE_EVERY.as_millis());
    assert!(RECOVERY_TURN_STEP.as_millis() < RECOVERY_WINDOW.as_millis());
    assert!(SCRUB_YIELD_MAX.as_millis() as u64 * SCRUB_STEPS_PER_SECOND <= 4 * 1000);
    assert!(SCRUB_STEP_BYTES_MIN <= SCRUB_BYTES_PER_SECOND_DEFAULT / SCRUB_STEPS_PER_SECOND);
    assert!(RESULT_BYTES_MAX < basalt_net::limits::MESSAGE_BYTES_MAX as usize);
    assert!(LIST_NAMES_MAX * (OBJECT_NAME_BYTES_MAX + 16) < RESULT_BYTES_MAX);
    assert!(RECORDED_RESULT_BYTES_MAX <= RESULT_BYTES_MAX);
    assert!(size_of::<ArchivedOperationResult>() < RECORDED_RESULT_OVERHEAD);
    // The archive aligns its parts, and the entry has a header.
    assert!(
        OBJECT_NAME_BYTES_MAX
            + 2 * RECORDED_RESULT_BYTES_MAX
            + 16 * LOGGED_RANGES_MAX
            + LOGGED_OMAP_KEY_BYTES_MAX
            + 128
            <= basalt_blockstore::limits::LOG_ENTRY_BYTES_MAX
    );
    assert!(OBJECT_NAME_BYTES_MAX <= basalt_blockstore::limits::NAME_BYTES_MAX);
    assert!(READ_BYTES_MAX <= SESSION_READ_BYTES_MAX && SESSION_READ_BYTES_MAX <= OSD_PAYLOAD_BYTES_MAX);
    assert!(basalt_net::limits::PAYLOAD_BYTES_MAX as u64 <= OSD_PAYLOAD_BYTES_MAX);
    {
        use basalt_blockstore::limits::{LOG_ENTRY_BYTES_MAX, WAL_BYTES_MIN, WAL_GROUP_SHARE};
        assert!(
            LOG_PUSH_BYTES >= LOG_ENTRY_BYTES_MAX && LOG_PUSH_BYTES as u64 * 3 / 2 <= WAL_BYTES_MIN / WAL_GROUP_SHARE
        );
    }
    // One entry always stays: it carries the placement group's version over a restart.
    assert!(LOG_ENTRIES_KEPT >= 1 && LOG_TRIM_BATCH >= 1);
    assert!(LOG_ENTRIES_KEPT + LOG_TRIM_BATCH < LOG_ENTRIES_MAX);
    assert!(OSDS_PER_HOST_MAX * 2 < MONITOR_REQUESTS_MAX && OSDS_PER_HOST_MAX < CORE_MAILBOX_MAX);
    assert!(MONITOR_PING_INTERVAL.as_millis() * 3 <= MONITOR_SILENCE_MAX.as_millis());
    assert!(SESSION_CHECK_INTERVAL.as_millis() * 2 <= SESSION_PING_AFTER.as_millis());
    assert!(SESSION_FAREWELL_MAX.as_millis() * 2 <= STOP_WAIT_MAX.as_millis());
    assert!(SESSION_PING_AFTER.as_millis() * 2 <= SESSION_SILENCE_MAX.as_millis());
};
