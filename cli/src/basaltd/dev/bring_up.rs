//! From a cluster whose daemons run to one that takes writes, with all their copies.

use super::folder::Configurations;
use crate::devices::on_ring;
use crate::signals::Stop;
use basalt_cli::{Failure, Result};
use basalt_client::{Client, ClientConfig, ObjectOperations, Pool};
use basalt_cluster::config::ClientRole;
use basalt_cluster::placement::Placer;
use basalt_cluster::{Map, PgId};
use basalt_net::message::monitor::AdminCommand;
use basalt_net::message::object::Operation;
use basalt_ring::Ring;
use std::collections::BTreeMap;
use std::time::Duration;

/// The pool that a new cluster begins with.
const FIRST_POOL: &str = "data";
/// Written and removed in one request: they never show.
const PROBE: &str = ".basaltd-dev-probe.";
/// Names that are tried to find one in each group.
const PROBES_PER_GROUP_MAX: u32 = 64;
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How often it is said what is waited for.
const TELL_EVERY_LOOKS: u32 = 100;

/// Makes the first pool of a new cluster, and returns true once every group of every pool has all the copies that it can have and has
/// taken a write, false if the cluster is to stop before. `size`: what was asked for.
pub fn run(configurations: &Configurations, size: Option<u32>, stop: &Stop) -> Result<bool> {
    let client_config = ClientConfig::from_config(&configurations.cluster, ClientRole::Administrator)?;
    on_ring(async |ring| {
        tokio::select! {
            outcome = bring_up(&ring, client_config, size, configurations.layout.size) => outcome.map(|()| true),
            () = stop.wanted() => Ok(false),
        }
    })
}

async fn bring_up(ring: &Ring, config: ClientConfig, asked_size: Option<u32>, size: u32) -> Result<()> {
    let client = Client::connect(ring, config).await?;
    // A pool that somebody removed is not made again.
    if client.map().pool_id_max == 0 {
        make_first_pool(&client, size).await?;
    }
    refuse_another_size(&client.map(), asked_size)?;
    wait_until_whole(ring, &client).await;
    let names: Vec<String> = client.map().pools.iter().map(|pool| pool.name.clone()).collect();
    for name in names {
        let pool = client.pool(&name).await?;
        for probe in probes(&client.map(), &name) {
            if !takes_write(&pool, &probe).await? {
                break;
            }
        }
    }
    Ok(())
}

async fn make_first_pool(client: &Client, size: u32) -> Result<()> {
    let command = AdminCommand::PoolCreate { name: FIRST_POOL.into(), pg_num: None, rule: None, size: Some(size) };
    let reply = client.command(command).await?;
    if reply.errno != 0 {
        return Err(Failure::new(reply.errno, reply.message));
    }
    // Asks for the map that has it.
    client.pool(FIRST_POOL).await?;
    Ok(())
}

/// What was asked for and is not done must not go unnoticed.
fn refuse_another_size(map: &Map, asked: Option<u32>) -> Result<()> {
    match (map.pool_by_name(FIRST_POOL), asked) {
        (Some(pool), Some(asked)) if pool.size != asked => Err(Failure::invalid(format!(
            "pool '{FIRST_POOL}' keeps {} copies: leave --size out, and change it by `basalt osd pool set {FIRST_POOL} size {asked}`",
            pool.size
        ))),
        _ => Ok(()),
    }
}

/// Returns when every group has as many live members as CRUSH gives it.
async fn wait_until_whole(ring: &Ring, client: &Client) {
    for look in 1_u32.. {
        let map = client.map();
        let (lacking, groups) = lacking_groups(&map);
        if lacking == 0 {
            return;
        }
        if look % TELL_EVERY_LOOKS == 0 {
            tracing::info!(lacking, groups, epoch = map.epoch(), "waits for groups to have all their copies");
        }
        ring.sleep(LOOK_INTERVAL).await;
    }
}

/// How many groups lack copies, and how many there are.
fn lacking_groups(map: &Map) -> (usize, usize) {
    let placer = Placer::new(map);
    let mut lacking = 0;
    let mut groups = 0;
    for (id, pool, _) in map.pgs() {
        groups += 1;
        let live = map.acting(id).map_or(0, |acting| acting.len());
        lacking += usize::from(live < placer.choose(pool, id.seed).len().max(1));
    }
    (lacking, groups)
}

/// One object in each group of a pool.
fn probes(map: &Map, pool: &str) -> Vec<String> {
    let Some(pool) = map.pool_by_name(pool) else { return Vec::new() };
    let mut probes: BTreeMap<PgId, String> = BTreeMap::new();
    for number in 0..pool.pg_num.saturating_mul(PROBES_PER_GROUP_MAX) {
        if probes.len() == pool.pg_num as usize {
            break;
        }
        let name = format!("{PROBE}{number}");
        if let Some(pg) = map.pg_of(pool.id, name.as_bytes()) {
            probes.entry(pg).or_insert(name);
        }
    }
    probes.into_values().collect()
}

/// Returns false if the pool takes no writes because it is full.
async fn takes_write(pool: &Pool, probe: &str) -> Result<bool> {
    let operations = ObjectOperations::new().operation(Operation::Touch).remove();
    match pool.execute(probe.as_bytes(), operations).await {
        Ok(_) => Ok(true),
        // A full cluster is up: what it lacks is space, and it says so itself.
        Err(error) if matches!(error.errno(), libc::ENOSPC | libc::EDQUOT) => {
            tracing::warn!(pool = pool.name(), reason = error.message(), "the pool takes no writes");
            Ok(false)
        }
        Err(error) => {
            Err(Failure::from(error).while_doing(format_args!("pool '{}' does not take writes", pool.name())))
        }
    }
}
