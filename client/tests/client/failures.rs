//! Stale maps, OSDs that move, fall silent or are gone, monitors that vanish.

use super::*;
use basalt_client::errno_name;

#[test]
fn a_stale_answer_is_asked_again() {
    let stage = stage(1);
    for osd in &stage.cluster.osds {
        osd.faults.stale.set(3);
    }
    stage.run(|ring| async move {
        let pool = pool(&ring).await;
        pool.append(b"a", slice(&ring, b"once")).await.unwrap();
        assert_eq!(&pool.read(b"a", 0, 100).await.unwrap()[..], b"once");
    });
}

/// Its old sessions stay open and say nothing, as after a partition: only the map tells.
#[test]
fn an_osd_that_moved_is_asked_at_its_new_place_at_once() {
    let stage = stage(2);
    let cluster = stage.cluster.clone();
    let took = stage.run(|ring| async move {
        let pool = pool(&ring).await;
        pool.append(b"a", slice(&ring, b"1")).await.unwrap();
        for osd in 0..3 {
            cluster.osds[osd as usize].fall_silent();
        }
        let append = {
            let (pool, data) = (pool.clone(), slice(&ring, b"2"));
            ring.spawn(async move { pool.append(b"a", data).await })
        };
        ring.sleep(SECOND).await;
        assert!(!append.is_finished());
        for osd in 0..3 {
            cluster.move_away(osd);
        }
        let start = ring.now();
        append.await.unwrap();
        let took = ring.now().since(start);
        assert_eq!(&pool.read(b"a", 0, 100).await.unwrap()[..], b"12");
        took
    });
    assert!(took < SECOND / 10, "{took:?}");
}

#[test]
fn a_silent_osd_ends_in_a_timeout_that_says_what_it_waited_for() {
    let stage = stage(3);
    let cluster = stage.cluster.clone();
    stage.run(|ring| async move {
        let pool = pool(&ring).await;
        pool.append(b"a", slice(&ring, b"1")).await.unwrap();
        for osd in &cluster.osds {
            osd.faults.stale.set(u32::MAX);
        }
        let start = ring.now();
        let error = pool.append(b"a", slice(&ring, b"1")).await.unwrap_err();
        assert_eq!(error.name(), "ETIMEDOUT");
        assert!(error.message().contains("ESTALE"), "{error}");
        assert_eq!(ring.now().since(start).as_secs(), 30);
    });
}

#[test]
fn a_partition_is_waited_out() {
    let stage = stage(4);
    let world = stage.world.clone();
    let (servers, clients) = (SERVERS.parse().unwrap(), CLIENTS.parse().unwrap());
    stage.run(move |ring| async move {
        let pool = pool_with(&ring, ClientConfig { operation_timeout: 120 * SECOND, ..config() }).await;
        for round in 0..4u64 {
            pool.append(b"a", slice(&ring, b"x")).await.unwrap();
            let append = {
                let (pool, data) = (pool.clone(), slice(&ring, b"y"));
                ring.spawn(async move { pool.append(b"a", data).await })
            };
            ring.sleep(Duration::from_micros(40 * round)).await;
            world.cut(servers, clients);
            world.cut(clients, servers);
            ring.sleep(SECOND * (5 + 10 * round as u32)).await;
            world.heal(servers, clients);
            world.heal(clients, servers);
            append.await.unwrap();
        }
        assert_eq!(&pool.read(b"a", 0, 100).await.unwrap()[..], b"xyxyxyxy");
    });
}

#[test]
fn a_monitor_that_is_not_there_is_named_when_the_time_is_up() {
    let stage = stage(5);
    stage.run(|ring| async move {
        let nowhere = vec!["10.0.0.1:1".parse().unwrap(), "10.0.0.9:6789".parse().unwrap()];
        let config = ClientConfig { monitors: nowhere, operation_timeout: 10 * SECOND, ..config() };
        let error = Client::connect(&ring, config).await.err().unwrap();
        assert_eq!(error.name(), "ETIMEDOUT");
        assert!(error.message().contains("10.0.0."), "{error}");
    });
}

