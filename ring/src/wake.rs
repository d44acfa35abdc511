//! Wakers without memory: a task's waker is its executor's slot, its index and its generation packed into one word. Cloning and dropping
//! cost nothing, a waker may outlive its task and its executor, and one that is stale wakes nobody or, at worst, somebody once in vain.

use crossbeam::queue::SegQueue;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::task::{RawWaker, RawWakerVTable, Waker};

/// Names a task: 24 bits of index, 24 bits of generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

const BITS: u32 = 24;
pub(crate) const GENERATION_MASK: u32 = (1 << BITS) - 1;

impl TaskId {
    fn pack(self, executor: u16) -> usize {
        const _: () = assert!(usize::BITS == 64, "a waker packs 64 bits into a pointer");
        (usize::from(executor) << (2 * BITS)) | ((self.generation as usize) << BITS) | self.index as usize
    }

    fn unpack(word: usize) -> (u16, TaskId) {
        let mask = GENERATION_MASK as usize;
        let id = TaskId { index: (word & mask) as u32, generation: ((word >> BITS) & mask) as u32 };
        ((word >> (2 * BITS)) as u16, id)
    }
}

/// What a waker reaches on the executor's own thread.
pub(crate) trait WakeLocal {
    fn wake(&self, task: TaskId);
}

/// What a waker reaches from other threads.
pub(crate) struct Remote {
    woken: SegQueue<TaskId>,
    /// Set by the owner before it sleeps in the kernel, cleared by whoever takes it on to interrupt that sleep.
    asleep: AtomicBool,
    interrupt: Box<dyn Fn() + Send + Sync>,
}

impl Remote {
    pub(crate) fn new(interrupt: impl Fn() + Send + Sync + 'static) -> Arc<Remote> {
        Arc::new(Remote { woken: SegQueue::new(), asleep: AtomicBool::new(false), interrupt: Box::new(interrupt) })
    }

    fn wake(&self, task: TaskId) {
        self.woken.push(task);
        if self.asleep.swap(false, Ordering::SeqCst) {
            (self.interrupt)();
        }
    }

    pub(crate) fn pop(&self) -> Option<TaskId> {
        self.woken.pop()
    }

    /// Announces sleep; false, and no sleep, if something was woken meanwhile. Every wake after a true answer interrupts.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        if self.woken.is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::SeqCst);
        false
    }

    /// Whether another thread has woken something that was not collected yet.
    pub(crate) fn is_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    pub(crate) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }
}

static EXECUTORS: RwLock<Vec<Option<Arc<Remote>>>> = RwLock::new(Vec::new());

thread_local! {
    static LOCAL: RefCell<Vec<(u16, Rc<dyn WakeLocal>)>> = const { RefCell::new(Vec::new()) };
}

/// An executor's place among those of the process; given up when dropped, on the thread that took it.
pub(crate) struct Registration {
    slot: u16,
    _not_send: std::marker::PhantomData<Rc<()>>,
}

impl Registration {
    pub(crate) fn new(remote: Arc<Remote>, local: Rc<dyn WakeLocal>) -> Registration {
        let mut executors = EXECUTORS.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let slot = executors.iter().position(Option::is_none).unwrap_or(executors.len());
        let number = u16::try_from(slot).expect("at most 65536 executors in a process");
        if slot == executors.len() {
            executors.push(None);
        }
        executors[slot] = Some(remote);
        drop(executors);
        LOCAL.with_borrow_mut(|local_executors| local_executors.push((number, local)));
        Registration { slot: number, _not_send: std::marker::PhantomData }
    }

    pub(crate) fn waker(&self, task: TaskId) -> Waker {
        let data = std::ptr::without_provenance(task.pack(self.slot));
        // SAFETY: the table's functions read `data` as a number only and are safe to call from any thread, any number of times.
        unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let local = LOCAL.try_with(|local| {
            let mut local = local.borrow_mut();
            local.iter().position(|(slot, _)| *slot == self.slot).map(|index| local.swap_remove(index))
        });
        let remote = EXECUTORS.write().unwrap_or_else(|poisoned| poisoned.into_inner())[usize::from(self.slot)].take();
        drop((local, remote));
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, forget);

fn clone(data: *const ()) -> RawWaker {
    RawWaker::new(data, &VTABLE)
}

fn wake(data: *const ()) {
    let (executor, task) = TaskId::unpack(data.addr());
    let local = LOCAL.try_with(|local| {
        let local = local.borrow();
        local.iter().find(|(slot, _)| *slot == executor).map(|(_, local)| local.clone())
    });
    if let Ok(Some(local)) = local {
        return local.wake(task);
    }
    let remote = {
        let executors = EXECUTORS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        executors.get(usize::from(executor)).and_then(Option::clone)
    };
    if let Some(remote) = remote {
        remote.wake(task);
    }
}

fn forget(_data: *const ()) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_task_unpacks_to_itself() {
        let task = TaskId { index: 0xAB_CDEF, generation: 0x12_3456 };
        assert_eq!(TaskId::unpack(task.pack(0xFEDC)), (0xFEDC, task));
    }

    #[test]
    fn a_wake_after_falling_asleep_interrupts_once() {
        use std::sync::atomic::AtomicU32;
        let interrupts = Arc::new(AtomicU32::new(0));
        let counted = interrupts.clone();
        let remote = Remote::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let task = TaskId { index: 1, generation: 1 };
        remote.wake(task);
        assert!(!remote.fall_asleep(), "something is ready");
        assert_eq!(remote.pop(), Some(task));
        assert!(remote.fall_asleep());
        remote.wake(task);
        remote.wake(task);
        assert_eq!(interrupts.load(Ordering::Relaxed), 1);
    }
}
