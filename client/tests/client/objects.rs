//! What a client can do with objects when nothing goes wrong.

use super::*;
use basalt_client::{ObjectOperations, errno_name, limits};
use basalt_net::message::object::{Operation, OsdCommand};

#[test]
fn an_object_is_written_read_and_removed() {
    stage(1).run(|ring| async move {
        let pool = pool(&ring).await;
        let first = pool.write(b"a", 3, slice(&ring, b"hello")).await.unwrap();
        assert_eq!(&pool.read(b"a", 0, 100).await.unwrap()[..], b"\0\0\0hello");
        assert_eq!(&pool.read(b"a", 4, 2).await.unwrap()[..], b"el");
        assert!(pool.read(b"a", 100, 2).await.unwrap().is_empty());
        let second = pool.append(b"a", slice(&ring, b"!")).await.unwrap();
        assert!(second > first);
        pool.truncate(b"a", 5).await.unwrap();
        pool.zero(b"a", 0, 4).await.unwrap();
        let stat = pool.stat(b"a").await.unwrap();
        assert_eq!(stat.size, 5);
        assert_eq!(&pool.read(b"a", 0, 100).await.unwrap()[..], b"\0\0\0\0e");
        pool.write_full(b"a", slice(&ring, b"new")).await.unwrap();
        assert_eq!(&pool.read(b"a", 0, 100).await.unwrap()[..], b"new");
        pool.remove(b"a").await.unwrap();
        for gone in [errno(pool.read(b"a", 0, 1).await), errno(pool.stat(b"a").await), errno(pool.remove(b"a").await)] {
            assert_eq!(errno_name(gone), "ENOENT");
        }
    });
}

#[test]
fn attributes_and_omap_pairs_come_back_in_order() {
    stage(2).run(|ring| async move {
        let pool = pool(&ring).await;
        pool.set_xattr(b"a", b"user.b", b"2").await.unwrap();
        pool.set_xattr(b"a", b"user.a", b"1").await.unwrap();
        assert_eq!(pool.get_xattr(b"a", b"user.a").await.unwrap(), b"1");
        let xattrs = pool.list_xattrs(b"a").await.unwrap();
        assert_eq!(xattrs, [(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), b"2".to_vec())]);
        pool.remove_xattr(b"a", b"user.a").await.unwrap();
        assert_eq!(errno_name(errno(pool.get_xattr(b"a", b"user.a").await)), "ENODATA");

        let pair = |index: u8| (vec![b'k', index], vec![index]);
        pool.set_omap(b"a", (0..10).map(pair).collect()).await.unwrap();
        assert_eq!(pool.get_omap(b"a", &[b"k\x03", b"none"]).await.unwrap(), [pair(3)]);
        pool.remove_omap(b"a", &[b"k\x03"]).await.unwrap();
        assert_eq!(pool.list_omap(b"a", b"k\x02", b"k", 2).await.unwrap(), (vec![pair(4), pair(5)], true));
        assert_eq!(pool.list_omap(b"a", b"k\x07", b"k", 2).await.unwrap(), (vec![pair(8), pair(9)], false));
    });
}

#[test]
fn a_vector_is_applied_whole_or_not_at_all() {
    stage(3).run(|ring| async move {
        let pool = pool(&ring).await;
        let vector = ObjectOperations::new()
            .write(0, slice(&ring, b"one"))
            .append(slice(&ring, b"two"))
            .set_xattr(b"user.x", b"y")
            .operation(Operation::RemoveXattr { name: b"user.missing".to_vec() });
        let error = pool.execute(b"a", vector).await.err().unwrap();
        assert_eq!(error.name(), "ENODATA");
        assert_eq!(errno_name(errno(pool.stat(b"a").await)), "ENOENT");
        pool.write(b"a", 0, slice(&ring, b"before")).await.unwrap();
        let vector = ObjectOperations::new().read(0, 3).write(0, slice(&ring, b"AFTER")).read(3, 9).stat();
        let outcome = pool.execute(b"a", vector).await.unwrap();
        assert_eq!((&outcome.data(0).unwrap()[..], &outcome.data(2).unwrap()[..]), (&b"bef"[..], &b"ore"[..]));
        assert_eq!(outcome.stat(3).unwrap().size, 6);
        assert!(outcome.data(1).is_err() && outcome.stat(0).is_err() && outcome.value(9).is_err());
        assert_eq!(&pool.read(b"a", 0, 9).await.unwrap()[..], b"AFTERe");
    });
}

