//! Where things lie on the devices, computed once at `format` and kept in the superblock.
//!
//! ```text
//! device with the index (hot if there is one, else base)          base, when there is a hot device
//! block 0,1        superblock copies 0 and 1                      block 0,1     superblock copies 0 and 1
//! block 2..8       unused                                         block 2..8    unused
//! block 8..        allocation pages of this device, two slots each
//!   then           allocation pages of base, if this is hot
//!   then           WAL
//!   then           data and index nodes                           block 8..     data
//! last two         superblock copies 2 and 3                      last two      superblock copies 2 and 3
//! ```

use crate::allocation_page;
use crate::error::{Error, Result};
use crate::limits::{BLOCK_BYTES, DEVICE_BYTES_MIN, WAL_BYTES_MAX, WAL_BYTES_MIN};

pub(crate) const FIRST_BLOCK: u64 = 8;
const LAST_BLOCKS: u64 = 2;

/// All in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Layout {
    pub base_blocks: u64,
    /// 0: no hot device.
    pub hot_blocks: u64,
    /// First allocation page slot of the device with the index.
    pub own_pages_at: u64,
    /// First allocation page slot of base, when there is a hot device (else 0).
    pub base_pages_at: u64,
    pub wal_at: u64,
    pub wal_blocks: u64,
    /// First block for nodes and data on the device with the index.
    pub data_at: u64,
}

impl Layout {
    pub fn new(base_bytes: u64, hot_bytes: Option<u64>, wal_bytes: Option<u64>) -> Result<Layout> {
        let base_blocks = base_bytes / BLOCK_BYTES;
        let hot_blocks = hot_bytes.unwrap_or(0) / BLOCK_BYTES;
        for (name, bytes) in [("base", Some(base_bytes)), ("hot", hot_bytes)] {
            if let Some(bytes) = bytes
                && bytes < DEVICE_BYTES_MIN
            {
                return Err(Error::Refused(format!(
                    "the {name} device is too small: it has {bytes} bytes, a store needs at least {DEVICE_BYTES_MIN}"
                )));
            }
        }
        let own_blocks = if hot_blocks > 0 { hot_blocks } else { base_blocks };
        let own_bytes = own_blocks * BLOCK_BYTES;
        let wal_bytes = wal_bytes.unwrap_or((own_bytes / 16).clamp(WAL_BYTES_MIN, 1 << 30));
        if !(WAL_BYTES_MIN..=WAL_BYTES_MAX).contains(&wal_bytes) {
            return Err(Error::Refused(format!(
                "a WAL of {wal_bytes} bytes is out of range: give {WAL_BYTES_MIN} to {WAL_BYTES_MAX}"
            )));
        }
        let own_pages_at = FIRST_BLOCK;
        let mut next = own_pages_at + 2 * allocation_page::pages(own_blocks);
        let base_pages_at = if hot_blocks > 0 { next } else { 0 };
        if hot_blocks > 0 {
            next += 2 * allocation_page::pages(base_blocks);
        }
        let wal_blocks = wal_bytes / BLOCK_BYTES;
        let layout = Layout {
            base_blocks,
            hot_blocks,
            own_pages_at,
            base_pages_at,
            wal_at: next,
            wal_blocks,
            data_at: next + wal_blocks,
        };
        if layout.data_at + LAST_BLOCKS + DEVICE_BYTES_MIN / BLOCK_BYTES / 4 > own_blocks {
            let wanted = (layout.data_at + LAST_BLOCKS) * BLOCK_BYTES + DEVICE_BYTES_MIN / 4;
            return Err(Error::Refused(format!(
                "the device for WAL and index is too small: it has {own_bytes} bytes; its WAL of {wal_bytes} bytes and its allocation maps need {wanted}"
            )));
        }
        Ok(layout)
    }

    /// Whether the fields of a superblock fit together; what a damaged or forged one is caught by.
    pub fn is_sound(&self) -> bool {
        let hot = (self.hot_blocks > 0).then_some(self.hot_blocks.saturating_mul(BLOCK_BYTES));
        let wal = self.wal_blocks.saturating_mul(BLOCK_BYTES);
        Layout::new(self.base_blocks.saturating_mul(BLOCK_BYTES), hot, Some(wal)).is_ok_and(|layout| layout == *self)
    }

    /// The data area of a device as `[first, end)`.
    pub fn data_range(&self, hot: bool) -> (u64, u64) {
        match (hot, self.hot_blocks) {
            (true, blocks) => (self.data_at, blocks - LAST_BLOCKS),
            (false, 0) => (self.data_at, self.base_blocks - LAST_BLOCKS),
            (false, _) => (FIRST_BLOCK, self.base_blocks - LAST_BLOCKS),
        }
    }

    /// Blocks of the superblock's four copies on a device of this many blocks.
    pub fn superblock_copies(blocks: u64) -> [u64; 4] {
        [0, 1, blocks - 2, blocks - 1]
    }
}
