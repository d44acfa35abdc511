//! Every bound of this crate, with how they relate.

use crate::map::{CentralOption, HostState, Osd, PlacementGroup, Pool};
use rkyv::Archived;
use std::time::Duration;

/// OSD ids are `0..OSD_COUNT_MAX`.
pub const OSD_COUNT_MAX: u32 = 16_384;
pub const POOL_COUNT_MAX: usize = 1_024;
pub const POOL_NAME_BYTES_MAX: usize = 256;
/// Copies of an object; Ceph's bounds too.
pub const POOL_SIZE_MAX: u32 = 10;
/// As far as there are places for them.
pub const POOL_SIZE_DEFAULT: u32 = 3;
/// Of one pool.
pub const PG_NUM_MAX: u32 = 65_536;
pub const PG_NUM_DEFAULT: u32 = 32;
/// Of all pools together.
pub const PG_COUNT_MAX: u64 = 1 << 20;
pub const APPLICATIONS_PER_POOL_MAX: usize = 4;
pub const APPLICATION_NAME_BYTES_MAX: usize = 128;
/// Host names and addresses that an OSD boots with.
pub const HOST_NAME_BYTES_MAX: usize = 64;
pub const ADDRESS_BYTES_MAX: usize = 64;
/// Microseconds that a core may look for completions before it sleeps: longer than a disk takes makes no sense.
pub const BUSY_POLL_US_MAX: u32 = 10_000;
/// Of a map as bytes, on the wire and in the store. Whole, it travels in parts; from one epoch to the next only what changed does.
pub const MAP_BYTES_MAX: usize = 96 << 20;
/// Of a CRUSH map as bytes, within it.
pub const CRUSH_BYTES_MAX: usize = 8 << 20;

pub use basalt_tier::limits::HIT_SET_COUNT_MAX;
/// The longest time that a variable can be set to.
pub const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// OSDs report about once a second.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// An OSD that has not reported for this long is down.
pub const OSD_REPORT_GRACE: Duration = Duration::from_secs(20);
/// An OSD that was marked down and never stopped comes up again after this at the earliest: by then it has reported what it hears.
pub const OSD_DOWN_TIME_MIN: Duration = Duration::from_secs(2);
/// So large a part of the OSDs stays in, whatever is down; Ceph's `mon_osd_min_in_ratio`.
pub const OSD_IN_RATIO_MIN: f64 = 0.75;
/// Rates are of the newest reports only; an OSD silent for longer contributes none.
pub const RATE_STALE_AFTER: Duration = Duration::from_secs(5);
/// Two reports closer than this make no new rate: the quotient would be noise.
pub const RATE_SPAN_MIN: Duration = Duration::from_millis(500);
/// The time to finish of recovery is told by what was done in the last so much time, and not before it has gone on for so long.
pub const PROGRESS_WINDOW: Duration = Duration::from_secs(10);
pub const PROGRESS_SPAN_MIN: Duration = Duration::from_secs(5);
/// A pool that leaves its hot tier, and whose dirty bytes have become no less for so long, is a health warning.
pub const DRAIN_STALLED_AFTER: Duration = Duration::from_secs(60);
/// OSDs that the warning names of one pool.
pub const DRAIN_OSDS_NAMED_MAX: usize = 8;
/// Items that CRUSH looks at to place groups anew, from one tick to the next: a few hundred milliseconds. What is left waits for more.
pub const PLACEMENT_DRAWS_PER_TICK: u64 = 25_000_000;
/// Of more groups, what a change would move is told from so many.
pub const MOVEMENT_GROUPS_MAX: usize = 16_384;
/// The core gets a tick this often.
pub const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// A tier is near full this far between its full ratio and its target; Ceph's constant.
pub const TIER_NEAR_FULL_OF_REST: f64 = 0.66;

/// A tick this late says that the monitor itself stood still, and the silence of OSDs meanwhile says nothing.
pub const TICK_LATE_MAX: Duration = Duration::from_secs(5);

/// Maps of older epochs that the store keeps.
pub const MAPS_KEPT: u32 = 500;

