//! The one actuator of a rotating disk: who waits for it, in which order they get it, and how long each takes.

use crate::device::RotatingModel;
use crate::driver::Driver;
use crate::time::Sleep;
use crate::{Instant, Ring};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(crate) struct Actuator {
    driver: Driver,
    model: RotatingModel,
    /// Of the device; its whole length is the longest seek.
    size: u64,
    state: RefCell<State>,
}

struct State {
    /// Where the head is: behind the last transfer.
    head: u64,
    /// Whether somebody has the actuator.
    taken: bool,
    /// When the modelled time of the last operation ends.
    free_at: Instant,
    written_since_flush: bool,
    waiting: BTreeMap<Ticket, Waiting>,
    tickets: u64,
}

/// Waiting operations in the order of their place, those of the same place in the order they came.
type Ticket = (u64, u64);

struct Waiting {
    waker: Option<Waker>,
    granted: bool,
}

pub(crate) enum Access {
    Read { offset: u64, length: u64 },
    Write { offset: u64, length: u64 },
    Flush,
}

impl Actuator {
    pub(crate) fn new(ring: &Ring, model: RotatingModel, size: u64) -> Rc<Actuator> {
        assert!(model.rpm > 0 && model.bytes_per_second > 0, "a rotating disk turns and transfers: {model:?}");
        let state = State {
            head: 0,
            taken: false,
            free_at: ring.now(),
            written_since_flush: false,
            waiting: BTreeMap::new(),
            tickets: 0,
        };
        Rc::new(Actuator { driver: ring.driver().clone(), model, size: size.max(1), state: RefCell::new(state) })
    }

    /// Waits for the actuator and then for as long as the disk would take. The real operation follows while the turn is held.
    pub(crate) async fn turn(self: &Rc<Self>, access: Access) -> Turn {
        let arrival = self.driver.now();
        let turn = self.wait_for(&access).await;
        let deadline = {
            let mut state = self.state.borrow_mut();
            let took = self.duration(&mut state, &access);
            // From the modelled end of the one before, not from now: what the real device and the timers took is not the disk's time.
            state.free_at = state.free_at.max(arrival) + took;
            state.free_at
        };
        Sleep::new(self.driver.clone(), deadline).await;
        turn
    }

    fn wait_for(self: &Rc<Self>, access: &Access) -> Wait {
        let mut state = self.state.borrow_mut();
        let place = match access {
            Access::Read { offset, .. } | Access::Write { offset, .. } => *offset,
            Access::Flush => state.head,
        };
        let ticket = (place, state.tickets);
        state.tickets += 1;
        state.waiting.insert(ticket, Waiting { waker: None, granted: false });
        state.grant();
        drop(state);
        Wait { actuator: self.clone(), ticket: Some(ticket) }
    }

    fn duration(&self, state: &mut State, access: &Access) -> Duration {
        let half_turn = Duration::from_secs(30) / self.model.rpm;
        let (offset, length) = match *access {
            Access::Flush => {
                return if std::mem::take(&mut state.written_since_flush) { half_turn } else { Duration::ZERO };
            }
            Access::Read { offset, length } => (offset, length),
            Access::Write { offset, length } => {
                state.written_since_flush = true;
                (offset, length)
            }
        };
        let positioning = if offset == state.head {
            Duration::ZERO
        } else {
            let distance = offset.abs_diff(state.head) as f64 / self.size as f64;
            self.model.seek_min
                + self.model.seek_max.saturating_sub(self.model.seek_min).mul_f64(distance.min(1.0).sqrt())
                + half_turn
        };
        state.head = offset + length;
        positioning + Duration::from_secs_f64(length as f64 / self.model.bytes_per_second as f64)
    }
}

impl State {
    /// Gives a free actuator to the next in the head's direction, or from the beginning if there is none (C-SCAN).
    fn grant(&mut self) {
        if self.taken {
            return;
        }
        let ahead = self.waiting.range((self.head, 0)..).next().map(|(ticket, _)| *ticket);
        let Some(ticket) = ahead.or_else(|| self.waiting.keys().next().copied()) else { return };
        if let Some(next) = self.waiting.get_mut(&ticket) {
            self.taken = true;
            next.granted = true;
            if let Some(waker) = next.waker.take() {
                waker.wake();
            }
        }
    }
}

/// In line for the actuator. Dropped, it leaves the line, or passes the actuator on.
struct Wait {
    actuator: Rc<Actuator>,
    ticket: Option<Ticket>,
}

impl Future for Wait {
    type Output = Turn;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Turn> {
        let ticket = self.ticket.expect("polled after its end");
        let actuator = self.actuator.clone();
        let mut state = actuator.state.borrow_mut();
        let waiting = state.waiting.get_mut(&ticket).expect("in line until it is taken out");
        if !waiting.granted {
            waiting.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        state.waiting.remove(&ticket);
        self.ticket = None;
        drop(state);
        Poll::Ready(Turn { actuator })
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.actuator.state.borrow_mut();
        if state.waiting.remove(&ticket).is_some_and(|waiting| waiting.granted) {
            state.taken = false;
            state.grant();
        }
    }
}

/// The right to use the actuator; passed on when dropped.
pub(crate) struct Turn {
    actuator: Rc<Actuator>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.actuator.state.borrow_mut();
        state.taken = false;
        state.grant();
    }
}
