//! Small stores of earlier states of the format, kept under `tests/images/`, which every later version must open.
//!
//! One file a device: blocks that are not zeros, each `block u64, kind u8`, then for kind 0 one byte that fills it, for kind 1 a `u16` length
//! and so many bytes, zeros behind them. The device's size in blocks stands first (u64). All little-endian.

use crate::model::{Model, Step};
use crate::simulated_store::{self as simulated, Shape, SimulatedStore};
use basalt_blockstore::{ObjectId, ObjectKey, Placement};
use basalt_ring::sim::Image;
use std::path::{Path, PathBuf};

const BLOCK: usize = 4096;
const POOL: u32 = 7;

/// A state of the format of which an image is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Format 1 as it was first: no feature bits.
    First,
    /// With objects in the index, and shared extents.
    InlineAndShared,
}

pub const ALL: [Kept; 2] = [Kept::First, Kept::InlineAndShared];

const SHAPE: Shape = Shape { base_bytes: 4 << 20, hot_bytes: 4 << 20, wal_bytes: 256 << 10 };

impl Kept {
    fn name(self) -> &'static str {
        match self {
            Kept::First => "1-first",
            Kept::InlineAndShared => "2-inline-and-shared",
        }
    }

    pub fn shape(self) -> Shape {
        SHAPE
    }

    fn files(self, folder: &Path) -> [PathBuf; 2] {
        ["base", "hot"].map(|device| folder.join(format!("{}.{device}", self.name())))
    }

    /// What is done to the store, in order; a checkpoint, a flush and an evict come after the first half.
    fn work(self) -> Vec<(ObjectKey, Vec<Step>)> {
        let fill = |byte: u8, length: usize| vec![byte; length];
        let mut work = vec![
            (object("cold"), vec![Step::Write { offset: 0, data: fill(1, 50_000) }]),
            (object("warm"), vec![Step::Write { offset: 0, data: fill(2, 30_000) }]),
            (object("small"), vec![Step::Write { offset: 0, data: fill(3, 900) }]),
            (
                object("attributes"),
                vec![
                    Step::SetXattr { name: b"user.name".to_vec(), value: fill(b'x', 100) },
                    Step::SetOmap { key: b"one".to_vec(), value: fill(b'1', 20) },
                    Step::SetOmap { key: b"two".to_vec(), value: fill(b'2', 300) },
                ],
            ),
            (object("gone"), vec![Step::Write { offset: 0, data: fill(4, 9000) }]),
            (object("warm"), vec![Step::Write { offset: 8192, data: fill(5, 8192) }]),
            (object("gone"), vec![Step::Remove]),
            (object("cold"), vec![Step::Truncate { size: 45_000 }, Step::Zero { offset: 4096, length: 8192 }]),
        ];
        if self == Kept::InlineAndShared {
            let whole =
                |source: &str, length| Step::CloneRange { source: object(source), source_offset: 0, offset: 0, length };
            work.extend([
                (object("clone of cold"), vec![whole("cold", 45_000)]),
                (object("clone of warm"), vec![whole("warm", 30_000)]),
                (object("cold"), vec![Step::Write { offset: 20_480, data: fill(6, 4096) }]),
                (object("clone of small"), vec![whole("small", 900)]),
            ]);
        }
        work
    }

    pub fn model(self) -> Model {
        let mut model = Model::default();
        for (object, steps) in self.work() {
            assert!(model.apply(&object, &steps));
        }
        model
    }

    /// Makes the image with the format as it is now, as a power cut would leave it: with a log to replay.
    pub fn make(self, folder: &Path) -> std::io::Result<()> {
        let sim = SimulatedStore::on_disks(1, SHAPE, false);
        let ring = sim.ring();
        let images = sim.world.block_on(async {
            simulated::format(&ring, SHAPE, 1).await.expect("format");
            let store = simulated::open(&ring, SHAPE).await.expect("open");
            let work = self.work();
            for (at, (object, steps)) in work.iter().enumerate() {
                simulated::transact(&ring, &store, object, steps, Placement::Hot).await.expect("written");
                if at == work.len() / 2 {
                    let hot = store.list_hot((0, ObjectId(0)), 100).await.expect("list_hot").0;
                    let ids: Vec<ObjectId> = hot.iter().map(|change| change.object).collect();
                    store.flush(&ids, POOL).await.expect("flush");
                    store.evict(&ids[..1], POOL).await.expect("evict");
                    store.checkpoint().await.expect("checkpoint");
                }
            }
            sim.disks().into_iter().map(|disk| disk.snapshot()).collect::<Vec<_>>()
        });
        for (image, file) in images.iter().zip(self.files(folder)) {
            std::fs::write(file, encode(image))?;
        }
        Ok(())
    }

    /// Base first.
    pub fn load(self, folder: &Path) -> std::io::Result<Vec<Image>> {
        let load = |file: PathBuf| {
            let bytes = std::fs::read(&file)?;
            decode(&bytes).ok_or_else(|| std::io::Error::other(format!("{} is cut short", file.display())))
        };
        self.files(folder).into_iter().map(load).collect()
    }
}

fn object(name: &str) -> ObjectKey {
    ObjectKey { pool: POOL, pg: 3, name: name.as_bytes().into() }
}

fn encode(image: &Image) -> Vec<u8> {
    let blocks = image.size() / BLOCK as u64;
    let mut bytes = blocks.to_le_bytes().to_vec();
    let mut block = vec![0; BLOCK];
    for at in 0..blocks {
        image.read(at * BLOCK as u64, &mut block);
        let used = block.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if used == 0 {
            continue;
        }
        bytes.extend(at.to_le_bytes());
        if block.iter().all(|byte| *byte == block[0]) {
            bytes.extend([0, block[0]]);
        } else {
            bytes.push(1);
            bytes.extend((used as u16).to_le_bytes());
            bytes.extend(&block[..used]);
        }
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Image> {
    let (blocks, mut rest) = bytes.split_first_chunk::<8>()?;
    let mut image = Image::new(u64::from_le_bytes(*blocks) * BLOCK as u64);
    while !rest.is_empty() {
        let (at, after) = rest.split_first_chunk::<8>()?;
        let (kind, after) = after.split_first()?;
        let mut block = vec![0; BLOCK];
        if *kind == 0 {
            let (fill, after) = after.split_first()?;
            block.fill(*fill);
            rest = after;
        } else {
            let (length, after) = after.split_first_chunk::<2>()?;
            let (data, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            block.get_mut(..data.len())?.copy_from_slice(data);
            rest = after;
        }
        image.write(u64::from_le_bytes(*at) * BLOCK as u64, &block);
    }
    Some(image)
}
