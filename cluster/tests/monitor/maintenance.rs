//! `maintenance enter|exit`, and flags of a host.

use super::harness::{Harness, boot, report, session_of};
use basalt_cluster::MapFlags;
use basalt_net::message::monitor::*;
use std::time::Duration;

fn of(host: &str, step: MaintenanceStep) -> AdminCommand {
    AdminCommand::Maintenance { scope: MaintenanceScope::Host(host.into()), step }
}

fn all(step: MaintenanceStep) -> AdminCommand {
    AdminCommand::Maintenance { scope: MaintenanceScope::All, step }
}

const ENTER: MaintenanceStep = MaintenanceStep::Enter { sure: false };

/// Three hosts of two OSDs, three copies.
fn three_hosts() -> Harness {
    let mut harness = Harness::with_osds(6, 0);
    harness.create_pool("data", 8, 3);
    harness
}

/// Those report, and the others do not.
fn reports(harness: &mut Harness, osds: &[u32], seconds: u64) {
    for _ in 0..seconds {
        for osd in osds {
            harness.request(session_of(*osd), MonitorRequest::Report(report(*osd)));
        }
        harness.tick_for(1);
    }
}

fn up(harness: &Harness) -> Vec<u32> {
    harness.map().osds.iter().filter(|osd| osd.is_up).map(|osd| osd.id).collect()
}

fn inside(harness: &Harness) -> Vec<u32> {
    harness.map().osds.iter().filter(|osd| osd.is_in).map(|osd| osd.id).collect()
}

#[test]
fn a_host_in_maintenance_serves_nobody_and_stays_in_until_it_leaves() {
    let mut harness = three_hosts();
    let reply = harness.command(of("h0", ENTER));
    assert_eq!(
        (reply.errno, reply.message.as_str()),
        (0, "host h0 enters maintenance: osd.0, osd.1 are marked down and stay in")
    );
    assert_eq!(up(&harness), [2, 3, 4, 5]);
    assert!(harness.map().pgs().all(|(_, _, group)| group.primary.is_none_or(|primary| primary > 1)));
    // They still run, and say so; and the one that is restarted may not come up either.
    reports(&mut harness, &[0, 1, 2, 3, 4, 5], 5);
    harness.request(session_of(1), MonitorRequest::Boot(OsdBoot { life: 77, ..boot(1) }));
    assert_eq!(up(&harness), [2, 3, 4, 5]);
    // Far beyond the time after which an OSD is marked out.
    reports(&mut harness, &[2, 3, 4, 5], 700);
    assert_eq!((up(&harness), inside(&harness).len()), (vec![2, 3, 4, 5], 6));
    assert_eq!(harness.command(of("h0", MaintenanceStep::ComeUp)).errno, 0);
    harness.request(session_of(1), MonitorRequest::Boot(OsdBoot { life: 78, ..boot(1) }));
    reports(&mut harness, &[0, 1, 2, 3, 4, 5], 5);
    assert_eq!(up(&harness).len(), 6);
    assert_eq!(harness.command(of("h0", MaintenanceStep::Exit)).message, "host h0 has left maintenance");
    assert!(harness.map().hosts.is_empty());
    assert_eq!(harness.command(of("h0", MaintenanceStep::Exit)).errno, libc::ENOENT);
}

#[test]
fn only_the_host_itself_is_kept_in() {
    let mut harness = three_hosts();
    harness.command(of("h0", ENTER));
    // Osd.2 is of another host.
    reports(&mut harness, &[3, 4, 5], 700);
    assert_eq!(inside(&harness), [0, 1, 3, 4, 5]);
}

