//! The store and the election on real etcd servers.
#![cfg(feature = "etcd")]

mod ports;
mod server;

use basalt_cluster::limits;
use basalt_cluster::monitor::election::{Candidacy, Standing};
use basalt_cluster::monitor::election_etcd::Candidate;
use basalt_cluster::monitor::store::{Batch, MonitorStore};
use server::EtcdCluster;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PREFIX: &str = "/basalt/test";

fn candidate(etcd: &EtcdCluster, address: &str) -> Candidate {
    Candidate::start(&etcd.endpoints(), PREFIX, address.into()).unwrap()
}

fn wait<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < limit, "{what} did not come about within {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until it leads, in another candidacy than `last`.
fn leads(candidate: &Candidate, last: Option<Candidacy>) -> Candidacy {
    wait(Duration::from_secs(20), "the lead", || match &*candidate.standing().borrow() {
        Standing::Leads { candidacy, .. } if Some(*candidacy) != last => Some(*candidacy),
        _ => None,
    })
}

fn batch(epoch: u32, map: Vec<u8>) -> Batch {
    Batch { map: Some((epoch, Arc::new(map))), ..Batch::default() }
}

#[test]
fn what_was_committed_is_there_after_etcd_was_killed() {
    let mut etcd = EtcdCluster::start(1);
    let leader = candidate(&etcd, "");
    let candidacy = leads(&leader, None);
    let mut store = leader.store(candidacy);
    assert_eq!(store.load().unwrap(), Default::default());
    let values = vec![("last".to_owned(), vec![0, 255]), ("other".to_owned(), vec![])];
    store.commit(&Batch { values, ..batch(1, vec![1; 100]) }).unwrap();
    store.commit(&batch(2, vec![2; 100])).unwrap();
    etcd.kill(0);
    assert!(store.commit(&batch(3, vec![3; 100])).is_err(), "nobody took it");
    etcd.start_again(0);
    let mut store = leader.store(leads(&leader, Some(candidacy)));
    let stored = store.load().unwrap();
    assert_eq!(stored.newest_map, Some((2, vec![2; 100])));
    assert_eq!(stored.values.len(), 2);
    assert_eq!(stored.values["last"], [0, 255]);
    assert_eq!(store.map(1).unwrap(), Some(vec![1; 100]));
    assert_eq!(store.map(7).unwrap(), None);
    store.commit(&batch(3, vec![4; 100])).unwrap();
}

#[test]
fn a_deposed_leader_writes_nothing_and_the_next_leader_goes_on_from_its_work() {
    let etcd = EtcdCluster::start(1);
    let [first, second] = ["127.0.0.1:1", "127.0.0.1:2"].map(|address| {
        let candidate = candidate(&etcd, address);
        wait(Duration::from_secs(20), "the candidacy", || match &*candidate.standing().borrow() {
            Standing::Follows { leader } if leader.is_empty() => None,
            _ => Some(()),
        });
        candidate
    });
    let mut old = first.store(leads(&first, None));
    assert_eq!(*second.standing().borrow(), Standing::Follows { leader: "127.0.0.1:1".into() });
    old.commit(&batch(1, vec![1])).unwrap();
    let begun = Instant::now();
    first.cannot_lead();
    let mut new = second.store(leads(&second, None));
    assert!(begun.elapsed() < Duration::from_secs(3), "who gives up the lead makes room at once");
    let refused = old.commit(&batch(2, vec![2])).unwrap_err();
    assert!(refused.to_string().contains("another monitor leads"), "{refused}");
    assert!(old.load().is_err());
    assert_eq!(new.load().unwrap().newest_map, Some((1, vec![1])));
    new.commit(&batch(2, vec![3])).unwrap();
    assert_eq!(new.load().unwrap().newest_map, Some((2, vec![3])));
    wait(Duration::from_secs(5), "news of the new leader", || {
        (*first.standing().borrow() == Standing::Follows { leader: "127.0.0.1:2".into() }).then_some(())
    });
}

#[test]
fn no_epoch_is_written_twice_but_the_same_batch_may_be_put_again() {
    let etcd = EtcdCluster::start(1);
    let leader = candidate(&etcd, "");
    let mut store = leader.store(leads(&leader, None));
    store.commit(&batch(1, vec![1])).unwrap();
    store.commit(&batch(1, vec![1])).unwrap();
    assert!(store.commit(&batch(1, vec![2])).is_err());
    assert!(store.commit(&batch(3, vec![2])).is_err(), "an epoch was left out");
    store.commit(&batch(2, vec![2])).unwrap();
    assert!(store.commit(&batch(1, vec![3])).is_err());
    assert_eq!(store.load().unwrap().newest_map, Some((2, vec![2])));
}

#[test]
fn a_map_larger_than_a_request_travels_in_parts_that_are_forgotten_with_it() {
    let etcd = EtcdCluster::start(1);
    let leader = candidate(&etcd, "");
    let mut store = leader.store(leads(&leader, None));
    let large =
        |seed: usize| -> Vec<u8> { (0..3 * limits::ETCD_PART_BYTES + 77).map(|i| (i * seed / 7) as u8).collect() };
    store.commit(&batch(1, large(3))).unwrap();
    store.commit(&batch(2, large(5))).unwrap();
    assert!(store.load().unwrap().newest_map == Some((2, large(5))));
    assert!(store.map(1).unwrap() == Some(large(3)));
    store.commit(&Batch { forget_maps_below: 2, ..batch(3, vec![9]) }).unwrap();
    assert_eq!(store.map(1).unwrap(), None);
    assert!(store.map(2).unwrap() == Some(large(5)));
    assert_eq!(store.load().unwrap().newest_map, Some((3, vec![9])));
}

#[test]
fn a_leader_that_etcd_does_not_answer_leads_no_longer_than_its_lease() {
    let mut etcd = EtcdCluster::start(1);
    let leader = candidate(&etcd, "");
    let candidacy = leads(&leader, None);
    etcd.kill(0);
    let killed = Instant::now();
    wait(limits::LEASE_TTL, "the end of the term", || {
        matches!(&*leader.standing().borrow(), Standing::Follows { .. }).then_some(())
    });
    assert!(killed.elapsed() <= limits::LEASE_TTL - limits::LEASE_MARGIN + Duration::from_millis(300));
    etcd.start_again(0);
    leads(&leader, Some(candidacy));
}

#[test]
fn one_of_three_servers_may_go_at_any_time() {
    let mut etcd = EtcdCluster::start(3);
    let leader = candidate(&etcd, "");
    let mut store = leader.store(leads(&leader, None));
    let mut epoch = 0;
    for server in 0..3 {
        for _ in 0..20 {
            epoch += 1;
            store.commit(&batch(epoch, vec![epoch as u8; 1000])).unwrap();
        }
        etcd.kill(server);
        // Some of these wait for the servers to elect a leader of theirs.
        for _ in 0..20 {
            epoch += 1;
            store.commit(&batch(epoch, vec![epoch as u8; 1000])).unwrap();
        }
        etcd.start_again(server);
        std::thread::sleep(Duration::from_secs(2));
    }
    assert_eq!(store.load().unwrap().newest_map, Some((epoch, vec![epoch as u8; 1000])));
}
