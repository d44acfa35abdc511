//! Tests that dropped waiters lose nothing, in every state they can be dropped in.

use super::*;
use proptest::prelude::*;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_dropped_waiter_makes_way_for_smaller_ones() {
    let semaphore = Semaphore::new(2);
    let held = semaphore.try_acquire(1).expect("free");
    let mut large = Box::pin(semaphore.acquire(2));
    let mut small = pin!(semaphore.acquire(1));
    assert!(poll(large.as_mut()).is_pending());
    assert!(poll(small.as_mut()).is_pending(), "first come, first served");
    drop(large);
    let permit = poll(small.as_mut());
    assert!(permit.is_ready());
    drop((permit, held));
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn a_grant_that_nobody_took_returns() {
    let semaphore = Semaphore::new(1);
    let held = semaphore.try_acquire(1).expect("free");
    let mut granted = Box::pin(semaphore.acquire(1));
    let mut next = pin!(semaphore.acquire(1));
    assert!(poll(granted.as_mut()).is_pending());
    assert!(poll(next.as_mut()).is_pending());
    drop(held);
    drop(granted);
    assert!(poll(next.as_mut()).is_ready());
}

#[test]
fn a_cancelled_lock_leaves_its_key_free() {
    let locks = KeyedLock::new();
    let Poll::Ready(guard) = poll(pin!(locks.lock(1))) else { panic!("free") };
    let mut waiting = Box::pin(locks.lock(1));
    assert!(poll(waiting.as_mut()).is_pending());
    drop(waiting);
    assert!(locks.is_locked(&1));
    drop(guard);
    assert!(!locks.is_locked(&1), "no trace is left");
}

#[test]
fn a_key_passes_over_those_who_gave_up() {
    let locks = KeyedLock::new();
    let Poll::Ready(first) = poll(pin!(locks.lock(1))) else { panic!("free") };
    let mut second = Box::pin(locks.lock(1));
    let mut third = Box::pin(locks.lock(1));
    let mut fourth = Box::pin(locks.lock(1));
    for waiting in [&mut second, &mut third, &mut fourth] {
        assert!(poll(waiting.as_mut()).is_pending());
    }
    drop(second);
    drop(first);
    // Granted, and given up before it was taken.
    drop(third);
    let Poll::Ready(last) = poll(fourth.as_mut()) else { panic!("nobody else is left") };
    let mut behind = Box::pin(locks.lock(1));
    assert!(poll(behind.as_mut()).is_pending(), "it is held");
    drop(last);
    assert!(poll(behind.as_mut()).is_ready());
}

#[test]
fn a_cancelled_receive_leaves_the_value() {
    let (sender, mut receiver) = queue();
    {
        let mut waiting = Box::pin(receiver.receive());
        assert!(poll(waiting.as_mut()).is_pending());
        sender.send(5).expect("the receiver is there");
    }
    assert_eq!(poll(pin!(receiver.receive())), Poll::Ready(Some(5)));
    drop(receiver);
    assert_eq!(sender.send(6), Err(6));
}

#[test]
fn values_behind_the_last_sender_are_received() {
    let (sender, mut receiver) = queue();
    sender.send(1).expect("the receiver is there");
    drop(sender);
    assert_eq!(poll(pin!(receiver.receive())), Poll::Ready(Some(1)));
    assert_eq!(poll(pin!(receiver.receive())), Poll::Ready(None));
}

#[test]
fn a_wait_counts_from_its_call() {
    let event = Event::new();
    let before = event.wait();
    event.notify_all();
    let after = event.wait();
    let mut dropped = Box::pin(event.wait());
    assert!(poll(pin!(before)).is_ready(), "notified before its first poll");
    assert!(poll(pin!(after)).is_pending());
    assert!(poll(dropped.as_mut()).is_pending());
    drop(dropped);
    event.notify_all();
}

#[test]
fn a_sender_without_a_value_closes() {
    let (sender, receiver) = once::<u8>();
    drop(sender);
    assert_eq!(poll(pin!(receiver)), Poll::Ready(None));
    let (sender, receiver) = once();
    sender.send(3);
    assert_eq!(poll(pin!(receiver)), Poll::Ready(Some(3)));
    let (sender, receiver) = once::<u8>();
    assert!(!sender.is_closed());
    drop(receiver);
    assert!(sender.is_closed());
}

proptest! {
    /// Any mix of waiting, cancelling and releasing: permits are never made, never lost, and granted in order.
    #[test]
    fn permits_are_conserved(total in 1u64..6, steps in proptest::collection::vec((0u8..4, 1u64..8, any::<prop::sample::Index>()), 1..80)) {
        let semaphore = Semaphore::new(total);
        let mut waiting: Vec<Pin<Box<dyn Future<Output = Permit>>>> = Vec::new();
        let mut held: Vec<Permit> = Vec::new();
        for (step, permits, index) in steps {
            match step {
                0 => {
                    let semaphore = semaphore.clone();
                    waiting.push(Box::pin(async move { semaphore.acquire(permits).await }));
                }
                1 if !waiting.is_empty() => drop(waiting.remove(index.index(waiting.len()))),
                2 if !held.is_empty() => drop(held.swap_remove(index.index(held.len()))),
                _ => held.extend(semaphore.try_acquire(permits)),
            }
            let mut blocked = false;
            let mut still = Vec::new();
            for mut future in waiting {
                match poll(future.as_mut()) {
                    Poll::Ready(permit) => {
                        prop_assert!(!blocked, "overtook one that waits");
                        held.push(permit);
                    }
                    Poll::Pending => {
                        blocked = true;
                        still.push(future);
                    }
                }
            }
            waiting = still;
            let out: u64 = held.iter().map(Permit::permits).sum();
            prop_assert_eq!(out + semaphore.available(), total);
        }
        drop(waiting);
        drop(held);
        prop_assert_eq!(semaphore.available(), total);
    }
}