#[test]
fn two_hosts_at_a_time_are_refused_where_groups_would_serve_nobody() {
    let mut harness = three_hosts();
    assert_eq!(harness.command(of("h0", ENTER)).errno, 0);
    let reply = harness.command(of("h1", ENTER));
    assert_eq!(reply.errno, libc::EBUSY);
    let words = "without host h1 (osd.2, osd.3) beside h0, in maintenance already, 8 PGs would serve nobody: ";
    assert!(reply.message.starts_with(words), "{}", reply.message);
    assert_eq!(up(&harness), [2, 3, 4, 5]);
    assert_eq!(harness.command(of("h1", MaintenanceStep::Enter { sure: true })).errno, 0);
    assert_eq!(up(&harness), [4, 5]);
    assert_eq!(harness.command(of("nosuch", ENTER)).errno, libc::ENOENT);
    assert_eq!(harness.command(of("h0", ENTER)).message, "host h0 is in maintenance already");
}

#[test]
fn leaving_takes_back_what_entering_set_and_nothing_else() {
    let mut harness = three_hosts();
    let group =
        |flags: &str, is_set| AdminCommand::OsdSetGroup { flags: vec![flags.into()], hosts: vec!["h0".into()], is_set };
    assert_eq!(harness.command(group("noout,noin", true)).message, "noout,noin set for h0");
    harness.command(of("h0", ENTER));
    harness.command(of("h0", MaintenanceStep::Exit));
    assert_eq!(harness.map().hosts[0].effective(), MapFlags::NOOUT.with(MapFlags::NOIN));
    assert_eq!(harness.command(group("noin", false)).errno, 0);
    let health = harness.json(AdminCommand::HealthDetail);
    assert_eq!(health["checks"]["OSD_FLAGS"]["detail"][0]["message"], "host h0 has flags noout");
    assert_eq!(harness.json(AdminCommand::OsdDump)["crush_node_flags"]["h0"][0], "noout");

    harness.command(AdminCommand::OsdSetFlag { flag: "noscrub".into(), is_set: true });
    assert_eq!(harness.command(all(ENTER)).errno, 0);
    assert!(harness.map().flags.contains(MapFlags::PAUSE.with(MapFlags::NOOUT).with(MapFlags::NOBACKFILL)));
    assert_eq!(harness.command(all(MaintenanceStep::Exit)).errno, 0);
    assert_eq!(harness.map().flags, MapFlags::NOSCRUB);
    assert_eq!(harness.command(all(MaintenanceStep::Exit)).errno, libc::ENOENT);
}

#[test]
fn a_flag_of_a_host_counts_for_its_osds_alone() {
    let mut harness = three_hosts();
    let set = |flag: &str, host: &str| AdminCommand::OsdSetGroup {
        flags: vec![flag.into()],
        hosts: vec![host.into()],
        is_set: true,
    };
    assert_eq!(harness.command(set("nodown", "h0")).errno, 0);
    assert_eq!(harness.command(set("pause", "h0")).errno, libc::EINVAL);
    assert_eq!(harness.command(set("noout", "nosuch")).errno, libc::ENOENT);
    reports(&mut harness, &[4, 5], 40);
    assert_eq!(up(&harness), [0, 1, 4, 5], "only those of h1 are marked down");
}

#[test]
fn health_and_status_say_who_is_in_maintenance_and_for_how_long() {
    let mut harness = three_hosts();
    assert_eq!(harness.command(AdminCommand::MaintenanceStatus).message, "no host is in maintenance");
    harness.command(of("h0", ENTER));
    harness.pass(Duration::from_secs(3));
    let health = harness.json(AdminCommand::HealthDetail);
    assert_eq!(health["checks"]["HOST_IN_MAINTENANCE"]["summary"]["message"], "1 host(s) in maintenance mode");
    assert_eq!(
        harness.command(AdminCommand::MaintenanceStatus).message,
        "host h0 is in maintenance for 3s, 0 of its 2 OSDs up"
    );
    let status = harness.json(AdminCommand::MaintenanceStatus);
    assert_eq!(status["hosts"][0]["flags"], serde_json::json!(["noup", "noout"]));
    assert_eq!(status["osds_down"].as_array().unwrap().len(), 2);
}
