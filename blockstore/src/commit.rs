//! Group commit. Transactions gather while the group before them is being made durable; then they are the next group: one record, one
//! flush a device. No timers: an idle store commits a lone transaction at once, a busy one in groups as large as the device is slow.

use crate::allocator::Run;
use crate::error::{Error, Result};
use crate::inner::Inner;
use crate::limits::{
    BLOCK_BYTES, GROUP_BYTES_MAX, HELD_WRITE_BYTES_MAX, SEAL_AFTER, WAL_CHECKPOINT_SHARE, WAL_GROUP_SHARE,
};
use crate::object::ObjectKey;
use crate::sabotage::{Sabotage, sabotaged};
use crate::wal::{self, Header, Kind, Side};
use basalt_ring::local::{Event, Latencies, LatencyHistogram};
use basalt_ring::{BLOCK, Instant, Slice, StartedWrite};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// Transactions that become durable together.
pub(crate) struct Group {
    outcome: RefCell<Option<Result<()>>>,
    done: Event,
    /// The log position behind its record, once it is written.
    pub end_lsn: Cell<u64>,
    /// Objects it changes; readers of them wait for it.
    pub objects: RefCell<Vec<ObjectKey>>,
    times: Cell<CommitTimes>,
}

/// When a group got how far. Its data is on the way from the moment of the submission on, beside the record.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitTimes {
    /// Its record was handed to the device and has been written.
    pub recorded: Instant,
    /// So has all of its data.
    pub written: Instant,
    /// Both are flushed, as far as the devices need that.
    pub flushed: Instant,
}

/// How long groups took since the store was opened.
#[derive(Default)]
pub(crate) struct CommitHistograms {
    whole: LatencyHistogram,
    flush: LatencyHistogram,
}

/// Of the groups of transactions that were made durable together.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitFigures {
    /// From the moment that it was a group's turn until it was durable.
    pub whole: Latencies,
    /// Of that, the flush.
    pub flush: Latencies,
}

impl CommitHistograms {
    pub fn get(&self) -> CommitFigures {
        CommitFigures { whole: self.whole.get(), flush: self.flush.get() }
    }
}

impl Group {
    fn new() -> Rc<Group> {
        Rc::new(Group {
            outcome: RefCell::new(None),
            done: Event::new(),
            end_lsn: Cell::new(0),
            objects: RefCell::default(),
            times: Cell::default(),
        })
    }

    /// A group that is done and that nobody else looks at becomes a new one.
    fn begin_again(&self) {
        self.outcome.take();
        self.end_lsn.set(0);
        self.objects.borrow_mut().clear();
    }

    /// Of a group that is durable.
    pub fn times(&self) -> CommitTimes {
        self.times.get()
    }

    pub async fn durable(&self) -> Result<()> {
        loop {
            let done = self.done.wait();
            if let Some(outcome) = &*self.outcome.borrow() {
                return outcome.clone();
            }
            done.await;
        }
    }

    fn finish(&self, outcome: Result<()>) {
        *self.outcome.borrow_mut() = Some(outcome);
        self.done.notify_all();
    }
}

/// A group that still takes transactions, or waits for its turn.
struct Gathering {
    group: Rc<Group>,
    body: Vec<u8>,
    transactions: u32,
    data: Vec<DataWrite>,
}

/// Data of a transaction, on its way to where it is kept.
pub(crate) struct DataWrite {
    pub side: Side,
    pub run: Run,
    pub stage: DataStage,
}

pub(crate) enum DataStage {
    /// It goes out with the record. What is small, and comes while another group is in flight, waits for it: the record has yet to be written
    /// in any case, and neighbours that go out together are one write to the kernel and to the device.
    Held(Slice),
    Started(StartedWrite),
}

impl DataWrite {
    fn start(&mut self, inner: &Inner) {
        if let DataStage::Held(slice) = &self.stage {
            let write = inner.device(self.side).start_write(&inner.ring, self.run.at * BLOCK_BYTES, slice.clone());
            self.stage = DataStage::Started(write);
        }
    }
}

