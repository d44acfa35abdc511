//! What becomes of data that is dirty on a hot slice when devices fail: three OSDs, three copies, clients that write on, and the model.

use basalt_net::message::monitor::AdminCommand;
use basalt_ring::sim::Disk;
use basalt_tests::cluster::tier;
use basalt_tests::cluster::workload::{self, History, WorkloadOptions};
use basalt_tests::cluster::{Cluster, ClusterOptions, SimulatedHost, verdict};
use basalt_tests::linearizable::{Event, Outcome};
use std::rc::Rc;
use std::time::Duration;

const WORK: WorkloadOptions = WorkloadOptions {
    clients: 4,
    objects: 12,
    operations: 40,
    pause_max: Duration::from_millis(60),
    only_reads: false,
};

struct Scene {
    cluster: Rc<Cluster>,
    history: History,
}

/// Three OSDs that all have dirty data. Nothing is flushed until the agents may work.
fn dirty_scene(seed: u64) -> Scene {
    let cluster = Cluster::new(seed, ClusterOptions { hot_bytes: 16 << 20, ..ClusterOptions::default() });
    let history = History::default();
    cluster.world.block_on(async {
        tier::tune(&cluster, &[("cache_target_dirty_ratio", "0".into()), ("min_read_recency_for_promote", "0".into())])
            .await;
        tier::let_agents_work(&cluster, false).await;
        workload::run(&cluster, WORK, &history).await;
        for host in &cluster.hosts {
            let usage = tier::usage(&cluster, host.id).expect("it runs");
            assert!(usage.hot_dirty_bytes > 0, "osd.{} has nothing dirty", host.id);
        }
    });
    Scene { cluster, history }
}

impl Scene {
    fn host(&self, osd: u64) -> Rc<SimulatedHost> {
        self.cluster.hosts[osd as usize].clone()
    }

    /// Waits until the OSD has taken itself out of service, because of that device, and everybody knows.
    async fn is_fenced(&self, osd: u32, device: &str) {
        let ring = self.cluster.client.ring();
        let began = ring.now();
        loop {
            let fault = self.cluster.osd(osd).and_then(|osd| osd.store().fenced()).unwrap_or_default();
            let is_down = self.cluster.map().osd(osd).is_some_and(|osd| !osd.is_up);
            if fault.contains(device) && is_down {
                break;
            }
            let waited = ring.now().since(began);
            assert!(waited < Duration::from_secs(20), "osd.{osd} is not down after {waited:?}: '{fault}'");
            ring.sleep(Duration::from_millis(100)).await;
        }
        let health = self.cluster.monitor().command(AdminCommand::HealthDetail).await.json;
        assert!(health.contains(&format!("osd.{osd}")), "health does not name it: {health}");
    }

    /// Clients go on: none waits in vain, and nobody is told of an error (which the workload itself checks).
    async fn clients_go_on(&self, first: u32) {
        let before: usize = self.history.borrow().values().map(Vec::len).sum();
        workload::run_from(&self.cluster, first, WORK, &self.history).await;
        let history = self.history.borrow();
        let after: usize = history.values().map(Vec::len).sum();
        assert!(after - before >= (WORK.clients * WORK.operations) as usize);
        let has_ended = |event: &&Event| event.ended != u64::MAX;
        let in_vain =
            history.values().flatten().filter(has_ended).filter(|event| event.outcome == Outcome::Unknown).count();
        assert_eq!(in_vain, 0, "clients waited in vain");
    }

    fn write_meanwhile(&self, first: u32) -> basalt_ring::Task<()> {
        let (cluster, history) = (self.cluster.clone(), self.history.clone());
        self.cluster.client.ring().spawn(async move { workload::run_from(&cluster, first, WORK, &history).await })
    }

    /// All is well again, and is what it was; also when nothing is left on the slices.
    async fn is_whole(&self) -> Result<(), String> {
        tier::let_agents_work(&self.cluster, true).await;
        verdict::at_rest(&self.cluster, &self.history).await?;
        tier::figures_agree(&self.cluster).await?;
        tier::drain_all(&self.cluster).await?;
        verdict::judge(&self.cluster, &self.history).await?;
        for host in &self.cluster.hosts {
            host.fsck().await?;
        }
        Ok(())
    }

    /// Empty devices in place of the old ones.
    async fn replace(&self, host: &Rc<SimulatedHost>) {
        host.kill(true);
        for disk in &host.disks {
            disk.heal();
            disk.come_back();
        }
        host.wipe().await;
        self.cluster.start_host(host);
    }
}

#[test]
fn hot_device_lost_while_dirty() {
    for seed in 0..6 {
        let scene = dirty_scene(seed);
        let host = scene.host(seed % 3);
        scene.cluster.world.block_on(async {
            let writing = scene.write_meanwhile(20);
            scene.cluster.client.ring().sleep(Duration::from_millis(100 * seed)).await;
            host.disks[1].vanish();
            scene.is_fenced(host.id, "/hot").await;
            scene.clients_go_on(40).await;
            writing.await;
            scene.replace(&host).await;
            scene.is_whole().await.unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        });
    }
}

