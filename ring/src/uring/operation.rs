//! Operations the kernel has. Each has an entry in the driver's slab that owns its file and its memory until the last completion has
//! come, whatever becomes of the future that waits for it.

use super::driver::Uring;
use super::file::File;
use super::plug::Gathered;
use super::scatter::Scatter;
use super::socket::{Message, SocketAddress};
use super::wakeup::WakeTarget;
use crate::{Buffer, Slice};
use io_uring::{cqueue, squeue};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The memory that the kernel may touch.
pub(super) enum Held {
    Nothing,
    Buffer(Buffer),
    Slice(Slice),
    Message(Box<Message>),
    Scatter(Box<Scatter>),
    Address(#[expect(dead_code, reason = "only the kernel reads it")] Box<SocketAddress>),
    Wakeup(Arc<WakeTarget>),
    Gathered(Gathered),
}

impl Held {
    pub(super) fn into_buffer(self) -> Buffer {
        match self {
            Held::Buffer(buffer) => buffer,
            _ => unreachable!("the operation was given a buffer"),
        }
    }

    pub(super) fn into_slice(self) -> Slice {
        match self {
            Held::Slice(slice) => slice,
            _ => unreachable!("the operation was given a slice"),
        }
    }

    pub(super) fn into_message(self) -> Box<Message> {
        match self {
            Held::Message(message) => message,
            _ => unreachable!("the operation was given a message"),
        }
    }
}

pub(super) struct Operation {
    /// Keeps the descriptor from naming another file before the kernel has looked at it.
    _file: Option<Rc<File>>,
    held: Held,
    abandon: Abandon,
    state: State,
}

enum State {
    Pending(Option<Waker>),
    Done(i32),
    Shots {
        results: VecDeque<Shot>,
        waker: Option<Waker>,
        over: bool,
        leftover: Leftover,
    },
    /// Nobody waits any more.
    Orphaned(Leftover),
    /// It stands for several that are pending.
    Several,
}

/// One completion of a multishot operation.
#[derive(Clone, Copy)]
pub(super) struct Shot {
    pub(super) result: i32,
    pub(super) flags: u32,
}

/// What a completion that nobody waits for leaves to be cleaned up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftover {
    Nothing,
    AcceptedSocket,
    ProvidedBuffer,
    Wakeup,
}

/// What a dropped future does about its operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Abandon {
    /// Disks are done soon, and a half-cancelled write helps nobody.
    RunOut,
    /// It may never end by itself.
    Cancel,
}

impl Operation {
    /// One that stands for several, which `held` names.
    pub(super) fn of_several(file: &Rc<File>, held: Held) -> Operation {
        Operation { _file: Some(file.clone()), held, abandon: Abandon::RunOut, state: State::Several }
    }

    /// Whether the kernel is done with it.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Done(_) | State::Shots { over: true, .. })
    }
}

impl Uring {
    /// Hands an operation to the kernel. `entry` may point into `held`, whose memory does not move.
    pub(super) fn start(
        self: &Rc<Self>,
        entry: squeue::Entry,
        file: &Rc<File>,
        held: Held,
        abandon: Abandon,
    ) -> InFlight {
        let operation = Operation { _file: Some(file.clone()), held, abandon, state: State::Pending(None) };
        InFlight { key: Some(self.submit(entry, operation)), driver: self.clone() }
    }

    /// An operation that is handed to the kernel later.
    pub(super) fn begin(self: &Rc<Self>, file: &Rc<File>, held: Held, abandon: Abandon) -> (usize, InFlight) {
        let operation = Operation { _file: Some(file.clone()), held, abandon, state: State::Pending(None) };
        let key = self.operations.borrow_mut().insert(operation);
        (key, InFlight { key: Some(key), driver: self.clone() })
    }

    /// As [`Uring::start`], for operations with many completions.
    pub(super) fn start_shots(self: &Rc<Self>, entry: squeue::Entry, file: &Rc<File>, leftover: Leftover) -> Shots {
        let state = State::Shots { results: VecDeque::new(), waker: None, over: false, leftover };
        let operation = Operation { _file: Some(file.clone()), held: Held::Nothing, abandon: Abandon::Cancel, state };
        Shots { key: Some(self.submit(entry, operation)), driver: self.clone() }
    }

    /// Hands over an operation that nobody waits for.
    pub(super) fn start_detached(&self, entry: squeue::Entry, held: Held, leftover: Leftover) {
        let state = State::Orphaned(leftover);
        self.submit(entry, Operation { _file: None, held, abandon: Abandon::RunOut, state });
    }

    pub(super) fn submit(&self, entry: squeue::Entry, operation: Operation) -> usize {
        let key = self.operations.borrow_mut().insert(operation);
        if !self.push(&entry.user_data(key as u64)) {
            self.complete(key, -libc::ECANCELED, 0);
        }
        key
    }

