//! Copies of an object that differ although each fits its checksums: one has lost a write, or has what nobody wrote. Comparing the
//! copies finds it, puts right what is known to be wrong, and says what is not.

use basalt_blockstore::{ObjectKey, Placement};
use basalt_net::message::monitor::OsdReport;
use basalt_net::message::object::OsdCommand;
use basalt_tests::cluster::{Cluster, ClusterOptions, POOL, verdict};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const NAME: &[u8] = b"object";
const SIZE: usize = 20_000;

struct Scene {
    cluster: Rc<Cluster>,
    /// The object's primary first.
    members: Vec<u32>,
    key: ObjectKey,
}

#[derive(Clone, Copy)]
enum Verb {
    Scrub,
    DeepScrub,
    Repair,
}

/// A cluster at rest, with some objects on all members of one pool.
fn scene(seed: u64, size: u32) -> Scene {
    let cluster = Cluster::new(seed, ClusterOptions { size, ..ClusterOptions::default() });
    let (members, key) = cluster.world.block_on(async {
        let client = cluster.connect_on(&cluster.client.ring()).await;
        let pool = client.pool(POOL).await.expect("the pool");
        for name in [NAME, b"another", b"yet another"] {
            let mut buffer = pool.ring().buffer(SIZE);
            buffer.fill(7);
            pool.write_full(name, buffer.freeze()).await.expect("a write");
            pool.set_xattr(name, b"user.colour", b"green").await.expect("an xattr");
            pool.set_omap(name, vec![(b"key".to_vec(), b"value".to_vec())]).await.expect("a pair");
        }
        verdict::wait_until_clean(&cluster, Duration::from_secs(30)).await.expect("nothing was done to it");
        let map = cluster.map();
        let placed = map.place(pool.id(), NAME).expect("the pool");
        let key = ObjectKey { pool: placed.pg.pool, pg: placed.pg.seed, name: NAME.into() };
        (placed.acting, key)
    });
    Scene { cluster, members, key }
}

impl Scene {
    fn primary(&self) -> u32 {
        self.members[0]
    }

    /// Changes one copy behind the back of replication.
    async fn change(&self, osd: u32, what: Change) {
        let osd = self.cluster.osd(osd).expect("it runs");
        let mut transaction = osd.store().begin(std::slice::from_ref(&self.key)).await;
        let info = transaction.stat(&self.key).await.expect("a stat").expect("it is there");
        let mut version = info.version;
        match what {
            Change::Remove => transaction.remove(&self.key),
            Change::Xattr => transaction.set_xattr(&self.key, b"user.colour", b"blue"),
            Change::Data(byte) | Change::Newer(byte) => {
                let mut buffer = osd.ring().buffer(100);
                buffer.fill(byte);
                transaction.write(&self.key, 9000, buffer.freeze());
                version += u64::from(matches!(what, Change::Newer(_)));
            }
        }
        let mut prepared = transaction.prepare(Placement::Base).await.expect("it fits");
        prepared.set_version(version, info.mtime_ns);
        prepared.submit().await.expect("it is written").durable().await.expect("it is durable");
    }

    async fn ask(&self, verb: Verb) {
        let client = self.cluster.connect_on(&self.cluster.client.ring()).await;
        let (deep, repair) = match verb {
            Verb::Scrub => (false, false),
            Verb::DeepScrub => (true, false),
            Verb::Repair => (true, true),
        };
        let command = OsdCommand::ScrubGroup { pool: self.key.pool, pg: self.key.pg, deep, repair };
        let reply = client.osd_command(self.primary(), command).await.expect("it answers");
        assert_eq!(reply.errno, 0, "{}", reply.message);
        let running = || self.report().groups.iter().any(|group| group.pg == self.key.pg && group.scrub.is_running);
        for is_running in [true, false] {
            while running() != is_running {
                client.ring().sleep(Duration::from_micros(50)).await;
            }
        }
    }

    /// Of the first bytes that any change touches, the value on each member; `None`: there is no object.
    async fn copies(&self) -> Vec<Option<(u8, Vec<u8>)>> {
        let mut copies = Vec::new();
        for member in &self.members {
            let osd = self.cluster.osd(*member).expect("it runs");
            let copy = match osd.store().read(&self.key, 0, SIZE as u64).await {
                Ok(read) => {
                    assert_eq!(read.data.len(), SIZE);
                    let colour = osd.store().get_xattr(&self.key, b"user.colour").await.expect("xattrs");
                    let omap = osd.store().list_omap(&self.key, &[], &[], 9).await.expect("omap").0;
                    assert_eq!(omap, [(b"key".to_vec(), b"value".to_vec())]);
                    Some((read.data[9000], colour.expect("one")))
                }
                Err(error) => {
                    assert_eq!(error.errno(), libc::ENOENT, "{error}");
                    None
                }
            };
            copies.push(copy);
        }
        copies
    }