impl Gathering {
    /// With the memory of one that is done.
    fn new(spare: &mut Spare) -> Gathering {
        let group = spare.groups.iter().position(|group| Rc::strong_count(group) == 1);
        let group = match group.and_then(|index| spare.groups.remove(index)) {
            Some(group) => {
                group.begin_again();
                group
            }
            None => Group::new(),
        };
        Gathering {
            group,
            body: std::mem::take(&mut spare.body),
            transactions: 0,
            data: std::mem::take(&mut spare.data),
        }
    }
}

/// The memory of groups that are done.
#[derive(Default)]
struct Spare {
    body: Vec<u8>,
    data: Vec<DataWrite>,
    /// The last few, some of which somebody still looks at.
    groups: VecDeque<Rc<Group>>,
}

/// What is kept of it. A usual group is a few KiB.
const SPARE_BYTES_MAX: usize = 64 << 10;
const SPARE_WRITES_MAX: usize = 1024;
const SPARE_GROUPS_MAX: usize = 4;

/// The log's positions and its queue.
pub(crate) struct Log {
    store_id: [u8; 16],
    wal_blocks: u64,
    next_lsn: u64,
    /// Of the record before `next_lsn`; 0 if it is not known.
    link: u32,
    durable_lsn: u64,
    /// Everything before is called durable by a record that is durable itself: replay will not ask for its data.
    settled_lsn: u64,
    /// A mover waits for `settled_lsn` to reach `durable_lsn`.
    settle_wanted: bool,
    /// Where replay would begin: everything before may be overwritten.
    tail_lsn: u64,
    sealed: bool,
    closing: bool,
    stopped: bool,
    /// A group is being made durable.
    committing: bool,
    gathering: Gathering,
    spare: Spare,
    /// Full groups, or ones that a checkpoint closed, in order.
    closed: VecDeque<Gathering>,
    /// The newest group with a transaction.
    last: Option<Rc<Group>>,
    /// A transaction gathered, or closing.
    pub work: Event,
    /// A group was taken up, finished, or WAL space became free.
    pub progress: Event,
}

impl Log {
    pub fn new(store_id: [u8; 16], wal_blocks: u64, tail_lsn: u64, next_lsn: u64, link: u32) -> Log {
        Log {
            store_id,
            wal_blocks,
            next_lsn,
            link,
            durable_lsn: next_lsn,
            settled_lsn: 0,
            settle_wanted: false,
            tail_lsn,
            sealed: true,
            closing: false,
            stopped: false,
            committing: false,
            gathering: Gathering::new(&mut Spare::default()),
            spare: Spare::default(),
            closed: VecDeque::new(),
            last: None,
            work: Event::new(),
            progress: Event::new(),
        }
    }

    /// The largest body of a record.
    pub fn body_bytes_max(&self) -> usize {
        GROUP_BYTES_MAX.min((self.wal_blocks * BLOCK_BYTES / WAL_GROUP_SHARE) as usize - wal::HEADER_BYTES)
    }

    /// Whether a transaction of so many bytes may gather now. The log must have the place for its group already, since a checkpoint that
    /// holds the transaction waits for the group: a group that waited for the space the checkpoint makes would wait forever.
    pub fn has_room(&self, bytes: usize) -> bool {
        let body = self.gathering.body.len() + bytes;
        self.closed.is_empty()
            && (self.gathering.transactions == 0 || body <= self.body_bytes_max())
            && self.has_blocks(wal::record_blocks(body))
    }

    /// Place for such a record, a pad before it that is at most as long, and a seal.
    fn has_blocks(&self, blocks: u64) -> bool {
        2 * blocks < self.free_blocks()
    }

