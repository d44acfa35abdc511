//! Copies of groups that belong to other OSDs now: they are kept for a while, then deleted, and are never taken for whole copies again.

use basalt_net::message::monitor::{AdminCommand, ChangeMode, MapChange, OsdChange};
use basalt_net::{Features, WireMode};
use basalt_tests::cluster::{Cluster, ClusterOptions, POOL, verdict};
use std::rc::Rc;
use std::time::Duration;

const OBJECTS: u32 = 200;
/// One more than the pool has copies.
const OPTIONS: ClusterOptions = ClusterOptions {
    hosts: 4,
    size: 3,
    pg_num: 8,
    base_bytes: 64 << 20,
    hot_bytes: 0,
    is_base_rotational: false,
    public_mode: WireMode::Crc,
    cluster_mode: WireMode::Crc,
    features: Features::CURRENT,
};

async fn change(cluster: &Cluster, osd: u32, what: OsdChange) {
    let change = MapChange::Osds { osds: vec![osd], what };
    let mode = ChangeMode { dry_run: false, sure: true };
    let reply = cluster.monitor().command(AdminCommand::Change { change, mode }).await;
    assert_eq!(reply.errno, 0, "{}", reply.message);
}

async fn write_all(cluster: &Cluster, value: u8) {
    let client = cluster.connect_on(&cluster.client.ring()).await;
    let pool = client.pool(POOL).await.expect("the pool");
    for number in 0..OBJECTS {
        let mut buffer = pool.ring().buffer(5000);
        buffer.fill(value);
        pool.write_full(format!("object-{number}").as_bytes(), buffer.freeze()).await.expect("a write");
    }
}

/// Every copy of every object, by what the map says of where it is.
async fn all_have(cluster: &Cluster, value: u8) {
    let map = cluster.map();
    let pool = map.pool_by_name(POOL).expect("the pool");
    for number in 0..OBJECTS {
        let name = format!("object-{number}").into_bytes();
        let pg = map.pg_of(pool.id, &name).expect("a group");
        let group = map.pg(pg).expect("it is there");
        assert_eq!(group.in_sync.len(), 3);
        for member in &group.in_sync {
            let osd = cluster.osd(*member).expect("it runs");
            let key = basalt_blockstore::ObjectKey { pool: pg.pool, pg: pg.seed, name: name.as_slice().into() };
            let read = osd.store().read(&key, 0, 5000).await.expect("a copy");
            assert!(read.data.iter().all(|byte| *byte == value), "object-{number} on osd.{member}");
        }
    }
}

fn stored(cluster: &Cluster, osd: u32) -> u64 {
    let report = cluster.osd(osd).expect("it runs").report();
    report.pools.iter().map(|pool| pool.objects).sum()
}

async fn come_to_rest(cluster: &Rc<Cluster>) {
    verdict::wait_until_clean(cluster, Duration::from_secs(120)).await.expect("it comes to rest");
}

#[test]
fn an_osd_that_is_out_keeps_its_copies_until_others_have_them_and_not_for_ever() {
    let cluster = Cluster::new(1, OPTIONS);
    cluster.world.block_on(async {
        write_all(&cluster, 1).await;
        come_to_rest(&cluster).await;
        let before = stored(&cluster, 2);
        assert!(before > 0);
        change(&cluster, 2, OsdChange::Out).await;
        come_to_rest(&cluster).await;
        all_have(&cluster, 1).await;
        verdict::nothing_is_left_over(&cluster).await.expect("it lets go of them");
        assert_eq!(stored(&cluster, 2), 0);
        change(&cluster, 2, OsdChange::In).await;
        let ring = cluster.client.ring();
        for _ in 0..60 {
            // Until it has its copies again, the groups are clean without it.
            if stored(&cluster, 2) < before {
                ring.sleep(Duration::from_secs(1)).await;
            }
        }
        come_to_rest(&cluster).await;
        all_have(&cluster, 1).await;
        assert_eq!(stored(&cluster, 2), before);
        verdict::nothing_is_left_over(&cluster).await.expect("the others let go of theirs");
    });
}

/// Wanted again at any moment of the removal, killed in its midst or not: what comes back into the set is whole.
#[test]
fn a_copy_that_is_half_deleted_is_none() {
    for seed in 0..30 {
        let cluster = Cluster::new(seed, OPTIONS);
        cluster.world.block_on(async {
            let ring = cluster.client.ring();
            write_all(&cluster, 1).await;
            come_to_rest(&cluster).await;
            for round in 2..5_u8 {
                change(&cluster, 2, OsdChange::Out).await;
                come_to_rest(&cluster).await;
                // From here on it is deleted: 32 objects every 20 ms or so.
                let mut waited = 0;
                let all = stored(&cluster, 2);
                while stored(&cluster, 2) == all && waited < 20_000 {
                    ring.sleep(Duration::from_millis(10)).await;
                    waited += 10;
                }
                ring.sleep(Duration::from_millis((seed * 7 + u64::from(round) * 13) % 120)).await;
                if seed % 3 == 0 {
                    let host = cluster.hosts[2].clone();
                    host.kill(true);
                    write_all(&cluster, round).await;
                    cluster.start_host(&host);
                }
                change(&cluster, 2, OsdChange::In).await;
                write_all(&cluster, round).await;
                come_to_rest(&cluster).await;
                all_have(&cluster, round).await;
            }
        });
    }
}
