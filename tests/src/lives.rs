//! A store through several lives on disks that are not to be trusted: the same work each time, so that a fault can be put at each operation
//! of it in turn, ended by a close, a kill or a power cut, and judged at each start.

use crate::model::{Model, Step};
use crate::random::Random;
use crate::simulated_store::{self as simulated, Shape, SimulatedStore};
use crate::verdict::{self, Verdict};
use basalt_blockstore::fsck::Report;
use basalt_blockstore::{Commit, Error, ObjectId, ObjectKey, Placement, Result, Store};
use basalt_ring::Ring;
use basalt_ring::sim::{Disk, Image};
use std::time::Duration;

pub const POOL: u32 = 5;

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Closed,
    /// The process dies some time after the last acknowledgement; the devices keep their power.
    Killed,
    /// The power goes some time after the last acknowledgement.
    PowerCut,
    /// The power goes at the last acknowledgement.
    SuddenPowerCut,
    /// The power goes while transactions are under way.
    PowerCutInFlight,
}

pub const ENDS: [End; 5] = [End::Closed, End::Killed, End::PowerCut, End::SuddenPowerCut, End::PowerCutInFlight];

impl End {
    /// Whether the last group may still be in doubt.
    pub fn leaves_doubt(self) -> bool {
        matches!(self, End::SuddenPowerCut | End::PowerCutInFlight)
    }
}

/// One thing that is asked of a store.
#[derive(Clone, Debug)]
enum Work {
    /// Transactions that are submitted together.
    Transactions(Vec<(ObjectKey, Vec<Step>, Placement)>),
    Read(ObjectKey),
    Flush,
    Evict,
    Promote(ObjectKey),
    Checkpoint,
    Idle,
}

fn object(number: u64) -> ObjectKey {
    ObjectKey { pool: POOL, pg: (number % 2) as u32, name: format!("object {number}").into_bytes().into() }
}

fn bytes(random: &mut Random, most: u64) -> Vec<u8> {
    let length = 1 + random.below(most);
    random.bytes(length as usize)
}

fn steps(random: &mut Random) -> Vec<Step> {
    let offset = *random.pick(&[0, 0, 4096, 1000, 20_000]);
    match random.below(12) {
        0..=2 => vec![Step::Write { offset, data: bytes(random, 1500) }],
        3..=4 => vec![Step::Write { offset, data: bytes(random, 40_000) }],
        5 => vec![Step::Write { offset: 4096 * random.below(5), data: random.bytes(8192) }],
        6 => vec![Step::Append { data: bytes(random, 9000) }],
        7 => vec![Step::Truncate { size: random.below(20_000) }],
        8 => {
            let source_offset = *random.pick(&[0, 100, 4096]);
            let source = object(random.below(5));
            vec![Step::CloneRange { source, source_offset, offset: 4096, length: 9000 }]
        }
        9 => vec![Step::Remove],
        10 => vec![
            Step::SetXattr { name: bytes(random, 9), value: bytes(random, 300) },
            Step::SetOmap { key: bytes(random, 9), value: bytes(random, 900) },
        ],
        _ => vec![Step::Zero { offset, length: 1 + random.below(9000) }],
    }
}

/// The same work for the same seed, whatever becomes of it.
fn plan(random: &mut Random, length: u64) -> Vec<Work> {
    (0..length)
        .map(|_| match random.below(20) {
            0..=10 => {
                let together = if random.chance(25) { 3 } else { 1 };
                let transactions = (0..together).map(|_| {
                    let placement = if random.chance(65) { Placement::Hot } else { Placement::Base };
                    (object(random.below(5)), steps(random), placement)
                });
                Work::Transactions(transactions.collect())
            }
            11 => Work::Read(object(random.below(5))),
            12..=13 => Work::Flush,
            14 => Work::Evict,
            15 => Work::Promote(object(random.below(5))),
            16 => Work::Checkpoint,
            17 => Work::Idle,
            _ => Work::Transactions(vec![(object(random.below(5)), steps(random), Placement::Hot)]),
        })
        .collect()
}

/// A formatted store to begin each run from.
pub struct Birth {
    shape: Shape,
    images: Vec<Image>,
    seed: u64,
    lives: Vec<(Vec<Work>, End)>,
}

impl Birth {
    /// `work`: things asked for in each life.
    pub fn new(shape: Shape, seed: u64, ends: &[End], work: u64) -> Birth {
        let sim = simulated::formatted(seed, shape);
        let images = sim.disks().into_iter().map(Disk::snapshot).collect();
        let mut random = Random::new(seed);
        let lives = ends.iter().map(|end| (plan(&mut random, work), *end)).collect();
        Birth { shape, images, seed, lives }
    }

