//! What is wrong with the cluster, by Ceph's codes, from the map and the newest reports.

mod code;

use super::command::View;
use super::command::one_line;
use super::draining::DrainState;
use super::pg_state::PgState;
use crate::limits;
use crate::map::{CacheMode, Fullness, MapFlags, Osd, Pool};
use crate::quantity::{format_age, format_bytes};
use serde_json::{Map as Object, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use code::Code;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Error,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Severity::Warning => "HEALTH_WARN",
            Severity::Error => "HEALTH_ERR",
        }
    }
}

/// One thing that is wrong.
pub struct Check {
    pub severity: Severity,
    pub summary: String,
    /// Of what the summary counts.
    pub count: usize,
    pub detail: Vec<String>,
}

impl Check {
    fn detail_shown(&self) -> impl Iterator<Item = String> {
        let shown = self.detail.iter().take(limits::HEALTH_DETAIL_MAX).cloned();
        let more = self.detail.len().saturating_sub(limits::HEALTH_DETAIL_MAX);
        shown.chain((more > 0).then(|| format!("... and {more} more")))
    }
}

pub type Checks = BTreeMap<Code, Check>;

pub fn checks(view: &View<'_>) -> Checks {
    let mut checks = Checks::new();
    check_osds(view, &mut checks);
    check_public_network(view, &mut checks);
    let states = check_groups(view, &mut checks);
    check_pools(view, &mut checks);
    check_flags(view, &states, &mut checks);
    check_hosts(view, &mut checks);
    check_releases(view, &mut checks);
    checks
}

/// What each flag that is set holds back, and how much of it there is now.
fn check_flags(view: &View<'_>, states: &BTreeMap<PgState, usize>, checks: &mut Checks) {
    if view.map.flags == MapFlags::default() {
        return;
    }
    let groups =
        |word: PgState| states.iter().filter(|(state, _)| state.contains(word)).map(|(_, count)| count).sum::<usize>();
    let osds = |is: fn(&Osd) -> bool| view.map.osds.iter().filter(|osd| osd.exists && is(osd)).count();
    let now = |count: usize, what: &str| if count == 0 { String::new() } else { format!(" ({count} {what} now)") };
    let unfilled = groups(PgState::UNDERSIZED);
    let detail = view.map.flags.names().map(|flag| {
        let held = match flag {
            "pause" => "no client is served".into(),
            "noup" => format!("OSDs that start are not marked up{}", now(osds(|osd| !osd.is_up), "are down")),
            "nodown" => "OSDs that fail are not marked down: what is written to them waits".into(),
            "noout" => format!(
                "OSDs that are down stay in, and their copies are not made anew elsewhere{}",
                now(osds(|osd| !osd.is_up && osd.is_in), "OSDs")
            ),
            "noin" => "new OSDs get no data".into(),
            "nobackfill" => format!("no OSD is backfilled{}", now(groups(PgState::BACKFILL_WAIT), "pgs wait")),
            "norebalance" => format!(
                "no copy is moved while all copies are there{}",
                now(groups(PgState::REMAPPED).saturating_sub(unfilled), "pgs at most")
            ),
            "norecover" => format!("no missing copy is made anew{}", now(unfilled, "pgs")),
            "noscrub" | "nodeep-scrub" => "no scrub begins but those that an operator asks for".into(),
            "notieragent" => "hot tiers neither flush nor evict on their own".into(),
            _ => String::new(),
        };
        format!("{flag}: {held}")
    });
    let detail: Vec<String> = detail.collect();
    let flags: Vec<&str> = view.map.flags.names().collect();
    let summary = format!("{} flag(s) set", flags.join(","));
    checks.insert(Code::OsdmapFlags, Check { severity: Severity::Warning, summary, count: flags.len(), detail });
}

