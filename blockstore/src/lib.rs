//! Objects on raw devices: one store an OSD, over a `base` device and perhaps a `hot` one.
//!
//! Keeps named objects (bytes, xattrs, omap) and the placement groups' logs. Promises: a transaction is atomic, and durable once
//! its [`Commit`] resolves; after a crash the store is a prefix of its transactions and holds every acknowledged one; bytes that
//! fail their checksum are never returned; dirty hot data is never dropped. Survives power cuts at any point, torn and reordered
//! writes, and rot (which it reports as `EIO`); a failed write or flush fences it. Called by `osd`, which orders the requests, and
//! by `basaltd mkfs` and `fsck`. It decides nothing about the tier: it moves what it is told to move.
//! Start reading at `store`, then `transaction`, `wal` and `checkpoint`; the bytes are described in docs/FORMAT.md.

mod allocator;
mod checkpoint;
mod checksum;
mod commit;
mod encoding;
pub mod error;
mod evict;
mod flush;
mod format;
pub mod fsck;
mod index;
mod layout;
pub mod limits;
pub mod object;
mod promote;
mod read;
mod record;
mod remove;
mod replay;
mod signature;
mod state;
pub mod store;
mod superblock;
mod transaction;
mod wal;

pub use error::{Error, Result};
pub use format::store_id_from;
pub use object::{HotChange, ObjectId, ObjectInfo, ObjectKey, PoolUsage};
pub use store::{Devices, FormatOptions, OpenOptions, Placement, ReadData, Store, Usage};
pub use transaction::{Commit, Prepared, Transaction};
