//! The lines across the OSDs' devices: how they are moved, who has reached them, and that the map remembers.

use super::harness::{Harness, report, session_of};
use basalt_cluster::map::FullRatios;
use basalt_net::message::monitor::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const LINES: [FullLine; 3] = [FullLine::NearFull, FullLine::BackfillFull, FullLine::Full];

fn set(harness: &mut Harness, line: FullLine, ratio: f64) -> CommandReply {
    harness.command(AdminCommand::OsdSetFullRatio { line, ratio })
}

fn use_percent(harness: &mut Harness, osd: u32, percent: u64) {
    let bytes = (1 << 40) / 100 * percent + (1 << 20);
    let report = OsdReport { base_used_bytes: bytes, base_promised_bytes: bytes, ..report(osd) };
    harness.request(session_of(osd), MonitorRequest::Report(report));
}

fn checks(harness: &mut Harness) -> Value {
    harness.json(AdminCommand::HealthDetail)["checks"].clone()
}

#[test]
fn each_line_has_its_check_with_the_osd_and_how_full_it_is() {
    let mut harness = Harness::with_osds(3, 0);
    harness.create_pool("data", 32, 1);
    for (osd, percent) in [(0, 86), (1, 91), (2, 96)] {
        use_percent(&mut harness, osd, percent);
    }
    let checks = checks(&mut harness);
    for (code, severity, summary, detail) in [
        ("OSD_NEARFULL", "HEALTH_WARN", "1 nearfull osd(s)", "osd.0 is near full at 86%"),
        ("OSD_BACKFILLFULL", "HEALTH_WARN", "1 backfillfull osd(s)", "osd.1 is backfill full at 91%"),
        ("OSD_FULL", "HEALTH_ERR", "1 full osd(s)", "osd.2 is full at 96%"),
        ("POOL_FULL", "HEALTH_WARN", "1 pool(s) full", "pool 'data' is full (no space)"),
    ] {
        let check = &checks[code];
        assert_eq!(check["severity"], severity, "{code}");
        assert_eq!(check["summary"]["message"], summary, "{code}");
        assert_eq!(check["detail"], json!([{ "message": detail }]), "{code}");
    }
    let states: Vec<Value> = harness.json(AdminCommand::OsdDump)["osds"].as_array().unwrap().clone();
    let states: Vec<&Value> = states.iter().map(|osd| &osd["state"][2]).collect();
    assert_eq!(states, ["nearfull", "backfillfull", "full"]);
}