/// What is held back for one host alone, and who is in maintenance.
fn check_hosts(view: &View<'_>, checks: &mut Checks) {
    let age = |unix_s: u64| format_age(view.now.unix.saturating_sub(Duration::from_secs(unix_s)));
    let (mut flagged, mut maintained) = (Vec::new(), Vec::new());
    if let Some(maintenance) = &view.map.maintenance {
        maintained.push(format!("the whole cluster is in maintenance for {}", age(maintenance.since_unix_s)));
    }
    for state in &view.map.hosts {
        let flags: Vec<&str> = state.flags.names().collect();
        if !flags.is_empty() {
            flagged.push(format!("host {} has flags {}", state.host, flags.join(",")));
        }
        if let Some(maintenance) = &state.maintenance {
            maintained.push(format!("host {} is in maintenance for {}", state.host, age(maintenance.since_unix_s)));
        }
    }
    add(checks, Code::OsdFlags, Severity::Warning, flagged, |count| {
        format!("{count} host(s) have noup,nodown,noin or noout flags set")
    });
    add(checks, Code::HostInMaintenance, Severity::Warning, maintained, |count| match view.map.maintenance {
        Some(_) => "the cluster is in maintenance mode".into(),
        None => format!("{count} host(s) in maintenance mode"),
    });
}

/// An upgrade that is under way, or that was not finished.
fn check_releases(view: &View<'_>, checks: &mut Checks) {
    add(checks, Code::DaemonOldVersion, Severity::Warning, view.older_osds(), |count| {
        format!("{count} osd(s) run an older release than the monitor")
    });
    let finished = view.release_to_require().map(|release| {
        let required = view.map.required_features.release();
        format!("all OSDs are running {release} or later but require_osd_release is {required}")
    });
    let summary = finished.clone().unwrap_or_default();
    add(checks, Code::OsdUpgradeFinished, Severity::Warning, finished.into_iter().collect(), |_| summary);
}

/// OSDs that their peers reach on the cluster network and not on the public one.
fn check_public_network(view: &View<'_>, checks: &mut Checks) {
    let grace = Duration::from_millis(view.map.settings.osd_heartbeat_grace_ms);
    let mut detail = Vec::new();
    for id in view.core.cut_off_from_clients(view.now) {
        let Some(osd) = view.map.osd(id) else { continue };
        let mut missed_by = Vec::new();
        let mut silent_ms = 0;
        for other in view.map.osds.iter().filter(|other| other.exists && other.is_up && other.host != osd.host) {
            let Some(report) = view.core.reports.fresh(view.now.monotonic, other.id, grace) else { continue };
            let silence = report.silent_peers.iter().find(|silence| silence.osd == id);
            if let Some(silence) = silence.filter(|silence| u128::from(silence.public_ms) >= grace.as_millis()) {
                missed_by.push(format!("osd.{}", other.id));
                silent_ms = silent_ms.max(silence.public_ms);
            }
        }
        detail.push(format!(
            "osd.{id} of host {} does not answer at {} on the public network for {}, says {}; on the cluster network it does",
            osd.host,
            osd.public_address,
            format_age(Duration::from_millis(silent_ms)),
            missed_by.join(", ")
        ));
    }
    add(checks, Code::OsdPublicNetwork, Severity::Warning, detail, |count| {
        format!("{count} osd(s) are not reached by clients: their public network is cut")
    });
}

/// Adds a check if there is any `detail`; the summary is made of their number.
fn add(
    checks: &mut Checks,
    code: Code,
    severity: Severity,
    detail: Vec<String>,
    summary: impl FnOnce(usize) -> String,
) {
    let count = detail.len();
    if count > 0 {
        checks.insert(code, Check { severity, summary: summary(count), count, detail });
    }
}

