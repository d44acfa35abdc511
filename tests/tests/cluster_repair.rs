//! A block that rots on one of three copies: whoever reads gets the right bytes, the copy is put right from another, and it is counted.

use basalt_blockstore::ObjectKey;
use basalt_net::message::object::OsdCommand;
use basalt_ring::sim::Disk;
use basalt_tests::cluster::{Cluster, ClusterOptions, POOL, verdict};
use std::rc::Rc;
use std::time::Duration;

const NAME: &[u8] = b"object";

fn content() -> Vec<u8> {
    (0..40_000_u32).flat_map(|word| (word.wrapping_mul(0x9e37_79b9) | 1).to_le_bytes()).collect()
}

/// Flips a bit of the object's second block, wherever the disk has it. Says whether there is one.
fn rot(disk: &Disk, content: &[u8]) -> bool {
    let image = disk.image();
    let wanted = &content[4096..8192];
    let found = (0..image.len() / 4096).find(|block| image[block * 4096..(block + 1) * 4096] == *wanted);
    found.inspect(|block| disk.flip(*block as u64 * 4096 + 100, 0x10)).is_some()
}

struct Scene {
    cluster: Rc<Cluster>,
    content: Vec<u8>,
    /// The object's primary first.
    members: Vec<u32>,
    key: ObjectKey,
}

/// A cluster at rest, with one object on three OSDs.
fn scene(seed: u64) -> Scene {
    let cluster = Cluster::new(seed, ClusterOptions::default());
    let content = content();
    let (members, key) = cluster.world.block_on(async {
        let client = cluster.connect_on(&cluster.client.ring()).await;
        let pool = client.pool(POOL).await.expect("the pool");
        let mut buffer = pool.ring().buffer(content.len());
        buffer.copy_from_slice(&content);
        pool.write_full(NAME, buffer.freeze()).await.expect("a write");
        verdict::wait_until_clean(&cluster, Duration::from_secs(30)).await.expect("nothing was done to it");
        let map = cluster.map();
        let placed = map.place(pool.id(), NAME).expect("the pool");
        let key = ObjectKey { pool: placed.pg.pool, pg: placed.pg.seed, name: NAME.into() };
        (placed.acting, key)
    });
    Scene { cluster, content, members, key }
}

impl Scene {
    fn rot(&self, osd: u32) {
        let host = &self.cluster.hosts[osd as usize];
        assert!(rot(&host.disks[0], &self.content), "osd.{osd} has the object's second block");
    }

    async fn is_whole_on(&self, osd: u32) -> bool {
        let osd = self.cluster.osd(osd).expect("it runs");
        let read = osd.store().read(&self.key, 0, self.content.len() as u64).await;
        read.is_ok_and(|read| *read.data == *self.content)
    }

    fn counted(&self, osd: u32) -> (u64, u64) {
        let report = self.cluster.osd(osd).expect("it runs").report();
        (report.checksum_errors, report.scrub.repaired)
    }
}

#[test]
fn a_read_of_what_rotted_on_the_primary_succeeds_and_puts_it_right() {
    let scene = scene(11);
    let primary = scene.members[0];
    scene.rot(primary);
    scene.cluster.world.block_on(async {
        assert!(!scene.is_whole_on(primary).await, "the flip shows");
        let client = scene.cluster.connect_on(&scene.cluster.client.ring()).await;
        let pool = client.pool(POOL).await.expect("the pool");
        let read = pool.read(NAME, 0, 1 << 20).await.expect("another copy is whole");
        assert_eq!(*read, *scene.content);
        assert!(scene.is_whole_on(primary).await, "the primary's copy is put right");
        let (errors, repaired) = scene.counted(primary);
        assert!(errors > 0 && repaired == 1, "{errors} errors, {repaired} repaired");
    });
}

#[test]
fn a_write_to_part_of_a_rotten_block_keeps_the_rest_of_it() {
    let scene = scene(12);
    for osd in &scene.members[..2] {
        scene.rot(*osd);
    }
    let mut expected = scene.content.clone();
    expected[5000..5010].copy_from_slice(b"new bytes!");
    scene.cluster.world.block_on(async {
        let client = scene.cluster.connect_on(&scene.cluster.client.ring()).await;
        let pool = client.pool(POOL).await.expect("the pool");
        let mut buffer = pool.ring().buffer(10);
        buffer.copy_from_slice(b"new bytes!");
        pool.write(NAME, 5000, buffer.freeze()).await.expect("a third copy is whole");
        assert_eq!(*pool.read(NAME, 0, 1 << 20).await.expect("a read"), *expected);
        verdict::wait_until_clean(&scene.cluster, Duration::from_secs(30)).await.expect("it comes to rest");
        for osd in &scene.members {
            let osd = scene.cluster.osd(*osd).expect("it runs");
            let read = osd.store().read(&scene.key, 0, expected.len() as u64).await.expect("every copy is whole");
            assert_eq!(*read.data, *expected, "osd.{}", osd.id());
        }
    });
}