#[test]
fn a_pool_is_as_full_as_its_fullest_osd_until_that_has_space_again() {
    let mut harness = Harness::with_osds(2, 0);
    harness.create_pool("data", 32, 1);
    use_percent(&mut harness, 1, 86);
    assert_eq!(checks(&mut harness)["POOL_NEARFULL"]["detail"][0]["message"], "pool 'data' is nearfull");
    use_percent(&mut harness, 1, 90);
    assert_eq!(checks(&mut harness)["POOL_BACKFILLFULL"]["detail"][0]["message"], "pool 'data' is backfillfull");
    use_percent(&mut harness, 1, 50);
    let after = checks(&mut harness);
    let left: Vec<&String> = after.as_object().unwrap().keys().filter(|code| code.contains("FULL")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_dirty_data_will_need_counts_before_it_is_there() {
    let mut harness = Harness::with_osds(1, 1 << 34);
    let promised = OsdReport { base_promised_bytes: (1 << 40) / 100 * 97, ..report(0) };
    harness.request(session_of(0), MonitorRequest::Report(promised));
    assert_eq!(checks(&mut harness)["OSD_FULL"]["detail"][0]["message"], "osd.0 is full at 97%");
}

#[test]
fn a_line_that_is_moved_counts_at_once_and_is_shown() {
    let mut harness = Harness::with_osds(1, 0);
    use_percent(&mut harness, 0, 60);
    assert!(checks(&mut harness).get("OSD_NEARFULL").is_none());
    let epoch = harness.map().epoch();
    let reply = set(&mut harness, FullLine::NearFull, 0.55);
    assert_eq!((reply.errno, reply.message.as_str()), (0, "osd set-nearfull-ratio 0.55"));
    assert_eq!(harness.map().epoch(), epoch + 1);
    assert!(checks(&mut harness).get("OSD_NEARFULL").is_some());
    let dump = harness.json(AdminCommand::OsdDump);
    assert_eq!(dump["nearfull_ratio"], 0.55);
    assert_eq!((&dump["backfillfull_ratio"], &dump["full_ratio"]), (&json!(0.9), &json!(0.95)));
    // The same again decides nothing.
    set(&mut harness, FullLine::NearFull, 0.55);
    assert_eq!(harness.map().epoch(), epoch + 1);
    let restored = Harness::restored(harness.stored.clone());
    assert_eq!(restored.map().full_ratios, FullRatios { nearfull: 0.55, ..FullRatios::default() });
}

#[test]
fn lines_in_the_wrong_order_are_refused_with_what_stands_in_the_way() {
    let mut harness = Harness::with_osds(1, 0);
    let before = harness.map().clone();
    for (line, ratio, why) in [
        (FullLine::NearFull, 0.92, "nearfull_ratio 0.92 would be above backfillfull_ratio 0.9"),
        (FullLine::BackfillFull, 0.96, "backfillfull_ratio 0.96 would be above full_ratio 0.95"),
        (FullLine::Full, 0.5, "backfillfull_ratio 0.9 would be above full_ratio 0.5"),
        (FullLine::Full, 1.5, "full_ratio 1.5 is not above 0 and at most 1"),
        (FullLine::NearFull, 0.0, "nearfull_ratio 0 is not above 0 and at most 1"),
        (FullLine::Full, f64::NAN, "full_ratio NaN is not above 0 and at most 1"),
    ] {
        let reply = set(&mut harness, line, ratio);
        assert_eq!(reply.errno, libc::EINVAL);
        assert!(reply.message.starts_with(why), "{}", reply.message);
    }
    assert_eq!(*harness.map(), before);
}

#[test]
fn flags_are_set_and_unset_in_cephs_words() {
    let mut harness = Harness::with_osds(1, 0);
    let mut flag = |flag: &str, is_set| harness.command(AdminCommand::OsdSetFlag { flag: flag.into(), is_set });
    assert_eq!(flag("noscrub", true).message, "noscrub is set");
    assert_eq!(flag("nodeep-scrub", true).message, "nodeep-scrub is set");
    let unknown = flag("noscurb", true);
    assert_eq!(unknown.errno, libc::EINVAL);
    assert!(unknown.message.starts_with("Invalid command: noscurb not in pause|noup|"), "{}", unknown.message);
    assert_eq!(harness.json(AdminCommand::OsdDump)["flags"], "noscrub,nodeep-scrub");
    assert_eq!(checks(&mut harness)["OSDMAP_FLAGS"]["summary"]["message"], "noscrub,nodeep-scrub flag(s) set");
    let reply = harness.command(AdminCommand::OsdSetFlag { flag: "noscrub".into(), is_set: false });
    assert_eq!(reply.message, "noscrub is unset");
    assert_eq!(harness.json(AdminCommand::OsdDump)["flags"], "nodeep-scrub");
}

proptest! {
    #[test]
    fn no_order_of_commands_leaves_the_lines_out_of_order(moves in prop::collection::vec((0usize..3, -0.2..1.2f64), 1..40)) {
        let mut harness = Harness::with_osds(1, 0);
        for (line, ratio) in moves {
            let before = harness.map().full_ratios;
            let refused = set(&mut harness, LINES[line], ratio).errno != 0;
            let ratios = harness.map().full_ratios;
            prop_assert!(ratios.check().is_ok(), "{ratios:?}");
            prop_assert!(!refused || ratios == before);
        }
    }
}