fn check_osds(view: &View<'_>, checks: &mut Checks) {
    use Severity::{Error, Warning};
    let (mut down, mut faulty, mut rotten, mut scrubbed) = (vec![], vec![], vec![], vec![]);
    let (mut full, mut backfillfull, mut nearfull) = (vec![], vec![], vec![]);
    let (mut errors, mut scrub_errors) = (0u64, 0u64);
    let (mut stuck, mut stuck_requests, mut stuck_oldest_ms) = (vec![], 0u64, 0u64);
    // Up and down OSDs of each host.
    let mut hosts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let crush = view.map.crush_map();
    for osd in view.map.osds.iter().filter(|osd| osd.exists) {
        let id = osd.id;
        let (up_count, down_count) = hosts.entry(&osd.host).or_default();
        *if osd.is_up { up_count } else { down_count } += 1;
        if !osd.is_up && osd.is_in {
            down.push(format!("osd.{id} ({}) is down", View::place_of(&crush, id)));
        }
        let Some(report) = view.core.reports.of_osd(id) else { continue };
        if osd.is_up && report.stuck_requests > 0 {
            stuck_requests = stuck_requests.saturating_add(report.stuck_requests);
            stuck_oldest_ms = stuck_oldest_ms.max(report.stuck_oldest_ms);
            stuck.push(format!(
                "osd.{id} has {} slow ops, the oldest for {}; `basalt osd slow-ops {id}` shows what they wait for",
                report.stuck_requests,
                format_age(Duration::from_millis(report.stuck_oldest_ms))
            ));
        }
        let percent = 100.0 * report.base_promised_bytes as f64 / report.base_total_bytes.max(1) as f64;
        match view.fullness(id) {
            Fullness::Normal => {}
            Fullness::NearFull => nearfull.push(format!("osd.{id} is near full at {percent:.0}%")),
            Fullness::BackfillFull => backfillfull.push(format!("osd.{id} is backfill full at {percent:.0}%")),
            Fullness::Full => full.push(format!("osd.{id} is full at {percent:.0}%")),
        }
        if !report.fault.is_empty() {
            faulty.push(format!("osd.{id}: {}", one_line(&report.fault)));
        }
        scrub_errors = scrub_errors.saturating_add(report.scrub.errors);
        scrubbed.extend(report.scrub.findings.iter().map(|finding| format!("osd.{id}: {}", one_line(finding))));
        if report.checksum_errors > 0 {
            errors = errors.saturating_add(report.checksum_errors);
            rotten.push(format!("osd.{id} had {} checksum errors since its start", report.checksum_errors));
        }
    }
    let hosts_down: Vec<String> = hosts
        .into_iter()
        .filter(|(_, (up, down))| *up == 0 && *down > 0)
        .map(|(host, (_, down))| format!("host {host} (root=default) ({down} osds) is down"))
        .collect();
    add(checks, Code::OsdDown, Warning, down, |count| format!("{count} osds down"));
    add(checks, Code::OsdHostDown, Warning, hosts_down, |count| {
        format!("{count} host{} down", if count == 1 { "" } else { "s" })
    });
    add(checks, Code::OsdFull, Error, full, |count| format!("{count} full osd(s)"));
    add(checks, Code::OsdBackfillfull, Warning, backfillfull, |count| format!("{count} backfillfull osd(s)"));
    add(checks, Code::OsdNearfull, Warning, nearfull, |count| format!("{count} nearfull osd(s)"));
    add(checks, Code::OsdStoreFault, Error, faulty, |count| format!("{count} osd(s) have a fenced or faulty store"));
    add(checks, Code::OsdChecksumErrors, Warning, rotten, |count| {
        format!("{errors} checksum error(s) on {count} osd(s)")
    });
    add(checks, Code::SlowOps, Warning, stuck, |_| {
        let oldest = stuck_oldest_ms / 1000;
        format!("{stuck_requests} slow ops, oldest one blocked for {oldest} sec")
    });
    if scrub_errors > 0 {
        let summary = format!("{scrub_errors} scrub errors");
        let count = usize::try_from(scrub_errors).unwrap_or(usize::MAX);
        checks.insert(Code::OsdScrubErrors, Check { severity: Error, summary, count, detail: scrubbed });
    }
}

