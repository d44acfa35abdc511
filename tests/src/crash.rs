//! Crash enumeration: every short sequence of operations, a power cut at every point of it, and for each point what a disk may keep of the
//! writes that were not flushed: any subset, whole or torn at 512 bytes, in any order.
//!
//! A sequence runs once on simulated disks that record what happens. From the recording the images that a power cut could leave are
//! made, without running anything again. Each is opened, checked by fsck, and compared with the reference model: it must hold all
//! that was acknowledged before the cut, and beyond that a prefix of what was under way.

use crate::model::{self, Model, Step};
use crate::random::Random;
use crate::simulated_store::{self as simulated, Shape, SimulatedStore};
use basalt_blockstore::{ObjectId, ObjectKey, Placement, Store};
use basalt_ring::Ring;
use basalt_ring::sim::{DiskEvent, Image, Recording};
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

const POOL: u32 = 1;
const SECTOR: usize = 512;

/// What a sequence is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    WriteHot,
    WriteBase,
    WriteUnaligned,
    Append,
    Truncate,
    Zero,
    Remove,
    Attributes,
    Clone,
    Share,
    Small,
    Flush,
    Gather,
    Evict,
    Promote,
    Checkpoint,
}

pub const KINDS: [Kind; 16] = [
    Kind::WriteHot,
    Kind::WriteBase,
    Kind::WriteUnaligned,
    Kind::Append,
    Kind::Truncate,
    Kind::Zero,
    Kind::Remove,
    Kind::Attributes,
    Kind::Clone,
    Kind::Share,
    Kind::Small,
    Kind::Flush,
    Kind::Gather,
    Kind::Evict,
    Kind::Promote,
    Kind::Checkpoint,
];

/// How much of the space of images to look at.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Longest sequence.
    pub depth: usize,
    /// Survivor subsets for each crash point, at most.
    pub subsets: usize,
    /// Of the sequences, one in so many.
    pub one_in: u64,
    /// Which of them, and how subsets are chosen where there are more than `subsets`.
    pub seed: u64,
    /// This worker of so many.
    pub part: (u64, u64),
    /// Only this sequence: to replay a failure.
    pub sequence: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub sequences: u64,
    pub crash_points: u64,
    pub images: u64,
    /// Images that differ from all others of their sequence.
    pub distinct: u64,
}

impl Counts {
    pub fn add(&mut self, other: Counts) {
        self.sequences += other.sequences;
        self.crash_points += other.crash_points;
        self.images += other.images;
        self.distinct += other.distinct;
    }
}

fn object(name: &str) -> ObjectKey {
    ObjectKey { pool: POOL, pg: 0, name: name.as_bytes().into() }
}

/// The steps of a kind on the object it works on; movers and checkpoints have none.
fn steps(kind: Kind, at: usize) -> Option<(ObjectKey, Vec<Step>)> {
    let fill = |length: usize| vec![b'A' + at as u8; length];
    let warm = object("warm");
    Some(match kind {
        Kind::WriteHot => (warm, vec![Step::Write { offset: 4096, data: fill(8192) }]),
        Kind::WriteBase => (warm, vec![Step::Write { offset: 0, data: fill(8192) }]),
        Kind::WriteUnaligned => (warm, vec![Step::Write { offset: 3000, data: fill(3000) }]),
        Kind::Append => (warm, vec![Step::Append { data: fill(5000) }]),
        Kind::Truncate => (warm, vec![Step::Truncate { size: 6000 }]),
        Kind::Zero => (warm, vec![Step::Zero { offset: 2000, length: 9000 }]),
        Kind::Remove => (warm, vec![Step::Touch, Step::Remove]),
        Kind::Attributes => (
            warm,
            vec![
                Step::SetXattr { name: b"name".to_vec(), value: fill(40) },
                Step::SetOmap { key: fill(3), value: fill(30) },
            ],
        ),
        Kind::Clone => (
            object("copy"),
            vec![Step::CloneRange { source: object("cold"), source_offset: 100, offset: 50, length: 7000 }],
        ),
        // Whole blocks, dirty, clean and cold ones, that both have from then on.
        Kind::Share => {
            (object("copy"), vec![Step::CloneRange { source: warm, source_offset: 0, offset: 0, length: 20_000 }])
        }
        // Twice it fits into the index, the third time it does not any more.
        Kind::Small => (object("small"), vec![Step::Write { offset: 900 * at as u64, data: fill(700) }]),
        Kind::Flush | Kind::Gather | Kind::Evict | Kind::Promote | Kind::Checkpoint => return None,
    })
}

