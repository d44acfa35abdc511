use slab::Slab;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Wakes tasks that wait for a condition they check themselves.
#[derive(Clone)]
pub struct Event {
    state: Rc<State>,
}

struct State {
    round: Cell<u64>,
    waiting: RefCell<Slab<Waker>>,
}

impl Event {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Event {
        Event { state: Rc::new(State { round: Cell::new(0), waiting: RefCell::new(Slab::new()) }) }
    }
    /// Wakes all that wait now.
    pub fn notify_all(&self) {
        self.state.round.set(self.state.round.get() + 1);
        let mut waiting = self.state.waiting.borrow_mut();
        for waker in waiting.drain() {
            waker.wake();
        }
    }
    /// Waits for the next notification after this call (registered at the call, not at the first poll).
    pub fn wait(&self) -> impl Future<Output = ()> + use<> {
        Wait { state: self.state.clone(), round: self.state.round.get(), key: None }
    }
}

struct Wait {
    state: Rc<State>,
    /// The round it began in; it is over when the event's differs.
    round: u64,
    /// Its place in the slab, valid while the round lasts.
    key: Option<usize>,
}

impl Future for Wait {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.state.round.get() != self.round {
            return Poll::Ready(());
        }
        let state = self.state.clone();
        let mut waiting = state.waiting.borrow_mut();
        match self.key {
            Some(key) => waiting[key].clone_from(context.waker()),
            None => self.key = Some(waiting.insert(context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(key) = self.key
            && self.state.round.get() == self.round
        {
            self.state.waiting.borrow_mut().remove(key);
        }
    }
}