/// A monitor that was killed is replaced after this at the latest, and some time to notice. etcd grants no lease under two seconds.
pub const LEASE_TTL: Duration = Duration::from_secs(5);
pub const LEASE_RENEW_INTERVAL: Duration = Duration::from_secs(1);
/// A leader stops this long before its lease can have ended, so that clocks may run at slightly different speeds.
pub const LEASE_MARGIN: Duration = Duration::from_secs(1);
/// How often a monitor asks who leads.
pub const LEADER_LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A monitor that could not lead, or could not become a candidate, leaves it to the others for so long.
pub const CANDIDACY_PAUSE: Duration = Duration::from_secs(1);
pub const ELECTION_TICK: Duration = Duration::from_millis(100);
/// One request to one etcd server; then the next server is asked.
pub const ETCD_ATTEMPT_MAX: Duration = Duration::from_millis(1200);
/// One request with all its attempts. A leader elected among the etcd servers takes them a second or two.
pub const ETCD_REQUEST_MAX: Duration = Duration::from_secs(4);
/// Before all servers are asked once more.
pub const ETCD_RETRY_DELAY: Duration = Duration::from_millis(100);
/// etcd takes requests of 1.5 MiB unless told otherwise. A larger map is stored in parts of this size.
pub const ETCD_PART_BYTES: usize = 1 << 20;
/// Maps that etcd keeps take about so many bytes at most, but for the newest two: its whole space is 2 GiB by default.
pub const ETCD_MAPS_BYTES_MAX: usize = 256 << 20;
pub const ETCD_ENDPOINTS_MAX: usize = 16;
pub const ETCD_PREFIX_BYTES_MAX: usize = 256;
/// How long a peer that came to a monitor that does not lead may take to read that.
pub const REDIRECT_TIME_MAX: Duration = Duration::from_secs(1);

/// Increments that a monitor keeps for peers that come back, unless they take more than half of what the whole map does.
pub const INCREMENTS_KEPT: usize = 64;
/// Increments that wait to be sent on one session; beyond it the whole map is, which says the same.
pub const INCREMENTS_QUEUED_MAX: usize = 64;
/// A larger map travels in parts of this size.
pub const MAP_PART_BYTES: usize = 4 << 20;

/// Sessions of authenticated peers at a monitor.
pub const SESSIONS_MAX: usize = 1_024;
/// Peers that have connected and not yet authenticated.
pub const HANDSHAKES_MAX: usize = 128;
/// Of one request; the largest is a report on every pool.
pub const REQUEST_BYTES_MAX: u32 = 1 << 20;
/// Requests of all sessions that wait to be decided on; sessions are not read from beyond it.
pub const REQUESTS_QUEUED_MAX: usize = 256;
/// Of a command's answer, so that it fits a message.
pub const REPLY_BYTES_MAX: usize = basalt_net::limits::MESSAGE_BYTES_MAX as usize - 4096;
/// Replies waiting for a session that does not read them, besides the newest map; beyond it the session is cut.
pub const REPLIES_QUEUED_MAX: usize = 64;
pub const REPLY_BYTES_QUEUED_MAX: usize = 4 * REPLY_BYTES_MAX;
/// A session that was silent for so long is asked for a sign of life, and is cut when it gives none for three times as long.
pub const PING_INTERVAL: Duration = Duration::from_secs(10);
/// A peer that does not take a frame for so long is cut.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(30);
/// How long the sessions may take to end when the monitor stops.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(2);
/// Commands that changed something, and may be sent again by a client that did not hear of it: remembered for so many others.
pub const CHANGES_KEPT: usize = 128;
/// Of what was answered to one, each of its words and its document.
pub const CHANGE_REPLY_BYTES_MAX: usize = 1024;
/// Lines of detail of one health check, as in Ceph.
pub const HEALTH_DETAIL_MAX: usize = 50;
/// Those whom a refused `require-osd-release` names.
pub const LACKING_SHOWN_MAX: usize = 8;
/// Of what an OSD says in words: a fault, or a line of what its scrub found.
pub const REPORTED_CHARS_MAX: usize = 512;
/// Of one command's string arguments.
pub const ARGUMENT_BYTES_MAX: usize = 4096;
/// Arguments of one command: every OSD may be named.
pub const ARGUMENTS_MAX: usize = OSD_COUNT_MAX as usize + 16;
/// Less than any OSD can do with.
pub const MEMORY_TARGET_MIN: u64 = 64 << 20;
/// Less would never be through with a device.
pub const SCRUB_BYTES_PER_SECOND_MIN: u64 = 64 << 10;
pub const SCRUB_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// Questions of the monitor's own process that wait, and how long the answer may take.
pub const INQUIRIES_QUEUED_MAX: usize = 16;
pub const INQUIRY_TIME_MAX: Duration = Duration::from_secs(2);
/// Less would call what is usual slow.
pub const COMPLAINT_TIME_MIN: Duration = Duration::from_millis(10);
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Hosts that have flags of their own, or are in maintenance.
pub const HOSTS_WITH_STATE_MAX: usize = OSD_COUNT_MAX as usize;
/// Options that are set centrally for daemons: each OSD may have a few of its own.
pub const CENTRAL_OPTIONS_MAX: usize = OSD_COUNT_MAX as usize;
pub const OPTION_NAME_BYTES_MAX: usize = 64;

