use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Counted permits, granted first come, first served.
#[derive(Clone)]
pub struct Semaphore {
    state: Rc<RefCell<State>>,
}

struct State {
    total: u64,
    available: u64,
    waiting: VecDeque<Waiting>,
    next_ticket: u64,
}

/// A waiter stays in line until its future takes the grant (or drops it), so that nothing is lost when it is cancelled.
struct Waiting {
    ticket: u64,
    permits: u64,
    granted: bool,
    waker: Option<Waker>,
}

impl State {
    fn grant(&mut self) {
        for waiting in &mut self.waiting {
            if waiting.granted {
                continue;
            }
            if waiting.permits > self.available {
                return;
            }
            self.available -= waiting.permits;
            waiting.granted = true;
            if let Some(waker) = waiting.waker.take() {
                waker.wake();
            }
        }
    }

    fn take(&mut self, ticket: u64) -> Option<Waiting> {
        // Tickets only grow along the line.
        let index = self.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket).ok()?;
        self.waiting.remove(index)
    }
}

impl Semaphore {
    pub fn new(permits: u64) -> Semaphore {
        let state = State { total: permits, available: permits, waiting: VecDeque::new(), next_ticket: 0 };
        Semaphore { state: Rc::new(RefCell::new(state)) }
    }
    /// Waits for `permits`; more than the semaphore has in all waits for all of them. The place in line is taken at the first poll.
    pub async fn acquire(&self, permits: u64) -> Permit {
        Acquire { state: self.state.clone(), permits, ticket: None }.await
    }
    /// Takes `permits` at once, unless they are not there or others wait for theirs.
    pub fn try_acquire(&self, permits: u64) -> Option<Permit> {
        let mut state = self.state.borrow_mut();
        let permits = permits.min(state.total);
        if state.available < permits || state.waiting.iter().any(|waiting| !waiting.granted) {
            return None;
        }
        state.available -= permits;
        Some(Permit { state: self.state.clone(), permits })
    }
    pub fn available(&self) -> u64 {
        self.state.borrow().available
    }
}

struct Acquire {
    state: Rc<RefCell<State>>,
    permits: u64,
    ticket: Option<u64>,
}

impl Future for Acquire {
    type Output = Permit;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Permit> {
        let shared = self.state.clone();
        let mut state = shared.borrow_mut();
        let ticket = match self.ticket {
            Some(ticket) => ticket,
            None => {
                let permits = self.permits.min(state.total);
                let ticket = state.next_ticket;
                state.next_ticket += 1;
                state.waiting.push_back(Waiting { ticket, permits, granted: false, waker: None });
                self.ticket = Some(ticket);
                state.grant();
                ticket
            }
        };
        let index = state.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket).expect("in line until taken");
        if !state.waiting[index].granted {
            state.waiting[index].waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let permits = state.waiting[index].permits;
        state.waiting.remove(index);
        self.ticket = None;
        drop(state);
        Poll::Ready(Permit { state: shared, permits })
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.state.borrow_mut();
        if let Some(waiting) = state.take(ticket) {
            if waiting.granted {
                state.available += waiting.permits;
            }
            // Also when it was not granted: a smaller request behind it may fit now.
            state.grant();
        }
    }
}

/// Gives its permits back when dropped.
pub struct Permit {
    state: Rc<RefCell<State>>,
    permits: u64,
}

impl Permit {
    pub fn permits(&self) -> u64 {
        self.permits
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        state.available += self.permits;
        state.grant();
    }
}