    /// All lives, on disks that `arm` made faulty, to the first start that shows what came of it, or the last. Panics if the store did what none
    /// may.
    pub fn live(&self, label: &str, arm: impl FnOnce(&SimulatedStore)) -> Verdict {
        let mut sim = SimulatedStore::new(self.seed, self.shape);
        for (disk, image) in sim.disks().into_iter().zip(&self.images) {
            disk.restore(image.clone());
        }
        arm(&sim);
        let mut known = Known { states: vec![Model::default()], acknowledged: 0, errors: 0, fenced: false };
        let mut fsck_found = false;
        for (number, (work, end)) in self.lives.iter().enumerate() {
            let label = format!("{label}, life {number}");
            let ring = sim.ring();
            match sim.world.block_on(begin(&ring, self.shape, &mut known)) {
                Ok(Begun::Store(store)) => {
                    sim.world.block_on(live(&ring, &store, work, &mut known, &label));
                    self.end(&mut sim, store, *end, &mut known, &label);
                }
                Ok(Begun::Undone(transactions)) => {
                    return Verdict::Undone { transactions, noticed: fsck_found || known.errors > 0 };
                }
                Ok(Begun::Blurred) => return Verdict::Error,
                Err(Stopped::Refused) => return Verdict::Refused,
                Err(Stopped::Wrong(why)) => panic!("{label}, at its start: {why}"),
            }
            fsck_found |= !self.fsck(&mut sim).faults.is_empty();
        }
        let ring = sim.ring();
        match sim.world.block_on(begin(&ring, self.shape, &mut known)) {
            Ok(Begun::Store(_) | Begun::Blurred) => {}
            Ok(Begun::Undone(transactions)) => {
                return Verdict::Undone { transactions, noticed: fsck_found || known.errors > 0 };
            }
            Err(Stopped::Refused) => return Verdict::Refused,
            Err(Stopped::Wrong(why)) => panic!("{label}, at the end: {why}"),
        }
        match known {
            Known { fenced: true, .. } => Verdict::Fenced,
            Known { errors: 1.., .. } => Verdict::Error,
            _ if fsck_found => Verdict::FoundByFsck,
            _ => Verdict::Unharmed,
        }
    }

    fn end(&self, sim: &mut SimulatedStore, store: Store, end: End, known: &mut Known, label: &str) {
        if end == End::PowerCutInFlight {
            let mut random = Random::new(known.states.len() as u64);
            let ring = sim.ring();
            let together = plan(&mut random, 3).into_iter().filter(|work| matches!(work, Work::Transactions(_)));
            let mut commits = sim.world.block_on(async {
                let mut commits = Vec::new();
                for work in together {
                    if let Err(error) = submit(&ring, &store, &work, known, &mut commits).await {
                        known.note(&error, store.fenced().is_some(), label);
                    }
                }
                commits
            });
            sim.world.run_for(Duration::from_micros(random.below(400)));
            commits.clear();
        } else if end != End::SuddenPowerCut {
            sim.world.run_for(Duration::from_millis(100));
        }
        match end {
            End::Closed => {
                let fenced = store.fenced().is_some();
                match sim.world.block_on(store.close()) {
                    Ok(()) => known.acknowledged = known.states.len() - 1,
                    Err(error) => known.note(&error, fenced, label),
                }
                sim.restart();
            }
            End::Killed => {
                drop(store);
                sim.restart();
            }
            End::PowerCut | End::SuddenPowerCut | End::PowerCutInFlight => {
                drop(store);
                sim.power_cut();
            }
        }
    }

    fn fsck(&self, sim: &mut SimulatedStore) -> Report {
        let ring = sim.ring();
        let report = sim.world.block_on(simulated::check(&ring, self.shape));
        sim.restart();
        report
    }
}

/// What the store must hold, as far as it is known, and what it said so far.
struct Known {
    /// The states from the last start on.
    states: Vec<Model>,
    acknowledged: usize,
    errors: u64,
    fenced: bool,
}

impl Known {
    fn newest(&self) -> &Model {
        &self.states[self.states.len() - 1]
    }

    /// An error that damage explains, or the end of the test.
    fn note(&mut self, error: &Error, fenced: bool, label: &str) {
        assert!(verdict::names_the_place(error), "{label}: {error}");
        self.errors += 1;
        self.fenced |= fenced || matches!(error, Error::Fenced(_));
    }
}

