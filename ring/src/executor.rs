//! The single-threaded executor under both drivers: tasks in a slab, a queue of those ready, and what becomes of a task that panics.

use crate::limits::TASKS_MAX;
use crate::wake::{GENERATION_MASK, Registration, Remote, TaskId, WakeLocal};
use slab::Slab;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The future that is not in the slab: the one that the run is for.
const MAIN: TaskId = TaskId { index: GENERATION_MASK, generation: 0 };

type Panic = Box<dyn Any + Send>;

/// Tasks that end together, e.g. those of one simulated process.
pub(crate) type Group = u64;

pub(crate) struct Executor {
    core: Rc<Core>,
    registration: Registration,
    remote: Arc<Remote>,
}

struct Core {
    tasks: RefCell<Slab<Slot>>,
    ready: RefCell<VecDeque<TaskId>>,
    main_ready: Cell<bool>,
    generation: Cell<u32>,
    /// The panic of a task that nobody awaits; the run ends with it.
    fatal: RefCell<Option<Panic>>,
}

struct Slot {
    generation: u32,
    group: Group,
    queued: bool,
    aborted: bool,
    /// Taken out while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    outcome: Rc<dyn Conclude>,
}

impl Executor {
    pub(crate) fn new(remote: Arc<Remote>) -> Executor {
        let core = Rc::new(Core {
            tasks: RefCell::new(Slab::new()),
            ready: RefCell::new(VecDeque::new()),
            main_ready: Cell::new(true),
            generation: Cell::new(0),
            fatal: RefCell::new(None),
        });
        let registration = Registration::new(remote.clone(), core.clone());
        Executor { core, registration, remote }
    }

    pub(crate) fn spawn<F>(&self, group: Group, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let outcome = Rc::new(Outcome::new());
        let concluded = outcome.clone();
        let future = Box::pin(async move { concluded.set(Ok(future.await)) });
        let generation = self.core.generation.get().wrapping_add(1) & GENERATION_MASK;
        self.core.generation.set(generation);
        let mut tasks = self.core.tasks.borrow_mut();
        assert!(tasks.len() < TASKS_MAX, "more than {TASKS_MAX} tasks on one executor");
        let index = tasks.insert(Slot {
            generation,
            group,
            queued: true,
            aborted: false,
            future: Some(future),
            outcome: outcome.clone(),
        });
        let id = TaskId { index: index as u32, generation };
        self.core.ready.borrow_mut().push_back(id);
        Task { outcome, id, core: Rc::downgrade(&self.core) }
    }

    /// A handle of a task that never runs, for spawns after a process's end.
    pub(crate) fn stillborn<T>(&self) -> Task<T> {
        let outcome = Rc::new(Outcome::new());
        outcome.set(Err(End::Aborted));
        Task { outcome, id: MAIN, core: Weak::new() }
    }

    pub(crate) fn main_waker(&self) -> Waker {
        self.core.main_ready.set(true);
        self.registration.waker(MAIN)
    }

    /// Whether the main future was woken since the last call.
    pub(crate) fn take_main_ready(&self) -> bool {
        self.core.main_ready.replace(false)
    }

    pub(crate) fn has_ready(&self) -> bool {
        self.core.main_ready.get() || !self.core.ready.borrow().is_empty()
    }

    pub(crate) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Takes over what other threads woke.
    pub(crate) fn collect_remote(&self) {
        while let Some(task) = self.remote.pop() {
            self.core.wake(task);
        }
    }

    /// Polls the tasks that are ready now, once each, calling `before` with each one's group; those that become ready meanwhile wait
    /// for the next batch. Returns how many it polled. Panics with the panic of a task that nobody awaits.
    pub(crate) fn run_batch(&self, mut before: impl FnMut(Group)) -> usize {
        let batch = self.core.ready.borrow().len();
        let mut polled = 0;
        for _ in 0..batch {
            let Some(id) = self.core.ready.borrow_mut().pop_front() else { break };
            if self.run(id, &mut before) {
                polled += 1;
            }
            self.check_fatal();
        }
        self.check_fatal();
        polled
    }