/// How many groups are in each state.
fn check_groups(view: &View<'_>, checks: &mut Checks) -> BTreeMap<PgState, usize> {
    let (mut unavailable, mut degraded, mut damaged, mut undersized) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut states: BTreeMap<PgState, usize> = BTreeMap::new();
    for group in view.core.pg_views() {
        *states.entry(group.state).or_default() += 1;
        let is_active = group.state.contains(PgState::ACTIVE);
        let is_degraded = group.state.contains(PgState::DEGRADED);
        undersized += usize::from(group.state.contains(PgState::UNDERSIZED));
        let is_damaged = group.state.contains(PgState::INCONSISTENT);
        if is_active && !is_degraded && !is_damaged {
            continue;
        }
        let members: Vec<String> = group.acting.iter().map(u32::to_string).collect();
        if is_damaged {
            damaged.push(format!("pg {} is {}, acting [{}]", group.id, group.state, members.join(",")));
        }
        // Beyond those that are shown, only their number counts.
        let has_room = |lines: &Vec<String>| lines.len() < limits::HEALTH_DETAIL_MAX;
        let is_shown = (!is_active && has_room(&unavailable)) || (is_degraded && has_room(&degraded));
        let why = if is_shown { view.waits_for(&group).into_iter().next() } else { None };
        let why = why.map_or(String::new(), |why| format!(", waiting for {why}"));
        let line = format!("pg {} is {}, acting [{}]{why}", group.id, group.state, members.join(","));
        if !is_active {
            unavailable.push(line.clone());
        }
        if is_degraded {
            degraded.push(line);
        }
    }
    let inactive = states.iter().filter(|(state, _)| !state.contains(PgState::ACTIVE));
    let inactive: Vec<String> = inactive.map(|(state, count)| format!("{count} pgs {state}")).collect();
    add(checks, Code::PgAvailability, Severity::Warning, unavailable, |count| {
        format!("Reduced data availability: {count} pgs inactive, {}", inactive.join(", "))
    });
    add(checks, Code::PgDamaged, Severity::Error, damaged, |count| {
        format!("Possible data damage: {count} pg{} inconsistent", if count == 1 { "" } else { "s" })
    });
    let copies = view.copies();
    add(checks, Code::PgDegraded, Severity::Warning, degraded, |count| {
        let mut parts = Vec::new();
        if copies.degraded > 0 {
            parts.push(copies.line(copies.degraded, "degraded"));
        }
        parts.push(format!("{count} pgs degraded"));
        if undersized > 0 {
            parts.push(format!("{undersized} pgs undersized"));
        }
        format!("Degraded data redundancy: {}", parts.join(", "))
    });
    if copies.misplaced > 0 {
        let summary = copies.line(copies.misplaced, "misplaced");
        let count = usize::try_from(copies.misplaced).unwrap_or(usize::MAX);
        checks.insert(Code::ObjectMisplaced, Check { severity: Severity::Warning, summary, count, detail: Vec::new() });
    }
    states
}

fn check_pools(view: &View<'_>, checks: &mut Checks) {
    let crush = view.map.crush_map();
    let (mut single, mut near_target, mut blind, mut bare) = (vec![], vec![], vec![], vec![]);
    let (mut full, mut backfillfull, mut nearfull, mut stalled) = (vec![], vec![], vec![], vec![]);
    for pool in &view.map.pools {
        let name = &pool.name;
        if pool.size == 1 {
            single.push(format!("pool '{name}' has no replicas configured"));
        }
        let stored = view.stored(pool);
        let reaches = |most: u64, now: u64| most > 0 && now >= most;
        if reaches(pool.quota.bytes_max, stored.data_bytes) || reaches(pool.quota.objects_max, stored.objects) {
            full.push(format!("pool '{name}' is full (running out of quota)"));
        } else {
            match fullest(view, pool) {
                Fullness::Normal => {}
                Fullness::NearFull => nearfull.push(format!("pool '{name}' is nearfull")),
                Fullness::BackfillFull => backfillfull.push(format!("pool '{name}' is backfillfull")),
                Fullness::Full => full.push(format!("pool '{name}' is full (no space)")),
            }
        }
        if pool.is_pinned(&crush) {
            let (hot, room) = (stored.figures.sum.hot_bytes, stored.figures.sum.target_bytes);
            if room > 0 && hot as f64 > room as f64 * view.map.full_ratios.nearfull {
                let (hot, room) = (format_bytes(hot), format_bytes(room));
                nearfull.push(format!("pool '{name}' has {hot} of the {room} that its hot slices have"));
            }
            continue;
        }
        if let DrainState::Draining { dirty_bytes, stalled: Some(idle), .. } = view.drain_state(pool) {
            stalled.push(format!(
                "pool '{name}' leaves its hot tier, and its {} dirty have become no less for {}: {}",
                format_bytes(dirty_bytes),
                format_age(idle),
                view.drain_is_held_up_by(pool)
            ));
        }
        let holder = view.map.tier_holder(pool);
        if holder.tier.cache_mode == CacheMode::None || pool.tiering.tier_of.is_some() {
            continue;
        }
        let bare_osds = view.bare(&crush, pool, holder);
        let has_slices = view.map.has_hot_slices();
        bare.extend(bare_osds.iter().filter(|_| has_slices).map(|osd| {
            format!("pool '{name}' is cached, and osd.{osd} has no hot slice for it: its writes wait for a hard disk")
        }));
        if holder.tier.hit_set_type == crate::map::HitSetType::None {
            blind.push(format!(
                "pool '{}' with cache_mode {} needs hit_set_type to be set",
                holder.name,
                holder.tier.cache_mode.name()
            ));
        }
        let (hot, target) = (stored.figures.sum.hot_bytes, stored.figures.sum.target_bytes);
        let full_ratio = holder.tier.cache_target_full_ratio;
        let near = full_ratio + (1.0 - full_ratio) * limits::TIER_NEAR_FULL_OF_REST;
        if target > 0 && hot as f64 > target as f64 * near {
            let (hot, target) = (format_bytes(hot), format_bytes(target));
            let name = &holder.name;
            near_target.push(format!("cache pool '{name}' with {hot} at/near target max {target}"));
        }
    }
    let warn = Severity::Warning;
    add(checks, Code::PoolNoRedundancy, warn, single, |count| format!("{count} pool(s) have no replicas configured"));
    add(checks, Code::PoolFull, warn, full, |count| format!("{count} pool(s) full"));
    add(checks, Code::PoolBackfillfull, warn, backfillfull, |count| format!("{count} pool(s) backfillfull"));
    add(checks, Code::PoolNearfull, warn, nearfull, |count| format!("{count} pool(s) nearfull"));
    add(checks, Code::CachePoolNearFull, warn, near_target, |count| {
        format!("{count} cache pools at or near target size")
    });
    add(checks, Code::CachePoolNoHotSlice, warn, bare, |count| {
        format!("{count} OSDs of cached pools have no hot slice")
    });
    add(checks, Code::CachePoolDrainStalled, warn, stalled, |count| {
        format!("{count} pool(s) that leave their hot tier get no further")
    });
    add(checks, Code::CachePoolNoHitSet, warn, blind, |count| format!("{count} cache pools are missing hit_sets"));
}

