//! A simulated disk: what reads see, what is durable, and the writes between the two.

mod handle;
mod operation;

pub(crate) use handle::OpenDisk;

use super::faults::{Faults, FlushFault, ReadFault, WriteFault};
use super::image::Image;
use super::power_failure::Supply;
use super::process::Host;
use super::random::Random;
use super::world::{Event, Shared};
use super::{DiskEvent, Recording, crash};
use crate::device::{DeviceInfo, DeviceOptions};
use crate::limits::SIMULATED_CACHE_BYTES_MAX;
use operation::{Kind, Operation, Reply};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const MICROSECOND: u64 = 1000;

pub(crate) struct DiskState {
    path: PathBuf,
    info: DeviceInfo,
    inner: RefCell<Inner>,
}

struct Inner {
    /// What a read sees.
    current: Image,
    /// What a power cut leaves if no cached write survives.
    durable: Image,
    /// Completed writes that are not durable, in the order they completed.
    cached: VecDeque<CachedWrite>,
    cached_bytes: usize,
    /// Completed writes so far; a flush covers those before its submission.
    completed: u64,
    in_flight: BTreeMap<u64, Operation>,
    next_operation: u64,
    next_write: u64,
    /// Writes that the cache wrote back by itself since the last flush.
    written_back: Vec<u64>,
    recording: Option<(usize, Recording)>,
    faults: Faults,
    supply: Option<Rc<Supply>>,
    /// Grows with every power cut and when the device vanishes; handles of an earlier one are dead.
    epoch: u64,
    /// Handles of earlier epochs are of before the device vanished.
    vanished: u64,
    exclusive: bool,
}

