//! What `top` shows: two looks at the cluster, and what went on between them.

use crate::administration::{ask, osds};
use crate::document::{list, number, real, text};
use crate::slow_ops::of_one;
use basalt_cli::Result;
use basalt_client::Client;
use basalt_net::message::monitor::AdminCommand;
use basalt_net::message::object::OsdCommand;
use basalt_ring::Instant;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// OSDs whose clients are looked at.
const OSDS_ASKED_MAX: usize = 64;

/// The cluster at one moment.
pub struct Look {
    at: Instant,
    status: Value,
    pools: Value,
    tiers: Value,
    osd_df: Value,
    perf: Value,
    /// Of each OSD that was asked.
    sessions: Vec<Value>,
}

#[derive(Serialize, Debug, Default)]
pub struct Picture {
    pub health: String,
    pub checks: Vec<String>,
    pub osds_up: u64,
    pub osds: u64,
    pub states: String,
    pub used_bytes: u64,
    pub total_bytes: u64,
    pub recovering_bytes_sec: u64,
    pub degraded_objects: u64,
    pub rates: Rates,
    pub by_pool: Vec<PoolRow>,
    pub by_osd: Vec<OsdRow>,
    pub by_client: Vec<ClientRow>,
}

/// A second.
#[derive(Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub read_op_per_sec: u64,
    pub write_op_per_sec: u64,
    pub read_bytes_sec: u64,
    pub write_bytes_sec: u64,
}

impl Rates {
    fn of(document: &Value) -> Rates {
        Rates {
            read_op_per_sec: number(document, "/read_op_per_sec"),
            write_op_per_sec: number(document, "/write_op_per_sec"),
            read_bytes_sec: number(document, "/read_bytes_sec"),
            write_bytes_sec: number(document, "/write_bytes_sec"),
        }
    }

    fn operations(&self) -> u64 {
        self.read_op_per_sec.saturating_add(self.write_op_per_sec)
    }
}

#[derive(Serialize, Debug)]
pub struct PoolRow {
    pub pool: String,
    pub rates: Rates,
    pub hot_bytes: u64,
    pub target_bytes: u64,
    pub dirty_ratio: f64,
    pub hit_ratio: f64,
}

#[derive(Serialize, Debug)]
pub struct OsdRow {
    pub osd: u64,
    pub host: String,
    pub status: String,
    pub used_percent: f64,
    pub pgs: u64,
    pub commit_latency_ns: u64,
    pub apply_latency_ns: u64,
}

#[derive(Serialize, Debug)]
pub struct ClientRow {
    pub client: String,
    pub name: String,
    pub address: String,
    /// That it talks to.
    pub osds: u64,
    pub rates: Rates,
}

impl Look {
    pub async fn take(client: &Client) -> Result<Look> {
        let document = async |command| ask(client, command).await.map(|answer| answer.document);
        let mut look = Look {
            at: client.ring().now(),
            status: document(AdminCommand::Status).await?,
            pools: document(AdminCommand::PoolStats { name: None }).await?,
            tiers: document(AdminCommand::TierStatus { pool: None }).await?,
            osd_df: document(AdminCommand::OsdDf).await?,
            perf: document(AdminCommand::OsdPerf).await?,
            sessions: Vec::new(),
        };
        for osd in osds(client).await?.into_iter().take(OSDS_ASKED_MAX) {
            look.sessions.push(of_one(client, osd, OsdCommand::Sessions).await);
        }
        Ok(look)
    }

    /// What each client has asked for since its sessions began: OSDs, name, address, counters.
    fn clients(&self) -> BTreeMap<String, (u64, String, String, [u64; 4])> {
        let mut clients = BTreeMap::new();
        for session in self.sessions.iter().flat_map(|osd| list(osd, "/sessions")) {
            let entry = clients.entry(text(session, "/client").to_owned()).or_insert_with(|| {
                (0, text(session, "/name").to_owned(), text(session, "/address").to_owned(), [0_u64; 4])
            });
            entry.0 += 1;
            let counters = ["/read_operations", "/write_operations", "/read_bytes", "/write_bytes"];
            for (sum, path) in entry.3.iter_mut().zip(counters) {
                *sum = sum.saturating_add(number(session, path));
            }
        }
        clients
    }
}

impl Picture {
    pub fn between(before: &Look, now: &Look) -> Picture {
        let status = &now.status;
        let states = list(status, "/pgmap/pgs_by_state").iter();
        let states: Vec<String> =
            states.map(|state| format!("{} {}", number(state, "/count"), text(state, "/state_name"))).collect();
        let checks = status.pointer("/health/checks").and_then(Value::as_object).into_iter().flatten();
        Picture {
            health: text(status, "/health/status").to_owned(),
            checks: checks.map(|(_, check)| text(check, "/summary/message").to_owned()).collect(),
            osds_up: number(status, "/osdmap/num_up_osds"),
            osds: number(status, "/osdmap/num_osds"),
            states: states.join(", "),
            used_bytes: number(status, "/pgmap/bytes_used"),
            total_bytes: number(status, "/pgmap/bytes_total"),
            recovering_bytes_sec: number(status, "/pgmap/recovering_bytes_per_sec"),
            degraded_objects: number(status, "/pgmap/degraded_objects"),
            rates: Rates::of(status.get("pgmap").unwrap_or(&Value::Null)),
            by_pool: pools(now),
            by_osd: by_osd(now),
            by_client: clients(before, now),
        }
    }