    /// Adds a transaction to the gathering group; its data is on the way already.
    pub fn gather(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>),
        data: impl Iterator<Item = DataWrite>,
        objects: &[ObjectKey],
    ) -> Rc<Group> {
        assert!(!self.closing, "a transaction after closing");
        encode(&mut self.gathering.body);
        self.gathering.transactions += 1;
        self.gathering.data.extend(data);
        let group = self.gathering.group.clone();
        group.objects.borrow_mut().extend_from_slice(objects);
        self.last = Some(group.clone());
        self.work.notify_all();
        group
    }

    /// Closes the gathering group, so that what comes later is not in its record. Returns the newest group with a transaction.
    pub fn close_group(&mut self) -> Option<Rc<Group>> {
        if self.gathering.transactions > 0 {
            let closed = self.begin_next();
            self.closed.push_back(closed);
        }
        self.last.clone()
    }

    /// The log's first record of this mount is durable.
    pub fn mounted(&mut self) {
        self.durable_lsn = self.next_lsn;
        self.settled_lsn = self.next_lsn;
    }

    pub fn last_group(&self) -> Option<Rc<Group>> {
        self.last.clone()
    }

    pub fn next_lsn(&self) -> u64 {
        self.next_lsn
    }

    /// A checkpoint covers everything before `lsn`.
    pub fn release(&mut self, lsn: u64) {
        assert!(lsn >= self.tail_lsn && lsn <= self.next_lsn);
        self.tail_lsn = lsn;
        self.progress.notify_all();
    }

    fn free_blocks(&self) -> u64 {
        self.wal_blocks - (self.next_lsn - self.tail_lsn)
    }

    pub fn wants_checkpoint(&self) -> bool {
        self.next_lsn - self.tail_lsn >= self.wal_blocks / WAL_CHECKPOINT_SHARE
    }

    pub fn close(&mut self) {
        self.closing = true;
        self.work.notify_all();
    }

    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Up to how many bytes a write is to wait for its group's turn.
    pub fn held_bytes_max(&self) -> usize {
        if self.committing { HELD_WRITE_BYTES_MAX } else { 0 }
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    fn take(&mut self) -> Option<Gathering> {
        let taken = match self.closed.pop_front() {
            Some(closed) => Some(closed),
            None if self.gathering.transactions > 0 => Some(self.begin_next()),
            None => None,
        };
        self.committing = taken.is_some();
        if taken.is_some() {
            self.progress.notify_all();
        }
        taken
    }

    /// Ends the gathering group.
    fn begin_next(&mut self) -> Gathering {
        std::mem::replace(&mut self.gathering, Gathering::new(&mut self.spare))
    }

    /// Takes back what a group that is done was gathered in.
    fn reuse(&mut self, group: Rc<Group>, mut body: Vec<u8>, data: Vec<DataWrite>) {
        if body.capacity() <= SPARE_BYTES_MAX && data.capacity() <= SPARE_WRITES_MAX {
            body.clear();
            (self.spare.body, self.spare.data) = (body, data);
        }
        if group.objects.borrow().capacity() <= SPARE_WRITES_MAX {
            self.spare.groups.push_back(group);
            if self.spare.groups.len() > SPARE_GROUPS_MAX {
                self.spare.groups.pop_front();
            }
        }
    }

    /// Blocks that a record takes at `next_lsn`, with the pad before it.
    fn room_for(&self, blocks: u64) -> (u64, u64) {
        let left = self.wal_blocks - self.next_lsn % self.wal_blocks;
        let pad = if blocks > left { left } else { 0 };
        (pad, blocks)
    }

    fn fail_all(&mut self, error: &Error) {
        let gathering = self.begin_next();
        for waiting in self.closed.drain(..).chain(std::iter::once(gathering)) {
            waiting.group.finish(Err(error.clone()));
        }
        self.stopped = true;
        self.progress.notify_all();
    }
}