#[test]
fn requests_beyond_the_limits_are_refused_before_they_are_sent() {
    let stage = stage(4);
    stage.run(|ring| async move {
        let pool = pool(&ring).await;
        let large = ring.buffer(limits::TRANSFER_BYTES_MAX as usize).freeze();
        let two = ObjectOperations::new().write(0, large.clone()).append(large.slice(0..1));
        let refused = [
            (errno(pool.execute(b"a", two).await), "E2BIG"),
            (errno(pool.read(b"a", 0, limits::TRANSFER_BYTES_MAX + 1).await), "E2BIG"),
            (errno(pool.read(b"a", u64::MAX, 2).await), "EINVAL"),
            (errno(pool.execute(b"a", ObjectOperations::new()).await), "EINVAL"),
            (errno(pool.stat(b"").await), "EINVAL"),
            (errno(pool.stat(&[b'n'; limits::NAME_BYTES_MAX + 1]).await), "ENAMETOOLONG"),
            (errno(pool.set_xattr(b"a", b"x", &vec![0; 9 << 20]).await), "E2BIG"),
        ];
        for (errno, expected) in refused {
            assert_eq!(errno_name(errno), expected);
        }
        pool.write(b"a", 0, large).await.unwrap();
    });
    assert_eq!(stage.cluster.osds.iter().map(|osd| osd.figures.carried_out.get()).sum::<u64>(), 1);
}

#[test]
fn a_listing_merges_all_groups_in_byte_order() {
    stage(5).run(|ring| async move {
        let pool = pool(&ring).await;
        let mut expected: Vec<Vec<u8>> =
            (0..300u32).map(|index| format!("dir/{}", index * 7919 % 1000).into()).collect();
        expected.push(b"dir/\xff\x00".to_vec());
        for name in &expected {
            pool.write_full(name, slice(&ring, b"x")).await.unwrap();
        }
        pool.write_full(b"other", slice(&ring, b"x")).await.unwrap();
        expected.sort();
        assert_eq!(pool.list(b"dir/").next_page(usize::MAX).await.unwrap(), expected);
        let mut pager = pool.list(b"").after(b"dir/5");
        assert!(pager.next_page(10).await.unwrap().iter().all(|name| name.as_slice() > b"dir/5".as_slice()));
        assert_eq!(pager.next_page(1000).await.unwrap().last().unwrap(), b"other");
        assert_eq!(pager.next().await.unwrap(), None);
    });
}

/// The page of a group is small when there are many groups; a group's second page must follow its first without a gap.
#[test]
fn a_listing_goes_on_where_a_groups_page_ends() {
    stage(6).run(|ring| async move {
        let pool = pool(&ring).await;
        let count = 9 * limits::LIST_PAGE_MAX as usize;
        let names: Vec<Vec<u8>> = (0..count).map(|index| format!("{index:06}").into_bytes()).collect();
        for some in names.chunks(64) {
            let writes =
                some.iter().map(|name| pool.execute(name, ObjectOperations::new().operation(Operation::Touch)));
            for written in basalt_ring::local::join_all(writes.collect()).await {
                written.unwrap();
            }
        }
        assert!(count / 8 > limits::LIST_PAGE_MAX as usize, "each of 8 groups has more than a page");
        assert_eq!(pool.list(b"").next_page(usize::MAX).await.unwrap(), names);
    });
}

#[test]
fn commands_reach_the_monitor_and_single_osds() {
    stage(7).run(|ring| async move {
        let client = Client::connect(&ring, config()).await.unwrap();
        let reply = client.command(AdminCommand::OsdLs).await.unwrap();
        assert_eq!((reply.errno, reply.json.as_str()), (0, "[0,1,2]"));
        let reply = client.osd_command(2, OsdCommand::TierStatus).await.unwrap();
        assert_eq!(reply.json, "{\"osd\":2,\"command\":\"TierStatus\"}");
        assert_eq!(errno_name(errno(client.osd_command(9, OsdCommand::TierStatus).await)), "ENOENT");
        assert_eq!(errno_name(errno(client.pool("none").await)), "ENOENT");
        let refused = client.command(AdminCommand::PoolGet { name: "none".into(), variable: "size".into() }).await;
        assert_eq!(errno_name(refused.unwrap().errno), "ENOENT");
    });
}

#[test]
fn thirty_two_requests_are_in_flight_on_one_session() {
    let stage = stage(8);
    for osd in &stage.cluster.osds {
        osd.faults.gather.set(32);
    }
    stage.run(|ring| async move {
        let pool = pool(&ring).await;
        let writes = (0..32u8).map(|index| {
            let (pool, data) = (pool.clone(), slice(&ring, &[index; 100]));
            ring.spawn(async move { pool.write(b"one object", u64::from(index) * 100, data).await })
        });
        for write in writes.collect::<Vec<_>>() {
            write.await.unwrap();
        }
        assert_eq!(pool.read(b"one object", 0, 10_000).await.unwrap().len(), 3200);
    });
    assert_eq!(stage.cluster.osds.iter().map(|osd| osd.figures.deepest.get()).max(), Some(32));
}
