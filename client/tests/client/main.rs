//! A client against a real monitor core and OSDs that speak the protocol with a map in memory behind it: on the simulated driver, with sessions
//! cut wherever it hurts.

mod cluster;
mod exactly_once;
mod failures;
mod images;
mod loopback;
mod objects;
mod osd;
mod striping;

use basalt_client::{Client, ClientConfig, Error, Pool};
use basalt_net::message::monitor::AdminCommand;
use basalt_net::{EntityName, Fsid, Key};
use basalt_ring::sim::{Process, World};
use basalt_ring::{Ring, Slice};
use cluster::Cluster;
use std::time::Duration;

const FSID: Fsid = Fsid([0x5b; 16]);
const KEY: [u8; 32] = [0x77; 32];
const SERVERS: &str = "10.0.0.1";
const CLIENTS: &str = "10.0.0.2";

/// A cluster in one process, and another for clients.
struct Stage {
    world: World,
    client: Process,
    cluster: Cluster,
}

fn stage(seed: u64) -> Stage {
    let world = World::new(seed);
    let servers = world.process("servers", SERVERS.parse().unwrap());
    let client = world.process("client", CLIENTS.parse().unwrap());
    let cluster = Cluster::start(&servers.ring(), SERVERS.parse().unwrap(), 3);
    Stage { world, client, cluster }
}

impl Stage {
    /// Runs this in the client's process until it ends.
    fn run<T: 'static, F: Future<Output = T> + 'static>(&self, main: impl FnOnce(Ring) -> F) -> T {
        self.world.block_on(self.client.ring().spawn(main(self.client.ring())))
    }
}

fn config() -> ClientConfig {
    ClientConfig::new(
        FSID,
        vec![cluster::monitor_address(SERVERS.parse().unwrap())],
        Key::from_bytes(KEY),
        EntityName::new("client.admin").unwrap(),
    )
}

/// A client and its pool `data`, made if it is missing.
async fn pool(ring: &Ring) -> Pool {
    pool_with(ring, config()).await
}

async fn pool_with(ring: &Ring, config: ClientConfig) -> Pool {
    let client = Client::connect(ring, config).await.unwrap();
    make_pool(&client).await
}

async fn make_pool(client: &Client) -> Pool {
    let create = AdminCommand::PoolCreate { name: "data".into(), pg_num: Some(8), rule: None, size: Some(1) };
    let reply = client.command(create).await.unwrap();
    assert!(reply.errno == 0 || reply.message.contains("exists"), "{}", reply.message);
    client.pool("data").await.unwrap()
}

fn slice(ring: &Ring, bytes: &[u8]) -> Slice {
    let mut buffer = ring.buffer(bytes.len());
    buffer.copy_from_slice(bytes);
    buffer.freeze()
}

fn errno<T>(result: Result<T, Error>) -> i32 {
    result.err().map_or(0, |error| error.errno())
}

const SECOND: Duration = Duration::from_secs(1);
