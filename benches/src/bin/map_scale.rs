//! A map of ten thousand OSDs and a million placement groups: what it takes to compute, to hold, to send and to change.
//!
//! The groups are placed by CRUSH, on hosts of twenty OSDs. Then one OSD goes down, and the groups that it was a member of go on without it:
//! the difference travels as an increment, which a subscriber applies to the map it has. At last the monitor's core itself starts with this
//! map, has an OSD go out, and has another weigh less in the CRUSH map: how long it answers nobody else meanwhile.

use basalt_benches::crush_shape::{CrushShape, WEIGHT_ONE};
use basalt_benches::process_figures;
use basalt_cluster::map::{ClusterSettings, Incremental, Osd, Pool};
use basalt_cluster::monitor::core::{Action, Event, MonitorCore, Now, SessionId};
use basalt_cluster::monitor::store::Stored;
use basalt_cluster::placement::Placer;
use basalt_cluster::{Map, PlacementGroup, limits};
use basalt_net::message::monitor::{
    AdminCommand, ChangeMode, CrushChange, MapChange, MonitorReply, MonitorRequest, OsdChange,
};
use clap::Parser;
use serde_json::json;
use std::time::{Duration, Instant};

const FSID: [u8; 16] = [7; 16];
const OSDS_PER_HOST: u32 = 20;

#[derive(Debug, Parser)]
#[command(about = "What a large map takes: time, bytes and memory")]
struct Arguments {
    #[arg(long, default_value_t = 10_000)]
    osds: u32,
    /// Of all pools together.
    #[arg(long, default_value_t = 1_000_000)]
    groups: u32,
    #[arg(long, default_value_t = 3)]
    size: u32,
    #[arg(long)]
    json: bool,
}

fn osd(id: u32) -> Osd {
    let [a, b] = (id as u16).to_be_bytes();
    Osd {
        id,
        exists: true,
        is_up: true,
        is_in: true,
        auto_out: false,
        // A bucket of a CRUSH map weighs less than 65,536, in TiB by custom.
        weight: 4.0,
        reweight: 1.0,
        host: format!("host-{:04}", id / OSDS_PER_HOST),
        public_address: format!("10.0.{a}.{b}:6800"),
        cluster_address: format!("10.1.{a}.{b}:6800"),
        store_id: [a ^ b; 16],
        life: 1,
        base_bytes: 4 << 40,
        hot_bytes: 1 << 40,
        rotational: true,
        up_since_epoch: 1,
        down_since_epoch: 0,
        up_since_unix_s: 1_795_314_892,
        down_since_unix_s: 0,
        in_since_unix_s: 1_795_314_892,
    }
}

/// Where all groups belong, pool by pool.
fn place_all(map: &Map) -> Vec<Vec<Vec<u32>>> {
    let placer = Placer::new(map);
    map.pools.iter().map(|pool| (0..pool.pg_num).map(|seed| placer.choose(pool, seed)).collect()).collect()
}

/// How long the monitor's core is at it: the command itself, and the ticks until it has nothing more to do.
struct Decision {
    command: Duration,
    ticks: Vec<Duration>,
}

impl Decision {
    fn longest(&self) -> Duration {
        self.ticks.iter().copied().max().unwrap_or_default().max(self.command)
    }

    fn all(&self) -> Duration {
        self.command + self.ticks.iter().sum::<Duration>()
    }
}

/// Time stands still: what matters here is not who is silent.
const NOW: Now = Now { monotonic: Duration::from_secs(1000), unix: Duration::from_secs(1_795_314_892) };

fn until_placed(core: &mut MonitorCore, command: Duration) -> Decision {
    let mut ticks = Vec::new();
    while core.is_placing() {
        ticks.push(timed(|| core.handle(NOW, Event::Tick)).1);
    }
    Decision { command, ticks }
}

fn change(core: &mut MonitorCore, change: MapChange) -> Decision {
    let command = AdminCommand::Change { change, mode: ChangeMode { dry_run: false, sure: true } };
    let request = MonitorRequest::Command { tag: 1, command };
    let epoch = core.map().epoch();
    let (actions, time) = timed(|| core.handle(NOW, Event::Request { session: SessionId(1), request }));
    let replies: Vec<&Action> = actions.iter().filter(|action| matches!(action, Action::Reply { .. })).collect();
    assert!(
        matches!(replies[..], [Action::Reply { reply: MonitorReply::Command { reply, .. }, .. }] if reply.errno == 0),
        "{replies:?}"
    );
    assert!(core.map().epoch() > epoch, "the change was decided");
    until_placed(core, time)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let result = work();
    (result, begun.elapsed())
}

