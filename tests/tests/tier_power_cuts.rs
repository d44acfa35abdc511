//! The power goes at every event of an OSD's disks while its tier flushes, evicts, promotes, drains or changes its mode, as the tier itself
//! decides it. After each the OSD starts, has all that was acknowledged, knows what is hot, ends what it had begun, and its store is sound.
//! `store_power_cuts.rs` has the like of the store alone.

use basalt_blockstore::sabotage::{self, Sabotage};
use basalt_ring::local::{Either, select};
use basalt_ring::sim::{Disk, PowerFailure};
use basalt_tests::cluster::tier::{self, TierCounts};
use basalt_tests::cluster::workload::{self, History, WorkloadOptions};
use basalt_tests::cluster::{Cluster, ClusterOptions, verdict};
use std::panic::catch_unwind;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

const OSD: u32 = 0;
/// Each with other objects, and other survivors of what was not flushed; every second while clients write.
const ROUNDS: u64 = 6;
const WORK: WorkloadOptions =
    WorkloadOptions { clients: 2, objects: 6, operations: 20, pause_max: Duration::from_millis(2), only_reads: false };

/// What the slice holds before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    Dirty,
    Clean,
    Cold,
}

/// One OSD, with objects that are all dirty, all on both devices, or all on base. The agents rest.
async fn begin(cluster: &Rc<Cluster>, beginning: Beginning, history: &History) {
    tier::tune(cluster, &[("cache_target_dirty_ratio", "0".into()), ("min_read_recency_for_promote", "0".into())])
        .await;
    tier::let_agents_work(cluster, false).await;
    workload::run(cluster, WORK, history).await;
    if beginning == Beginning::Dirty {
        let dirty = tier::usage(cluster, OSD).map_or(0, |usage| usage.hot_dirty_bytes);
        assert!(dirty > 0, "nothing is dirty");
        return;
    }
    tier::let_agents_work(cluster, true).await;
    if beginning == Beginning::Cold {
        tier::drain(cluster).await;
        tier::wait_for(cluster, OSD, "cold", |usage| usage.hot_dirty_bytes + usage.hot_clean_bytes == 0).await;
    } else {
        tier::wait_for(cluster, OSD, "clean", |usage| usage.hot_dirty_bytes == 0 && usage.hot_clean_bytes > 0).await;
    }
    tier::let_agents_work(cluster, false).await;
}

/// Cuts the power at every event of `work`, some quietly, some while clients write. Returns how often.
fn cut_everywhere(beginning: Beginning, did: fn(TierCounts) -> u64, work: impl AsyncFn(&Rc<Cluster>)) -> u64 {
    let mut cuts = 0;
    for round in 0..ROUNDS {
        let is_busy = round % 2 == 1;
        for event in 0.. {
            let seed = ROUNDS * event + round;
            let options =
                ClusterOptions { hosts: 1, size: 1, pg_num: 1, hot_bytes: 6 << 20, ..ClusterOptions::default() };
            let cluster = Cluster::new(seed, options);
            let outcome = cluster.world.block_on(cut_at(&cluster, beginning, is_busy, event, &work));
            let was_cut = outcome.unwrap_or_else(|problem| panic!("event {event}, busy {is_busy}: {problem}"));
            if !was_cut {
                assert!(did(cluster.tier_counts()) > 0, "this is not what was to be cut off");
                break;
            }
            cuts += 1;
        }
    }
    println!("{cuts} power cuts");
    cuts
}

async fn cut_at(
    cluster: &Rc<Cluster>,
    beginning: Beginning,
    is_busy: bool,
    event: u64,
    work: &impl AsyncFn(&Rc<Cluster>),
) -> Result<bool, String> {
    let ring = cluster.client.ring();
    let history = History::default();
    begin(cluster, beginning, &history).await;
    let host = cluster.hosts[OSD as usize].clone();
    let disks: Vec<&Disk> = host.disks.iter().collect();
    let power = PowerFailure::at(&disks, event);
    let writing = is_busy.then(|| {
        let (cluster, history) = (cluster.clone(), history.clone());
        ring.spawn(async move { workload::run_from(&cluster, 20, WORK, &history).await })
    });
    tier::let_agents_work(cluster, true).await;
    let ended = matches!(select(pin!(work(cluster)), pin!(power.happened())).await, Either::First(()));
    if ended && !power.has_happened() {
        // What comes now is not cut off any more.
        PowerFailure::at(&disks, u64::MAX);
    } else {
        host.kill(true);
        ring.sleep(Duration::from_millis(10)).await;
        cluster.start_host(&host);
    }
    if let Some(writing) = writing {
        writing.await;
    }
    verdict::at_rest(cluster, &history).await?;
    tier::figures_agree(cluster).await?;
    work(cluster).await;
    verdict::judge(cluster, &history).await?;
    tier::figures_agree(cluster).await?;
    host.fsck().await?;
    Ok(!ended || power.has_happened())
}

