use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// An unbounded queue between tasks; bounds are the caller's (credits, semaphores).
pub fn queue<T>() -> (QueueSender<T>, QueueReceiver<T>) {
    let state = Rc::new(State {
        values: RefCell::new(VecDeque::new()),
        receiver: RefCell::new(None),
        receiver_alive: Cell::new(true),
        senders: Cell::new(1),
    });
    (QueueSender { state: state.clone() }, QueueReceiver { state })
}

struct State<T> {
    values: RefCell<VecDeque<T>>,
    receiver: RefCell<Option<Waker>>,
    receiver_alive: Cell<bool>,
    senders: Cell<usize>,
}

impl<T> State<T> {
    fn wake_receiver(&self) {
        let waker = self.receiver.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

pub struct QueueSender<T> {
    state: Rc<State<T>>,
}

impl<T> Clone for QueueSender<T> {
    fn clone(&self) -> Self {
        self.state.senders.set(self.state.senders.get() + 1);
        QueueSender { state: self.state.clone() }
    }
}

impl<T> QueueSender<T> {
    /// Gives the value back if the receiver is gone.
    pub fn send(&self, value: T) -> Result<(), T> {
        if !self.state.receiver_alive.get() {
            return Err(value);
        }
        self.state.values.borrow_mut().push_back(value);
        self.state.wake_receiver();
        Ok(())
    }

    pub fn is_closed(&self) -> bool {
        !self.state.receiver_alive.get()
    }
}

impl<T> Drop for QueueSender<T> {
    fn drop(&mut self) {
        self.state.senders.set(self.state.senders.get() - 1);
        if self.state.senders.get() == 0 {
            self.state.wake_receiver();
        }
    }
}

pub struct QueueReceiver<T> {
    state: Rc<State<T>>,
}

impl<T> QueueReceiver<T> {
    /// The next value, `None` once every sender is gone and the queue is empty.
    pub async fn receive(&mut self) -> Option<T> {
        std::future::poll_fn(|context| {
            if let Some(value) = self.try_receive() {
                return Poll::Ready(Some(value));
            }
            if self.state.senders.get() == 0 {
                return Poll::Ready(None);
            }
            *self.state.receiver.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
    pub fn try_receive(&mut self) -> Option<T> {
        self.state.values.borrow_mut().pop_front()
    }
    pub fn len(&self) -> usize {
        self.state.values.borrow().len()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for QueueReceiver<T> {
    fn drop(&mut self) {
        self.state.receiver_alive.set(false);
        // What nobody will receive is dropped now: values may hold permits or senders of their own. Their drops run with nothing borrowed.
        let unread = std::mem::take(&mut *self.state.values.borrow_mut());
        drop(unread);
    }
}