    fn run(&self, id: TaskId, before: &mut impl FnMut(Group)) -> bool {
        let (mut future, group) = {
            let mut tasks = self.core.tasks.borrow_mut();
            let Some(slot) = tasks.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation) else {
                return false;
            };
            slot.queued = false;
            if slot.aborted {
                drop(tasks);
                self.core.remove(id, Err(End::Aborted));
                return false;
            }
            let Some(future) = slot.future.take() else { return false };
            (future, slot.group)
        };
        before(group);
        let waker = self.registration.waker(id);
        let poll = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker))));
        match poll {
            Ok(Poll::Pending) => {
                let mut tasks = self.core.tasks.borrow_mut();
                match tasks.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation) {
                    Some(slot) => slot.future = Some(future),
                    None => {
                        // Its group was dropped while it ran.
                        drop(tasks);
                        drop(future);
                    }
                }
            }
            Ok(Poll::Ready(())) => {
                drop(future);
                self.core.remove(id, Ok(()));
            }
            Err(panic) => {
                drop(future);
                self.core.remove(id, Err(End::Panicked(panic)));
            }
        }
        true
    }

    /// Drops all tasks of a group; one that is running is dropped when its poll returns.
    pub(crate) fn drop_group(&self, group: Group) {
        self.core.drop_tasks(|slot| slot.group == group);
    }

    /// Drops every task, also those that others' drops spawn.
    pub(crate) fn drop_all(&self) {
        self.core.drop_tasks(|_| true);
    }

    fn check_fatal(&self) {
        let fatal = self.core.fatal.borrow_mut().take();
        if let Some(panic) = fatal {
            resume_unwind(panic);
        }
    }
}

impl Core {
    fn remove(&self, id: TaskId, end: Result<(), End>) {
        let slot = {
            let mut tasks = self.tasks.borrow_mut();
            let found = tasks.get(id.index as usize).is_some_and(|slot| slot.generation == id.generation);
            found.then(|| tasks.remove(id.index as usize))
        };
        let Some(slot) = slot else {
            // Its group was dropped while it ran; a panic counts all the same.
            if let Err(End::Panicked(panic)) = end {
                self.fail(panic);
            }
            return;
        };
        // User code runs in this drop, with nothing borrowed.
        drop(slot.future);
        if let Err(end) = end
            && let Some(panic) = slot.outcome.conclude(end)
        {
            self.fail(panic);
        }
    }

    fn fail(&self, panic: Panic) {
        tracing::error!(message = panic_message(&panic), "a detached task panicked");
        self.fatal.borrow_mut().get_or_insert(panic);
    }

    fn drop_tasks(&self, which: impl Fn(&Slot) -> bool) {
        loop {
            let doomed: Vec<TaskId> = {
                let tasks = self.tasks.borrow();
                let doomed = tasks.iter().filter(|(_, slot)| which(slot));
                doomed.map(|(index, slot)| TaskId { index: index as u32, generation: slot.generation }).collect()
            };
            if doomed.is_empty() {
                return;
            }
            for id in doomed {
                self.remove(id, Err(End::Aborted));
            }
        }
    }
}

impl WakeLocal for Core {
    fn wake(&self, task: TaskId) {
        if task == MAIN {
            return self.main_ready.set(true);
        }
        let mut tasks = self.tasks.borrow_mut();
        if let Some(slot) = tasks.get_mut(task.index as usize)
            && slot.generation == task.generation
            && !slot.queued
        {
            slot.queued = true;
            self.ready.borrow_mut().push_back(task);
        }
    }
}

fn panic_message(panic: &Panic) -> &str {
    if let Some(message) = panic.downcast_ref::<&str>() {
        message
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message
    } else {
        "(no message)"
    }
}

/// Why a task has no output.
enum End {
    Aborted,
    Panicked(Panic),
}

/// What a task leaves for its handle.
struct Outcome<T> {
    state: RefCell<State<T>>,
    handle_dropped: Cell<bool>,
}

enum State<T> {
    Running(Option<Waker>),
    Ended(Result<T, End>),
    Taken,
}

impl<T> Outcome<T> {
    fn new() -> Outcome<T> {
        Outcome { state: RefCell::new(State::Running(None)), handle_dropped: Cell::new(false) }
    }

    fn set(&self, result: Result<T, End>) {
        if let State::Running(Some(waker)) = self.state.replace(State::Ended(result)) {
            waker.wake();
        }
    }
}

/// Ends a task whose output type is not known.
trait Conclude {
    /// Gives the panic back if no handle is left that could take it.
    fn conclude(&self, end: End) -> Option<Panic>;
}

impl<T> Conclude for Outcome<T> {
    fn conclude(&self, end: End) -> Option<Panic> {
        match end {
            End::Panicked(panic) if self.handle_dropped.get() => return Some(panic),
            end => self.set(Err(end)),
        }
        None
    }
}

/// A spawned task's handle: awaiting it yields the task's output. If the task panicked, awaiting it panics too. A task that panics
/// while nobody holds its handle ends the whole run with its panic. Awaiting an aborted task panics.
pub struct Task<T> {
    outcome: Rc<Outcome<T>>,
    id: TaskId,
    core: Weak<Core>,
}

impl<T> Task<T> {
    /// Drops the task's future at the next turn. Operations in flight keep their buffers until the kernel is done.
    pub fn abort(&self) {
        let Some(core) = self.core.upgrade() else { return };
        if let Some(slot) = core.tasks.borrow_mut().get_mut(self.id.index as usize)
            && slot.generation == self.id.generation
        {
            slot.aborted = true;
        }
        core.wake(self.id);
    }

