//! Objects' bytes: `TAG.NUMBER.STRIPE` in the pool `s3.data`, each stripe but a part's last of [`limits::STRIPE_BYTES`]. They are written
//! once, under a tag that nobody else has, and never changed.

use super::Store;
use super::entry::Run;
use super::object::BodyFacts;
use crate::s3::encryption::{DataKey, Sealer, sealed_bytes};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits::{READ_AHEAD, READ_PIECE_BYTES, STRIPE_BYTES, STRIPES_IN_FLIGHT};
use basalt_client::error::ENOENT;
use basalt_ring::{Buffer, Task};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use tokio::sync::mpsc;

/// A body on its way: pieces in order, then either an end or why there is none.
pub type BodySender = mpsc::Sender<Result<Bytes>>;

/// What comes from a client, piece by piece. The last is [`Piece::End`]: a body that ends without was cut off.
pub enum Piece {
    Data(Bytes),
    End(BodyFacts),
    /// The body is not what was announced; nothing of it must stay.
    Wrong(Fault),
}

/// A body that is to be stored.
pub struct Incoming {
    pub pieces: mpsc::Receiver<Piece>,
    /// How many bytes it will have, as far as is known.
    pub expected: Option<u64>,
    /// It is sealed with this one.
    pub key: Option<DataKey>,
}

impl Incoming {
    pub fn is_sealed(&self) -> bool {
        self.key.is_some()
    }

    /// How many bytes will be stored.
    pub fn expected_stored(&self) -> Option<u64> {
        if self.is_sealed() { self.expected.map(sealed_bytes) } else { self.expected }
    }
}

pub fn stripe_name(tag: &str, number: u32, stripe: u64) -> Vec<u8> {
    format!("{tag}.{number}.{stripe:x}").into_bytes()
}

impl Store {
    /// Writes all that comes as one part, and returns how many bytes that were, and what is known of them.
    pub async fn write_part(
        self: &Rc<Self>,
        tag: &str,
        number: u32,
        mut incoming: Incoming,
    ) -> Result<(u64, BodyFacts)> {
        let mut sealer = incoming.key.as_ref().map(|key| Sealer::new(key.part(tag, number)));
        let mut writer = PartWriter {
            store: self.clone(),
            tag,
            number,
            expected: incoming.expected_stored(),
            stripe: 0,
            filling: None,
            running: VecDeque::new(),
        };
        let mut size = 0;
        let facts = loop {
            match incoming.pieces.recv().await {
                Some(Piece::Data(bytes)) => {
                    size += bytes.len() as u64;
                    match &mut sealer {
                        None => writer.take(&bytes).await?,
                        Some(sealer) => {
                            let mut rest = &bytes[..];
                            while let Some(chunk) = sealer.take(&mut rest) {
                                writer.take(&chunk).await?;
                            }
                        }
                    }
                }
                Some(Piece::End(facts)) => break facts,
                Some(Piece::Wrong(fault)) => return Err(fault),
                None => {
                    return Err(Fault::refuse(
                        s3s::S3ErrorCode::IncompleteBody,
                        "the connection ended before the body did",
                    ));
                }
            }
        };
        if let Some(chunk) = sealer.and_then(Sealer::finish) {
            writer.take(&chunk).await?;
        }
        writer.finish().await?;
        Ok((size, facts))
    }

    /// Sends the bytes of `range` of what `runs` hold. Ends early, without an error, when nobody listens.
    pub async fn read_runs(self: &Rc<Self>, runs: &[Run], range: Range<u64>, body: BodySender) {
        let mut running: VecDeque<Task<Result<Bytes>>> = VecDeque::new();
        let mut pieces = pieces(runs, range);
        loop {
            while running.len() < READ_AHEAD
                && let Some(piece) = pieces.next()
            {
                let store = self.clone();
                running.push_back(self.ring.spawn(async move { store.read_piece(piece).await }));
            }
            let Some(first) = running.pop_front() else { return };
            let piece = first.await;
            let failed = piece.is_err();
            if body.send(piece).await.is_err() || failed {
                return;
            }
        }
    }

