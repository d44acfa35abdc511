//! Space that a checkpoint frees is not given away before those are done who may still refer to it, or write to it, however long a disk
//! makes them wait: the superblock, and movers.

use crate::model::Step;
use crate::simulated_store::{self as simulated, Shape, SimulatedStore, formatted, transact};
use basalt_blockstore::{ObjectKey, Placement, Store};
use basalt_ring::Ring;
use basalt_ring::sim::Disk;
use std::time::Duration;

const POOL: u32 = 5;
const BLOCK: usize = 4096;
const TIERED: Shape = Shape { base_bytes: 4 << 20, hot_bytes: 4 << 20, wal_bytes: 256 << 10 };
const PLAIN: Shape = Shape { base_bytes: 4 << 20, hot_bytes: 0, wal_bytes: 256 << 10 };
/// Whoever waits longer than this, in the simulation, waits for what will not come.
const PATIENCE: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_secs(60);

/// Panics if freed space is given away too early.
pub fn run(run: u64) {
    if run.is_multiple_of(2) { slow_superblock(run) } else { slow_mover(run) }
}

fn object(number: usize) -> ObjectKey {
    ObjectKey { pool: POOL, pg: 0, name: number.to_string().into_bytes().into() }
}

/// Content of so many blocks, unlike any other's.
fn content(number: usize, blocks: usize) -> Vec<u8> {
    (0..blocks * BLOCK).map(|at| (at / BLOCK + number * 7) as u8 ^ (at % 251) as u8).collect()
}

struct Objects(Vec<(ObjectKey, Vec<u8>)>);

impl Objects {
    /// Writes object `number` to base; whether it was acknowledged in time.
    async fn put(&mut self, ring: &Ring, store: &Store, number: usize, data: Vec<u8>, placement: Placement) -> bool {
        let (key, steps) = (object(number), [Step::Write { offset: 0, data: data.clone() }]);
        let written = ring.timeout(PATIENCE, transact(ring, store, &key, &steps, placement)).await;
        let acknowledged = matches!(written, Ok(Ok(())));
        if acknowledged {
            self.0.retain(|(known, _)| *known != key);
            self.0.push((key, data));
        }
        acknowledged
    }

    /// Writes new objects to base until there is no room that may be had.
    async fn fill(&mut self, ring: &Ring, store: &Store) {
        let mut number = 100;
        for blocks in [64, 16, 4] {
            while self.put(ring, store, number, content(number, blocks), Placement::Base).await {
                number += 1;
            }
            number += 1;
        }
    }

    async fn remove(&mut self, ring: &Ring, store: &Store, number: usize) {
        transact(ring, store, &object(number), &[Step::Remove], Placement::Base).await.expect("removed");
        self.0.retain(|(key, _)| *key != object(number));
    }

    async fn compare(&self, store: &Store) {
        for (key, data) in &self.0 {
            match store.read(key, 0, u64::MAX).await {
                Ok(read) => assert!(*read.data == **data, "{key:?} is not what was acknowledged"),
                Err(error) => panic!("{key:?}: {error}"),
            }
        }
    }
}

/// The power goes when space that a checkpoint frees was written over, as soon as the store has acknowledged that.
fn slow_superblock(seed: u64) {
    let mut sim: SimulatedStore = formatted(seed, PLAIN);
    let ring = sim.ring();
    let mut objects = Objects(Vec::new());
    sim.world.block_on(async {
        let store = simulated::open(&ring, PLAIN).await.expect("open");
        assert!(objects.put(&ring, &store, 1, content(1, 64), Placement::Base).await);
        objects.fill(&ring, &store).await;
        let free = store.usage().base_free as usize / BLOCK;
        // From now on flushes, and the first copy of the superblock, take their time.
        sim.base.slow_down_range(0, BLOCK as u64, 1, SLOW);
        objects.remove(&ring, &store, 1).await;
        // Fits only where something was freed just now.
        let (key, data) = (object(2), content(2, free + 32));
        let steps = [Step::Write { offset: 0, data: data.clone() }];
        transact(&ring, &store, &key, &steps, Placement::Base).await.expect("a checkpoint makes room");
        objects.0.push((key, data));
    });
    sim.power_cut();
    sim.base.heal();
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = match simulated::open(&ring, PLAIN).await {
            Ok(store) => store,
            Err(error) => panic!("after the power cut: {error}"),
        };
        objects.compare(&store).await;
    });
}

/// Where this block lies.
fn find(disk: &Disk, block: &[u8]) -> u64 {
    let image = disk.image();
    let at = image.chunks(BLOCK).position(|found| found == block).expect("the block is on the disk");
    (at * BLOCK) as u64
}

/// A flush writes in place, which takes long; meanwhile its place is freed.
fn slow_mover(seed: u64) {
    let sim = formatted(seed, TIERED);
    let ring = sim.ring();
    let mut objects = Objects(Vec::new());
    sim.world.block_on(async {
        let store = simulated::open(&ring, TIERED).await.expect("open");
        assert!(objects.put(&ring, &store, 1, content(1, 4), Placement::Base).await);
        let place = find(&sim.base, &content(1, 4)[..BLOCK]);
        assert!(objects.put(&ring, &store, 1, content(2, 4), Placement::Hot).await);
        let id = store.stat(&object(1)).await.expect("stat").expect("an object").id;
        sim.base.slow_down_range(place, 4 * BLOCK as u64, 1, SLOW);
        let flush = ring.spawn({
            let store = store.clone();
            async move { store.flush(&[id], POOL).await.map(drop) }
        });
        // What is under way now stays slow.
        ring.sleep(PATIENCE).await;
        sim.base.heal();
        assert!(objects.put(&ring, &store, 1, content(3, 4), Placement::Base).await);
        let checkpoint = ring.spawn({
            let store = store.clone();
            async move { store.checkpoint().await }
        });
        ring.sleep(PATIENCE).await;
        objects.fill(&ring, &store).await;
        flush.await.expect("a flush that finds nothing to do any more");
        checkpoint.await.expect("checkpoint");
        objects.compare(&store).await;
        store.close().await.expect("close");
    });
}
