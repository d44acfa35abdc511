//! The only way into a ring from another thread: a bounded queue whose sender wakes the owning thread (`MSG_RING`) if it sleeps.
//! The receiving end works under any executor, the sending end on any thread.

use crossbeam::queue::ArrayQueue;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// A mailbox that holds at most `capacity` values. The receiver may be moved to the thread that will own it before first use.
pub fn channel<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        values: ArrayQueue::new(capacity),
        senders: AtomicUsize::new(1),
        receiver_alive: AtomicBool::new(true),
        waiting: AtomicBool::new(false),
        waker: Mutex::new(None),
    });
    (Sender { shared: shared.clone() }, Receiver { shared })
}

struct Shared<T> {
    values: ArrayQueue<T>,
    senders: AtomicUsize,
    receiver_alive: AtomicBool,
    /// Set by a receiver that found nothing, cleared by the sender that wakes it: the lock is taken only around sleep.
    waiting: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl<T> Shared<T> {
    fn wake(&self) {
        if self.waiting.swap(false, Ordering::SeqCst) {
            let waker = self.waker.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Sends from any thread.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Sender { shared: self.shared.clone() }
    }
}

impl<T: Send> Sender<T> {
    /// Gives the value back if the mailbox is full or its receiver is gone.
    pub fn try_send(&self, value: T) -> Result<(), T> {
        if !self.shared.receiver_alive.load(Ordering::Acquire) {
            return Err(value);
        }
        self.shared.values.push(value)?;
        self.shared.wake();
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.wake();
        }
    }
}

pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T: Send> Receiver<T> {
    /// The next value, in order; `None` once every sender is gone and the queue is empty.
    pub async fn receive(&mut self) -> Option<T> {
        std::future::poll_fn(|context| {
            if let Some(value) = self.try_receive() {
                return Poll::Ready(Some(value));
            }
            *self.shared.waker.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(context.waker().clone());
            self.shared.waiting.store(true, Ordering::SeqCst);
            // A sender that came between the look above and the announcement did not see it, so look again. The count goes first:
            // once it is zero, nothing can be added behind the look.
            let orphaned = self.shared.senders.load(Ordering::SeqCst) == 0;
            match self.try_receive() {
                Some(value) => Poll::Ready(Some(value)),
                None if orphaned => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }
    pub fn try_receive(&mut self) -> Option<T> {
        self.shared.values.pop()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receiver_alive.store(false, Ordering::Release);
        while self.shared.values.pop().is_some() {}
    }
}