#[test]
fn the_next_monitor_is_tried_when_one_is_not_there() {
    let stage = stage(6);
    stage.run(|ring| async move {
        let mut config = config();
        config.monitors.insert(0, "10.0.0.1:1".parse().unwrap());
        assert!(Client::connect(&ring, config).await.is_ok());
    });
}

#[test]
fn the_wrong_key_and_the_wrong_cluster_are_told_at_once() {
    let stage = stage(7);
    stage.run(|ring| async move {
        let config = ClientConfig { key: Key::from_bytes([1; 32]), ..config() };
        let start = ring.now();
        let error = Client::connect(&ring, config).await.err().unwrap();
        assert_eq!(error.name(), "EACCES");
        assert!(error.message().contains("key"), "{error}");
        assert!(ring.now().since(start) < SECOND, "waiting would not help");
        let config = ClientConfig { fsid: Fsid([1; 16]), ..super::config() };
        let error = Client::connect(&ring, config).await.err().unwrap();
        assert_eq!(error.name(), "EINVAL");
        assert!(error.message().contains(&FSID.to_string()), "{error}");
    });
}

#[test]
fn a_command_that_changes_something_is_carried_out_once_however_often_its_answer_is_lost() {
    let stage = stage(8);
    let cluster = stage.cluster.clone();
    stage.run(|ring| async move {
        let client = Client::connect(&ring, config()).await.unwrap();
        let create =
            |name: &str| AdminCommand::PoolCreate { name: name.into(), pg_num: None, rule: None, size: Some(1) };
        let epoch = cluster.monitor.epoch();
        cluster.monitor.swallow_replies.set(3);
        let reply = client.command(create("one")).await.unwrap();
        assert_eq!((reply.errno, reply.message.as_str()), (0, "pool 'one' created"));
        assert_eq!(cluster.monitor.epoch(), epoch + 1);
        assert_eq!(cluster.monitor.swallow_replies.get(), 0);
        cluster.monitor.swallow_replies.set(1);
        let reply = client.command(AdminCommand::PoolLs { detail: false }).await.unwrap();
        assert!(reply.json.contains("one"), "what only looks is asked again");
    });
}

#[test]
fn a_removed_pool_is_enoent() {
    let stage = stage(9);
    stage.run(|ring| async move {
        let pool = pool(&ring).await;
        pool.append(b"a", slice(&ring, b"1")).await.unwrap();
        let remove = AdminCommand::PoolRm { name: "data".into(), again: "data".into(), sure: true };
        let reply = pool.client().command(remove).await.unwrap();
        assert_eq!(reply.errno, 0, "{}", reply.message);
        pool.client().refresh().await.unwrap();
        assert_eq!(errno_name(errno(pool.stat(b"a").await)), "ENOENT");
        assert_eq!(errno_name(errno(pool.list(b"").next().await)), "ENOENT");
    });
}

#[test]
fn a_dropped_client_closes_its_sessions() {
    let stage = stage(10);
    stage.run(|ring| async move {
        let pool = pool(&ring).await;
        pool.append(b"a", slice(&ring, b"1")).await.unwrap();
        let held = std::rc::Rc::new(());
        let task = {
            let (pool, held) = (pool.clone(), held.clone());
            ring.spawn(async move {
                let _held = held;
                pool.stat(b"a").await
            })
        };
        task.await.unwrap();
        drop(pool);
        ring.sleep(SECOND).await;
        assert_eq!(std::rc::Rc::strong_count(&held), 1);
    });
    // Nothing is left that would go on: a world at rest has no more events.
    let before = stage.world.trace_hash();
    stage.world.run_for(60 * SECOND);
    assert_eq!(stage.world.trace_hash(), before);
}
