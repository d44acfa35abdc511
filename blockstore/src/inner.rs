//! The parts of an open store, and what every operation does with them: device access, index nodes on demand, fences, freed space.

use crate::allocator::Run;
use crate::commit::{CommitHistograms, Group, Log};
use crate::data_cache::DataCache;
use crate::error::{Error, Result};
use crate::index::{Missing, NodePointer};
use crate::limits::{BLOCK_BYTES, PENDING_FREE_SHARE};
use crate::object::{HotChange, ObjectId, ObjectKey};
use crate::replay::{self, Opened};
use crate::state::State;
use crate::store::{Devices, OpenOptions};
use crate::superblock::Superblock;
use crate::wal::Side;
use crate::written::{Purpose, WriteCounter};
use basalt_ring::local::{Event, KeyedLock, Semaphore};
use basalt_ring::{Device, DeviceKind, Ring, Slice, Task};
use foldhash::HashMap;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

/// The store's parts; each file of the crate adds what it does with them.
pub(crate) struct Inner {
    pub ring: Ring,
    pub options: OpenOptions,
    pub devices: Devices,
    pub superblock: RefCell<Superblock>,
    pub state: RefCell<State>,
    pub log: RefCell<Log>,
    pub locks: KeyedLock<ObjectKey>,
    /// Objects with a change that is not yet durable, and its group.
    pub pending: RefCell<HashMap<ObjectKey, Rc<Group>>>,
    pub fenced: RefCell<Option<String>>,
    pub checkpoints: Semaphore,
    pub checkpoint_wanted: Event,
    pub checkpoint_is_wanted: Cell<bool>,
    /// A checkpoint made freed space usable.
    pub space_freed: Event,
    /// An object was removed.
    pub removed: Event,
    pub flushing: RefCell<BTreeSet<ObjectId>>,
    /// Cloned by every mover that is at work since the last checkpoint began.
    pub movers: RefCell<Rc<()>>,
    pub mover_done: Event,
    pub checksum_errors: Cell<u64>,
    pub written: WriteCounter,
    pub commits: CommitHistograms,
    pub data_cache: RefCell<DataCache>,
    pub background_changes: RefCell<BTreeSet<(u32, ObjectId)>>,
    pub tasks: RefCell<Vec<Task<()>>>,
}

/// What one operation has loaded so far.
#[derive(Default)]
pub(crate) struct Loads {
    made_room: bool,
    failed: Option<NodePointer>,
}

/// Keeps freed space from being reused while a mover may still write to it.
pub(crate) struct Mover {
    token: Option<Rc<()>>,
    done: Event,
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.token.take();
        self.done.notify_all();
    }
}

impl Inner {
    /// What replay left, with nothing running yet.
    pub fn new(ring: &Ring, devices: Devices, options: OpenOptions, opened: Opened) -> Rc<Inner> {
        let Opened { superblock, mut state, next_lsn, link, .. } = opened;
        for (side, device) in [(Side::Base, Some(&devices.base)), (Side::Hot, devices.hot.as_ref())] {
            // One that has all its blocks already is as good as a device.
            if device.is_some_and(|device| device.info().kind == DeviceKind::File && device.info().discard) {
                state.allocator(side).grow_in_steps();
            }
        }
        let log = Log::new(superblock.store_id, superblock.layout.wal_blocks, superblock.replay_lsn, next_lsn, link);
        let features = superblock.features.upgraded();
        let data_cache_bytes = options.data_cache_bytes as usize;
        Rc::new(Inner {
            ring: ring.clone(),
            options,
            devices,
            superblock: RefCell::new(Superblock { features, ..superblock }),
            state: RefCell::new(state),
            log: RefCell::new(log),
            locks: KeyedLock::new(),
            pending: RefCell::default(),
            fenced: RefCell::new(None),
            checkpoints: Semaphore::new(1),
            checkpoint_wanted: Event::new(),
            checkpoint_is_wanted: Cell::new(false),
            space_freed: Event::new(),
            removed: Event::new(),
            flushing: RefCell::new(BTreeSet::new()),
            movers: RefCell::new(Rc::new(())),
            mover_done: Event::new(),
            checksum_errors: Cell::new(0),
            written: WriteCounter::default(),
            commits: CommitHistograms::default(),
            data_cache: RefCell::new(DataCache::new(data_cache_bytes)),
            background_changes: RefCell::default(),
            tasks: RefCell::new(Vec::new()),
        })
    }

