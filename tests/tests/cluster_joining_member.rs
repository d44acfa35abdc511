//! A primary without other members threw a write's data away before the write was ordered, since nobody was to be sent it. When the write then
//! waited (for a slow disk, say) and an OSD came back and joined meanwhile, that member was sent the write without its data, refused it, and had to
//! be sent the object.

use basalt_blockstore::ObjectKey;
use basalt_net::{Features, WireMode};
use basalt_tests::cluster::{Cluster, ClusterOptions, POOL, verdict};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const BLOCK: usize = 4096;
const OPTIONS: ClusterOptions = ClusterOptions {
    hosts: 2,
    size: 2,
    pg_num: 1,
    base_bytes: 64 << 20,
    hot_bytes: 0,
    is_base_rotational: false,
    public_mode: WireMode::Crc,
    cluster_mode: WireMode::Crc,
    features: Features::CURRENT,
};

/// Objects that an OSD has sent to members that lacked them.
fn recovered(cluster: &Cluster, osd: u32) -> u64 {
    cluster.osd(osd).expect("it runs").report().recovered_objects
}

#[test]
fn a_write_that_waits_while_a_member_joins_reaches_it_whole() {
    let cluster = Cluster::new(1, OPTIONS);
    cluster.world.block_on(async {
        let ring = cluster.client.ring();
        let client = cluster.connect_on(&ring).await;
        let pool = client.pool(POOL).await.expect("the pool");
        let mut before: Vec<u8> = (0..BLOCK).map(|at| at as u8 ^ 0x5a).collect();
        let mut buffer = ring.buffer(BLOCK);
        buffer.copy_from_slice(&before);
        pool.write_full(b"o", buffer.freeze()).await.expect("written");
        verdict::wait_until_clean(&cluster, Duration::from_secs(60)).await.expect("two copies");

        let group = cluster.map().pools[0].pgs[0].clone();
        let (primary, other) = (group.primary.expect("one leads"), 1 - group.primary.expect("one leads"));
        cluster.hosts[other as usize].kill(false);
        while cluster.map().pools[0].pgs[0].in_sync.len() > 1 {
            ring.sleep(Duration::from_millis(10)).await;
        }
        let disk = &cluster.hosts[primary as usize].disks[0];
        let place = disk.image().chunks(BLOCK).position(|block| block == before).expect("the block is there");
        disk.hang_range((place * BLOCK) as u64, BLOCK as u64);

        // It changes a part of a block, so it reads the rest first.
        let mut buffer = ring.buffer(100);
        buffer.fill(7);
        before[..100].fill(7);
        let is_written = Rc::new(Cell::new(false));
        let writing = ring.spawn({
            let (pool, is_written) = (pool.clone(), is_written.clone());
            async move {
                let written = pool.write(b"o", 0, buffer.freeze()).await;
                is_written.set(true);
                written
            }
        });
        ring.sleep(Duration::from_secs(1)).await;
        cluster.start_host(&cluster.hosts[other as usize]);
        while cluster.map().pools[0].pgs[0].in_sync.len() < 2 {
            ring.sleep(Duration::from_millis(10)).await;
        }
        assert!(!is_written.get(), "it waits for its disk");
        let recovered_before = recovered(&cluster, primary);
        disk.release();
        writing.await.expect("written");
        verdict::wait_until_clean(&cluster, Duration::from_secs(60)).await.expect("two copies");
        let key = ObjectKey { pool: cluster.map().pools[0].id, pg: 0, name: b"o".as_slice().into() };
        assert_eq!(recovered(&cluster, primary), recovered_before, "the write itself brought the data");
        for osd in [primary, other] {
            let copy = cluster.osd(osd).expect("it runs").store().read(&key, 0, u64::MAX).await.expect("a copy");
            assert!(copy.data[..] == before[..], "the copy of osd.{osd}");
        }
    });
}