/// How full the fullest OSD of a pool is: a write to the pool may be one that goes there.
fn fullest(view: &View<'_>, pool: &Pool) -> Fullness {
    let members: BTreeSet<u32> = pool.pgs.iter().flat_map(|group| group.in_sync.iter().copied()).collect();
    members.into_iter().map(|osd| view.fullness(osd)).max().unwrap_or(Fullness::Normal)
}

fn status(checks: &Checks) -> &'static str {
    checks.values().map(|check| check.severity).max().map_or("HEALTH_OK", Severity::name)
}

pub fn document(checks: &Checks, with_detail: bool) -> Value {
    let checks_shown: Object<String, Value> = checks
        .iter()
        .map(|(code, check)| {
            let mut shown = Object::new();
            shown.insert("severity".into(), json!(check.severity.name()));
            shown.insert("summary".into(), json!({ "message": check.summary, "count": check.count }));
            if with_detail {
                let lines = check.detail_shown().map(|message| json!({ "message": message }));
                shown.insert("detail".into(), lines.collect());
                shown.insert("cause".into(), json!(code.cause()));
                shown.insert("remedy".into(), json!(code.remedy()));
                shown.insert("chapter".into(), json!(code.chapter()));
            }
            shown.insert("muted".into(), json!(false));
            (code.name().to_owned(), Value::Object(shown))
        })
        .collect();
    json!({ "status": status(checks), "checks": checks_shown, "mutes": [] })
}

/// As `health detail` prints it.
pub fn text(checks: &Checks) -> String {
    let summaries: Vec<&str> = checks.values().map(|check| check.summary.as_str()).collect();
    let mut lines = vec![format!("{} {}", status(checks), summaries.join("; ")).trim_end().to_owned()];
    for (code, check) in checks {
        let severity = if check.severity == Severity::Error { "ERR" } else { "WRN" };
        lines.push(format!("[{severity}] {}: {}", code.name(), check.summary));
        lines.extend(check.detail_shown().map(|detail| format!("    {detail}")));
        lines.push(format!("    cause: {}", code.cause()));
        lines.push(format!("    remedy: {} ({})", code.remedy(), code.chapter()));
    }
    lines.join("\n")
}