/// The committer's task: one group after the other, until the store closes or is fenced.
pub(crate) async fn run(inner: Rc<Inner>) {
    loop {
        let work = inner.log.borrow().work.wait();
        if inner.fence_error().is_some() {
            break;
        }
        let taken = inner.log.borrow_mut().take();
        let Some(taken) = taken else {
            let (closing, sealed, settle) = {
                let log = inner.log.borrow();
                (log.closing, log.sealed, log.settle_wanted)
            };
            if closing {
                break;
            }
            let outcome = if settle {
                settle_now(&inner, sealed).await
            } else if sealed {
                work.await;
                Ok(())
            } else if inner.ring.timeout(SEAL_AFTER, work).await.is_err() {
                settle_now(&inner, false).await
            } else {
                Ok(())
            };
            if let Err(error) = outcome {
                inner.fence(&error);
                break;
            }
            continue;
        };
        let group = taken.group.clone();
        let outcome = commit(&inner, taken).await;
        inner.forget_pending(&group);
        if let Err(error) = &outcome {
            inner.fence(error);
            group.finish(Err(inner.fence_error().unwrap_or_else(|| error.clone())));
            break;
        }
        group.finish(Ok(()));
        inner.log.borrow().progress.notify_all();
        inner.look_at_checkpoint();
    }
    let error = inner.fence_error().unwrap_or_else(|| Error::Fenced("the store is closed".to_owned()));
    inner.log.borrow_mut().fail_all(&error);
    inner.pending.borrow_mut().clear();
    inner.space_freed.notify_all();
    inner.checkpoint_wanted.notify_all();
}

async fn commit(inner: &Rc<Inner>, mut gathered: Gathering) -> Result<()> {
    let taken = inner.ring.turn_time();
    let mut header = Header {
        lsn: 0,
        durable_lsn: 0,
        blocks: wal::record_blocks(gathered.body.len()) as u32,
        body_bytes: gathered.body.len() as u32,
        body_crc: 0,
        transactions: gathered.transactions,
        kind: Kind::Group,
        previous: 0,
    };
    for data in &mut gathered.data {
        data.start(inner);
    }
    let end_lsn = append(inner, &mut header, &gathered.body).await?;
    let recorded = inner.ring.turn_time();
    let mut base_written = false;
    let mut hot_written = false;
    for DataWrite { side, run, stage } in gathered.data.drain(..) {
        if let DataStage::Started(write) = stage
            && !sabotaged(Sabotage::AcknowledgeBeforeData)
        {
            write.await.map_err(|e| Error::device("write", inner.device(side), &e))?;
        }
        // The write has ended, and nobody reads what it wrote before the group is durable.
        inner.data_cache.borrow_mut().invalidate(side, run);
        match side {
            Side::Base => base_written = true,
            Side::Hot => hot_written = true,
        }
    }
    let written = inner.ring.turn_time();
    // Record and data are on their devices: one flush each makes the group durable.
    let index_side = inner.index_side();
    let flush_base = base_written && !sabotaged(Sabotage::FlushOnlyTheLogsDevice) || index_side == Side::Base;
    let flush_hot = hot_written || index_side == Side::Hot;
    if sabotaged(Sabotage::SkipGroupFlush) {
    } else if flush_base && flush_hot {
        let other = inner.clone();
        let base = inner.ring.spawn(async move { other.flush(Side::Base).await });
        let hot = inner.flush(Side::Hot).await;
        base.await?;
        hot?;
    } else if flush_base {
        inner.flush(Side::Base).await?;
    } else {
        inner.flush(Side::Hot).await?;
    }
    let flushed = inner.ring.turn_time();
    inner.commits.whole.observe(flushed.since(taken));
    inner.commits.flush.observe(flushed.since(written));
    gathered.group.times.set(CommitTimes { recorded, written, flushed });
    gathered.group.end_lsn.set(end_lsn);
    let mut log = inner.log.borrow_mut();
    log.durable_lsn = end_lsn;
    log.settled_lsn = header.durable_lsn;
    log.sealed = false;
    log.reuse(gathered.group, gathered.body, gathered.data);
    Ok(())
}

/// Takes everything durable out of doubt, durably: a seal that a power cut may take back would leave an acknowledged group in doubt for as
/// long as the store is idle, and a device that lost a write of it would go unnoticed.
async fn settle_now(inner: &Rc<Inner>, sealed: bool) -> Result<()> {
    if !sealed {
        write_seal(inner).await?;
    }
    inner.flush(inner.index_side()).await?;
    let mut log = inner.log.borrow_mut();
    // Nobody but the committer appends, so all that was appended is flushed now, the seal with it.
    log.durable_lsn = log.next_lsn;
    log.settled_lsn = log.durable_lsn;
    log.settle_wanted = false;
    log.progress.notify_all();
    Ok(())
}

