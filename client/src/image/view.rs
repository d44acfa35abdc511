//! What an open image or snapshot looks like from above: its layers, topmost first, and where its objects were found.

use super::Id;
use super::header::{Header, Link};
use super::header_object;
use super::layout::data_name;
use super::limits::{CHAIN_MAX, GENERATIONS_MAX, OBJECT_BYTES, WALKS_MAX};
use super::places::{Place, Places};
use crate::error::{EAGAIN, EIO, ENOENT, Error, Result};
use crate::{ObjectOperations, Pool};
use std::cell::RefCell;

/// What a search found.
pub struct Found<T> {
    pub depth: usize,
    pub what: T,
}

pub struct View {
    /// Bytes.
    pub size: u64,
    family: Id,
    chain: Vec<Link>,
    places: RefCell<Places>,
    /// Nobody but this process changes the image, so what was found stays true.
    is_stable: bool,
}

impl View {
    /// Of a layer of an image: its head, or a snapshot's.
    pub async fn of(pool: &Pool, header: &Header, top: Id, size: u64, is_stable: bool) -> Result<View> {
        let (mut chain, mut visible) = header.chain(top);
        let mut parent = header.parent.clone();
        for _ in 0..GENERATIONS_MAX {
            let Some(found) = parent.filter(|_| visible > 0) else {
                return View::checked(header, chain, size, is_stable);
            };
            let stored = header_object::read(pool, found.image, &found.name).await?;
            let snapshot = stored.header.snapshots.iter().find(|snapshot| snapshot.id == found.snapshot);
            let snapshot = snapshot.ok_or_else(|| {
                let message = format!(
                    "image {:?} is a clone of snapshot {:?} of image {:?}, which is gone",
                    header.name, found.snapshot_name, found.name
                );
                Error::new(EIO, message)
            })?;
            let (links, further) = stored.header.chain(snapshot.layer);
            chain.extend(links.iter().map(|link| Link { visible: link.visible.min(visible), ..*link }));
            visible = visible.min(further);
            parent = stored.header.parent;
        }
        Err(Error::new(EIO, format!("image {:?} has more than {GENERATIONS_MAX} generations of parents", header.name)))
    }

    fn checked(header: &Header, chain: Vec<Link>, size: u64, is_stable: bool) -> Result<View> {
        if chain.len() > CHAIN_MAX {
            let message =
                format!("image {:?} has {} layers; {CHAIN_MAX} are possible: flatten it", header.name, chain.len());
            return Err(Error::new(EIO, message));
        }
        Ok(View { size, family: header.family, chain, places: RefCell::default(), is_stable })
    }

    pub fn depth(&self) -> usize {
        self.chain.len()
    }

    /// The layers in which an object may be seen, topmost first; there is always a top.
    pub fn links(&self, index: u64) -> &[Link] {
        let start = index.saturating_mul(OBJECT_BYTES);
        let count = self.chain.iter().take_while(|link| link.visible > start).count();
        self.chain.get(..count).unwrap_or_default()
    }

    /// Whether there may be something to see below the top.
    pub fn has_below(&self, index: u64) -> bool {
        self.links(index).len() > 1
    }

    pub fn name_at(&self, index: u64, link: &Link) -> Vec<u8> {
        data_name(self.family, index, link.layer)
    }

    /// Of the layer that is written to.
    pub fn top_name(&self, index: u64) -> Vec<u8> {
        // A chain has its own layer at least.
        self.chain.first().map(|link| self.name_at(index, link)).unwrap_or_default()
    }

    /// How much of an object is seen in this layer.
    pub fn visible_within(&self, index: u64, link: &Link) -> u64 {
        link.visible.saturating_sub(index.saturating_mul(OBJECT_BYTES)).min(OBJECT_BYTES)
    }

    pub fn place(&self, index: u64) -> Place {
        self.places.borrow().get(index)
    }

    pub fn set_place(&self, index: u64, place: Place) {
        self.places.borrow_mut().set(index, place);
    }

    /// Looks for the topmost layer that has an object; `probe` is `None` where one has not. `None`: none has.
    ///
    /// While this looks, others may merge a layer into the one above: they copy up, and then remove below. So whoever sees an object
    /// missing in two layers, one below the other, looks into the upper one again, from the bottom to the top: if it is still missing there,
    /// it was not on its way.
    pub async fn find<T>(
        &self,
        pool: &Pool,
        index: u64,
        probe: impl AsyncFn(&Link) -> Result<Option<T>>,
    ) -> Result<Option<Found<T>>> {
        let links = self.links(index);
        match self.place(index) {
            Place::Nowhere => return Ok(None),
            Place::At(depth) => {
                if let Some(link) = links.get(depth)
                    && let Some(what) = probe(link).await?
                {
                    return Ok(Some(Found { depth, what }));
                }
            }
            Place::Unknown => {}
        }
        let known = self.place(index);
        for _ in 0..WALKS_MAX {
            let mut found = None;
            let mut passed = 0;
            for (depth, link) in links.iter().enumerate() {
                found = probe(link).await?.map(|what| Found { depth, what });
                if found.is_some() {
                    break;
                }
                passed += 1;
            }
            if self.has_moved(pool, index, links.get(..passed).unwrap_or_default()).await? {
                continue;
            }
            let place = found.as_ref().map_or(Place::Nowhere, |found| Place::At(found.depth));
            // A place that turned out wrong is replaced, unless a write knows better by now.
            if self.is_stable && self.place(index) == known {
                self.set_place(index, place);
            }
            return Ok(found);
        }
        Err(Error::new(EAGAIN, format!("object {index} of an image moves between layers all the time; try again")))
    }

    /// Whether an object that was missing in all these layers is there now in one of them but the lowest.
    async fn has_moved(&self, pool: &Pool, index: u64, missing: &[Link]) -> Result<bool> {
        let Some((_, above)) = missing.split_last() else { return Ok(false) };
        for link in above.iter().rev() {
            if stat(pool, &self.name_at(index, link)).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The layer that has an object, and how long it is there.
    pub async fn locate(&self, pool: &Pool, index: u64) -> Result<Option<Found<u64>>> {
        self.find(pool, index, async |link| stat(pool, &self.name_at(index, link)).await).await
    }
}

async fn stat(pool: &Pool, name: &[u8]) -> Result<Option<u64>> {
    match pool.execute(name, ObjectOperations::new().stat()).await {
        Ok(outcome) => Ok(Some(outcome.stat(0)?.size)),
        Err(error) if error.errno() == ENOENT => Ok(None),
        Err(error) => Err(error),
    }
}
