//! A session of commands as Ceph 16.2.15 answered it, replayed: same reply, same exit status. Where this monitor differs on
//! purpose, the difference is listed here with its reason.

use super::harness::Harness;
use basalt_net::message::monitor::{AdminCommand, CommandReply, TierCommand};

const SESSION: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles/ceph-cli/tier-and-pool-session.txt"));

struct Exchange<'a> {
    words: Vec<&'a str>,
    output: Vec<&'a str>,
    exit: i32,
}

fn exchanges() -> Vec<Exchange<'static>> {
    let mut exchanges = Vec::new();
    for block in SESSION.split("$ ceph ").skip(1) {
        let mut lines = block.lines();
        let words = lines.next().unwrap().split(' ').collect();
        let mut output: Vec<&str> = lines.collect();
        let exit = output.pop().unwrap().strip_prefix("(exit ").unwrap().strip_suffix(')').unwrap().parse().unwrap();
        exchanges.push(Exchange { words, output, exit });
    }
    exchanges
}

/// The command a line means. `None`: not among the monitor's commands, or compared elsewhere.
fn parse(words: &[&str]) -> Option<AdminCommand> {
    let text = |word: &str| word.to_string();
    Some(match words {
        ["osd", "pool", "create", name, pg_num] => {
            AdminCommand::PoolCreate { name: text(name), pg_num: Some(pg_num.parse().unwrap()), rule: None, size: None }
        }
        ["osd", "pool", "set", name, variable, value] => {
            AdminCommand::PoolSet { name: text(name), variable: text(variable), value: text(value) }
        }
        ["osd", "pool", "get", name, variable] => AdminCommand::PoolGet { name: text(name), variable: text(variable) },
        ["osd", "tier", "add", base, cache] => AdminCommand::Tier(TierCommand::Add {
            base: text(base),
            cache: text(cache),
            even_if_it_holds_objects: false,
        }),
        ["osd", "tier", "rm", base, cache] => {
            AdminCommand::Tier(TierCommand::Rm { base: text(base), cache: text(cache) })
        }
        ["osd", "tier", "cache-mode", cache, mode] => {
            AdminCommand::Tier(TierCommand::CacheMode { cache: text(cache), mode: text(mode) })
        }
        ["osd", "tier", "set-overlay", base, cache] => {
            AdminCommand::Tier(TierCommand::SetOverlay { base: text(base), cache: text(cache) })
        }
        ["osd", "tier", "rm-overlay", base] => AdminCommand::Tier(TierCommand::RmOverlay { base: text(base) }),
        ["osd", "pool", "set-quota", name, variable, value] => {
            AdminCommand::PoolSetQuota { name: text(name), variable: text(variable), value: text(value) }
        }
        ["osd", "pool", "get-quota", name] => AdminCommand::PoolGetQuota { name: text(name) },
        ["osd", "pool", "rm", name] => AdminCommand::PoolRm { name: text(name), again: String::new(), sure: false },
        ["osd", "pool", "rm", name, again, "--yes-i-really-really-mean-it"] => {
            AdminCommand::PoolRm { name: text(name), again: text(again), sure: true }
        }
        _ => return None,
    })
}

/// Why a reply is not Ceph's, if it should not be.
fn differs_on_purpose(words: &[&str]) -> bool {
    match words {
        // A pool is tiered in place: its tier's variables are its own, with or without a second pool.
        ["osd", "pool", "set" | "get", "oracle-low", "target_max_bytes", ..] => true,
        // `all` has more lines here, and the defaults of a tier that works untuned; compared by itself below.
        ["osd", "pool", "get", _, "all"] => true,
        // Its list of names is this monitor's.
        ["osd", "pool", "set", _, "nosuch", _] => true,
        // No mode endangers data here: it is refused for another reason.
        ["osd", "tier", "cache-mode", _, "readonly"] => true,
        _ => false,
    }
}

fn as_ceph_prints(reply: &CommandReply) -> String {
    match reply.errno {
        // What is different here is said on lines of its own.
        0 => reply.message.lines().filter(|line| !line.starts_with("note: ")).collect::<Vec<_>>().join("\n"),
        errno => format!("Error {}: {}", name_of(errno), reply.message),
    }
}

fn name_of(errno: i32) -> &'static str {
    match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EINVAL => "EINVAL",
        libc::ERANGE => "ERANGE",
        libc::EBUSY => "EBUSY",
        _ => "E?",
    }
}