    pub fn device(&self, side: Side) -> &Device {
        match (side, &self.devices.hot) {
            (Side::Hot, Some(hot)) => hot,
            _ => &self.devices.base,
        }
    }

    pub fn index_side(&self) -> Side {
        if self.devices.hot.is_some() { Side::Hot } else { Side::Base }
    }

    pub async fn write(&self, purpose: Purpose, side: Side, block: u64, data: Slice) -> Result<()> {
        let device = self.device(side);
        self.written.add(purpose, data.len() as u64);
        let run = Run { at: block, blocks: (data.len() as u64 / BLOCK_BYTES) as u32 };
        let holds_data = purpose == Purpose::Flush;
        if holds_data {
            self.data_cache.borrow_mut().invalidate(side, run);
        }
        let outcome = device.write(block * BLOCK_BYTES, data).await;
        if holds_data {
            self.data_cache.borrow_mut().invalidate(side, run);
        }
        outcome.map_err(|error| self.device_failed("write", device, &error))
    }

    /// A failed write or flush is never tried again, whoever asked for it: the device may have dropped what others wrote, and tell of it
    /// only once.
    fn device_failed(&self, operation: &'static str, device: &Device, error: &std::io::Error) -> Error {
        let error = Error::device(operation, device, error);
        self.fence(&error);
        error
    }

    /// `position`: block within the ring of the WAL.
    pub async fn write_wal(&self, position: u64, data: Slice) -> Result<()> {
        let at = self.superblock.borrow().layout.wal_at;
        self.write(Purpose::Log, self.index_side(), at + position, data).await
    }

    /// Makes completed writes durable, where the device needs to be told.
    pub async fn flush(&self, side: Side) -> Result<()> {
        let device = self.device(side);
        if !device.info().volatile_cache {
            return Ok(());
        }
        device.flush().await.map_err(|error| self.device_failed("flush", device, &error))
    }

    /// Runs `f` on the state, loading the nodes it misses.
    pub async fn index<T>(&self, mut f: impl FnMut(&mut State) -> Result<T, Missing>) -> Result<T> {
        let mut loads = Loads::default();
        loop {
            let outcome = f(&mut self.state.borrow_mut());
            match outcome {
                Ok(value) => return Ok(value),
                Err(missing) => self.load(missing, &mut loads).await?,
            }
        }
    }

    /// Reads a node that an operation needs. Memory is made only for its first, so that however small the cache is, an operation does not
    /// lose the nodes it has while it loads the next.
    pub async fn load(&self, Missing(child): Missing, loads: &mut Loads) -> Result<()> {
        let Some(pointer) = child.pointer.get() else { return Ok(()) };
        let store_id = self.superblock.borrow().store_id;
        let node = match replay::read_node(&self.ring, self.device(self.index_side()), &pointer, &store_id).await {
            Ok(node) => node,
            // It may have been replaced meanwhile, and its blocks have become another's: only one that is still wanted is damaged.
            Err(error) => return if loads.failed.replace(pointer) == Some(pointer) { Err(error) } else { Ok(()) },
        };
        let mut state = self.state.borrow_mut();
        if !std::mem::replace(&mut loads.made_room, true) {
            state.tree.shrink_cache();
        }
        state.tree.loaded(&child, node);
        Ok(())
    }

    /// What these objects hold on the hot device at the moment of the return: whoever is told can rely on not being told of it again later
    /// by a change that was before.
    pub async fn hot_now(&self, pool: u32, objects: &[ObjectId]) -> Result<Vec<HotChange>> {
        self.hot_of(&objects.iter().map(|object| (pool, *object)).collect::<Vec<_>>()).await
    }

    /// Waits until everything applied so far is durable.
    pub async fn barrier(&self) -> Result<()> {
        let group = self.log.borrow().last_group();
        match group {
            Some(group) => group.durable().await,
            None => Ok(()),
        }
    }

