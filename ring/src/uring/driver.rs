//! A thread's io_uring and the loop around it: run what is ready, submit and wait in one system call, reap, again.

use super::UringConfig;
use super::operation::Operation;
use super::plug::Plug;
use super::provided::Provided;
use super::scatter::Scatter;
use super::setup::{self, Features, Use};
use super::socket::Message;
use super::wakeup::{self, EVENT, IGNORED, WAKE, WakeTarget};
use super::workers;
use crate::executor::{Executor, Task};
use crate::pool::Pool;
use crate::timer::{TimerKey, Timers};
use crate::wake::Remote;
use crate::{Buffer, UnixTime};
use io_uring::{IoUring, opcode, squeue, types};
use slab::Slab;
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// All tasks of a thread belong to one group.
const GROUP: u64 = 0;

pub(crate) struct Uring {
    executor: Executor,
    pub(super) operations: RefCell<Slab<Operation>>,
    pub(super) features: Features,
    /// Buffers for multishot receives, made when first needed.
    pub(super) provided: OnceCell<Rc<Provided>>,
    pool: Pool,
    timers: RefCell<Timers<Waker>>,
    free_files: RefCell<Vec<u32>>,
    reaped: RefCell<Vec<Completion>>,
    randomness: RefCell<Randomness>,
    target: Arc<WakeTarget>,
    /// Memory for the read on the eventfd, from its submission to its completion.
    event_buffer: RefCell<Option<Buffer>>,
    /// Headers of sends and of scattered receives, for reuse.
    #[expect(
        clippy::vec_box,
        reason = "the kernel knows a header by its address, so it stays where it is while it changes hands"
    )]
    pub(super) idle_messages: RefCell<Vec<Box<Message>>>,
    #[expect(clippy::vec_box, reason = "in use, each keeps its place")]
    pub(super) idle_scatters: RefCell<Vec<Box<Scatter>>>,
    pub(super) plugged: RefCell<Plug>,
    /// Writes that went out with others.
    pub(crate) gathered_writes: Cell<u64>,
    /// Reads and writes of devices among the entries queued since the kernel was entered.
    storage_entries: Cell<u32>,
    enters: Cell<u64>,
    /// When the turn began.
    turn_began: Cell<u64>,
    /// Nanoseconds.
    busy_poll: u64,
    /// Set when the run ends: nothing new begins.
    closing: Cell<bool>,
    /// None once the run has ended.
    ring: RefCell<Option<IoUring>>,
}

struct Completion {
    user_data: u64,
    result: i32,
    flags: u32,
}

/// Bytes of the kernel's generator, fetched in larger pieces.
struct Randomness {
    bytes: [u8; 256],
    used: usize,
}

impl Uring {
    pub(super) fn new(config: &UringConfig, features: Use) -> io::Result<Rc<Uring>> {
        let before = setup::allowed_cpus();
        if let Some(cpu) = config.cpu {
            setup::pin_to(cpu)?;
        }
        let ring = setup::build(config, features)?;
        if let (Some(cpus), Some(_)) = (before, config.cpu) {
            setup::let_workers_run_on(&ring, &cpus);
            workers::remember_allowed(&cpus);
        }
        let features = setup::probe(&ring, features);
        let pool = setup::pool(&ring, config)?;
        let target = Arc::new(WakeTarget::new(ring.as_raw_fd(), features.message_ring)?);
        let interrupted = target.clone();
        let driver = Rc::new(Uring {
            executor: Executor::new(Remote::new(move || interrupted.wake())),
            operations: RefCell::new(Slab::with_capacity(config.entries as usize)),
            free_files: RefCell::new((0..features.registered_files).rev().collect()),
            features,
            provided: OnceCell::new(),
            pool,
            timers: RefCell::new(Timers::new()),
            reaped: RefCell::new(Vec::new()),
            randomness: RefCell::new(Randomness { bytes: [0; 256], used: 256 }),
            target,
            event_buffer: RefCell::new(None),
            idle_messages: RefCell::new(Vec::new()),
            idle_scatters: RefCell::new(Vec::new()),
            plugged: RefCell::default(),
            gathered_writes: Cell::new(0),
            storage_entries: Cell::new(0),
            enters: Cell::new(0),
            turn_began: Cell::new(clock(libc::CLOCK_MONOTONIC)),
            busy_poll: u64::try_from(config.busy_poll.as_nanos()).unwrap_or(u64::MAX),
            closing: Cell::new(false),
            ring: RefCell::new(Some(ring)),
        });
        wakeup::set_own(&driver);
        driver.arm_event();
        Ok(driver)
    }