#[test]
fn a_scrub_puts_right_what_rotted_on_a_copy_that_nobody_reads() {
    let scene = scene(13);
    let member = scene.members[1];
    scene.rot(member);
    scene.cluster.world.block_on(async {
        assert!(!scene.is_whole_on(member).await, "the flip shows");
        let client = scene.cluster.connect_on(&scene.cluster.client.ring()).await;
        let reply = client.osd_command(member, OsdCommand::DeepScrub).await.expect("it answers");
        assert_eq!(reply.errno, 0, "{}", reply.message);
        client.ring().sleep(Duration::from_secs(60)).await;
        assert!(scene.is_whole_on(member).await, "its copy is put right");
        let report = scene.cluster.osd(member).expect("it runs").report();
        assert_eq!((report.scrub.errors, report.scrub.repaired), (0, 1));
    });
}

#[test]
fn what_is_damaged_on_every_copy_is_an_error_and_nothing_else() {
    let scene = scene(14);
    for osd in &scene.members {
        scene.rot(*osd);
    }
    scene.cluster.world.block_on(async {
        let client = scene.cluster.connect_on(&scene.cluster.client.ring()).await;
        let pool = client.pool(POOL).await.expect("the pool");
        let error = pool.read(NAME, 0, 1 << 20).await.expect_err("nobody has it");
        assert_eq!(error.errno(), libc::EIO, "{}", error.message());
        // What is not damaged is still there.
        assert_eq!(*pool.read(NAME, 8192, 1 << 20).await.expect("the rest"), scene.content[8192..]);
    });
}

/// The next primary's copy is damaged where the last one had begun to write, and all others have the write already: nobody has the bytes
/// from before any more. The write is carried on with, and its client hears of it as usual. (Seeds 52923 and 53867 of the clusters.)
#[test]
fn a_write_that_only_others_have_replaces_what_rotted_on_the_next_primary() {
    let scene = scene(15);
    let [primary, next, last] = scene.members[..] else { panic!("three copies") };
    scene.rot(next);
    let mut expected = scene.content.clone();
    expected[4096..8192].fill(7);
    scene.cluster.world.block_on(async {
        let ring = scene.cluster.client.ring();
        let client = scene.cluster.connect_on(&ring).await;
        let pool = client.pool(POOL).await.expect("the pool");
        let host = |id: u32| scene.cluster.hosts[id as usize].clone();
        scene.cluster.cut(host(primary).cluster, host(next).cluster);
        let writing = {
            let pool = pool.clone();
            ring.spawn(async move {
                let mut buffer = pool.ring().buffer(4096);
                buffer.fill(7);
                pool.write(NAME, 4096, buffer.freeze()).await
            })
        };
        ring.sleep(Duration::from_millis(100)).await;
        let seen = scene.cluster.osd(last).expect("it runs").store().read(&scene.key, 4096, 1).await.expect("a read");
        assert_eq!(*seen.data, [7], "the last member has the write");
        host(primary).kill(true);
        scene.cluster.heal_networks();
        ring.sleep(Duration::from_secs(1)).await;
        writing.await.expect("the write is done in the end");
        assert_eq!(scene.cluster.map().place(pool.id(), NAME).expect("the pool").acting[0], next);
        assert_eq!(*pool.read(NAME, 0, 1 << 20).await.expect("a read"), *expected);
        scene.cluster.start_host(&host(primary));
        verdict::wait_until_clean(&scene.cluster, Duration::from_secs(60)).await.expect("it comes to rest");
        for osd in &scene.members {
            let osd = scene.cluster.osd(*osd).expect("it runs");
            let read = osd.store().read(&scene.key, 0, expected.len() as u64).await.expect("every copy is whole");
            assert_eq!(*read.data, *expected, "osd.{}", osd.id());
        }
    });
}
