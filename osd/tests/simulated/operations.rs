//! Each operation does what the message says it does, through a session.

use crate::simulated_cluster::{ClusterOptions, OSD, POOL, SimulatedCluster};
use basalt_net::message::object::{Operation, OperationResult, OsdCommand};

fn cluster() -> SimulatedCluster {
    SimulatedCluster::new(1, ClusterOptions::default())
}

fn bytes(length: usize, salt: u8) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8 ^ salt).collect()
}

#[test]
fn what_was_written_is_read() {
    let cluster = cluster();
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        for (index, length) in [1, 100, 4095, 4096, 4097, 70_000, 1 << 20].into_iter().enumerate() {
            let name = format!("object {length}").into_bytes();
            let data = bytes(length, index as u8);
            let version = peer.write_full(POOL, &name, &data).await;
            assert!(version > 0);
            assert_eq!(peer.read_all(POOL, &name).await, Ok(data));
        }
        assert_eq!(peer.read_all(POOL, b"missing").await, Err(libc::ENOENT));
    });
}

#[test]
fn writes_append_zero_and_truncate_as_a_file_would() {
    let cluster = cluster();
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        let mut model = bytes(10_000, 3);
        peer.write_full(POOL, b"o", &model).await;
        let patch = bytes(5000, 77);
        peer.done(POOL, b"o", vec![Operation::Write { offset: 7777, length: 5000 }], &patch).await;
        model.resize(12_777, 0);
        model[7777..].copy_from_slice(&patch);
        peer.done(POOL, b"o", vec![Operation::Append { length: 10 }], &[9; 10]).await;
        model.extend_from_slice(&[9; 10]);
        peer.done(POOL, b"o", vec![Operation::Zero { offset: 100, length: 5000 }], &[]).await;
        model[100..5100].fill(0);
        assert_eq!(peer.read_all(POOL, b"o").await, Ok(model.clone()));
        peer.done(POOL, b"o", vec![Operation::Truncate { size: 6000 }], &[]).await;
        peer.done(POOL, b"o", vec![Operation::Truncate { size: 9000 }], &[]).await;
        model.truncate(6000);
        model.resize(9000, 0);
        assert_eq!(peer.read_all(POOL, b"o").await, Ok(model.clone()));
        let (reply, data) = peer.ask(POOL, b"o", vec![Operation::Read { offset: 5990, length: 20 }], &[]).await;
        assert_eq!(reply.errno, 0);
        assert_eq!(data, model[5990..6010]);
    });
}

#[test]
fn versions_rise_with_every_change_even_over_a_removal() {
    let cluster = cluster();
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        let first = peer.write_full(POOL, b"o", b"one").await;
        let second = peer.write_full(POOL, b"o", b"two").await;
        assert!(second > first);
        let removed = peer.done(POOL, b"o", vec![Operation::Remove], &[]).await;
        assert_eq!(removed.version, 0);
        let third = peer.write_full(POOL, b"o", b"three").await;
        assert!(third > second + 1);
        let (reply, _) = peer.ask(POOL, b"o", vec![Operation::Stat], &[]).await;
        assert_eq!(reply.version, third);
        let OperationResult::Stat { size, version, mtime_ns } = reply.results[0] else { panic!("{:?}", reply.results) };
        assert_eq!((size, version), (5, third));
        assert!(mtime_ns > 1_700_000_000_000_000_000);
    });
}