    pub(super) fn block_on<T>(&self, main: impl Future<Output = T>) -> io::Result<T> {
        let mut main = pin!(main);
        let waker = self.executor.main_waker();
        loop {
            if self.executor.take_main_ready()
                && let Poll::Ready(value) = main.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return Ok(value);
            }
            self.turn()?;
        }
    }

    fn turn(&self) -> io::Result<()> {
        self.turn_began.set(self.now());
        self.executor.run_batch(|_| ());
        self.fire_timers();
        if self.executor.has_ready() {
            self.enter(Wait::No)?;
        } else if self.executor.remote().fall_asleep() {
            let entered = self.enter(Wait::Until(self.timers.borrow().next_due()));
            self.executor.remote().awake();
            entered?;
        }
        self.process_completions();
        self.executor.collect_remote();
        Ok(())
    }

    fn fire_timers(&self) {
        if self.timers.borrow().next_due().is_none() {
            return;
        }
        let now = self.now();
        loop {
            let Some((_, waker)) = self.timers.borrow_mut().pop_due(now) else { return };
            waker.wake();
        }
    }

    /// Submits what is queued and, if asked, waits for a completion; then takes completions over from the kernel.
    fn enter(&self, wait: Wait) -> io::Result<()> {
        self.unplug();
        let mut ring = self.ring.borrow_mut();
        let Some(ring) = ring.as_mut() else { return Ok(()) };
        self.have_requests_batched(ring);
        // What has completed already is no reason to sleep.
        self.reap(ring);
        let wait = if self.reaped.borrow().is_empty() { wait } else { Wait::No };
        let entered = match wait {
            Wait::No => {
                let submission = ring.submission();
                let idle = submission.is_empty() && !submission.taskrun() && !submission.cq_overflow();
                drop(submission);
                if idle {
                    return Ok(());
                }
                self.enters.set(self.enters.get() + 1);
                ring.submit()
            }
            Wait::Until(due) => {
                if self.busy_poll > 0 && self.look_for_completions(ring, due) {
                    return Ok(());
                }
                self.enters.set(self.enters.get() + 1);
                match due {
                    None => ring.submit_and_wait(1),
                    Some(due) => {
                        let left = due.saturating_sub(self.now());
                        let timeout = types::Timespec::from(Duration::from_nanos(left));
                        let arguments = types::SubmitArgs::new().timespec(&timeout);
                        ring.submitter().submit_with_args(1, &arguments)
                    }
                }
            }
        };
        self.reap(ring);
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // Time is up, a signal came, or the completion queue was full and has been emptied just now: nothing is lost.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(io::Error::new(error.kind(), format!("io_uring_enter failed: {error}"))),
            },
        }
    }

    /// The kernel hands requests to the disk's driver one by one, each with a notice to the device, unless it is given at least three entries at once
    /// (`IO_PLUG_THRESHOLD` in its io_uring.c). Two requests, such as a store's record and its data, get a third entry that does nothing: a tenth of
    /// a microsecond for a notice, which costs a virtual machine four of them.
    fn have_requests_batched(&self, ring: &mut IoUring) {
        const BATCHED_FROM: usize = 3;
        let storage = self.storage_entries.take();
        let mut submission = ring.submission();
        if storage >= 2 && submission.len() < BATCHED_FROM {
            let nothing = opcode::Nop::new().build().flags(squeue::Flags::SKIP_SUCCESS).user_data(IGNORED);
            // SAFETY: it points to nothing. Where it has no place, two go out as they are.
            let _pushed = unsafe { submission.push(&nothing) };
        }
    }

    pub(super) fn count_storage_entry(&self) {
        self.storage_entries.set(self.storage_entries.get() + 1);
    }

    /// Submits, and looks for completions for a while, without sleeping. Whether there are any, or a timer is due. What goes wrong here is for the call
    /// that follows to tell.
    fn look_for_completions(&self, ring: &mut IoUring, due: Option<u64>) -> bool {
        const GET_EVENTS: u32 = 1;
        let began = self.now();
        loop {
            let submission = ring.submission();
            let (queued, has_work) = (submission.len() as u32, submission.taskrun() || submission.cq_overflow());
            drop(submission);
            if queued > 0 || has_work {
                self.enters.set(self.enters.get() + 1);
                // SAFETY: what the entries point to is owned by the operations' slab; there is no argument.
                let entered = unsafe { ring.submitter().enter::<libc::sigset_t>(queued, 0, GET_EVENTS, None) };
                if entered.is_err() {
                    return false;
                }
            }
            self.reap(ring);
            if !self.reaped.borrow().is_empty() || self.executor.remote().is_woken() {
                return true;
            }
            let now = self.now();
            if due.is_some_and(|due| now >= due) {
                return true;
            }
            if now - began >= self.busy_poll {
                return false;
            }
            std::hint::spin_loop();
        }
    }

    /// Copies completions out of the ring, so that nothing of it is borrowed while they are processed.
    fn reap(&self, ring: &mut IoUring) {
        let mut reaped = self.reaped.borrow_mut();
        let completions = ring.completion();
        reaped.extend(completions.map(|entry| Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
    }

    fn process_completions(&self) {
        let mut completions = std::mem::take(&mut *self.reaped.borrow_mut());
        for completion in completions.drain(..) {
            match completion.user_data {
                WAKE | IGNORED => {}
                EVENT => {
                    *self.event_buffer.borrow_mut() = None;
                    if !self.closing.get() {
                        self.arm_event();
                    }
                }
                key => self.complete(key as usize, completion.result, completion.flags),
            }
        }
        let mut reaped = self.reaped.borrow_mut();
        if reaped.is_empty() {
            // Back for reuse.
            *reaped = completions;
        }
    }

    /// Queues an entry; false when the run has ended.
    pub(super) fn push(&self, entry: &squeue::Entry) -> bool {
        let mut ring = self.ring.borrow_mut();
        let Some(ring) = ring.as_mut() else { return false };
        loop {
            // SAFETY: what the entry points to is owned by its slab entry (or by `event_buffer`), which outlives the operation.
            if unsafe { ring.submission().push(entry) }.is_ok() {
                return true;
            }
            // The queue is full: make room.
            self.enters.set(self.enters.get() + 1);
            if let Err(error) = ring.submit() {
                match error.raw_os_error() {
                    Some(libc::EINTR | libc::EAGAIN) => {}
                    // The kernel wants completions taken before it accepts more.
                    Some(libc::EBUSY) => self.reap(ring),
                    _ => {
                        tracing::error!(%error, "io_uring_enter failed");
                        return false;
                    }
                }
            }
        }
    }

    pub(super) fn cancel(&self, key: usize) {
        self.push(&opcode::AsyncCancel::new(key as u64).build().user_data(IGNORED));
    }

    pub(super) fn can_submit(&self) -> bool {
        self.ring.try_borrow_mut().is_ok_and(|ring| ring.is_some())
    }

    fn arm_event(&self) {
        let mut buffer = self.pool.buffer(8);
        let entry = opcode::Read::new(types::Fd(self.target.event()), buffer.as_kernel_pointer(), 8).build();
        *self.event_buffer.borrow_mut() = Some(buffer);
        self.push(&entry.user_data(EVENT));
    }

    /// Drops all tasks, cancels what is in flight and waits until the kernel has let go of every buffer.
    pub(super) fn shut_down(&self) {
        self.closing.set(true);
        self.executor.drop_all();
        self.cancel_all();
        self.push(&opcode::AsyncCancel::new(EVENT).build().user_data(IGNORED));
        while !self.operations_over() || self.event_buffer.borrow().is_some() {
            let due = self.now() + 100_000_000;
            if let Err(error) = self.enter(Wait::Until(Some(due))) {
                // The kernel may still write to buffers that would be freed now; there is no safe way on.
                tracing::error!(%error, "io_uring failed with operations in flight");
                std::process::abort();
            }
            self.process_completions();
            self.executor.drop_all();
        }
        let ring = self.ring.borrow_mut().take();
        drop(ring);
        let wakers = self.timers.borrow_mut().take_all();
        drop(wakers);
    }

    /// Whether nothing is in the kernel. What is left in the slab then has completed, and a handle outside the run holds it.
    fn operations_over(&self) -> bool {
        self.operations.borrow().iter().all(|(_, operation)| operation.is_over())
    }

    pub(super) fn register_file(&self, descriptor: RawFd) -> Option<u32> {
        let slot = self.free_files.borrow_mut().pop()?;
        let ring = self.ring.borrow();
        if ring.as_ref()?.submitter().register_files_update(slot, &[descriptor]).is_err() {
            self.free_files.borrow_mut().push(slot);
            return None;
        }
        Some(slot)
    }

    pub(super) fn unregister_file(&self, slot: u32) {
        if let Some(ring) = &*self.ring.borrow()
            && ring.submitter().register_files_update(slot, &[-1]).is_ok()
        {
            self.free_files.borrow_mut().push(slot);
        }
    }

    /// The buffers for multishot receives, if the kernel takes them.
    pub(super) fn provided(&self) -> Option<&Rc<Provided>> {
        if self.provided.get().is_none() {
            let made = Provided::register(self.ring.borrow().as_ref()?);
            match made {
                Ok(provided) => {
                    let _first = self.provided.set(provided);
                }
                Err(error) => {
                    tracing::warn!(%error, "no provided buffers; receiving one by one");
                    self.features.multishot_receive.set(false);
                }
            }
        }
        self.provided.get()
    }

    pub(crate) fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        if self.closing.get() {
            return self.executor.stillborn();
        }
        self.executor.spawn(GROUP, future)
    }

    pub(crate) fn now(&self) -> u64 {
        clock(libc::CLOCK_MONOTONIC)
    }

    pub(crate) fn turn_time(&self) -> u64 {
        self.turn_began.get()
    }

    pub(crate) fn unix_time(&self) -> UnixTime {
        UnixTime(clock(libc::CLOCK_REALTIME))
    }

    pub(crate) fn insert_timer(&self, due: u64, waker: Waker) -> TimerKey {
        self.timers.borrow_mut().insert(due, waker)
    }

    pub(crate) fn update_timer(&self, key: TimerKey, waker: &Waker) -> bool {
        match self.timers.borrow_mut().get_mut(key) {
            Some(known) => {
                known.clone_from(waker);
                true
            }
            None => false,
        }
    }

    pub(crate) fn remove_timer(&self, key: TimerKey) {
        self.timers.borrow_mut().remove(key);
    }

    pub(crate) fn fill_random(&self, bytes: &mut [u8]) {
        let mut randomness = self.randomness.borrow_mut();
        for byte in bytes {
            if randomness.used == randomness.bytes.len() {
                randomness.refill();
            }
            // Taken out, so that no number is handed out twice nor left in memory.
            let used = randomness.used;
            *byte = std::mem::take(&mut randomness.bytes[used]);
            randomness.used += 1;
        }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn enters(&self) -> u64 {
        self.enters.get()
    }
}

enum Wait {
    No,
    /// Until a completion comes, or at the latest until this time.
    Until(Option<u64>),
}

impl Randomness {
    fn refill(&mut self) {
        // SAFETY: the array is live and of the given length. Up to 256 bytes come whole, and without being interrupted.
        let count = unsafe { libc::getrandom(self.bytes.as_mut_ptr().cast(), self.bytes.len(), 0) };
        assert_eq!(count, self.bytes.len() as isize, "the kernel's generator gives 256 bytes at once");
        self.used = 0;
    }
}

fn clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live local.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(result, 0, "the kernel has this clock");
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}
