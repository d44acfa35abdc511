//! A pool in front of a hard disk, in writeback mode, with what a test of the tier does to it and looks at.

use crate::peer::Peer;
use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use basalt_blockstore::{ObjectId, ObjectKey};
use basalt_net::message::monitor::{AdminCommand, CommandReply, PoolReport};
use basalt_net::message::object::Operation;
use std::time::Duration;

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;

/// Longer than what the tier does at once takes, shorter than anything it does by age.
pub const A_WHILE: Duration = Duration::from_secs(20);

pub struct TieredPool<'a> {
    pub cluster: &'a SimulatedCluster,
    peer: Peer,
}

/// Runs a test on a pool over a hot slice of 128 MiB that was never restarted. What is dirty stays so while nothing happens.
pub fn on_a_tiered_pool(seed: u64, test: impl AsyncFnOnce(TieredPool)) {
    let options = ClusterOptions { base_bytes: 512 << 20, hot_bytes: 128 << 20, ..ClusterOptions::default() };
    let cluster = SimulatedCluster::new(seed, options);
    cluster.world.block_on(async {
        cluster.set("cache_mode", "writeback").await;
        cluster.set("cache_idle_flush_age", "0").await;
        test(TieredPool::of(&cluster).await).await;
    });
}

impl<'a> TieredPool<'a> {
    pub async fn of(cluster: &'a SimulatedCluster) -> TieredPool<'a> {
        TieredPool { cluster, peer: cluster.peer().await }
    }

    /// `osd pool set`, which succeeds; when it returns, the OSD has the map.
    pub async fn set(&self, variable: &str, value: &str) {
        self.cluster.set(variable, value).await;
    }

    pub async fn try_set(&self, variable: &str, value: &str) -> CommandReply {
        let set = AdminCommand::PoolSet { name: "data".into(), variable: variable.into(), value: value.into() };
        self.cluster.command(set).await
    }

    /// Changes to a mode that can't be had while anything is dirty.
    pub async fn set_mode_when_clean(&self, mode: &str) {
        self.set("cache_mode", "proxy").await;
        self.wait_for("clean", |report| report.dirty_bytes == 0).await;
        // The monitor goes by reports that come once a second.
        self.sleep(Duration::from_secs(3)).await;
        self.set("cache_mode", mode).await;
    }

    pub async fn write(&self, name: &str, bytes: u64) {
        self.peer.write_full(POOL, name.as_bytes(), &vec![0x5c; bytes as usize]).await;
    }

    /// Objects `NAME 0`, `NAME 1`, … as long as `count` says.
    pub async fn write_many(&self, name: &str, count: u64, bytes: u64) {
        for index in 0..count {
            self.write(&format!("{name} {index}"), bytes).await;
        }
    }

    pub async fn write_at(&self, name: &str, offset: u64, bytes: u64) {
        let write = vec![Operation::Write { offset, length: bytes }];
        self.peer.done(POOL, name.as_bytes(), write, &vec![0xc5; bytes as usize]).await;
    }

    pub async fn read(&self, name: &str) -> Vec<u8> {
        self.peer.read_all(POOL, name.as_bytes()).await.expect("a read")
    }

    /// Reads, and waits until what the tier does because of it is done; reads further apart than this are visits of their own.
    pub async fn visit(&self, name: &str) {
        self.read(name).await;
        self.sleep(Duration::from_secs(2)).await;
    }

    /// What an object has on the hot device, by a look that leaves no trace in the tier.
    pub async fn hot_bytes(&self, name: &str) -> u64 {
        let name = name.as_bytes();
        let group = self.peer.map().pg_of(POOL, name).expect("the pool has groups");
        let store = self.cluster.with_osd(|osd| osd.store().clone());
        let key = ObjectKey { pool: POOL, pg: group.seed, name: name.into() };
        let object = store.stat(&key).await.expect("an answer").expect("it exists").id;
        let (hot, more) = store.list_hot((0, ObjectId(0)), 10_000).await.expect("a list");
        assert!(!more, "one list is enough for a test");
        hot.iter().find(|change| change.object == object).map_or(0, |change| change.dirty_bytes + change.clean_bytes)
    }

    /// Those of these objects of which something is hot.
    pub async fn hot_of<'n>(&self, names: &[&'n str]) -> Vec<&'n str> {
        let mut hot = Vec::new();
        for name in names {
            if self.hot_bytes(name).await > 0 {
                hot.push(*name);
            }
        }
        hot
    }

    /// Objects on base that no hit set has.
    pub async fn make_cold(&self, names: &[&str], bytes: u64) {
        self.set_mode_when_clean("proxy").await;
        for name in names {
            self.write(name, bytes).await;
        }
        self.forget_accesses().await;
        assert_eq!(self.hot_of(names).await, [""; 0]);
        self.set("cache_mode", "writeback").await;
    }

    /// Hit sets of another kind know nothing of what those before them knew.
    pub async fn forget_accesses(&self) {
        self.set("hit_set_type", "explicit_hash").await;
        self.set("hit_set_type", "bloom").await;
    }

    pub async fn promoted_by(&self, work: impl Future<Output = ()>) -> u64 {
        let before = self.report().promoted_bytes;
        work.await;
        self.report().promoted_bytes - before
    }

    /// What a work made dirty.
    pub async fn dirtied_by(&self, work: impl Future<Output = ()>) -> u64 {
        let before = self.report();
        work.await;
        let after = self.report();
        assert_eq!(before.flushed_bytes, after.flushed_bytes, "something was flushed meanwhile");
        after.dirty_bytes - before.dirty_bytes
    }

    pub async fn duration_of(&self, work: impl Future<Output = ()>) -> Duration {
        let ring = self.cluster.client.ring();
        let began = ring.now();
        work.await;
        ring.now().since(began)
    }

    pub fn report(&self) -> PoolReport {
        self.cluster.with_osd(|osd| {
            osd.report().pools.into_iter().find(|report| report.pool == POOL).expect("the pool is reported")
        })
    }

    pub async fn sleep(&self, duration: Duration) {
        self.cluster.client.ring().sleep(duration).await;
    }

    /// Waits for figures as they should be; not for anything that only comes by age.
    pub async fn wait_for(&self, what: &str, reached: impl Fn(&PoolReport) -> bool) {
        let deadline = self.cluster.client.ring().now() + A_WHILE;
        while !reached(&self.report()) {
            assert!(self.cluster.client.ring().now() < deadline, "not {what}: {:?}", self.report());
            self.sleep(Duration::from_millis(100)).await;
        }
    }

    /// Flushes all that is dirty and leaves it hot.
    pub async fn clean(&self) {
        let before = self.report();
        self.set_mode_when_clean("readproxy").await;
        self.set("cache_mode", "writeback").await;
        let after = self.report();
        assert_eq!((after.hot_bytes, after.dirty_bytes), (before.hot_bytes, 0), "{before:?}");
    }
}