/// Waits until everything applied so far is durable, and out of doubt: from then on its blocks may be overwritten in place. At replay a
/// record in doubt is taken only if its data is as it was written, and that would not be so any more.
pub(crate) async fn settle(inner: &Rc<Inner>) -> Result<()> {
    inner.barrier().await?;
    let target = inner.log.borrow().durable_lsn;
    loop {
        let progress = {
            let mut log = inner.log.borrow_mut();
            if log.settled_lsn >= target {
                return Ok(());
            }
            log.settle_wanted = true;
            log.work.notify_all();
            log.progress.wait()
        };
        if let Some(error) = inner.fence_error() {
            return Err(error);
        }
        if inner.log.borrow().stopped {
            return Err(Error::Fenced("the store is closed".to_owned()));
        }
        progress.await;
    }
}

/// Writes one record (and the pad before it) at the log's end; returns the position behind it. Not durable before a flush.
async fn append(inner: &Rc<Inner>, header: &mut Header, body: &[u8]) -> Result<u64> {
    let blocks = u64::from(header.blocks);
    let pad = loop {
        let progress = inner.log.borrow().progress.wait();
        {
            let mut log = inner.log.borrow_mut();
            let (pad, blocks) = log.room_for(blocks);
            if pad + blocks <= log.free_blocks() {
                header.lsn = log.next_lsn + pad;
                header.durable_lsn = log.durable_lsn;
                log.next_lsn += pad + blocks;
                break pad;
            }
        }
        if let Some(error) = inner.fence_error() {
            return Err(error);
        }
        inner.want_checkpoint();
        progress.await;
    };
    let (store_id, wal_blocks) = {
        let log = inner.log.borrow();
        (log.store_id, log.wal_blocks)
    };
    if pad > 0 {
        let header = Header {
            lsn: header.lsn - pad,
            durable_lsn: header.durable_lsn,
            blocks: pad as u32,
            body_bytes: 0,
            body_crc: 0,
            transactions: 0,
            kind: Kind::Pad,
            previous: inner.log.borrow().link,
        };
        inner.log.borrow_mut().link = header.link(&store_id);
        let mut block = inner.ring.buffer(BLOCK);
        block.fill(0);
        block[..wal::HEADER_BYTES].copy_from_slice(&header.encode(&store_id));
        inner.write_wal(header.lsn % wal_blocks, block.freeze()).await?;
        // A record never lies behind anything that a crash may take away: replay would end before it, and find it again in a later life.
        inner.flush(inner.index_side()).await?;
    }
    header.body_crc = wal::body_checksum(&store_id, header.lsn, body);
    header.previous = std::mem::take(&mut inner.log.borrow_mut().link);
    inner.log.borrow_mut().link = header.link(&store_id);
    let mut record = inner.ring.buffer(blocks as usize * BLOCK);
    record[..wal::HEADER_BYTES].copy_from_slice(&header.encode(&store_id));
    record[wal::HEADER_BYTES..wal::HEADER_BYTES + body.len()].copy_from_slice(body);
    record[wal::HEADER_BYTES + body.len()..].fill(0);
    let (position, record) = (header.lsn % wal_blocks, record.freeze());
    if sabotaged(Sabotage::AcknowledgeBeforeRecord) {
        let inner = inner.clone();
        inner.ring.clone().spawn(async move { inner.write_wal(position, record).await });
    } else {
        inner.write_wal(position, record).await?;
    }
    Ok(header.lsn + blocks)
}

/// Takes the last group out of doubt, once it is flushed.
pub(crate) async fn write_seal(inner: &Rc<Inner>) -> Result<()> {
    let mut header = Header {
        lsn: 0,
        durable_lsn: 0,
        blocks: 1,
        body_bytes: 0,
        body_crc: 0,
        transactions: 0,
        kind: Kind::Seal,
        previous: 0,
    };
    // Never waits for a checkpoint, which may be waiting for the committer. A log that is full is not idle for long.
    if inner.log.borrow().free_blocks() > 0 && !sabotaged(Sabotage::ForgetTheSeal) {
        append(inner, &mut header, &[]).await?;
    }
    inner.log.borrow_mut().sealed = true;
    Ok(())
}