#[test]
fn xattrs_and_omap_are_kept_with_the_object() {
    let cluster = cluster();
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        let pairs: Vec<_> =
            (0..300).map(|index| (format!("key {index:04}").into_bytes(), bytes(200, index as u8))).collect();
        let operations = vec![
            Operation::SetXattr { name: b"x".to_vec(), value: b"1".to_vec() },
            Operation::SetXattr { name: b"y".to_vec(), value: b"2".to_vec() },
            Operation::SetOmap { pairs: pairs.clone() },
        ];
        peer.done(POOL, b"o", operations, &[]).await;
        let operations = vec![
            Operation::GetXattr { name: b"x".to_vec() },
            Operation::ListXattrs,
            Operation::GetOmap { keys: vec![b"key 0007".to_vec(), b"none".to_vec()] },
            Operation::ListOmap { after: b"key 0009".to_vec(), prefix: b"key 00".to_vec(), max: 1000, values: true },
            Operation::ListOmap { after: Vec::new(), prefix: Vec::new(), max: 100, values: false },
        ];
        let reply = peer.done(POOL, b"o", operations, &[]).await;
        let names: Vec<_> = pairs[..100].iter().map(|(key, _)| (key.clone(), Vec::new())).collect();
        let x = (b"x".to_vec(), b"1".to_vec());
        let y = (b"y".to_vec(), b"2".to_vec());
        assert_eq!(
            reply.results.to_vec(),
            vec![
                OperationResult::Value(b"1".to_vec()),
                OperationResult::Pairs { pairs: vec![x, y], more: false },
                OperationResult::Pairs { pairs: vec![pairs[7].clone()], more: false },
                OperationResult::Pairs { pairs: pairs[10..100].to_vec(), more: false },
                OperationResult::Pairs { pairs: names, more: true },
            ]
        );
        let operations = vec![
            Operation::RemoveXattr { name: b"x".to_vec() },
            Operation::RemoveOmap { keys: vec![b"key 0007".to_vec()] },
        ];
        peer.done(POOL, b"o", operations, &[]).await;
        let (reply, _) = peer.ask(POOL, b"o", vec![Operation::GetXattr { name: b"x".to_vec() }], &[]).await;
        assert_eq!(reply.errno, libc::ENODATA);
        let (reply, _) = peer.ask(POOL, b"o", vec![Operation::RemoveXattr { name: b"x".to_vec() }], &[]).await;
        assert_eq!((reply.errno, reply.failed_operation), (libc::ENODATA, Some(0)));
        peer.done(POOL, b"o", vec![Operation::ClearOmap], &[]).await;
        let reply = peer
            .done(
                POOL,
                b"o",
                vec![Operation::ListOmap { after: Vec::new(), prefix: Vec::new(), max: 10, values: true }],
                &[],
            )
            .await;
        assert_eq!(reply.results.to_vec(), vec![OperationResult::Pairs { pairs: Vec::new(), more: false }]);
    });
}

#[test]
fn a_vector_is_applied_whole_or_not_at_all() {
    let cluster = cluster();
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        peer.write_full(POOL, b"o", b"before").await;
        let operations = vec![
            Operation::WriteFull { length: 5 },
            Operation::SetXattr { name: b"x".to_vec(), value: b"1".to_vec() },
            Operation::RemoveXattr { name: b"missing".to_vec() },
        ];
        let (reply, _) = peer.ask(POOL, b"o", operations, b"after").await;
        assert_eq!((reply.errno, reply.failed_operation), (libc::ENODATA, Some(2)));
        assert_eq!(peer.read_all(POOL, b"o").await, Ok(b"before".to_vec()));
        let reply = peer.done(POOL, b"o", vec![Operation::ListXattrs], &[]).await;
        assert_eq!(reply.results.to_vec(), vec![OperationResult::Pairs { pairs: Vec::new(), more: false }]);
    });
}

#[test]
fn reads_of_a_mixed_vector_see_the_object_before_its_writes() {
    let cluster = cluster();
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        peer.write_full(POOL, b"o", b"before").await;
        let operations =
            vec![Operation::WriteFull { length: 5 }, Operation::Read { offset: 0, length: 100 }, Operation::Stat];
        let (reply, data) = peer.ask(POOL, b"o", operations, b"after").await;
        assert_eq!(reply.errno, 0, "{}", reply.message);
        assert_eq!(data, b"before");
        assert!(matches!(reply.results[2], OperationResult::Stat { size: 6, .. }));
        assert_eq!(peer.read_all(POOL, b"o").await, Ok(b"after".to_vec()));

        peer.write_full(POOL, b"large", &bytes(5000, 1)).await;
        let operations = vec![Operation::Touch, Operation::Read { offset: 0, length: 5000 }];
        let (reply, _) = peer.ask(POOL, b"large", operations, &[]).await;
        assert_eq!(reply.errno, libc::EOVERFLOW);
    });
}

#[test]
fn a_range_can_be_cloned_from_another_object() {
    let cluster = cluster();
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        // Objects of one group, as a clone does not cross groups.
        let group = peer.map().pg_of(POOL, b"source").expect("the pool exists");
        let target = (0..).map(|index| format!("target {index}").into_bytes());
        let target = { target }.find(|name| peer.map().pg_of(POOL, name) == Some(group)).expect("one of many fits");
        let data = bytes(20_000, 5);
        peer.write_full(POOL, b"source", &data).await;
        let clone = Operation::CloneRange { source: b"source".to_vec(), source_offset: 4096, offset: 0, length: 8192 };
        peer.done(POOL, &target, vec![clone.clone()], &[]).await;
        peer.write_full(POOL, b"source", b"changed").await;
        assert_eq!(peer.read_all(POOL, &target).await, Ok(data[4096..4096 + 8192].to_vec()));
        peer.done(POOL, b"source", vec![Operation::Remove], &[]).await;
        let (reply, _) = peer.ask(POOL, &target, vec![clone], &[]).await;
        assert_eq!((reply.errno, reply.failed_operation), (libc::ENOENT, Some(0)));
    });
}

