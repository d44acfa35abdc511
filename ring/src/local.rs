//! What tasks of one thread use among themselves: no atomics, no locks. Cancel-safe: a dropped waiter loses nothing.

use std::marker::PhantomData;
use std::rc::Rc;

/// Wakes tasks that wait for a condition they check themselves.
#[derive(Clone)]
pub struct Event {
    _not_send: PhantomData<Rc<()>>,
}

impl Event {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Event {
        unimplemented!()
    }
    /// Wakes all that wait now.
    pub fn notify_all(&self) {
        unimplemented!()
    }
    /// Waits for the next notification after this call (registered at the call, not at the first poll).
    pub fn wait(&self) -> impl Future<Output = ()> + use<> {
        std::future::ready(())
    }
}

/// A single value once: the sender may drop, then the receiver gets `None`.
pub fn once<T>() -> (OnceSender<T>, OnceReceiver<T>) {
    unimplemented!()
}

pub struct OnceSender<T> {
    _item: PhantomData<Rc<T>>,
}

impl<T> OnceSender<T> {
    pub fn send(self, _value: T) {
        unimplemented!()
    }
}

pub struct OnceReceiver<T> {
    _item: PhantomData<Rc<T>>,
}

impl<T> Future for OnceReceiver<T> {
    type Output = Option<T>;
    fn poll(self: std::pin::Pin<&mut Self>, _cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<T>> {
        unimplemented!()
    }
}

/// An unbounded queue between tasks; bounds are the caller's (credits, semaphores).
pub fn queue<T>() -> (QueueSender<T>, QueueReceiver<T>) {
    unimplemented!()
}

pub struct QueueSender<T> {
    _item: PhantomData<Rc<T>>,
}

impl<T> Clone for QueueSender<T> {
    fn clone(&self) -> Self {
        unimplemented!()
    }
}

impl<T> QueueSender<T> {
    /// Gives the value back if the receiver is gone.
    pub fn send(&self, _value: T) -> Result<(), T> {
        unimplemented!()
    }
}

pub struct QueueReceiver<T> {
    _item: PhantomData<Rc<T>>,
}

impl<T> QueueReceiver<T> {
    /// The next value, `None` once every sender is gone and the queue is empty.
    pub async fn receive(&mut self) -> Option<T> {
        unimplemented!()
    }
    pub fn try_receive(&mut self) -> Option<T> {
        unimplemented!()
    }
    pub fn len(&self) -> usize {
        unimplemented!()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Counted permits, granted first come, first served.
#[derive(Clone)]
pub struct Semaphore {
    _not_send: PhantomData<Rc<()>>,
}

impl Semaphore {
    pub fn new(_permits: u64) -> Semaphore {
        unimplemented!()
    }
    /// Waits for `permits`; more than the semaphore has in all waits for all of them.
    pub async fn acquire(&self, _permits: u64) -> Permit {
        unimplemented!()
    }
    pub fn try_acquire(&self, _permits: u64) -> Option<Permit> {
        unimplemented!()
    }
    pub fn available(&self) -> u64 {
        unimplemented!()
    }
}

/// Gives its permits back when dropped.
pub struct Permit {
    _not_send: PhantomData<Rc<()>>,
}

/// Locks by key, first come, first served for each key.
pub struct KeyedLock<K> {
    _key: PhantomData<Rc<K>>,
}

impl<K: Clone + Eq + std::hash::Hash + 'static> KeyedLock<K> {
    #[allow(clippy::new_without_default)]
    pub fn new() -> KeyedLock<K> {
        unimplemented!()
    }
    pub async fn lock(&self, _key: K) -> KeyGuard<K> {
        unimplemented!()
    }
}

/// Holds its key until dropped.
pub struct KeyGuard<K> {
    _key: PhantomData<Rc<K>>,
}
