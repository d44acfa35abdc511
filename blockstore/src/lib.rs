//! Objects on raw devices: one store an OSD, over a `base` device and perhaps a `hot` one.
//!
//! Keeps named objects (bytes, xattrs, omap) and the placement groups' logs. Promises: a transaction is atomic, and durable once
//! its [`Commit`] resolves; after a crash the store is a prefix of its transactions and holds every acknowledged one; bytes that
//! fail their checksum are never returned; dirty hot data is never dropped. Survives power cuts at any point, torn and reordered
//! writes, and rot (which it reports as `EIO`); a failed write or flush fences it. Called by `osd`, which orders the requests, and
//! by `basaltd mkfs` and `fsck`. It decides nothing about the tier: it moves what it is told to move.
//! Start reading at `store`, then `transaction`, `prepared`, `wal` and `checkpoint`; the bytes are described in docs/FORMAT.md.

mod allocation_page;
mod allocator;
mod checkpoint;
mod checksum;
mod commit;
#[deny(clippy::unwrap_used, clippy::indexing_slicing)]
mod content_digest;
mod data_cache;
#[deny(clippy::unwrap_used, clippy::indexing_slicing)]
mod encoding;
pub mod error;
mod evict;
#[deny(clippy::unwrap_used, clippy::indexing_slicing)]
mod features;
mod flush;
mod format;
#[deny(clippy::unwrap_used, clippy::indexing_slicing)]
pub mod fsck;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod index;
mod inner;
#[cfg(feature = "layers")]
pub mod layers;
#[deny(clippy::unwrap_used, clippy::indexing_slicing)]
mod layout;
pub mod limits;
mod memory;
pub mod object;
mod pieces;
mod prepared;
mod promote;
#[deny(clippy::unwrap_used, clippy::indexing_slicing)]
mod read;
#[deny(clippy::unwrap_used, clippy::indexing_slicing)]
mod record;
mod remove;
#[deny(clippy::unwrap_used, clippy::indexing_slicing)]
mod replay;
mod rewrite;
#[cfg(feature = "sabotage")]
pub mod sabotage;
#[cfg(not(feature = "sabotage"))]
mod sabotage;
#[deny(clippy::unwrap_used, clippy::indexing_slicing)]
mod scrub;
mod sharing;
#[deny(clippy::unwrap_used, clippy::indexing_slicing)]
mod signature;
mod staged;
mod state;
pub mod store;
#[deny(clippy::unwrap_used, clippy::indexing_slicing)]
mod superblock;
mod transaction;
#[deny(clippy::unwrap_used, clippy::indexing_slicing)]
mod vacate;
mod wal;
mod written;

pub use commit::{CommitFigures, CommitTimes};
pub use data_cache::DataCacheFigures;
pub use error::{Error, Result};
pub use format::store_id_from;
pub use memory::Memory;
pub use object::{HotChange, ObjectId, ObjectInfo, ObjectKey, ObjectName, PoolUsage};
pub use prepared::{Commit, LogBytes, Prepared};
pub use scrub::{Fragmented, ScrubCursor, ScrubFinding, ScrubKind, ScrubStep, ScrubSubject};
pub use store::{Devices, FormatOptions, OpenOptions, Placement, ReadData, Rewritten, Store, Usage};
pub use transaction::Transaction;
pub use vacate::{VacateCursor, Vacated};
pub use wal::Side;
pub use written::Written;