enum Begun {
    Store(Store),
    /// It holds a state that is older by so many acknowledged transactions than it should be.
    Undone(usize),
    /// Errors hide in which of several states it is: all are allowed, but what is to come cannot be told.
    Blurred,
}

enum Stopped {
    Refused,
    Wrong(String),
}

/// Opens the store and finds out in which of the states it is that it may be in.
async fn begin(ring: &Ring, shape: Shape, known: &mut Known) -> std::result::Result<Begun, Stopped> {
    let store = match simulated::open(ring, shape).await {
        Ok(store) => store,
        Err(error) if verdict::names_the_place(&error) => return Err(Stopped::Refused),
        Err(error) => return Err(Stopped::Wrong(error.to_string())),
    };
    let mut found = Vec::new();
    let mut wrong = String::new();
    for (index, state) in known.states.iter().enumerate().rev() {
        match verdict::compare(&store, state).await {
            Ok(errors) => found.push((index, errors)),
            Err(why) if wrong.is_empty() => wrong = why,
            Err(_) => {}
        }
    }
    let Some((index, errors)) = found.first().copied() else {
        return Err(Stopped::Wrong(format!("none of {} states: {wrong}", known.states.len())));
    };
    known.errors += errors;
    if index < known.acknowledged {
        return Ok(Begun::Undone(known.acknowledged - index));
    }
    if errors > 0 && found.len() > 1 {
        return Ok(Begun::Blurred);
    }
    known.states = vec![known.states.swap_remove(index)];
    known.acknowledged = 0;
    Ok(Begun::Store(store))
}

async fn live(ring: &Ring, store: &Store, work: &[Work], known: &mut Known, label: &str) {
    for (number, work) in work.iter().enumerate() {
        let label = format!("{label}, work {number}");
        if let Err(error) = one(ring, store, work, known, &label).await {
            known.note(&error, store.fenced().is_some(), &label);
        }
        if store.fenced().is_some() {
            known.fenced = true;
            return;
        }
    }
}

async fn one(ring: &Ring, store: &Store, work: &Work, known: &mut Known, label: &str) -> Result<()> {
    let hot = || async {
        let (hot, _) = store.list_hot((0, ObjectId(0)), 100).await?;
        Ok::<Vec<ObjectId>, Error>(hot.iter().map(|change| change.object).collect())
    };
    match work {
        Work::Transactions(_) => {
            let mut commits = Vec::new();
            let mut outcome = submit(ring, store, work, known, &mut commits).await;
            for (state, commit) in commits {
                match commit.durable().await {
                    Ok(()) => known.acknowledged = known.acknowledged.max(state),
                    Err(error) => outcome = Err(error),
                }
            }
            outcome
        }
        Work::Read(key) => match store.read(key, 0, u64::MAX).await {
            Ok(read) => {
                let expected = known.newest().objects.get(key).map(|object| object.data.as_slice());
                assert!(Some(&*read.data) == expected, "{label}: wrong data was read");
                Ok(())
            }
            Err(Error::NotFound) => {
                assert!(!known.newest().objects.contains_key(key), "{label}: an object is gone");
                Ok(())
            }
            Err(error) => Err(error),
        },
        Work::Flush => store.flush(&hot().await?, POOL).await.map(drop),
        Work::Evict => store.evict(&hot().await?, POOL).await.map(drop),
        Work::Promote(key) => match store.promote(key, 0, u64::MAX).await {
            Err(Error::NotFound) if !known.newest().objects.contains_key(key) => Ok(()),
            outcome => outcome.map(drop),
        },
        Work::Checkpoint => store.checkpoint().await,
        Work::Idle => {
            ring.sleep(Duration::from_millis(100)).await;
            Ok(())
        }
    }
}

/// Submits what the model takes of some transactions; an error ends one of them, not the others.
async fn submit(
    ring: &Ring,
    store: &Store,
    work: &Work,
    known: &mut Known,
    commits: &mut Vec<(usize, Commit)>,
) -> Result<()> {
    let Work::Transactions(transactions) = work else { return Ok(()) };
    let mut outcome = Ok(());
    for (key, steps, placement) in transactions {
        let mut after = known.newest().clone();
        if !after.apply(key, steps) {
            continue;
        }
        match simulated::submit(ring, store, key, steps, *placement).await {
            Ok(commit) => {
                known.states.push(after);
                commits.push((known.states.len() - 1, commit));
            }
            Err(error) => outcome = Err(error),
        }
    }
    outcome
}