    /// True once the task has returned, panicked or been dropped.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.outcome.state.borrow(), State::Running(_))
    }
}

impl<T> Future for Task<T> {
    type Output = T;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.outcome.state.borrow_mut();
        match &mut *state {
            State::Running(waker) => {
                *waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            State::Taken => panic!("a task's output was awaited twice"),
            State::Ended(_) => {}
        }
        let State::Ended(result) = std::mem::replace(&mut *state, State::Taken) else { unreachable!() };
        drop(state);
        match result {
            Ok(output) => Poll::Ready(output),
            Err(End::Aborted) => panic!("awaited a task that was aborted"),
            Err(End::Panicked(panic)) => resume_unwind(panic),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.outcome.handle_dropped.set(true);
        let unseen = self.outcome.state.replace_with(|state| match state {
            State::Ended(_) | State::Taken => State::Taken,
            State::Running(_) => State::Running(None),
        });
        if let State::Ended(Err(End::Panicked(panic))) = unseen
            && let Some(core) = self.core.upgrade()
        {
            core.fail(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local;

    fn executor() -> Executor {
        Executor::new(Remote::new(|| ()))
    }

    fn run(executor: &Executor) {
        while executor.run_batch(|_| ()) > 0 {}
    }

    #[test]
    fn a_task_yields_its_output() {
        let executor = executor();
        let inner = executor.spawn(0, async { 7 });
        let outer = executor.spawn(0, async move { inner.await + 1 });
        assert!(!outer.is_finished());
        run(&executor);
        assert!(outer.is_finished());
    }

    #[test]
    fn a_panic_reaches_whoever_awaits() {
        let executor = executor();
        let panicking = executor.spawn(0, async { panic!("on purpose") });
        let awaiting = executor.spawn(0, panicking);
        run(&executor);
        let state = awaiting.outcome.state.replace(State::Taken);
        assert!(matches!(state, State::Ended(Err(End::Panicked(panic))) if panic_message(&panic) == "on purpose"));
    }

    #[test]
    fn a_detached_panic_ends_the_run() {
        let executor = executor();
        drop(executor.spawn(0, async { panic!("on purpose") }));
        assert!(catch_unwind(AssertUnwindSafe(|| run(&executor))).is_err());
    }

    #[test]
    fn a_panic_whose_handle_is_dropped_later_ends_the_run_too() {
        let executor = executor();
        let task = executor.spawn(0, async { panic!("on purpose") });
        run(&executor);
        drop(task);
        assert!(catch_unwind(AssertUnwindSafe(|| run(&executor))).is_err());
    }

    #[test]
    fn abort_drops_the_future_at_the_next_turn() {
        let executor = executor();
        let (sender, mut receiver) = local::queue::<()>();
        let task = executor.spawn(0, async move {
            let _held = sender;
            std::future::pending::<()>().await
        });
        run(&executor);
        task.abort();
        assert!(!task.is_finished());
        run(&executor);
        assert!(task.is_finished());
        let closed = executor.spawn(0, async move { receiver.receive().await });
        run(&executor);
        assert!(closed.is_finished());
    }

    #[test]
    fn a_task_that_drops_its_own_group_is_dropped_after_its_poll() {
        let executor = Rc::new(executor());
        let inside = executor.clone();
        let task = executor.spawn(3, async move {
            inside.drop_group(3);
            std::future::pending::<()>().await
        });
        run(&executor);
        assert!(task.is_finished());
        assert!(executor.core.tasks.borrow().is_empty());
    }

    #[test]
    fn a_panic_after_dropping_its_own_group_is_not_lost() {
        let executor = Rc::new(executor());
        let inside = executor.clone();
        let task = executor.spawn(3, async move {
            inside.drop_group(3);
            panic!("on purpose");
        });
        assert!(catch_unwind(AssertUnwindSafe(|| run(&executor))).is_err());
        assert!(task.is_finished());
    }

    #[test]
    fn a_stale_waker_wakes_nobody() {
        let executor = executor();
        let slot: Rc<RefCell<Option<Waker>>> = Rc::default();
        let seen = slot.clone();
        drop(executor.spawn(0, async move {
            std::future::poll_fn(|context| {
                *seen.borrow_mut() = Some(context.waker().clone());
                Poll::Ready(())
            })
            .await;
        }));
        run(&executor);
        drop(executor.spawn(0, std::future::pending::<()>()));
        run(&executor);
        slot.borrow().as_ref().expect("the first task left its waker").wake_by_ref();
        assert!(!executor.core.ready.borrow().iter().any(|_| true), "the slot has another task now");
        let waker = slot.borrow_mut().take().expect("still there");
        drop(executor);
        waker.wake();
    }
}