    pub(super) async fn read_piece(&self, piece: PieceOfStripe) -> Result<Bytes> {
        let slice = match self.data.read(&piece.name, piece.offset, piece.length).await {
            Ok(slice) if slice.len() as u64 == piece.length => slice,
            Ok(slice) => {
                let name = String::from_utf8_lossy(&piece.name).into_owned();
                let problem = format!("{} bytes at {} where {} belong", slice.len(), piece.offset, piece.length);
                return Err(Fault::damaged(name, problem));
            }
            Err(error) if error.errno() == ENOENT => {
                return Err(Fault::damaged(String::from_utf8_lossy(&piece.name), "it is missing"));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Bytes::copy_from_slice(&slice))
    }

    /// Removes all stripes of a part: `size` bytes of them, or as many as there are.
    pub async fn remove_part(&self, tag: &str, number: u32, size: Option<u64>) -> Result<()> {
        let known = size.map(|size| size.div_ceil(STRIPE_BYTES));
        for stripe in 0.. {
            if known.is_some_and(|count| stripe >= count) {
                return Ok(());
            }
            match self.data.remove(&stripe_name(tag, number, stripe)).await {
                Ok(()) => {}
                // Stripes are written in order, but several at a time.
                Err(error) if error.errno() == ENOENT => {
                    if known.is_none() && !self.has_stripe_behind(tag, number, stripe).await? {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn has_stripe_behind(&self, tag: &str, number: u32, stripe: u64) -> Result<bool> {
        for next in stripe + 1..=stripe + STRIPES_IN_FLIGHT as u64 {
            match self.data.stat(&stripe_name(tag, number, next)).await {
                Ok(_) => return Ok(true),
                Err(error) if error.errno() == ENOENT => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}

struct PartWriter<'a> {
    store: Rc<Store>,
    tag: &'a str,
    number: u32,
    expected: Option<u64>,
    stripe: u64,
    /// The stripe that is being filled, and how far it is.
    filling: Option<(Buffer, usize)>,
    running: VecDeque<Task<Result<()>>>,
}

impl PartWriter<'_> {
    async fn take(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (mut buffer, filled) = match self.filling.take() {
                Some(filling) => filling,
                None => (self.store.ring.buffer(self.buffer_bytes()), 0),
            };
            let room = buffer.get_mut(filled..).unwrap_or_default();
            let count = room.len().min(bytes.len());
            let (now, later) = bytes.split_at(count);
            if let Some(room) = room.get_mut(..count) {
                room.copy_from_slice(now);
            }
            bytes = later;
            let filled = filled + count;
            if filled as u64 == STRIPE_BYTES {
                self.write(buffer).await?;
            } else if filled == buffer.len() && !bytes.is_empty() {
                // More than was announced: only the last stripe may be shorter.
                let mut larger = self.store.ring.buffer(STRIPE_BYTES as usize);
                if let Some(begin) = larger.get_mut(..filled) {
                    begin.copy_from_slice(&buffer);
                }
                self.filling = Some((larger, filled));
            } else {
                self.filling = Some((buffer, filled));
            }
        }
        Ok(())
    }

    /// A small object needs no buffer of a whole stripe.
    fn buffer_bytes(&self) -> usize {
        let written = self.stripe * STRIPE_BYTES;
        let left = self.expected.map_or(STRIPE_BYTES, |expected| expected.saturating_sub(written));
        left.clamp(1, STRIPE_BYTES) as usize
    }

    async fn write(&mut self, buffer: Buffer) -> Result<()> {
        if self.running.len() >= STRIPES_IN_FLIGHT
            && let Some(first) = self.running.pop_front()
        {
            first.await?;
        }
        let name = stripe_name(self.tag, self.number, self.stripe);
        self.stripe += 1;
        let data = self.store.data.clone();
        self.running.push_back(self.store.ring.spawn(async move {
            data.write_full(&name, buffer.freeze()).await?;
            Ok(())
        }));
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        if let Some((mut buffer, filled)) = self.filling.take() {
            buffer.truncate(filled);
            self.write(buffer).await?;
        }
        while let Some(first) = self.running.pop_front() {
            first.await?;
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct PieceOfStripe {
    name: Vec<u8>,
    offset: u64,
    length: u64,
}

/// The pieces that make up `range`, in order, none larger than is read at a time.
pub(super) fn pieces(runs: &[Run], range: Range<u64>) -> impl Iterator<Item = PieceOfStripe> {
    let mut parts = Vec::new();
    let mut begin = 0;
    for run in runs {
        let end = begin + run.size * u64::from(run.count);
        if begin < range.end && end > range.start {
            parts.push((run.clone(), begin));
        }
        begin = end;
    }
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end {
            return None;
        }
        let (run, begin) =
            parts.iter().find(|(run, begin)| at >= *begin && at < begin + run.size * u64::from(run.count))?;
        let part = (at - begin) / run.size;
        let in_part = (at - begin) % run.size;
        let in_stripe = in_part % STRIPE_BYTES;
        let length = (range.end - at).min(run.size - in_part).min(STRIPE_BYTES - in_stripe).min(READ_PIECE_BYTES);
        at += length;
        let name = stripe_name(&run.tag, run.number + part as u32, in_part / STRIPE_BYTES);
        Some(PieceOfStripe { name, offset: in_stripe, length })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Where each byte of an object is.
    fn bytes_of(runs: &[Run]) -> Vec<(Vec<u8>, u64)> {
        let mut bytes = Vec::new();
        for run in runs {
            for part in 0..run.count {
                for byte in 0..run.size {
                    bytes.push((stripe_name(&run.tag, run.number + part, byte / STRIPE_BYTES), byte % STRIPE_BYTES));
                }
            }
        }
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_pieces_of_a_range_are_its_bytes_in_order(
            sizes in proptest::collection::vec((1_u64..50, 1_u32..4), 1..5),
            cut in (0_u64..200, 0_u64..200),
        ) {
            let runs: Vec<Run> = sizes
                .iter()
                .enumerate()
                .map(|(tag, (size, count))| Run { tag: tag.to_string(), number: 3, count: *count, size: *size })
                .collect();
            let bytes = bytes_of(&runs);
            let end = (cut.0 + cut.1).min(bytes.len() as u64);
            let start = cut.0.min(end);
            let read: Vec<(Vec<u8>, u64)> = pieces(&runs, start..end)
                .flat_map(|piece| (0..piece.length).map(move |byte| (piece.name.clone(), piece.offset + byte)))
                .collect();
            prop_assert_eq!(read, &bytes[start as usize..end as usize]);
        }
    }

    #[test]
    fn no_piece_crosses_a_stripe() {
        let runs = [Run { tag: "t".into(), number: 0, count: 1, size: 2 * STRIPE_BYTES + 5 }];
        let read: Vec<PieceOfStripe> = pieces(&runs, STRIPE_BYTES - 3..2 * STRIPE_BYTES + 2).collect();
        assert_eq!(
            read.first(),
            Some(&PieceOfStripe { name: stripe_name("t", 0, 0), offset: STRIPE_BYTES - 3, length: 3 })
        );
        assert_eq!(read.last(), Some(&PieceOfStripe { name: stripe_name("t", 0, 2), offset: 0, length: 2 }));
        assert!(read.iter().all(|piece| piece.offset + piece.length <= STRIPE_BYTES));
    }
}
