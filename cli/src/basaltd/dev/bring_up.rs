//! From a cluster whose daemons run to one that takes writes.

use crate::devices::on_ring;
use crate::signals::Stop;
use basalt_cli::{Failure, Result};
use basalt_client::{Client, ClientConfig, ObjectOperations, Pool};
use basalt_cluster::Config;
use basalt_net::message::monitor::AdminCommand;
use basalt_net::message::object::Operation;
use basalt_net::{EntityName, Fsid, Key};
use basalt_ring::Ring;

/// The pool that a new cluster begins with.
const FIRST_POOL: &str = "data";
/// Written and removed in one request: it never shows.
const PROBE: &[u8] = b".basaltd-dev-probe";

/// Makes the first pool of a new cluster, and returns true once every pool has taken a write, false if the cluster is to stop before.
pub fn run(config: &Config, size: u32, stop: &Stop) -> Result<bool> {
    let name = EntityName::new("client.admin").map_err(|error| Failure::invalid(error.to_string()))?;
    let key = Key::load(&config.key_file)?;
    let client_config = ClientConfig::new(Fsid(config.fsid.into_bytes()), config.monitors.clone(), key, name);
    on_ring(async |ring| {
        tokio::select! {
            outcome = bring_up(&ring, client_config, size) => outcome.map(|()| true),
            () = stop.wanted() => Ok(false),
        }
    })
}

async fn bring_up(ring: &Ring, config: ClientConfig, size: u32) -> Result<()> {
    let client = Client::connect(ring, config).await?;
    // A pool that somebody removed is not made again.
    if client.map().pool_id_max == 0 {
        make_first_pool(&client, size).await?;
    }
    let names: Vec<String> = client.map().pools.iter().map(|pool| pool.name.clone()).collect();
    for name in names {
        probe(&client.pool(&name).await?).await?;
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

async fn probe(pool: &Pool) -> Result<()> {
    let operations = ObjectOperations::new().operation(Operation::Touch).remove();
    match pool.execute(PROBE, operations).await {
        Ok(_) => Ok(()),
        // A full cluster is up: what it lacks is space, and it says so itself.
        Err(error) if matches!(error.errno(), libc::ENOSPC | libc::EDQUOT) => {
            tracing::warn!(pool = pool.name(), reason = error.message(), "the pool takes no writes");
            Ok(())
        }
        Err(error) => {
            Err(Failure::from(error).while_doing(format_args!("pool '{}' does not take writes", pool.name())))
        }
    }
}
