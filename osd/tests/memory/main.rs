//! An OSD's memory on the real ring: a store many times larger than its target is filled and read while the governor runs.

use basalt_blockstore::{Devices, FormatOptions, ObjectKey, OpenOptions, Placement, Store};
use basalt_osd::memory::{self, Governor};
use basalt_ring::local::join_all;
use basalt_ring::uring::{self, UringConfig};
use basalt_ring::{DeviceOptions, Ring};
use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

const MIB: u64 = 1 << 20;
const TARGET: u64 = 96 * MIB;
const DEVICE_BYTES: u64 = 4 << 30;
/// Their index entries, with the data in them, are about twice the target and four times what its caches may hold.
const OBJECTS: u64 = 300_000;
const BATCH: u64 = 32;
const DEPTH: u64 = 16;
/// What transactions in flight take, and what grows between two looks at the caches.
const SLACK: u64 = 8 * MIB;

#[test]
fn resident_memory_stays_at_its_target_with_an_index_many_times_as_large() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("base");
    let (peak, budgets) = uring::run(UringConfig::default(), |ring| run(ring, path)).expect("a ring");
    let most = TARGET + TARGET / 10 + SLACK;
    println!(
        "target {} MiB, resident at most {} MiB, caches at the end {} MiB",
        TARGET / MIB,
        peak / MIB,
        budgets / MIB
    );
    assert!(peak <= most, "{peak} bytes were resident where {TARGET} are the target");
    assert!(peak >= TARGET / 2, "{peak} bytes were resident: the target of {TARGET} is not made use of");
}

async fn run(ring: Ring, path: PathBuf) -> (u64, u64) {
    let options = DeviceOptions { write: true, create_size: Some(DEVICE_BYTES), ..DeviceOptions::default() };
    let devices = Devices { base: ring.open_device(&path, options).await.expect("a file"), hot: None };
    let format = FormatOptions { osd: 0, store_id: [1; 16], fsid: [2; 16], wal_bytes: Some(64 * MIB), force: false };
    Store::format(&ring, &devices, format).await.expect("format");
    let governor = Governor::new(TARGET, DEVICE_BYTES).expect("a target that is large enough");
    let budgets = governor.first_budgets();
    let options =
        OpenOptions { index_cache_bytes: budgets.index, data_cache_bytes: budgets.data, ..OpenOptions::default() };
    let store = Store::open(&ring, devices, options).await.expect("open");
    let over = Rc::new(Cell::new(false));
    let governing = {
        let (ring, store, over, target) = (ring.clone(), store.clone(), over.clone(), governor.target());
        ring.clone().spawn(async move { memory::govern(&ring, &store, governor, 1, || target, || over.get()).await })
    };
    let peak = Rc::new(Cell::new(0));
    let watching = {
        let (ring, over, peak) = (ring.clone(), over.clone(), peak.clone());
        ring.clone().spawn(async move {
            while !over.get() {
                ring.sleep(Duration::from_millis(20)).await;
                peak.set(peak.get().max(memory::resident_bytes().expect("the kernel says")));
            }
        })
    };
    let next = Rc::new(Cell::new(0));
    join_all((0..DEPTH).map(|_| fill(&ring, &store, &next)).collect()).await;
    let left = Rc::new(Cell::new(OBJECTS / 5));
    join_all((0..DEPTH).map(|_| read(&ring, &store, &left)).collect()).await;
    over.set(true);
    watching.await;
    governing.await;
    let caches = store.memory().bytes() - store.memory().pinned();
    store.close().await.expect("close");
    (peak.get(), caches)
}

/// Random names, so that each new object is somewhere else in the index.
fn key(object: u64) -> ObjectKey {
    let hash = object.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let name = format!("{:016x}{object:016x}.jpg", hash ^ (hash >> 29)).into_bytes();
    ObjectKey { pool: 1, pg: (hash >> 59) as u32, name: name.into() }
}

async fn fill(ring: &Ring, store: &Store, next: &Cell<u64>) {
    let data = ring.buffer(200).freeze();
    loop {
        let first = next.get();
        if first >= OBJECTS {
            return;
        }
        next.set(first + BATCH);
        let keys: Vec<ObjectKey> = (first..OBJECTS.min(first + BATCH)).map(key).collect();
        let mut transaction = store.begin(&keys).await;
        keys.iter().for_each(|key| transaction.write(key, 0, data.clone()));
        let prepared = transaction.prepare(Placement::Base).await.expect("prepare");
        prepared.submit().await.expect("submit").durable().await.expect("durable");
    }
}

async fn read(ring: &Ring, store: &Store, left: &Cell<u64>) {
    while left.get() > 0 {
        left.set(left.get() - 1);
        let read = store.read(&key(ring.random_u64() % OBJECTS), 0, 4096).await.expect("an object");
        assert_eq!(read.data.len(), 200);
    }
}