#[test]
fn hot_device_full_of_errors_is_fenced() {
    let faults: [fn(&Disk); 3] = [
        |disk| disk.fail_range(0, disk.info().size, libc::EIO),
        |disk| disk.fail_writes(0, disk.info().size, libc::EIO),
        |disk| disk.fail_flushes(libc::EIO),
    ];
    for (seed, fault) in (0..).zip(faults) {
        let scene = dirty_scene(seed);
        let host = scene.host(seed % 3);
        scene.cluster.world.block_on(async {
            let writing = scene.write_meanwhile(20);
            fault(&host.disks[1]);
            scene.is_fenced(host.id, "/hot").await;
            scene.clients_go_on(40).await;
            writing.await;
            // The cause is gone: what it had is good, and what it missed comes from the others.
            host.kill(true);
            host.disks[1].heal();
            scene.cluster.start_host(&host);
            scene.is_whole().await.unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        });
    }
}

/// Of what cannot be read there, clients are given what others have.
#[test]
fn sectors_of_a_hot_device_that_cannot_be_read_are_served_by_others() {
    let scene = dirty_scene(5);
    scene.cluster.world.block_on(async {
        let slice = &scene.cluster.hosts[0].disks[1];
        slice.fail_reads_until_written(0, slice.info().size);
        scene.clients_go_on(40).await;
        let repaired = scene.cluster.osd(0).map_or(0, |osd| osd.report().scrub.repaired);
        assert!(repaired > 0, "nothing was read that could not be");
        slice.heal();
        scene.is_whole().await.unwrap();
    });
}

#[test]
fn base_device_dies_under_flush() {
    for seed in 0..6 {
        let scene = dirty_scene(seed);
        let host = scene.host(seed % 3);
        scene.cluster.world.block_on(async {
            let base = &host.disks[0];
            let before = base.operations().writes;
            let writing = scene.write_meanwhile(20);
            tier::let_agents_work(&scene.cluster, true).await;
            while base.operations().writes <= before + seed {
                scene.cluster.client.ring().sleep(Duration::from_micros(50)).await;
            }
            if seed < 3 {
                base.vanish()
            } else {
                base.fail_writes(0, base.info().size, libc::EIO)
            }
            scene.is_fenced(host.id, "/base").await;
            scene.clients_go_on(40).await;
            writing.await;
            if seed % 2 == 0 {
                scene.replace(&host).await;
            } else {
                // It is back as it was: what was dirty is dirty still.
                host.kill(true);
                base.heal();
                base.come_back();
                scene.cluster.start_host(&host);
            }
            scene.is_whole().await.unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        });
    }
}

#[test]
fn all_hosts_lose_power_while_dirty() {
    for seed in 0..6 {
        let scene = dirty_scene(seed);
        scene.cluster.world.block_on(async {
            let ring = scene.cluster.client.ring();
            let members =
                || -> Vec<_> { scene.cluster.map().pgs().map(|(id, _, group)| (id, group.in_sync.clone())).collect() };
            let before = members();
            let writing = scene.write_meanwhile(20);
            ring.sleep(Duration::from_millis(20 * seed)).await;
            let dirty = |osd: u32| tier::usage(&scene.cluster, osd).map_or(0, |usage| usage.hot_dirty_bytes);
            let dirty_before: Vec<u64> = (0..3).map(dirty).collect();
            scene.cluster.hosts.iter().for_each(|host| host.kill(true));
            ring.sleep(Duration::from_secs(1)).await;
            scene.cluster.hosts.iter().for_each(|host| scene.cluster.start_host(host));
            writing.await;
            verdict::at_rest(&scene.cluster, &scene.history)
                .await
                .unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
            assert_eq!(members(), before, "data was moved");
            for (osd, before) in (0..3).zip(dirty_before) {
                let recovered = scene.cluster.osd(osd).map_or(0, |osd| osd.report().recovered_bytes);
                // Only what was under way when the power went.
                assert!(recovered < 64 << 10, "osd.{osd} sent {recovered} bytes to others");
                assert!(before > 0 && dirty(osd) > 0, "osd.{osd} has lost what was dirty");
            }
            // Nobody has to write for it to be flushed.
            tier::let_agents_work(&scene.cluster, true).await;
            for osd in 0..3 {
                tier::wait_for(&scene.cluster, osd, "clean", |usage| usage.hot_dirty_bytes == 0).await;
            }
            scene.is_whole().await.unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        });
    }
}

/// A slice that forgets what it called durable, on one of three OSDs: what the others have done meanwhile brings it back to their state, or
/// its store says that it is damaged and is made anew. More is not promised: a member vouches for what it has called durable.
#[test]
fn a_hot_slice_that_lies_about_flushes_is_found_out_or_caught_up() {
    let (mut damaged, mut caught_up) = (0, 0);
    for seed in 0..24 {
        let scene = dirty_scene(seed);
        let host = scene.host(seed % 3);
        scene.cluster.world.block_on(async {
            let ring = scene.cluster.client.ring();
            tier::let_agents_work(&scene.cluster, seed % 2 == 0).await;
            let writing = scene.write_meanwhile(20);
            ring.sleep(Duration::from_millis(7 * seed)).await;
            host.disks[1].lie_about_flushes();
            ring.sleep(Duration::from_micros(500 * seed)).await;
            host.kill(true);
            host.disks[1].heal();
            // Others leave it behind.
            scene.clients_go_on(40).await;
            writing.await;
            match host.check().await {
                Ok(()) => caught_up += 1,
                Err(_) => {
                    damaged += 1;
                    host.wipe().await;
                }
            }
            scene.cluster.start_host(&host);
            scene.is_whole().await.unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
        });
    }
    println!("{damaged} damaged and made anew, {caught_up} caught up");
    assert!(damaged > 0 && caught_up > 0, "{damaged} damaged, {caught_up} caught up");
}
