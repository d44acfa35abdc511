//! Reading and writing an open image. What is acknowledged is durable.

use super::header::Link;
use super::image::{Image, Inner};
use super::layout::{Piece, pieces};
use super::limits::{OBJECT_BYTES, WALKS_MAX};
use super::places::Place;
use super::view::{Found, View};
use crate::ObjectOperations;
use crate::error::{EAGAIN, EEXIST, ENOENT, Error, Result};
use basalt_net::message::object::Operation;
use basalt_ring::Slice;
use basalt_ring::local::join_all;

/// What an OSD answers to a client that was fenced off.
pub(super) const ESHUTDOWN: i32 = 108;

/// A part of what was read.
#[derive(Clone, Debug)]
pub enum Segment {
    Data(Slice),
    /// So many bytes that nobody wrote, or that were discarded.
    Zeros(u64),
}

impl Segment {
    pub fn len(&self) -> u64 {
        match self {
            Segment::Data(data) => data.len() as u64,
            Segment::Zeros(length) => *length,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// So many bytes of an image, with or without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub length: u64,
    pub is_data: bool,
}

impl Image {
    /// The segments are `length` bytes in all, in order.
    pub async fn read(&self, offset: u64, length: u64) -> Result<Vec<Segment>> {
        self.inner.check_serves()?;
        loop {
            self.inner.check_range(offset, length)?;
            let view = self.inner.view();
            let reads = pieces(offset, length).map(|piece| self.inner.read_piece(&view, piece)).collect();
            let mut segments = Vec::new();
            let mut is_certain = true;
            for read in join_all(reads).await {
                let (read, found_on_top) = self.inner.noticed(read)?;
                is_certain &= found_on_top;
                segments.extend(read.into_iter().filter(|segment| !segment.is_empty()));
            }
            if is_certain || self.inner.is_current().await? {
                return Ok(segments);
            }
        }
    }

    /// EROFS unless it is open for writing.
    pub async fn write(&self, offset: u64, data: Slice) -> Result<()> {
        self.inner.check_writable()?;
        self.inner.check_range(offset, data.len() as u64)?;
        let _pass = self.inner.gate.enter().await;
        // It may have been closed meanwhile, or shrunk.
        self.inner.check_writable()?;
        self.inner.check_range(offset, data.len() as u64)?;
        let view = self.inner.view();
        let mut at = 0;
        let writes = pieces(offset, data.len() as u64).map(|piece| {
            let from = at;
            at += piece.length as usize;
            self.inner.write_piece(&view, piece, data.slice(from..at))
        });
        self.inner.all(join_all(writes.collect()).await)
    }

    /// The range reads as zeros from now on, and takes no more space than it has to.
    pub async fn discard(&self, offset: u64, length: u64) -> Result<()> {
        self.inner.check_writable()?;
        self.inner.check_range(offset, length)?;
        let _pass = self.inner.gate.enter().await;
        self.inner.check_writable()?;
        self.inner.check_range(offset, length)?;
        let view = self.inner.view();
        let all: Vec<Piece> = pieces(offset, length).collect();
        for some in all.chunks(super::limits::TIDY_JOBS) {
            let discards = some.iter().map(|piece| self.inner.discard_piece(&view, *piece)).collect();
            self.inner.all(join_all(discards).await)?;
        }
        Ok(())
    }

    /// Which parts of the range have data, as far as objects tell; at most `max` parts, and at least one unless the range is empty. What they
    /// cover may be shorter than the range.
    pub async fn extents(&self, offset: u64, length: u64, max: usize) -> Result<Vec<Extent>> {
        self.inner.check_serves()?;
        loop {
            self.inner.check_range(offset, length)?;
            let extents = self.inner.extents(offset, length, max).await?;
            if self.inner.is_current().await? {
                return Ok(extents);
            }
        }
    }
}

impl Inner {
    async fn extents(&self, offset: u64, length: u64, max: usize) -> Result<Vec<Extent>> {
        let view = self.view();
        let mut extents: Vec<Extent> = Vec::new();
        let all: Vec<Piece> = pieces(offset, length).collect();
        for some in all.chunks(super::limits::TIDY_JOBS) {
            let looks = some.iter().map(|piece| self.extents_of(&view, *piece)).collect();
            for found in join_all(looks).await {
                for extent in self.noticed(found)? {
                    let count = extents.len();
                    match extents.last_mut() {
                        Some(last) if last.is_data == extent.is_data => last.length += extent.length,
                        Some(_) if count >= max => return Ok(extents),
                        _ => extents.push(extent),
                    }
                }
            }
        }
        Ok(extents)
    }

    fn all(&self, results: Vec<Result<()>>) -> Result<()> {
        results.into_iter().try_for_each(|result| self.noticed(result))
    }

    /// Stops the image when the cluster says that this process is fenced off.
    pub(super) fn noticed<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.errno() == ESHUTDOWN
        {
            self.stop(error.clone());
        }
        result
    }

    /// And whether it was found without relying on what a layer above does not have.
    async fn read_piece(&self, view: &View, piece: Piece) -> Result<([Segment; 2], bool)> {
        let read = async |link: &Link| {
            let seen = view.visible_within(piece.index, link).saturating_sub(piece.within).min(piece.length);
            match self.pool.read(&view.name_at(piece.index, link), piece.within, seen.max(1)).await {
                Ok(data) => Ok(Some(data.slice(0..data.len().min(seen as usize)))),
                Err(error) if error.errno() == ENOENT => Ok(None),
                Err(error) => Err(error),
            }
        };
        Ok(match view.find(&self.pool, piece.index, read).await? {
            None => ([Segment::Zeros(piece.length), Segment::Zeros(0)], false),
            Some(Found { depth, what: data }) => {
                let missing = piece.length - data.len() as u64;
                ([Segment::Data(data), Segment::Zeros(missing)], depth == 0)
            }
        })
    }

    async fn write_piece(&self, view: &View, piece: Piece, data: Slice) -> Result<()> {
        let index = piece.index;
        // Nothing of what is below stays, or nothing is there, or the top has it already.
        if piece.is_whole() || !view.has_below(index) || view.place(index) == Place::At(0) {
            return self.write_top(view, piece, data).await;
        }
        let _object = self.objects.lock(index).await;
        for _ in 0..WALKS_MAX {
            let (depth, link) = match self.below(view, index).await? {
                None => return self.write_top(view, piece, data).await,
                Some(found) => found,
            };
            let operations = self.copy_up(view, index, &link).write(piece.within, data.clone());
            if self.has_copied(view, index, depth, operations).await? {
                return Ok(());
            }
        }
        Err(moves(index))
    }

    async fn write_top(&self, view: &View, piece: Piece, data: Slice) -> Result<()> {
        let written = self.pool.write(&view.top_name(piece.index), piece.within, data).await;
        // One that failed may be applied all the same.
        view.set_place(piece.index, if written.is_ok() { Place::At(0) } else { Place::Unknown });
        written.map(drop)
    }

    /// The layer below the top that has an object which the top lacks.
    async fn below(&self, view: &View, index: u64) -> Result<Option<(usize, Link)>> {
        let found = view.locate(&self.pool, index).await?;
        Ok(found.and_then(|Found { depth, .. }| {
            let link = view.links(index).get(depth).copied();
            link.filter(|_| depth > 0).map(|link| (depth, link))
        }))
    }

    /// Makes the top's object what is seen of the one below, without moving a byte, and refuses if there is one.
    fn copy_up(&self, view: &View, index: u64, from: &Link) -> ObjectOperations {
        ObjectOperations::new().assert_absent().operation(Operation::CloneRange {
            source: view.name_at(index, from),
            source_offset: 0,
            offset: 0,
            length: view.visible_within(index, from),
        })
    }

    /// False: what was seen is so no more; look again.
    async fn has_copied(&self, view: &View, index: u64, depth: usize, operations: ObjectOperations) -> Result<bool> {
        match self.pool.execute(&view.top_name(index), operations).await {
            Ok(_) => {
                view.set_place(index, Place::At(0));
                Ok(true)
            }
            // Merging put it there.
            Err(error) if error.errno() == EEXIST => {
                view.set_place(index, Place::At(0));
                Ok(false)
            }
            // Merging took it away from there.
            Err(error) if error.errno() == ENOENT && depth > 0 => {
                view.set_place(index, Place::Unknown);
                Ok(false)
            }
            Err(error) => {
                view.set_place(index, Place::Unknown);
                Err(error)
            }
        }
    }

    async fn discard_piece(&self, view: &View, piece: Piece) -> Result<()> {
        let index = piece.index;
        let in_object = OBJECT_BYTES.min(view.size.saturating_sub(index * OBJECT_BYTES));
        let is_whole = piece.within == 0 && piece.length >= in_object;
        let _object = self.objects.lock(index).await;
        if is_whole && !view.has_below(index) {
            let removed = self.pool.remove(&view.top_name(index)).await;
            // A write that is under way may put it back.
            view.set_place(index, Place::Unknown);
            return removed.or_else(|error| if error.errno() == ENOENT { Ok(()) } else { Err(error) });
        }
        let zero = Operation::Zero { offset: piece.within, length: piece.length };
        for _ in 0..WALKS_MAX {
            let (depth, operations) = match view.locate(&self.pool, index).await? {
                None => return Ok(()),
                // An empty object hides what is below.
                Some(Found { depth: 0, .. }) if is_whole => (0, ObjectOperations::new().assert_exists().truncate(0)),
                Some(Found { depth: 0, .. }) => (0, ObjectOperations::new().assert_exists().operation(zero.clone())),
                Some(Found { depth, .. }) => {
                    let Some(link) = view.links(index).get(depth) else { return Ok(()) };
                    if is_whole {
                        (depth, ObjectOperations::new().assert_absent().operation(Operation::Touch))
                    } else if view.visible_within(index, link) <= piece.within {
                        return Ok(());
                    } else {
                        (depth, self.copy_up(view, index, link).operation(zero.clone()))
                    }
                }
            };
            if depth > 0 {
                if self.has_copied(view, index, depth, operations).await? {
                    return Ok(());
                }
                continue;
            }
            match self.pool.execute(&view.top_name(index), operations).await {
                Ok(_) => return Ok(()),
                Err(error) if error.errno() == ENOENT => view.set_place(index, Place::Unknown),
                Err(error) => return Err(error),
            }
        }
        Err(moves(index))
    }

    async fn extents_of(&self, view: &View, piece: Piece) -> Result<Vec<Extent>> {
        let data = match view.locate(&self.pool, piece.index).await? {
            None => 0,
            Some(Found { depth, what: size }) => {
                let seen = view.links(piece.index).get(depth).map_or(0, |link| view.visible_within(piece.index, link));
                size.min(seen).saturating_sub(piece.within).min(piece.length)
            }
        };
        let extents = [Extent { length: data, is_data: true }, Extent { length: piece.length - data, is_data: false }];
        Ok(extents.into_iter().filter(|extent| extent.length > 0).collect())
    }
}

fn moves(index: u64) -> Error {
    Error::new(EAGAIN, format!("object {index} of an image moves between layers all the time; try again"))
}
