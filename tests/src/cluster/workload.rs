//! Clients that write and read a few objects, and keep a record of what they did and heard.

use super::{Cluster, POOL};
use crate::linearizable::{Event, Operation, Outcome};
use crate::random::Random;
use basalt_client::Pool;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Not a multiple of the store's blocks, so that neighbours share one.
pub const BLOCK_BYTES: usize = 3000;

/// By object.
pub type History = Rc<RefCell<BTreeMap<String, Vec<Event>>>>;

#[derive(Clone, Copy, Debug)]
pub struct WorkloadOptions {
    pub clients: u32,
    pub objects: u32,
    /// Of each client.
    pub operations: u32,
    pub pause_max: Duration,
    pub only_reads: bool,
}

/// The bytes of a block with this value.
fn block(value: u32) -> Vec<u8> {
    value.to_le_bytes().into_iter().cycle().take(BLOCK_BYTES).collect()
}

/// The values of an object's blocks. `Err`: it is not made of whole blocks of one value each.
pub fn values(bytes: &[u8]) -> Result<Vec<u32>, String> {
    bytes
        .chunks(BLOCK_BYTES)
        .enumerate()
        .map(|(index, chunk)| {
            let value = chunk.first_chunk().map_or(0, |first| u32::from_le_bytes(*first));
            let is_whole = chunk == block(value);
            is_whole.then_some(value).ok_or_else(|| format!("block {index} is torn: it begins with {value}"))
        })
        .collect()
}

/// Runs the clients to their end.
pub async fn run(cluster: &Cluster, options: WorkloadOptions, history: &History) {
    run_from(cluster, 0, options, history).await;
}

/// Clients with these numbers and the following; from 7 on until 20 they are those that are to be cut off.
pub async fn run_from(cluster: &Cluster, first: u32, options: WorkloadOptions, history: &History) {
    let process = if (7..20).contains(&first) { cluster.lonely_client() } else { cluster.client.clone() };
    let ring = process.ring();
    let mut tasks = Vec::new();
    for number in first..first + options.clients {
        let client = cluster.connect_on(&ring).await;
        let pool = client.pool(POOL).await.expect("the pool is there");
        let random = Random::new(cluster.world.seed() * 1009 + u64::from(number) + 1);
        let history = history.clone();
        tasks.push(ring.spawn(async move {
            let mut worker = Worker { pool, random, number, options, history };
            for step in 0..options.operations {
                worker.step(step).await;
            }
        }));
    }
    for task in tasks {
        task.await;
    }
}

struct Worker {
    pool: Pool,
    random: Random,
    number: u32,
    options: WorkloadOptions,
    history: History,
}

impl Worker {
    async fn step(&mut self, step: u32) {
        let ring = self.pool.ring().clone();
        // In bursts, so that requests meet each other.
        let pause_max = if self.random.below(4) == 0 { 3 * self.options.pause_max } else { Duration::from_millis(5) };
        ring.sleep(self.random.duration(pause_max)).await;
        let name = format!("object-{}", self.random.below(u64::from(self.options.objects)));
        let value = 1 + self.number * 10_000 + step;
        let kinds = if self.options.only_reads { 8 } else { 20 };
        let operation = match self.random.below(kinds) {
            0..8 => Operation::Read,
            8..11 => Operation::WriteFull(vec![value; 1 + self.random.below(5) as usize]),
            11..15 => Operation::Write { block: self.random.below(6) as usize, value },
            15..18 => Operation::Append(value),
            18 => Operation::Truncate { blocks: self.random.below(5) as usize },
            _ => Operation::Remove,
        };
        let began = ring.now().0;
        let outcome = self.carry_out(&name, &operation).await;
        let ended = ring.now().0;
        self.history.borrow_mut().entry(name).or_default().push(Event { began, ended, operation, outcome });
    }

    async fn carry_out(&self, name: &str, operation: &Operation) -> Outcome {
        let name = name.as_bytes();
        let slice = |values: &[u32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| block(*value)).collect();
            let mut buffer = self.pool.ring().buffer(bytes.len());
            buffer.copy_from_slice(&bytes);
            buffer.freeze()
        };
        let result = match operation {
            Operation::Read => {
                return match self.pool.read(name, 0, 1 << 20).await {
                    Ok(bytes) => match values(&bytes) {
                        Ok(values) => Outcome::Read(Some(values)),
                        Err(problem) => panic!("{}: {problem}", String::from_utf8_lossy(name)),
                    },
                    Err(error) if error.errno() == libc::ENOENT => Outcome::Read(None),
                    Err(error) => unknown(&error),
                };
            }
            Operation::WriteFull(values) => self.pool.write_full(name, slice(values)).await.map(drop),
            Operation::Write { block, value } => {
                self.pool.write(name, (block * BLOCK_BYTES) as u64, slice(&[*value])).await.map(drop)
            }
            Operation::Append(value) => self.pool.append(name, slice(&[*value])).await.map(drop),
            Operation::Truncate { blocks } => self.pool.truncate(name, (blocks * BLOCK_BYTES) as u64).await.map(drop),
            Operation::Remove => match self.pool.remove(name).await {
                Err(error) if error.errno() == libc::ENOENT => return Outcome::NotFound,
                result => result,
            },
        };
        match result {
            Ok(()) => Outcome::Done,
            Err(error) => unknown(&error),
        }
    }
}

/// Only time may run out: whatever fails in between, the client tries again.
fn unknown(error: &basalt_client::Error) -> Outcome {
    assert!(
        matches!(error.errno(), libc::ETIMEDOUT),
        "a client was told of what should be hidden from it: {} ({})",
        error.message(),
        error.errno()
    );
    Outcome::Unknown
}