fn main() {
    let arguments = Arguments::parse();
    let mut map = Map::new(FSID, 1_795_314_892);
    map.settings = ClusterSettings::default();
    map.osds = (0..arguments.osds).map(osd).collect();
    let hosts = arguments.osds.div_ceil(OSDS_PER_HOST);
    let shape = CrushShape { hosts, osds_per_host: OSDS_PER_HOST, hosts_per_rack: None };
    map.set_crush_map(&shape.map(|_| 4 * WEIGHT_ONE));
    let mut left = arguments.groups;
    while left > 0 {
        let pg_num = left.min(limits::PG_NUM_MAX);
        map.pool_id_max += 1;
        let name = format!("pool-{}", map.pool_id_max);
        map.pools.push(Pool { pgs: Vec::new(), ..Pool::new(map.pool_id_max, name, arguments.size, pg_num, 1) });
        left -= pg_num;
    }

    let (placed, from_nothing) = timed(|| place_all(&map));
    // The OSD that goes is marked out as well, which is when placements change.
    let gone = arguments.osds / 2;
    let mut without = map.successor();
    if let Some(osd) = without.osd_mut(gone) {
        osd.is_in = false;
    }
    let (moved, after_one_went) = timed(|| {
        let again = place_all(&without);
        let pairs = placed.iter().flatten().zip(again.iter().flatten());
        pairs.filter(|(before, after)| before != after).count()
    });
    drop(without);

    let before = process_figures::resident_bytes().unwrap_or(0);
    for (pool, placed) in map.pools.iter_mut().zip(&placed) {
        let groups = placed.iter().map(|members| PlacementGroup {
            in_sync: members.clone(),
            primary: members.first().copied(),
            reign: 1,
            changed_epoch: 1,
        });
        pool.pgs = groups.collect();
    }
    let resident = process_figures::resident_bytes().unwrap_or(0).saturating_sub(before);
    drop(placed);

    let (encoded, encode_time) = timed(|| map.encode());
    let (decoded, decode_time) = timed(|| Map::decode(&encoded));
    assert!(decoded.is_ok_and(|decoded| decoded == map), "a map of this size is within the limits");

    let (mut newest, clone_time) = timed(|| map.successor());
    let mut changed = 0u32;
    if let Some(osd) = newest.osd_mut(gone) {
        osd.is_up = false;
        osd.down_since_epoch = 2;
    }
    for group in newest.pools.iter_mut().flat_map(|pool| &mut pool.pgs) {
        if group.in_sync.contains(&gone) {
            group.in_sync.retain(|member| *member != gone);
            group.primary = group.in_sync.first().copied();
            group.reign += 1;
            group.changed_epoch = 2;
            changed += 1;
        }
    }
    assert!(changed > 0, "osd.{gone} has a place, and is a member of some groups");
    let newest_encoded = newest.encode();
    let (increment, between_time) = timed(|| Incremental::between(&map, &newest, &newest_encoded).encode());
    let (applied, apply_time) = timed(|| Incremental::decode(&increment).and_then(|increment| increment.apply(&map)));
    assert!(applied.is_ok_and(|applied| applied == newest), "what is applied is the new map");

    let stored = Stored { newest_map: Some((map.epoch(), encoded.clone())), ..Stored::default() };
    drop(newest);
    let (restored, restore_time) = timed(|| MonitorCore::restore("a".into(), FSID, stored, NOW));
    let mut core = match restored {
        Ok((core, _)) => core,
        Err(error) => panic!("the monitor does not start with this map: {error}"),
    };
    let start = until_placed(&mut core, restore_time);
    let out = change(&mut core, MapChange::Osds { osds: vec![gone], what: OsdChange::Out });
    let weigh = CrushChange::Reweight { name: format!("osd.{}", gone + 1), weight: 3.0 };
    let weighed = change(&mut core, MapChange::Crush(weigh));
    let decisions = [
        ("the monitor starts", start),
        ("an OSD goes out", out),
        ("an OSD's weight in the CRUSH map changes", weighed),
    ];

    if arguments.json {
        let seconds = |time: Duration| time.as_secs_f64();
        let document = json!({
            "osds": arguments.osds, "groups": arguments.groups, "size": arguments.size,
            "placements_moved": moved,
            "place_all_s": seconds(from_nothing), "place_all_again_s": seconds(after_one_went),
            "resident_bytes": resident, "encoded_bytes": encoded.len(),
            "encode_s": seconds(encode_time), "decode_s": seconds(decode_time), "clone_s": seconds(clone_time),
            "groups_changed": changed, "increment_bytes": increment.len(),
            "between_s": seconds(between_time), "apply_s": seconds(apply_time),
            "decisions": decisions.map(|(what, decision)| json!({
                "what": what, "command_s": seconds(decision.command), "longest_s": seconds(decision.longest()),
                "ticks": decision.ticks.len(), "all_s": seconds(decision.all()),
            })),
        });
        println!("{document}");
        return;
    }
    let row = |what: &str, figure: String| println!("{what:<58} {figure:>14}");
    let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let mebibytes = |bytes: usize| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    println!("{} OSDs, {} placement groups of size {}", arguments.osds, arguments.groups, arguments.size);
    row("all placements, from nothing", milliseconds(from_nothing));
    row(&format!("all placements, without one OSD ({moved} moved)"), milliseconds(after_one_went));
    row("groups in memory", mebibytes(resident as usize));
    row("map as bytes", mebibytes(encoded.len()));
    row("encode", milliseconds(encode_time));
    row("decode and check", milliseconds(decode_time));
    row("copy", milliseconds(clone_time));
    row(
        &format!("increment, one OSD down, {changed} groups changed"),
        format!("{:.1} KiB", increment.len() as f64 / 1024.0),
    );
    row("make the increment", milliseconds(between_time));
    row("decode, apply and verify it", milliseconds(apply_time));
    for (what, decision) in &decisions {
        row(what, milliseconds(decision.command));
        row("  at a stretch, at most", milliseconds(decision.longest()));
        row(&format!("  in all, with {} ticks after it", decision.ticks.len()), milliseconds(decision.all()));
    }
}