/// All sequences of up to `depth` kinds; the number of each names it.
fn sequence(mut number: u64, depth: usize) -> Vec<Kind> {
    for length in 1..=depth {
        let count = (KINDS.len() as u64).pow(length as u32);
        if number < count {
            return (0..length)
                .map(|_| {
                    let kind = KINDS[(number % KINDS.len() as u64) as usize];
                    number /= KINDS.len() as u64;
                    kind
                })
                .collect();
        }
        number -= count;
    }
    Vec::new()
}

/// The number of a sequence, whatever depth it is looked for in.
pub fn number(kinds: &[Kind]) -> u64 {
    let base = KINDS.len() as u64;
    let shorter: u64 = (1..kinds.len() as u32).map(|length| base.pow(length)).sum();
    let place = |kind: &Kind| KINDS.iter().position(|one| one == kind).unwrap_or(0) as u64;
    shorter + kinds.iter().rev().fold(0, |number, kind| number * base + place(kind))
}

pub fn sequences(depth: usize) -> u64 {
    (1..=depth as u32).map(|length| (KINDS.len() as u64).pow(length)).sum()
}

/// A store with something dirty, something clean and something cold, to begin each sequence from.
struct Beginning {
    shape: Shape,
    images: Vec<Image>,
    model: Model,
}

fn disks(sim: &SimulatedStore) -> Vec<&basalt_ring::sim::Disk> {
    std::iter::once(&sim.base).chain(&sim.hot).collect()
}

fn prepare(shape: Shape) -> Beginning {
    let mut sim = SimulatedStore::new(1, shape);
    let ring = sim.ring();
    sim.world.block_on(async { simulated::format(&ring, shape, 1).await.expect("format") });
    sim.restart();
    let ring = sim.ring();
    let mut model = Model::default();
    sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await.expect("open");
        for (name, length) in [("cold", 12_000), ("warm", 20_000)] {
            let write = [Step::Write { offset: 0, data: name.repeat(length / 4).into_bytes() }];
            transact(&ring, &store, &object(name), &write, Placement::Hot).await;
            assert!(model.apply(&object(name), &write));
            let (hot, _) = store.list_hot((0, ObjectId(0)), 10).await.expect("list_hot");
            let ids: Vec<ObjectId> = hot.iter().map(|change| change.object).collect();
            store.flush(&ids, POOL).await.expect("flush");
            if name == "cold" {
                store.evict(&ids, POOL).await.expect("evict");
            }
        }
        // Over the clean copy of "warm", something dirty.
        let write = [Step::Write { offset: 8192, data: vec![b'd'; 4096] }];
        transact(&ring, &store, &object("warm"), &write, Placement::Hot).await;
        assert!(model.apply(&object("warm"), &write));
        store.close().await.expect("close");
    });
    let images = disks(&sim).into_iter().map(|disk| disk.snapshot()).collect();
    Beginning { shape, images, model }
}

async fn transact(ring: &Ring, store: &Store, object: &ObjectKey, steps: &[Step], placement: Placement) {
    let commit = submit(ring, store, object, steps, placement).await.expect("healthy disks");
    commit.durable().await.expect("healthy disks");
}

async fn submit(
    ring: &Ring,
    store: &Store,
    object: &ObjectKey,
    steps: &[Step],
    placement: Placement,
) -> basalt_blockstore::Result<basalt_blockstore::Commit> {
    let mut transaction = store.begin(&model::objects_of(object, steps)).await;
    model::stage(ring, &mut transaction, object, steps);
    transaction.prepare(placement).await?.submit().await
}

/// A sequence as it ran: what the disks saw, and the states it went through.
struct Run {
    /// What was durable when the recording began: opening ends with a flush.
    images: Vec<Image>,
    events: Vec<(usize, DiskEvent)>,
    /// State 0 is the beginning; state n is after the n-th transaction.
    states: Vec<Model>,
}

/// Marks in the recording: so many states begun (even), acknowledged (odd).
fn begun(state: usize) -> u64 {
    state as u64 * 2
}

fn acknowledged(state: usize) -> u64 {
    state as u64 * 2 + 1
}

fn record(beginning: &Beginning, kinds: &[Kind], pipelined: bool, seed: u64) -> Run {
    let shape = beginning.shape;
    let sim = SimulatedStore::new(seed, shape);
    for (disk, image) in disks(&sim).into_iter().zip(&beginning.images) {
        disk.restore(image.clone());
    }
    let ring = sim.ring();
    let store = sim.world.block_on(async { simulated::open(&ring, shape).await.expect("open") });
    let images = disks(&sim).into_iter().map(|disk| disk.snapshot()).collect();
    let recording = Recording::of(&disks(&sim));
    let states =
        sim.world.block_on(run(ring, store, beginning.model.clone(), kinds.to_vec(), pipelined, recording.clone()));
    Run { images, events: recording.take(), states }
}

