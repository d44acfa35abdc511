//! The only way into a ring from another thread: a bounded queue whose sender wakes the owning thread (`MSG_RING`) if it sleeps.

/// Sends from any thread.
pub struct Sender<T> {
    _item: std::marker::PhantomData<fn(T)>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        unimplemented!()
    }
}

impl<T: Send> Sender<T> {
    /// Gives the value back if the mailbox is full or its receiver is gone.
    pub fn try_send(&self, _value: T) -> Result<(), T> {
        unimplemented!()
    }
}

pub struct Receiver<T> {
    _item: std::marker::PhantomData<fn() -> T>,
}

impl<T: Send> Receiver<T> {
    /// The next value, in order; `None` once every sender is gone and the queue is empty.
    pub async fn receive(&mut self) -> Option<T> {
        unimplemented!()
    }
    pub fn try_receive(&mut self) -> Option<T> {
        unimplemented!()
    }
}

/// A mailbox that holds at most `capacity` values. The receiver may be moved to the thread that will own it before first use.
pub fn channel<T: Send>(_capacity: usize) -> (Sender<T>, Receiver<T>) {
    unimplemented!()
}