    pub fn forget_pending(&self, group: &Rc<Group>) {
        let mut pending = self.pending.borrow_mut();
        for object in group.objects.borrow().iter() {
            if pending.get(object).is_some_and(|newest| Rc::ptr_eq(newest, group)) {
                pending.remove(object);
            }
        }
    }

    /// Takes the store out of service: nothing is acknowledged any more.
    pub fn fence(&self, error: &Error) {
        let mut fenced = self.fenced.borrow_mut();
        if fenced.is_none() {
            tracing::error!(%error, "the store is fenced");
            *fenced = Some(error.to_string());
        }
        drop(fenced);
        let log = self.log.borrow();
        log.progress.notify_all();
        log.work.notify_all();
        self.checkpoint_wanted.notify_all();
        self.space_freed.notify_all();
        self.removed.notify_all();
    }

    /// A sector that cannot be read is just that; but from a device that is gone nothing more is to be had, and who only read from it would
    /// otherwise never say so.
    pub fn note_read_failure(&self, side: Side, error: &std::io::Error) {
        const ENXIO: i32 = 6;
        const ENODEV: i32 = 19;
        if matches!(error.raw_os_error(), Some(ENXIO | ENODEV)) {
            self.fence(&Error::device("read", self.device(side), error));
        }
    }

    pub fn fence_error(&self) -> Option<Error> {
        self.fenced.borrow().clone().map(Error::Fenced)
    }

    pub fn want_checkpoint(&self) {
        self.checkpoint_is_wanted.set(true);
        self.checkpoint_wanted.notify_all();
    }

    /// Starts a checkpoint if the log, the index or the freed space asks for one.
    pub fn look_at_checkpoint(&self) {
        let state = self.state.borrow();
        let wanted = self.log.borrow().wants_checkpoint()
            || state.tree.is_dirty_enough()
            || state.wants_nodes_written()
            || state.base.wants_release(PENDING_FREE_SHARE)
            || state.hot.as_ref().is_some_and(|hot| hot.wants_release(PENDING_FREE_SHARE));
        if wanted && !self.checkpoint_is_wanted.get() {
            self.want_checkpoint();
        }
    }

    /// After a checkpoint and at the start, when it is known how large the index is.
    pub fn settle_index_room(&self) {
        let least = replay::index_zone(&self.superblock.borrow().layout, self.index_side());
        self.state.borrow_mut().settle_zone(least);
    }

    pub fn movers(&self) -> Mover {
        Mover { token: Some(self.movers.borrow().clone()), done: self.mover_done.clone() }
    }

    /// Ends an era of movers: the token of those that began before now.
    pub fn next_movers(&self) -> Rc<()> {
        std::mem::replace(&mut *self.movers.borrow_mut(), Rc::new(()))
    }

    pub async fn movers_gone(&self, era: Rc<()>) {
        loop {
            let done = self.mover_done.wait();
            if Rc::strong_count(&era) == 1 {
                return;
            }
            done.await;
        }
    }

    pub fn count_checksum_error(&self, error: &Error) {
        tracing::error!(%error, "data is damaged");
        self.checksum_errors.set(self.checksum_errors.get() + 1);
    }

    pub fn no_space(&self, side: Side, wanted_blocks: u64, free_blocks: u64) -> Error {
        Error::NoSpace {
            wanted: wanted_blocks * BLOCK_BYTES,
            free: free_blocks * BLOCK_BYTES,
            device: self.device(side).path().display().to_string(),
        }
    }

    /// Objects whose bytes on the hot device changed, or may have, without a caller who is told.
    pub fn report_hot(&self, objects: impl IntoIterator<Item = (u32, ObjectId)>) {
        self.background_changes.borrow_mut().extend(objects);
    }

    /// As `result` is; when it failed on the way, some of the objects may have changed all the same.
    pub fn report_failed<T>(&self, pool: u32, objects: impl Iterator<Item = ObjectId>, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.report_hot(objects.map(|object| (pool, object)));
        }
        result
    }

    /// What these objects hold on the hot device at the moment of the return.
    pub async fn hot_of(&self, objects: &[(u32, ObjectId)]) -> Result<Vec<HotChange>> {
        self.index(|state| {
            objects.iter().map(|(pool, object)| Ok(state.hot_summary(*pool, *object)?.change(*pool, *object))).collect()
        })
        .await
    }
}