async fn run(
    ring: Ring,
    store: Store,
    model: Model,
    kinds: Vec<Kind>,
    pipelined: bool,
    recording: Recording,
) -> Vec<Model> {
    let mut states = vec![model];
    let newest_acknowledged = Rc::new(Cell::new(0));
    let mut in_flight = Vec::new();
    for (at, kind) in kinds.into_iter().enumerate() {
        if let Some((object, steps)) = steps(kind, at) {
            let mut after = states[states.len() - 1].clone();
            if !after.apply(&object, &steps) {
                continue;
            }
            let state = states.len();
            recording.mark(begun(state));
            states.push(after);
            let placement = if kind == Kind::WriteBase { Placement::Base } else { Placement::Hot };
            let commit = submit(&ring, &store, &object, &steps, placement).await.expect("healthy disks");
            let (recording, newest) = (recording.clone(), newest_acknowledged.clone());
            in_flight.push(ring.spawn(async move {
                commit.durable().await.expect("healthy disks");
                if newest.get() < state {
                    newest.set(state);
                    recording.mark(acknowledged(state));
                }
            }));
        } else {
            let store = store.clone();
            in_flight.push(ring.spawn(async move { background(&store, kind).await }));
        }
        if !pipelined {
            for task in in_flight.drain(..) {
                task.await;
            }
        }
    }
    for task in in_flight {
        task.await;
    }
    states
}

async fn background(store: &Store, kind: Kind) {
    let (hot, _) = store.list_hot((0, ObjectId(0)), 10).await.expect("list_hot");
    let ids: Vec<ObjectId> = hot.iter().map(|change| change.object).collect();
    match kind {
        Kind::Flush => store.flush(&ids, POOL).await.map(drop),
        Kind::Gather => store.flush_gathering(&ids, POOL).await.map(drop),
        Kind::Evict => store.evict(&ids, POOL).await.map(drop),
        Kind::Promote => store.promote(&object("cold"), 0, 12_000).await.map(drop),
        _ => store.checkpoint().await,
    }
    .expect("healthy disks");
}

type Write = (u64, Rc<[u8]>);

/// What was written and is not durable, and what is, at one point of the recording.
#[derive(Clone)]
struct Point {
    durable: Vec<Image>,
    /// Counts the changes of `durable`.
    version: u64,
    /// By disk and write: where, and what.
    unflushed: BTreeMap<(usize, u64), Write>,
    begun: usize,
    acknowledged: usize,
}

impl Point {
    /// Whether what a power cut may leave, or must, is different after the event.
    fn step(&mut self, disk: usize, event: &DiskEvent) -> bool {
        match event {
            DiskEvent::WriteSubmitted { write, offset, data } => {
                self.unflushed.insert((disk, *write), (*offset, data.clone()));
            }
            DiskEvent::WriteCompleted { .. } => return false,
            DiskEvent::Flushed { durable } => {
                for write in durable.iter() {
                    if let Some((offset, data)) = self.unflushed.remove(&(disk, *write)) {
                        self.durable[disk].write(offset, &data);
                        self.version += 1;
                    }
                }
            }
            DiskEvent::Mark(mark) if mark % 2 == 0 => self.begun = self.begun.max((mark / 2) as usize),
            DiskEvent::Mark(mark) => self.acknowledged = self.acknowledged.max((mark / 2) as usize),
        }
        true
    }

    /// The survivors of one choice: bit n of `whole` keeps write n; with `torn`, some are kept only in part.
    fn survivors(&self, whole: u64, torn: Option<&mut Random>) -> Vec<(usize, u64, &[u8])> {
        let mut survivors: Vec<(usize, u64, &[u8])> = Vec::new();
        let writes = self.unflushed.iter().enumerate();
        let kept = writes.filter(|(index, _)| whole >> (index % 64) & 1 == 1);
        let kept: Vec<_> = kept.map(|(_, ((disk, _), (offset, data)))| (*disk, *offset, data)).collect();
        match torn {
            None => survivors.extend(kept.into_iter().map(|(disk, offset, data)| (disk, offset, &data[..]))),
            Some(random) => {
                for (disk, offset, data) in kept {
                    let tear = random.chance(60);
                    for (sector, bytes) in data.chunks(SECTOR).enumerate() {
                        if !tear || random.chance(50) {
                            survivors.push((disk, offset + (sector * SECTOR) as u64, bytes));
                        }
                    }
                }
            }
        }
        survivors
    }

    fn images(&self, survivors: &[(usize, u64, &[u8])]) -> Vec<Image> {
        let mut images = self.durable.clone();
        for (disk, offset, bytes) in survivors {
            images[*disk].write(*offset, bytes);
        }
        images
    }
}

