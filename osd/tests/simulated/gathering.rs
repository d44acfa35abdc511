//! What random writes of 4 KiB come to in front of a slow disk: for the disk few large writes, and no more bytes than clients wrote; for clients no
//! second that is as slow as the disk alone.

use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use basalt_cluster::config::BaseModel;
use basalt_net::message::object::Operation;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

const PIECE: u64 = 4096;
const OBJECT: u64 = 4 << 20;
const SPAN: u64 = 128 << 20;
const HOT: u64 = 32 << 20;
const DEPTH: usize = 16;

/// Pieces by zipfian popularity, in no order on the device; by none at all where θ is 0.
struct Zipf {
    sums: Vec<f64>,
    random: u64,
}

impl Zipf {
    fn new(items: u64, theta: f64) -> Zipf {
        let mut sum = 0.0;
        let sums = (1..=items).map(|rank| {
            sum += (rank as f64).powf(-theta);
            sum
        });
        Zipf { sums: sums.collect(), random: 7 }
    }

    fn pick(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let items = self.sums.len() as u64;
        let wanted = (self.random >> 11) as f64 / (1u64 << 53) as f64 * self.sums[self.sums.len() - 1];
        let rank = self.sums.partition_point(|sum| *sum < wanted) as u64;
        // Odd, so that it takes every place once.
        rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) % items
    }
}

/// One OSD on a disk as slow as a 7200 rpm one, with a slice of an SSD or without.
fn on_a_slow_disk(seed: u64, hot_bytes: u64) -> SimulatedCluster {
    SimulatedCluster::new(
        seed,
        ClusterOptions {
            base_bytes: 512 << 20,
            hot_bytes,
            rotational: true,
            base_model: BaseModel::Hdd,
            ..ClusterOptions::default()
        },
    )
}

/// When each write ended, since the first began, and how long it took.
type Writes = Vec<(Duration, Duration)>;

/// Random writes at depth 16 until so many have ended, or so much time has passed.
async fn write(cluster: &SimulatedCluster, theta: f64, count: usize, time: Duration) -> Writes {
    let peer = Rc::new(cluster.peer().await);
    let zipf = Rc::new(RefCell::new(Zipf::new(SPAN / PIECE, theta)));
    let writes = Rc::new(RefCell::new(Writes::new()));
    let ring = cluster.client.ring().clone();
    let begun = ring.now();
    let tasks: Vec<_> = (0..DEPTH)
        .map(|_| {
            let (peer, zipf, writes, ring) = (peer.clone(), zipf.clone(), writes.clone(), ring.clone());
            cluster.client.ring().spawn(async move {
                while writes.borrow().len() < count && ring.now().since(begun) < time {
                    let at = zipf.borrow_mut().pick() * PIECE;
                    let write = vec![Operation::Write { offset: at % OBJECT, length: PIECE }];
                    let mut request = peer.request(POOL, format!("object {}", at / OBJECT).as_bytes(), write);
                    request.completed_up_to = request.request.sequence.saturating_sub(1000);
                    let sent = ring.now();
                    let (reply, _) = peer.exchange(&request, &[7; PIECE as usize]).await.expect("the session lives");
                    assert_eq!(reply.errno, 0, "{}", reply.message);
                    let now = ring.now();
                    writes.borrow_mut().push((now.since(begun), now.since(sent)));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    writes.take()
}

/// Writes that ended in each whole second.
fn by_second(writes: &Writes, time: Duration) -> Vec<usize> {
    let mut seconds = vec![0; time.as_secs() as usize];
    for (ended, _) in writes {
        if let Some(second) = seconds.get_mut(ended.as_secs() as usize) {
            *second += 1;
        }
    }
    seconds
}

#[test]
fn random_writes_reach_a_disk_in_few_large_ones() {
    const WRITES: usize = 60_000;
    let cluster = on_a_slow_disk(71, HOT);
    cluster.world.block_on(async {
        cluster.set("cache_mode", "writeback").await;
        let done = write(&cluster, 0.9, WRITES, Duration::MAX).await;
        let took = done.last().map(|(ended, _)| *ended);
        let written = cluster.with_osd(|osd| osd.store().written());
        let mean = written.flushed / written.flushes.max(1);
        let of_clients = done.len() as u64 * PIECE;
        println!(
            "{WRITES} writes in {took:?}; {} flushed in writes of {mean} bytes, {:.2} of what was written",
            written.flushed,
            written.flushed as f64 / of_clients as f64
        );
        assert!(written.flushed > of_clients / 4, "the slice was filled several times");
        assert!(written.flushed <= of_clients);
        assert!(mean >= 8 * PIECE, "{mean} bytes on average");
    });
}

/// Each of these was worse once: flushes of single pieces at half a megabyte a second, a checkpoint that waited for a slow flush while the index had
/// no room left, eviction that stood behind both.
#[test]
fn a_slice_that_is_full_for_long_is_never_as_slow_as_its_disk() {
    const TIME: Duration = Duration::from_secs(40);
    let bare = on_a_slow_disk(72, 0);
    let bare = bare.world.block_on(write(&bare, 0.0, usize::MAX, TIME));
    let bare = bare.len() as f64 / TIME.as_secs_f64();
    let tiered = on_a_slow_disk(72, HOT);
    let writes = tiered.world.block_on(async {
        tiered.set("cache_mode", "writeback").await;
        write(&tiered, 0.0, usize::MAX, TIME).await
    });
    assert!(writes.len() as u64 * PIECE > 4 * HOT, "the slice was filled several times");
    let seconds = by_second(&writes, TIME);
    let least = seconds.iter().min().copied().unwrap_or(0);
    let longest = writes.iter().map(|(_, took)| *took).max().unwrap_or_default();
    let mean = writes.len() as f64 / TIME.as_secs_f64();
    println!("{mean:.0} a second, at least {least}, the longest {longest:?}; {bare:.0} without a slice");
    assert!(least as f64 >= 1.5 * bare, "{least} in one second, {bare:.0} without a slice");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}