    /// A completion has come.
    pub(super) fn complete(&self, key: usize, result: i32, flags: u32) {
        let more = cqueue::more(flags);
        let mut operations = self.operations.borrow_mut();
        let Some(operation) = operations.get_mut(key) else {
            debug_assert!(false, "a completion of an operation that is not in flight");
            return;
        };
        match &mut operation.state {
            State::Pending(waker) => {
                let waker = waker.take();
                operation.state = State::Done(result);
                drop(operations);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            State::Shots { results, waker, over, .. } => {
                results.push_back(Shot { result, flags });
                *over = !more;
                let waker = waker.take();
                drop(operations);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            State::Orphaned(leftover) => {
                let leftover = *leftover;
                let target = match &operation.held {
                    Held::Wakeup(target) if result < 0 => Some(target.clone()),
                    _ => None,
                };
                let ended = (!more).then(|| operations.remove(key));
                drop(operations);
                drop(ended);
                match target {
                    Some(target) => target.wake_by_event(),
                    None => self.clean_up(leftover, Shot { result, flags }),
                }
            }
            State::Several => {
                let operation = operations.remove(key);
                drop(operations);
                let Held::Gathered(gathered) = operation.held else { unreachable!("it holds the several") };
                self.gathered_ended(gathered, result);
            }
            State::Done(_) => debug_assert!(false, "a second completion of a single operation"),
        }
    }

    fn clean_up(&self, leftover: Leftover, shot: Shot) {
        match leftover {
            Leftover::AcceptedSocket if shot.result >= 0 => {
                // SAFETY: the kernel made this descriptor for the accept that nobody waits for; nobody else owns it.
                drop(unsafe { OwnedFd::from_raw_fd(shot.result) });
            }
            Leftover::ProvidedBuffer => {
                if let (Some(buffer), Some(provided)) = (cqueue::buffer_select(shot.flags), self.provided.get()) {
                    provided.give_back(buffer);
                }
            }
            _ => {}
        }
    }

    fn orphan(&self, key: usize) {
        let mut operations = self.operations.borrow_mut();
        let operation = &mut operations[key];
        let leftover = match &operation.state {
            State::Shots { leftover, .. } => *leftover,
            _ => Leftover::Nothing,
        };
        let abandon = operation.abandon;
        let before = std::mem::replace(&mut operation.state, State::Orphaned(leftover));
        let over = matches!(before, State::Done(_) | State::Shots { over: true, .. });
        let ended = over.then(|| operations.remove(key));
        drop(operations);
        drop(ended);
        if let State::Shots { results, .. } = before {
            for shot in results {
                self.clean_up(leftover, shot);
            }
        }
        if abandon == Abandon::Cancel && !over {
            self.cancel(key);
        }
    }

    /// Cancels, at the run's end, whatever may not end by itself.
    pub(super) fn cancel_all(&self) {
        let endless: Vec<usize> = {
            let operations = self.operations.borrow();
            let cancelled = operations.iter().filter(|(_, operation)| operation.abandon == Abandon::Cancel);
            cancelled.map(|(key, _)| key).collect()
        };
        for key in endless {
            self.cancel(key);
        }
    }
}

/// A future of one operation. Dropped, it leaves the operation to end by itself or cancels it; either way its memory stays where it is.
pub(super) struct InFlight {
    driver: Rc<Uring>,
    key: Option<usize>,
}

impl Future for InFlight {
    type Output = (i32, Held);
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<(i32, Held)> {
        let key = self.key.expect("polled after its end");
        let driver = self.driver.clone();
        let mut operations = driver.operations.borrow_mut();
        match &mut operations[key].state {
            State::Done(result) => {
                let result = *result;
                let operation = operations.remove(key);
                self.key = None;
                drop(operations);
                Poll::Ready((result, operation.held))
            }
            State::Pending(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            State::Shots { .. } | State::Orphaned(_) | State::Several => {
                unreachable!("a single operation that is waited for")
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.driver.orphan(key);
        }
    }
}

/// The completions of a multishot operation; dropping it cancels the operation.
pub(super) struct Shots {
    driver: Rc<Uring>,
    key: Option<usize>,
}

impl Shots {
    /// The next completion; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Shot> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Shot>> {
        let Some(key) = self.key else { return Poll::Ready(None) };
        let mut operations = self.driver.operations.borrow_mut();
        let State::Shots { results, waker, over, .. } = &mut operations[key].state else {
            unreachable!("a multishot operation that is waited for")
        };
        if let Some(shot) = results.pop_front() {
            return Poll::Ready(Some(shot));
        }
        if *over {
            let operation = operations.remove(key);
            drop(operations);
            drop(operation);
            self.key = None;
            return Poll::Ready(None);
        }
        *waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Shots {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.driver.orphan(key);
        }
    }
}

/// A completion's result as a count or an error.
pub(super) fn outcome(result: i32) -> io::Result<usize> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result as usize) }
}

/// Whether a result only says that it should be tried again.
pub(super) fn is_interrupted(result: i32) -> bool {
    result == -libc::EINTR || result == -libc::EAGAIN
}