#[test]
fn every_reply_of_a_session_with_ceph_is_given_here_too() {
    // On two hosts, so that there is a place for two copies.
    let mut harness = Harness::with_osds(3, 1 << 30);
    // The session begins with pools 1 to 7 there, and pool 8 just made.
    for number in 1..8 {
        harness.create_pool(&format!("earlier-{number}"), 8, 1);
    }
    for name in ["oracle-low", "oracle-high"] {
        harness.create_pool(name, 8, 1);
    }
    let mut compared = 0;
    for exchange in exchanges() {
        let Some(command) = parse(&exchange.words) else { continue };
        let reply = harness.command(command);
        if differs_on_purpose(&exchange.words) {
            continue;
        }
        let line = exchange.words.join(" ");
        assert_eq!(as_ceph_prints(&reply), exchange.output.join("\n"), "{line}");
        assert_eq!(reply.errno, exchange.exit, "{line}");
        compared += 1;
    }
    assert_eq!(compared, 36, "the session has so many commands that are the same here");
}

#[test]
fn get_all_prints_cephs_variables_in_cephs_order_and_then_our_own() {
    let exchange = exchanges().into_iter().find(|exchange| exchange.words.ends_with(&["all"])).unwrap();
    let mut harness = Harness::with_osds(1, 1 << 30);
    harness.create_pool("oracle-high", 8, 1);
    for (variable, value) in [
        ("hit_set_count", "12"),
        ("hit_set_period", "14400"),
        ("target_max_bytes", "1T"),
        ("target_max_objects", "1M"),
        ("cache_min_flush_age", "600"),
        ("cache_min_evict_age", "1800"),
        ("min_read_recency_for_promote", "2"),
        ("min_write_recency_for_promote", "2"),
        ("hit_set_grade_decay_rate", "0"),
        ("hit_set_search_last_n", "0"),
    ] {
        let reply = harness.command(AdminCommand::PoolSet {
            name: "oracle-high".into(),
            variable: variable.into(),
            value: value.into(),
        });
        assert_eq!(reply.errno, 0, "{}", reply.message);
    }
    let reply = harness.command(AdminCommand::PoolGet { name: "oracle-high".into(), variable: "all".into() });
    let own = "\ncache_mode: writeback\ncache_max_dirty_age: 600\ncache_bypass_sequential_bytes: 4194304\ncache_idle_flush_age: 30\ncache_bypass_new_bytes: 0";
    assert_eq!(reply.message, exchange.output.join("\n") + own);
}

#[test]
fn an_unknown_variable_is_answered_with_all_there_are() {
    let mut harness = Harness::with_osds(1, 0);
    harness.create_pool("p", 8, 1);
    for command in [
        AdminCommand::PoolSet { name: "p".into(), variable: "nosuch".into(), value: "1".into() },
        AdminCommand::PoolGet { name: "p".into(), variable: "nosuch".into() },
    ] {
        let reply = harness.command(command);
        assert_eq!(reply.errno, libc::EINVAL);
        assert!(reply.message.starts_with("Invalid command: nosuch not in size|min_size|pg_num|"), "{}", reply.message);
        assert!(reply.message.contains("|cache_max_dirty_age"));
    }
}

#[test]
fn a_pool_in_detail_is_cephs_line() {
    let ceph = SESSION.lines().find(|line| line.starts_with("pool 9 'oracle-high'")).unwrap();
    let mut harness = Harness::with_osds(1, 1 << 30);
    for number in 1..9 {
        harness.create_pool(&format!("earlier-{number}"), 8, 1);
    }
    harness.create_pool("oracle-high", 8, 1);
    for (variable, value) in [
        ("hit_set_count", "12"),
        ("hit_set_period", "14400"),
        ("target_max_bytes", "1T"),
        ("target_max_objects", "1M"),
        ("min_read_recency_for_promote", "2"),
        ("min_write_recency_for_promote", "2"),
        ("hit_set_grade_decay_rate", "0"),
        ("hit_set_search_last_n", "0"),
    ] {
        let name = "oracle-high".to_string();
        harness.command(AdminCommand::PoolSet { name, variable: variable.into(), value: value.into() });
    }
    let reply = harness.command(AdminCommand::PoolLs { detail: true });
    let ours = reply.message.lines().last().unwrap();
    // What belongs to a pair of pools has no counterpart.
    let expected = ceph
        .replace("last_change 43 lfor 30/30/30", &format!("last_change {}", harness.map().epoch()))
        .replace(",incomplete_clones tier_of 8", "");
    assert_eq!(ours, expected);
}