    pub fn document(&self) -> Value {
        json!(self)
    }
}

fn pools(look: &Look) -> Vec<PoolRow> {
    let mut rows: Vec<PoolRow> = list(&look.pools, "")
        .iter()
        .map(|pool| {
            let name = text(pool, "/pool_name");
            let tier = list(&look.tiers, "").iter().find(|tier| text(tier, "/pool_name") == name);
            let tier = tier.unwrap_or(&Value::Null);
            PoolRow {
                pool: name.to_owned(),
                rates: Rates::of(pool.get("client_io_rate").unwrap_or(&Value::Null)),
                hot_bytes: number(tier, "/hot_bytes"),
                target_bytes: number(tier, "/target_bytes"),
                dirty_ratio: real(tier, "/dirty_ratio"),
                hit_ratio: real(tier, "/hit_ratio"),
            }
        })
        .collect();
    // The busiest first; those that do nothing as they were.
    rows.sort_by_key(|row| std::cmp::Reverse(row.rates.operations()));
    rows
}

fn by_osd(look: &Look) -> Vec<OsdRow> {
    let perf = list(&look.perf, "/osdstats/osd_perf_infos");
    let rows = list(&look.osd_df, "/nodes").iter().map(|osd| {
        let id = number(osd, "/id");
        let latency = perf.iter().find(|info| number(info, "/id") == id).unwrap_or(&Value::Null);
        OsdRow {
            osd: id,
            host: text(osd, "/host").to_owned(),
            status: text(osd, "/status").to_owned(),
            used_percent: real(osd, "/utilization"),
            pgs: number(osd, "/pgs"),
            commit_latency_ns: number(latency, "/perf_stats/commit_latency_ns"),
            apply_latency_ns: number(latency, "/perf_stats/apply_latency_ns"),
        }
    });
    rows.collect()
}

fn clients(before: &Look, now: &Look) -> Vec<ClientRow> {
    let earlier = before.clients();
    let seconds = now.at.since(before.at).as_secs_f64().max(1e-3);
    let mut rows: Vec<ClientRow> = now
        .clients()
        .into_iter()
        .map(|(client, (osds, name, address, counters))| {
            let old = earlier.get(&client).map_or([0; 4], |(_, _, _, counters)| *counters);
            // Sessions that ended took their counts with them.
            let [reads, writes, read, written] =
                std::array::from_fn(|index| match (counters.get(index), old.get(index)) {
                    (Some(now), Some(old)) => (now.saturating_sub(*old) as f64 / seconds).round() as u64,
                    _ => 0,
                });
            let rates = Rates {
                read_op_per_sec: reads,
                write_op_per_sec: writes,
                read_bytes_sec: read,
                write_bytes_sec: written,
            };
            ClientRow { client, name, address, osds, rates }
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.rates.operations()));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at_s: u64, operations: u64) -> Look {
        let session = |client: &str, operations: u64| {
            json!({ "client": client, "name": "client.admin", "address": "192.0.2.7:1", "read_operations": operations,
                "write_operations": 2 * operations, "read_bytes": 4096 * operations, "write_bytes": 0 })
        };
        Look {
            at: Instant(at_s * 1_000_000_000),
            status: json!({ "health": { "status": "HEALTH_OK", "checks": {} } }),
            pools: json!([]),
            tiers: json!([]),
            osd_df: json!({ "nodes": [] }),
            perf: json!({}),
            // One client on two OSDs, another on one; the third OSD is down.
            sessions: vec![
                json!({ "osd": 0, "sessions": [session("aa", operations), session("bb", 5)] }),
                json!({ "osd": 1, "sessions": [session("aa", operations)] }),
                json!({ "osd": 2, "error": "it is down" }),
            ],
        }
    }

    #[test]
    fn a_clients_rate_is_what_it_asked_all_osds_for_between_two_looks() {
        let picture = Picture::between(&look(10, 100), &look(12, 150));
        let first = &picture.by_client[0];
        assert_eq!((first.client.as_str(), first.osds), ("aa", 2));
        let rates = Rates { read_op_per_sec: 50, write_op_per_sec: 100, read_bytes_sec: 204_800, write_bytes_sec: 0 };
        assert_eq!(first.rates, rates);
        assert_eq!(picture.by_client[1].rates, Rates::default());
    }

    #[test]
    fn a_session_that_began_anew_makes_no_rate_of_its_old_count() {
        let picture = Picture::between(&look(10, 100), &look(12, 3));
        assert!(picture.by_client.iter().all(|row| row.rates == Rates::default()), "{picture:?}");
    }
}