/// Runs the enumeration; panics, naming the sequence and the choice, at the first image that is not what it must be.
pub fn enumerate(extent: &Extent) -> Counts {
    let beginnings = [
        prepare(Shape { base_bytes: 4 << 20, hot_bytes: 4 << 20, wal_bytes: 256 << 10 }),
        prepare(Shape { base_bytes: 4 << 20, hot_bytes: 0, wal_bytes: 256 << 10 }),
    ];
    let mut counts = Counts::default();
    for number in (0..sequences(extent.depth)).filter(|number| number % extent.part.1 == extent.part.0) {
        let mut choice = Random::new(extent.seed ^ number.wrapping_mul(0x5851_f42d_4c95_7f2d));
        let sampled = choice.below(extent.one_in) == 0;
        if extent.sequence.map_or(!sampled, |sequence| sequence != number) {
            continue;
        }
        let kinds = sequence(number, extent.depth);
        for (variant, beginning) in beginnings.iter().enumerate() {
            for pipelined in [false, true] {
                if pipelined && kinds.len() == 1 {
                    continue;
                }
                let label = format!(
                    "sequence {number} {kinds:?}, variant {variant}, pipelined {pipelined}, seed {}",
                    extent.seed
                );
                let run = record(beginning, &kinds, pipelined, extent.seed.wrapping_add(number));
                counts.sequences += 1;
                counts.add(crash_everywhere(beginning, &run, extent.subsets, &mut choice, &label));
            }
        }
    }
    counts
}

fn crash_everywhere(beginning: &Beginning, run: &Run, subsets: usize, random: &mut Random, label: &str) -> Counts {
    let mut counts = Counts::default();
    let mut seen = HashSet::new();
    let mut point =
        Point { durable: run.images.clone(), version: 0, unflushed: BTreeMap::new(), begun: 0, acknowledged: 0 };
    let events = std::iter::once(None).chain(run.events.iter().map(Some));
    for (at, event) in events.enumerate() {
        if let Some((disk, event)) = event
            && !point.step(*disk, event)
        {
            continue;
        }
        counts.crash_points += 1;
        let writes = point.unflushed.len().min(63) as u32;
        let all = 1u64 << writes;
        let whole_subsets = all.min(subsets as u64 * 3 / 4 + 1);
        let torn_subsets =
            if writes == 0 { 0 } else { (subsets as u64 - whole_subsets.min(subsets as u64)).min(4 * all) };
        for choice in 0..whole_subsets + torn_subsets {
            let torn = choice >= whole_subsets;
            let kept = if all <= whole_subsets && !torn { choice } else { random.bits() | random.bits() };
            let survivors = point.survivors(kept, torn.then_some(&mut *random));
            counts.images += 1;
            // What was begun and what was acknowledged are part of what an image must be held against.
            let mut hasher = DefaultHasher::new();
            (point.begun, point.acknowledged, point.version, &survivors).hash(&mut hasher);
            if !seen.insert(hasher.finish()) {
                continue;
            }
            counts.distinct += 1;
            let images = point.images(&survivors);
            let allowed = &run.states[point.acknowledged..=point.begun];
            verify(
                beginning.shape,
                images,
                allowed,
                &format!("{label}, crash point {at}, choice {choice} (kept {kept:#x}, torn {torn})"),
            );
        }
    }
    counts
}

/// The image must open, be sound, and hold one of the allowed states.
fn verify(shape: Shape, images: Vec<Image>, allowed: &[Model], label: &str) {
    let mut sim = SimulatedStore::new(7, shape);
    for (disk, image) in disks(&sim).into_iter().zip(images) {
        disk.restore(image);
    }
    let ring = sim.ring();
    let report = sim.world.block_on(simulated::check(&ring, shape));
    assert_eq!(simulated::serious(&report), Vec::<String>::new(), "{label}");
    sim.restart();
    let ring = sim.ring();
    let found = sim.world.block_on(async {
        let store = simulated::open(&ring, shape).await?;
        Model::of(&store).await
    });
    match found {
        Ok(found) => {
            assert!(
                allowed.contains(&found),
                "{label}: the store holds none of the states it may hold; {}",
                differences(&found, allowed)
            );
        }
        Err(error) => panic!("{label}: {error}"),
    }
}

/// Where a state differs from each of those it should be one of.
fn differences(found: &Model, allowed: &[Model]) -> String {
    let describe = |model: &Model| {
        let mut text = String::new();
        for (key, object) in &model.objects {
            let runs = object.data.chunk_by(|a, b| a == b).map(|run| format!("{}x{:02x}", run.len(), run[0]));
            let runs: Vec<String> = runs.filter(|run| run.len() > 4).collect();
            text += &format!(
                "[{} {} bytes {runs:?} {} xattrs {} pairs] ",
                key.name.escape_ascii(),
                object.data.len(),
                object.xattrs.len(),
                object.omap.len()
            );
        }
        text
    };
    let allowed: Vec<String> = allowed.iter().map(describe).collect();
    format!("found {}; allowed {allowed:#?}", describe(found))
}