    fn report(&self) -> OsdReport {
        self.cluster.osd(self.primary()).expect("it runs").report()
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Remove,
    Xattr,
    Data(u8),
    Newer(u8),
}

fn green(byte: u8) -> Option<(u8, Vec<u8>)> {
    Some((byte, b"green".to_vec()))
}

/// What is changed on one of three copies is put right by the others, whichever copy it is.
#[test]
fn a_copy_that_two_others_contradict_is_put_right() {
    for (seed, place, change) in [
        (1, 0, Change::Remove),
        (2, 1, Change::Remove),
        (3, 0, Change::Data(9)),
        (4, 2, Change::Data(9)),
        (5, 0, Change::Xattr),
        (6, 1, Change::Xattr),
    ] {
        let scene = scene(seed, 3);
        scene.cluster.world.block_on(async {
            scene.change(scene.members[place], change).await;
            assert_ne!(scene.copies().await, [green(7), green(7), green(7)], "the change shows");
            scene.ask(Verb::Scrub).await;
            assert_eq!(scene.copies().await, [green(7), green(7), green(7)], "{change:?} on copy {place}");
            let report = scene.report();
            assert_eq!((report.scrub.errors, report.scrub.repaired), (0, 1), "{:?}", report.scrub);
            // And it stays so.
            scene.ask(Verb::DeepScrub).await;
            assert_eq!((scene.report().scrub.errors, scene.report().scrub.repaired), (0, 1));
        });
    }
}

#[test]
fn copies_that_lost_a_write_get_it_back_from_the_one_that_has_it() {
    for (seed, place) in [(11, 0), (12, 1)] {
        let scene = scene(seed, 2);
        scene.cluster.world.block_on(async {
            scene.change(scene.members[place], Change::Newer(9)).await;
            scene.ask(Verb::Scrub).await;
            assert_eq!(scene.copies().await, [green(9), green(9)], "the newer one was on copy {place}");
            assert_eq!(scene.report().scrub.errors, 0);
        });
    }
}

#[test]
fn copies_of_which_none_is_known_to_be_right_are_told_of_and_left_until_someone_decides() {
    for (seed, change, after) in [(21, Change::Data(9), green(7)), (22, Change::Remove, green(7))] {
        let scene = scene(seed, 2);
        scene.cluster.world.block_on(async {
            scene.change(scene.members[1], change).await;
            let before = scene.copies().await;
            for verb in [Verb::Scrub, Verb::DeepScrub] {
                scene.ask(verb).await;
                assert_eq!(scene.copies().await, before);
                let report = scene.report();
                assert_eq!((report.scrub.errors, report.scrub.repaired), (1, 0), "{:?}", report.scrub);
                let line = &report.scrub.findings[0];
                assert!(line.contains("object") && line.contains(&format!("osd.{}", scene.members[1])), "{line}");
                let group = report.groups.iter().find(|group| group.pg == scene.key.pg).expect("it is told of");
                assert_eq!(group.scrub.inconsistent, 1);
            }
            scene.ask(Verb::Repair).await;
            assert_eq!(scene.copies().await, [after.clone(), after]);
            let report = scene.report();
            assert_eq!((report.scrub.errors, report.scrub.repaired), (0, 1), "{:?}", report.scrub);
            assert!(report.groups.is_empty(), "{:?}", report.groups);
        });
    }
}

/// Nobody has to ask: within a seventh of the time between two passes over the data, every group is compared.
#[test]
fn groups_are_compared_without_being_asked() {
    let scene = scene(31, 3);
    scene.cluster.world.block_on(async {
        scene.change(scene.members[2], Change::Data(9)).await;
        let ring = scene.cluster.client.ring();
        for _ in 0..60 {
            ring.sleep(Duration::from_secs(2)).await;
            if scene.copies().await == [green(7), green(7), green(7)] {
                return;
            }
        }
        panic!("nobody has looked: {:?}", scene.report().scrub);
    });
}

#[test]
fn clients_that_write_meanwhile_are_no_difference() {
    let scene = scene(41, 3);
    scene.cluster.world.block_on(async {
        let ring = scene.cluster.client.ring();
        let mut writers = Vec::new();
        let is_over = Rc::new(Cell::new(false));
        for number in 0..8_u8 {
            let client = scene.cluster.connect_on(&ring).await;
            let is_over = is_over.clone();
            writers.push(ring.spawn(async move {
                let pool = client.pool(POOL).await.expect("the pool");
                let mut step = 0;
                while !is_over.get() {
                    let mut buffer = pool.ring().buffer(500);
                    buffer.fill(number);
                    step += 1;
                    pool.write(NAME, step % 300 * 50, buffer.freeze()).await.expect("a write");
                }
            }));
        }
        for _ in 0..25 {
            scene.ask(Verb::DeepScrub).await;
        }
        is_over.set(true);
        for writer in writers {
            writer.await;
        }
        scene.ask(Verb::DeepScrub).await;
        let report = scene.report();
        assert_eq!((report.scrub.errors, report.scrub.repaired), (0, 0), "{:?}", report.scrub);
    });
}