#[test]
fn listings_page_through_a_group_in_byte_order() {
    let cluster = cluster();
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        let mut names: Vec<Vec<u8>> = (0..50).map(|index| format!("object {index:02}").into_bytes()).collect();
        for name in &names {
            peer.write_full(POOL, name, b"x").await;
        }
        let mut listed = Vec::new();
        for pg in 0..8 {
            let mut after = Vec::new();
            loop {
                let page = peer.list(POOL, pg, &after, 3).await;
                assert_eq!(page.errno, 0, "{}", page.message);
                assert!(page.names.is_sorted() && page.names.len() <= 3);
                listed.extend(page.names.iter().cloned());
                let Some(last) = page.names.last().filter(|_| page.more) else { break };
                after = last.clone();
            }
        }
        names.sort();
        listed.sort();
        assert_eq!(listed, names);
        assert_eq!(peer.list(POOL, 8, &[], 3).await.errno, libc::ESTALE);
        assert_eq!(peer.list(9, 0, &[], 3).await.errno, libc::ENOENT);
    });
}

#[test]
fn what_is_too_large_is_refused_with_the_limit() {
    let cluster = cluster();
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        let (reply, _) = peer.ask(POOL, b"o", vec![Operation::Write { offset: 16 << 20, length: 1 }], b"x").await;
        assert_eq!((reply.errno, reply.failed_operation), (libc::EFBIG, Some(0)));
        assert!(reply.message.contains("16777216"), "{}", reply.message);
        let name = vec![b'n'; basalt_blockstore::limits::NAME_BYTES_MAX + 1];
        let (reply, _) = peer.ask(POOL, &name, vec![Operation::Touch], &[]).await;
        assert_eq!(reply.errno, libc::ENAMETOOLONG);
        let (reply, _) = peer.ask(POOL, b"", vec![Operation::Touch], &[]).await;
        assert_eq!(reply.errno, libc::EINVAL);
        let reply = peer.done(POOL, &name[1..], vec![Operation::Touch], &[]).await;
        assert!(reply.version > 0);
    });
}

#[test]
fn requests_that_belong_elsewhere_are_sent_away() {
    let cluster = cluster();
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        let mut request = peer.request(POOL, b"o", vec![Operation::Touch]);
        request.pg = (request.pg + 1) % 8;
        let (reply, _) = peer.exchange(&request, &[]).await.expect("an answer");
        assert_eq!(reply.errno, libc::ESTALE);
        assert_eq!(reply.epoch, cluster.monitor.map().epoch());
        let mut request = peer.request(POOL, b"o", vec![Operation::Touch]);
        request.epoch = 1;
        let (reply, _) = peer.exchange(&request, &[]).await.expect("an answer");
        assert_eq!(reply.errno, libc::ESTALE);
        let (reply, _) = peer.ask(77, b"o", vec![Operation::Touch], &[]).await;
        assert_eq!(reply.errno, libc::ENOENT);
        assert_eq!(peer.read_all(POOL, b"o").await, Err(libc::ENOENT));
    });
}

#[test]
fn commands_tell_of_the_store_and_the_tier() {
    let cluster = cluster();
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        let reply = peer.command(OsdCommand::StoreStatus).await;
        let status: serde_json::Value = serde_json::from_str(&reply.json).expect("JSON");
        assert_eq!(status["osd"], OSD);
        assert_eq!(status["fault"], "");
        assert_eq!(status["sessions"], 1);
        assert_eq!(peer.command(OsdCommand::TierDrain { pool: 9 }).await.errno, libc::ENOENT);
        assert_eq!(peer.command(OsdCommand::TierDrain { pool: POOL }).await.errno, 0);
        assert_eq!(peer.command(OsdCommand::TierStatus).await.json, "{}");
    });
}

#[test]
fn a_peer_that_talks_nonsense_loses_its_session_and_nobody_else_does() {
    let cluster = cluster();
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        let rude = cluster.peer().await;
        // A reply is no request.
        let nonsense = basalt_net::message::object::ListReply {
            request: rude.request(POOL, b"o", Vec::new()).request,
            errno: 0,
            message: String::new(),
            epoch: 0,
            names: Vec::new(),
            more: false,
        };
        rude.sender().send(&nonsense, Vec::new()).await.expect("it is sent");
        rude.sender().closed().await;
        peer.write_full(POOL, b"o", b"x").await;
        let (reply, _) = peer.ask(POOL, b"o", vec![Operation::Write { offset: 0, length: 100 }], b"too short").await;
        assert_eq!(reply.errno, libc::EINVAL);
        assert_eq!(peer.read_all(POOL, b"o").await, Ok(b"x".to_vec()));
    });
}
