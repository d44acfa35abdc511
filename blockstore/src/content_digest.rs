//! A digest of an object's bytes that two stores can compare, whatever the layout of each: crc32c over the crc32c of every 4 KiB, a hole's
//! being that of zeros.
//!
//! The index has all these checksums, so as a rule no data is read for it. That data and checksums still fit is what a pass of `scrub`
//! looks at, or whoever asks for it here.

use crate::checksum::block_checksums;
use crate::error::{Error, Result};
use crate::inner::Inner;
use crate::limits::{DIGEST_BLOCKS_MAX, DIGEST_READ_BLOCKS_MAX};
use crate::object::{ObjectInfo, ObjectKey};
use crate::read::{Copies, Piece, Source, Through, display, plan, record_in};
use crate::record::ObjectRecord;
use crate::state::{State, blocks_of};
use basalt_ring::BLOCK;
use std::rc::Rc;

struct Digest(u32);

impl Digest {
    fn add(&mut self, block: u32) {
        self.0 = crc32c::crc32c_append(self.0, &block.to_le_bytes());
    }

    fn add_piece(&mut self, piece: &Piece) {
        match &piece.source {
            Source::Hole => {
                let zeros = crc32c::crc32c(&[0; BLOCK]);
                (0..piece.blocks).for_each(|_| self.add(zeros));
            }
            Source::Inline(bytes) => {
                let mut block = bytes.clone();
                block.resize(BLOCK, 0);
                block_checksums(&block).for_each(|checksum| self.add(checksum));
            }
            Source::Device { checksums, .. } => checksums.iter().for_each(|checksum| self.add(*checksum)),
        }
    }
}

impl Inner {
    pub(crate) async fn content_digest(
        self: &Rc<Self>,
        object: &ObjectKey,
        verify: bool,
    ) -> Result<Option<(ObjectInfo, u32)>> {
        let step = if verify { DIGEST_READ_BLOCKS_MAX } else { DIGEST_BLOCKS_MAX };
        let mut digest = Digest(0);
        let mut at = 0;
        let mut first: Option<ObjectRecord> = None;
        loop {
            let plan = |state: &State, copies| {
                let Some(record) = record_in(state, object)? else { return Ok(None) };
                let end = blocks_of(record.size);
                let pieces = plan(state, &record, (at.min(end), at.saturating_add(step).min(end)), copies)?;
                Ok(Some((record, pieces)))
            };
            let record = if verify {
                let read = self.read_verified(object, Through::Devices, plan).await?;
                read.map(|(record, data, _)| {
                    block_checksums(&data).for_each(|checksum| digest.add(checksum));
                    record
                })
            } else {
                let planned = self.index_durable(object, |state| plan(state, Copies::Any)).await?;
                planned.map(|(record, pieces)| {
                    pieces.iter().for_each(|piece| digest.add_piece(piece));
                    record
                })
            };
            let Some(record) = record else { return Ok(None) };
            let is_same = |first: &ObjectRecord| {
                (first.id, first.version, first.size) == (record.id, record.version, record.size)
            };
            if !first.as_ref().is_none_or(is_same) {
                return Err(Error::Busy(format!(
                    "object {} was written to while its digest was taken",
                    display(object)
                )));
            }
            at = at.saturating_add(step);
            if at >= blocks_of(record.size) {
                return Ok(Some((record.info(), digest.0)));
            }
            first = Some(record);
        }
    }
}