#[test]
fn power_cut_at_every_step_of_a_flush() {
    let cuts = cut_everywhere(
        Beginning::Dirty,
        |counts| counts.flushed_bytes,
        async |cluster| tier::wait_for(cluster, OSD, "clean", |usage| usage.hot_dirty_bytes == 0).await,
    );
    assert!(cuts > 150, "{cuts}");
}

#[test]
fn power_cut_at_every_step_of_an_eviction() {
    let cuts = cut_everywhere(
        Beginning::Clean,
        |counts| counts.evicted_bytes,
        async |cluster| {
            tier::tune(cluster, &[("target_max_bytes", "4096".into())]).await;
            tier::wait_for(cluster, OSD, "evicted", |usage| usage.hot_clean_bytes <= 4096).await;
            tier::tune(cluster, &[("target_max_bytes", "unset".into())]).await;
        },
    );
    assert!(cuts > 20, "{cuts}");
}

#[test]
fn power_cut_at_every_step_of_a_promotion() {
    let cuts = cut_everywhere(
        Beginning::Cold,
        |counts| counts.promoted_bytes,
        async |cluster| {
            let client = cluster.connect_on(&cluster.client.ring()).await;
            let pool = client.pool(basalt_tests::cluster::POOL).await.expect("the pool");
            for number in 0..WORK.objects {
                // Some were removed.
                let _ = pool.read(format!("object-{number}").as_bytes(), 0, 1 << 20).await;
            }
            // After the reply.
            cluster.client.ring().sleep(Duration::from_millis(30)).await;
        },
    );
    assert!(cuts > 20, "{cuts}");
}

#[test]
fn power_cut_at_every_step_of_a_drain() {
    let cuts = cut_everywhere(
        Beginning::Dirty,
        |counts| counts.evicted_bytes,
        async |cluster| {
            tier::drain(cluster).await;
            // What is written once it is empty is hot again.
            let ring = cluster.client.ring();
            let empty = |cluster: &Cluster| {
                tier::usage(cluster, OSD).is_some_and(|usage| usage.hot_dirty_bytes + usage.hot_clean_bytes == 0)
            };
            for _ in 0..3000 {
                if empty(cluster) {
                    return;
                }
                ring.sleep(Duration::from_millis(1)).await;
            }
            tier::wait_for(cluster, OSD, "clean", |usage| usage.hot_dirty_bytes == 0).await;
        },
    );
    assert!(cuts > 150, "{cuts}");
}

#[test]
fn power_cut_at_every_step_of_a_mode_change() {
    let cuts = cut_everywhere(
        Beginning::Dirty,
        |counts| counts.evicted_bytes,
        async |cluster| {
            let set = async |mode: &str| cluster.monitor().command_until_done(tier::set("cache_mode", mode)).await;
            set("writeback").await;
            set("proxy").await;
            tier::wait_for(cluster, OSD, "clean", |usage| usage.hot_dirty_bytes == 0).await;
            set("none").await;
            tier::wait_for(cluster, OSD, "cold", |usage| usage.hot_dirty_bytes + usage.hot_clean_bytes == 0).await;
            set("writeback").await;
        },
    );
    assert!(cuts > 150, "{cuts}");
}

/// These tests can fail: with a mistake made in the store, they do.
#[test]
fn the_mistakes_that_power_cuts_in_a_tier_show_are_found() {
    let tests: [(Sabotage, fn()); 5] = [
        (Sabotage::CleanBeforeBaseIsFlushed, power_cut_at_every_step_of_a_drain),
        (Sabotage::CleanWhatWasOverwritten, power_cut_at_every_step_of_a_drain),
        (Sabotage::EvictDirtyData, power_cut_at_every_step_of_a_drain),
        (Sabotage::ForgetTheHotSummary, power_cut_at_every_step_of_a_flush),
        (Sabotage::SkipGroupFlush, power_cut_at_every_step_of_a_flush),
    ];
    let missed: Vec<Sabotage> = tests
        .into_iter()
        .filter(|(mistake, test)| catch_unwind(|| sabotage::with(*mistake, test)).is_ok())
        .map(|(mistake, _)| mistake)
        .collect();
    assert_eq!(missed, Vec::<Sabotage>::new());
}