pub(super) struct CachedWrite {
    write: u64,
    number: u64,
    pub(super) offset: u64,
    pub(super) data: Rc<[u8]>,
}

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl DiskState {
    pub(super) fn new(path: PathBuf, info: DeviceInfo) -> DiskState {
        let inner = Inner {
            current: Image::new(info.size),
            durable: Image::new(info.size),
            cached: VecDeque::new(),
            cached_bytes: 0,
            completed: 0,
            in_flight: BTreeMap::new(),
            next_operation: 0,
            next_write: 0,
            written_back: Vec::new(),
            recording: None,
            faults: Faults::default(),
            supply: None,
            epoch: 0,
            vanished: 0,
            exclusive: false,
        };
        DiskState { path, info, inner: RefCell::new(inner) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn info(&self) -> &DeviceInfo {
        &self.info
    }

    pub(super) fn open(self: &Rc<Self>, host: &Rc<Host>, options: &DeviceOptions) -> io::Result<Rc<OpenDisk>> {
        let mut inner = self.inner.borrow_mut();
        if inner.faults.is_gone() {
            return Err(errno(libc::ENODEV));
        }
        if options.exclusive {
            if inner.exclusive {
                return Err(errno(libc::EBUSY));
            }
            inner.exclusive = true;
        }
        let (write, exclusive, epoch) = (options.write, options.exclusive, inner.epoch);
        Ok(Rc::new(OpenDisk::new(self, host, epoch, write, exclusive)))
    }

    fn submit(self: &Rc<Self>, shared: &Shared, latency: u64, operation: Operation) {
        {
            let mut inner = self.inner.borrow_mut();
            let number = inner.next_operation;
            inner.next_operation += 1;
            let due = shared.now() + inner.faults.delay(latency, &operation.kind.range());
            inner.in_flight.insert(number, operation);
            shared.schedule(due, Event::Disk { disk: self.clone(), operation: number });
        }
        self.tell_supply(shared);
    }

    pub(super) fn supply_from(&self, supply: &Rc<Supply>) {
        self.inner.borrow_mut().supply = Some(supply.clone());
    }

    /// Something happens here: perhaps the power fails with it.
    fn tell_supply(&self, shared: &Shared) {
        let supply = self.inner.borrow().supply.clone();
        if let Some(supply) = supply {
            supply.event(shared);
        }
    }

    fn latency(&self, shared: &Shared) -> u64 {
        let mut random = shared.random.borrow_mut();
        let usual = if self.info.rotational {
            random.between(1000 * MICROSECOND, 15_000 * MICROSECOND)
        } else {
            random.between(20 * MICROSECOND, 200 * MICROSECOND)
        };
        // Now and then a device is far slower than usual.
        if random.chance(1) { usual * 20 } else { usual }
    }

    /// An operation's time has come.
    pub(super) fn complete(self: &Rc<Self>, shared: &Shared, operation: u64) {
        {
            let inner = &mut *self.inner.borrow_mut();
            let Some(hanging) = inner.in_flight.get(&operation) else {
                return; // A power cut or a kill ended it.
            };
            if inner.faults.holds(operation, &hanging.kind.range()) {
                return;
            }
        }
        self.tell_supply(shared);
        let Some(Operation { device, kind }) = self.inner.borrow_mut().in_flight.remove(&operation) else {
            return; // The power failed just now.
        };
        match kind {
            Kind::Read { offset, mut buffer, fault, reply } => {
                let result = self.inner.borrow().read(offset, fault, &mut buffer);
                reply.send((result, buffer));
            }
            Kind::Write { write, offset, data, fault, reply } => {
                let result = self.finish_write(shared, write, offset, data, fault);
                Reply::settle(&reply, result);
            }
            Kind::Flush { covers, fault, reply } => {
                let result = self.inner.borrow_mut().flush(covers, fault);
                reply.send(result);
            }
        }
        drop(device);
    }

    fn finish_write(
        &self,
        shared: &Shared,
        write: u64,
        offset: u64,
        data: Rc<[u8]>,
        fault: Option<WriteFault>,
    ) -> io::Result<()> {
        let mut inner = self.inner.borrow_mut();
        if let Some(code) = inner.faults.write_error(fault, &(offset..offset + data.len() as u64)) {
            // A failed write may have left anything between nothing and all of itself, for good.
            let mut random = shared.random.borrow_mut();
            let Inner { current, durable, faults, .. } = &mut *inner;
            crash::survive(&mut random, offset, &data, |offset, bytes| {
                faults.overwrite(current, offset, bytes.len());
                current.write(offset, bytes);
                durable.write(offset, bytes);
            });
            return Err(errno(code));
        }
        let end = self.info.size - data.len() as u64;
        let (place, data) = match fault {
            Some(WriteFault::Lost) => {
                inner.log(DiskEvent::WriteCompleted { write });
                return Ok(());
            }
            Some(WriteFault::Torn) => {
                let mut mixed = vec![0; data.len()];
                inner.current.read(offset, &mut mixed);
                crash::survive(&mut shared.random.borrow_mut(), 0, &data, |at, bytes| {
                    mixed[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
                });
                (offset, Rc::from(mixed))
            }
            Some(WriteFault::Shifted(shift)) => (offset.saturating_add_signed(shift).min(end), data),
            Some(WriteFault::Elsewhere(place)) => (place.min(end), data),
            Some(WriteFault::Fails(_)) | None => (offset, data),
        };
        let Inner { current, faults, .. } = &mut *inner;
        faults.overwrite(current, place, data.len());
        inner.current.write(place, &data);
        inner.log(DiskEvent::WriteCompleted { write });
        inner.completed += 1;
        if !self.info.volatile_cache {
            inner.durable.write(place, &data);
            inner.log(DiskEvent::Flushed { durable: Rc::from([write]) });
            return Ok(());
        }
        let number = inner.completed;
        inner.cached_bytes += data.len();
        inner.cached.push_back(CachedWrite { write, number, offset: place, data });
        while inner.cached_bytes > SIMULATED_CACHE_BYTES_MAX {
            if let Some(write) = inner.write_back() {
                inner.written_back.push(write);
            }
        }
        Ok(())
    }

    /// The operations of a process that is killed: writes that were in flight are done or not, reads are over.
    pub(super) fn end_operations(&self, shared: &Shared, host: &Rc<Host>) {
        let belongs = |operation: &Operation| operation.device.belongs_to(host);
        self.end(shared, libc::ECANCELED, belongs);
    }

    /// Ends operations in flight with an error; writes among them are done or not.
    fn end(&self, shared: &Shared, code: i32, which: impl Fn(&Operation) -> bool) {
        let ended: Vec<Operation> = {
            let mut inner = self.inner.borrow_mut();
            let keys: Vec<u64> = inner.in_flight.iter().filter(|(_, it)| which(it)).map(|(key, _)| *key).collect();
            keys.into_iter().filter_map(|key| inner.in_flight.remove(&key)).collect()
        };
        for operation in ended {
            if let Kind::Write { write, offset, data, fault, .. } = &operation.kind
                && shared.chance(50)
            {
                let _nobody_hears = self.finish_write(shared, *write, *offset, data.clone(), *fault);
            }
            operation.fail(code);
        }
    }

    pub(super) fn vanish(&self, shared: &Shared) {
        {
            let mut inner = self.inner.borrow_mut();
            inner.epoch += 1;
            inner.vanished = inner.epoch;
            inner.exclusive = false;
        }
        self.end(shared, libc::ENODEV, |_| true);
    }

    /// Completes what hung, as if its time had come now.
    pub(super) fn release(self: &Rc<Self>, shared: &Shared) {
        let held = self.inner.borrow_mut().faults.release();
        for operation in held {
            shared.schedule(shared.now(), Event::Disk { disk: self.clone(), operation });
        }
    }

    pub(super) fn with_faults<T>(&self, f: impl FnOnce(&mut Faults) -> T) -> T {
        f(&mut self.inner.borrow_mut().faults)
    }

    /// Forgets operations in flight without answering them, when the world ends.
    pub(super) fn abandon(&self) {
        let operations = std::mem::take(&mut self.inner.borrow_mut().in_flight);
        drop(operations);
    }

    pub(super) fn power_cut(&self, random: &mut Random) {
        let ended = {
            let mut inner = self.inner.borrow_mut();
            let inner = &mut *inner;
            let mut unacknowledged: Vec<(u64, Rc<[u8]>)> = Vec::new();
            for operation in inner.in_flight.values() {
                if let Kind::Write { offset, data, fault: None, .. } = &operation.kind {
                    unacknowledged.push((*offset, data.clone()));
                }
            }
            random.shuffle(&mut unacknowledged);
            let cached = inner.cached.drain(..).map(|write| (write.offset, write.data));
            for (offset, data) in cached.chain(unacknowledged) {
                crash::survive(random, offset, &data, |offset, bytes| inner.durable.write(offset, bytes));
            }
            inner.current = inner.durable.clone();
            inner.cached_bytes = 0;
            inner.written_back.clear();
            inner.recording = None;
            inner.supply = None;
            inner.epoch += 1;
            inner.exclusive = false;
            std::mem::take(&mut inner.in_flight)
        };
        for operation in ended.into_values() {
            operation.fail(libc::EIO);
        }
    }

    pub(super) fn snapshot(&self) -> Image {
        self.inner.borrow().current.clone()
    }

    pub(super) fn restore(&self, image: Image) {
        assert_eq!(image.size(), self.info.size, "an image must have its disk's size");
        let mut inner = self.inner.borrow_mut();
        inner.faults.replace(&image);
        inner.durable = image.clone();
        inner.current = image;
        inner.cached.clear();
        inner.cached_bytes = 0;
        inner.written_back.clear();
    }

    pub(super) fn flip(&self, offset: u64, mask: u8) {
        let inner = &mut *self.inner.borrow_mut();
        for image in [&mut inner.current, &mut inner.durable] {
            let mut byte = [0];
            image.read(offset, &mut byte);
            image.write(offset, &[byte[0] ^ mask]);
        }
    }

    pub(super) fn record(&self, disk: usize, recording: Recording) {
        self.inner.borrow_mut().recording = Some((disk, recording));
    }

    pub(super) fn mark(&self, mark: u64) {
        self.inner.borrow_mut().log(DiskEvent::Mark(mark));
    }

    pub(super) fn take_events(&self) -> Vec<DiskEvent> {
        let recording = self.inner.borrow().recording.clone();
        recording
            .map(|(_, recording)| recording.take())
            .unwrap_or_default()
            .into_iter()
            .map(|(_, event)| event)
            .collect()
    }
}

impl Inner {
    fn log(&mut self, event: DiskEvent) {
        if let Some((disk, recording)) = &self.recording {
            recording.push(*disk, event);
        }
    }

    fn read(&self, offset: u64, fault: Option<ReadFault>, bytes: &mut [u8]) -> io::Result<()> {
        if let Some(code) = self.faults.read_error(fault, &(offset..offset + bytes.len() as u64)) {
            return Err(errno(code));
        }
        self.current.read(offset, bytes);
        self.faults.make_stale(fault, offset, bytes);
        Ok(())
    }

    /// Makes the oldest cached write durable.
    fn write_back(&mut self) -> Option<u64> {
        let cached = self.cached.pop_front()?;
        self.cached_bytes -= cached.data.len();
        self.durable.write(cached.offset, &cached.data);
        Some(cached.write)
    }

    fn flush(&mut self, covers: u64, fault: Option<FlushFault>) -> io::Result<()> {
        if let Some(outcome) = self.faults.flush_outcome(fault) {
            return outcome.map_err(errno);
        }
        let mut durable = std::mem::take(&mut self.written_back);
        while self.cached.front().is_some_and(|write| write.number <= covers) {
            durable.extend(self.write_back());
        }
        self.log(DiskEvent::Flushed { durable: durable.into() });
        Ok(())
    }
}
