use basalt_ring::local::{self, Either, Event, KeyedLock, Semaphore};
use basalt_ring::{Elapsed, Ring};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

pub async fn timers_fire_in_order(ring: &Ring) {
    let order = Rc::new(RefCell::new(Vec::new()));
    let tasks: Vec<_> = [30u64, 10, 20, 0, 15]
        .into_iter()
        .map(|milliseconds| {
            let (inner, order) = (ring.clone(), order.clone());
            ring.spawn(async move {
                let start = inner.now();
                inner.sleep(Duration::from_millis(milliseconds)).await;
                assert!(inner.now().since(start) >= Duration::from_millis(milliseconds), "woken too early");
                order.borrow_mut().push(milliseconds);
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    assert_eq!(*order.borrow(), [0, 10, 15, 20, 30]);
}

pub async fn a_timeout_drops_what_it_gives_up(ring: &Ring) {
    let (sender, receiver) = local::once::<()>();
    let result = ring
        .timeout(Duration::from_millis(5), async move {
            let _held = sender;
            std::future::pending::<()>().await
        })
        .await;
    assert_eq!(result, Err(Elapsed));
    assert_eq!(receiver.await, None, "the sender was dropped with the future");
    assert_eq!(ring.timeout(Duration::from_secs(60), async { 5 }).await, Ok(5));
}

pub async fn ten_thousand_tasks_run(ring: &Ring) {
    let count = Rc::new(Cell::new(0));
    let gate = Event::new();
    let tasks: Vec<_> = (0..10_000)
        .map(|index| {
            let (ring, count, opened) = (ring.clone(), count.clone(), gate.wait());
            ring.clone().spawn(async move {
                opened.await;
                ring.yield_now().await;
                if index % 100 == 0 {
                    ring.sleep(Duration::from_micros(index)).await;
                }
                count.set(count.get() + 1);
            })
        })
        .collect();
    ring.yield_now().await;
    assert_eq!(count.get(), 0);
    gate.notify_all();
    for task in tasks {
        task.await;
    }
    assert_eq!(count.get(), 10_000);
}

pub async fn a_yield_lets_others_run(ring: &Ring) {
    let ran = Rc::new(Cell::new(false));
    let seen = ran.clone();
    drop(ring.spawn(async move { seen.set(true) }));
    ring.yield_now().await;
    ring.yield_now().await;
    assert!(ran.get());
}

pub async fn aborted_tasks_are_dropped(ring: &Ring) {
    let (sender, mut receiver) = local::queue::<()>();
    let inner = ring.clone();
    let task = ring.spawn(async move {
        let _held = sender;
        inner.sleep(Duration::from_secs(3600)).await;
    });
    ring.yield_now().await;
    task.abort();
    assert_eq!(receiver.receive().await, None);
    assert!(task.is_finished());
}

pub async fn semaphores_are_fair(ring: &Ring) {
    let semaphore = Semaphore::new(4);
    let order = Rc::new(RefCell::new(Vec::new()));
    let held = semaphore.acquire(4).await;
    let tasks: Vec<_> = [3u64, 1, 4, 100, 1]
        .into_iter()
        .enumerate()
        .map(|(index, permits)| {
            let (inner, semaphore, order) = (ring.clone(), semaphore.clone(), order.clone());
            ring.spawn(async move {
                let permit = semaphore.acquire(permits).await;
                order.borrow_mut().push(index);
                inner.sleep(Duration::from_millis(1)).await;
                drop(permit);
            })
        })
        .collect();
    ring.yield_now().await;
    assert!(semaphore.try_acquire(1).is_none(), "all are held");
    drop(held);
    assert!(semaphore.try_acquire(1).is_none(), "others were first");
    for task in tasks {
        task.await;
    }
    assert_eq!(*order.borrow(), [0, 1, 2, 3, 4]);
    assert_eq!(semaphore.available(), 4);
}

pub async fn keys_are_locked_apart(ring: &Ring) {
    let locks = KeyedLock::new();
    let order = Rc::new(RefCell::new(Vec::new()));
    let first = locks.lock("a").await;
    let tasks: Vec<_> = ["a", "b", "a"]
        .into_iter()
        .enumerate()
        .map(|(index, key)| {
            let (locks, order) = (locks.clone(), order.clone());
            ring.spawn(async move {
                let _guard = locks.lock(key).await;
                order.borrow_mut().push(index);
            })
        })
        .collect();
    ring.yield_now().await;
    ring.yield_now().await;
    assert_eq!(*order.borrow(), [1], "only the other key is free");
    drop(first);
    for task in tasks {
        task.await;
    }
    assert_eq!(*order.borrow(), [1, 0, 2]);
    assert!(!locks.is_locked(&"a"));
}

pub async fn joined_futures_keep_their_order(ring: &Ring) {
    let futures: Vec<_> = [3u64, 1, 2]
        .into_iter()
        .map(|milliseconds| {
            let ring = ring.clone();
            async move {
                ring.sleep(Duration::from_millis(milliseconds)).await;
                milliseconds
            }
        })
        .collect();
    assert_eq!(local::join_all(futures).await, [3, 1, 2]);
    let first = local::select(std::future::pending::<()>(), ring.sleep(Duration::from_millis(1))).await;
    assert_eq!(first, Either::Second(()));
}

pub async fn randomness_is_not_constant(ring: &Ring) {
    let mut bytes = [0; 33];
    ring.fill_random(&mut bytes);
    assert_ne!(bytes, [0; 33]);
    assert_ne!(ring.random_u64(), ring.random_u64());
}