/// Entities that are known to the cluster: each map carries them.
pub const ENTITIES_MAX: usize = 4096;
/// The capabilities of one entity for one kind of daemon, in bytes of text.
pub const CAPS_BYTES_MAX: usize = 1024;
/// Clients that are fenced off at the same time.
pub const FENCED_CLIENTS_MAX: usize = 4096;
/// How long a client stays fenced, in seconds.
pub const FENCED_S: u64 = 24 * 3600;

const _: () = assert!(OSD_REPORT_GRACE.as_millis() >= 5 * REPORT_INTERVAL.as_millis());
const _: () = assert!(PROGRESS_SPAN_MIN.as_millis() * 2 <= PROGRESS_WINDOW.as_millis());
const _: () = assert!(TICK_LATE_MAX.as_millis() > 2 * TICK_INTERVAL.as_millis());
const _: () = assert!(TICK_LATE_MAX.as_millis() < OSD_REPORT_GRACE.as_millis());
const _: () = assert!(TICK_INTERVAL.as_millis() * 4 <= OSD_REPORT_GRACE.as_millis());
const _: () = assert!(LEASE_MARGIN.as_millis() + 2 * LEASE_RENEW_INTERVAL.as_millis() < LEASE_TTL.as_millis());
const _: () = assert!(CHANGES_KEPT * (2 * CHANGE_REPLY_BYTES_MAX + 64) + ETCD_PART_BYTES + 4096 < 3 << 19);
const _: () = assert!(MAP_PART_BYTES + 4096 <= basalt_net::limits::MESSAGE_BYTES_MAX as usize);
const _: () = assert!(ETCD_ATTEMPT_MAX.as_millis() * 3 <= ETCD_REQUEST_MAX.as_millis());
const _: () = assert!(RATE_STALE_AFTER.as_millis() > 2 * REPORT_INTERVAL.as_millis());
// The largest map that can be decided can also be sent and stored.
const _: () = {
    let groups = PG_COUNT_MAX as usize * (size_of::<Archived<PlacementGroup>>() + 4 * POOL_SIZE_MAX as usize);
    let osd = size_of::<Archived<Osd>>() + HOST_NAME_BYTES_MAX + 2 * ADDRESS_BYTES_MAX;
    let pool = size_of::<Archived<Pool>>()
        + POOL_NAME_BYTES_MAX
        + APPLICATIONS_PER_POOL_MAX * (APPLICATION_NAME_BYTES_MAX + 8);
    let hosts = HOSTS_WITH_STATE_MAX * (size_of::<Archived<HostState>>() + HOST_NAME_BYTES_MAX);
    let options = CENTRAL_OPTIONS_MAX * (size_of::<Archived<CentralOption>>() + OPTION_NAME_BYTES_MAX);
    assert!(
        hosts
            + options
            + groups
            + OSD_COUNT_MAX as usize * (osd + 16)
            + POOL_COUNT_MAX * (pool + 16)
            + CRUSH_BYTES_MAX
            + 4096
            <= MAP_BYTES_MAX
    );
};
const _: () = assert!(PG_NUM_MAX as u64 <= PG_COUNT_MAX);
