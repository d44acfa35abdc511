//! What is left to do after a change, in steps that may end anywhere and go on with the next holder: trimming, merging, collecting. And
//! flattening, which is the same work with another purpose.

use super::header::{Chore, Header};
use super::image::Image;
use super::layout::{data_name, data_prefix, object_count, parse_data_name};
use super::limits::{OBJECT_BYTES, TIDY_JOBS};
use super::view::{Found, View};
use super::{Id, header_object};
use crate::error::{EEXIST, EINVAL, ENOENT, Result};
use crate::{ObjectOperations, Pool};
use basalt_net::message::object::Operation;
use basalt_ring::local::join_all;
use std::rc::Rc;

impl Image {
    /// Does what is left to do while the image is used. Ends with the image.
    pub(super) fn tidy_in_background(&self) {
        // One that runs sees what has come up since.
        if self.inner.tidying.borrow().as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let weak = Rc::downgrade(&self.inner);
        let ring = self.inner.pool.ring().clone();
        let task = ring.clone().spawn(async move {
            // Whoever started this may have the turn to change.
            ring.yield_now().await;
            let Some(inner) = weak.upgrade() else { return };
            let image = Image { inner };
            if let Err(error) = image.tidy().await {
                tracing::warn!(
                    image = image.name(),
                    reason = error.message(),
                    "is not tidied: goes on when it is opened again"
                );
            }
        });
        *self.inner.tidying.borrow_mut() = Some(task);
    }

    /// Does all that is left to do.
    pub(super) async fn tidy(&self) -> Result<()> {
        loop {
            let _turn = self.inner.changing.acquire(1).await;
            let chore = self.inner.header.borrow().header.chore();
            match chore {
                None => return Ok(()),
                Some(chore) => self.do_chore(chore).await?,
            }
        }
    }

    /// Removes what lies beyond the end, so that the image may grow again. By whoever has the turn to change.
    pub(super) async fn trim(&self) -> Result<()> {
        loop {
            let chore = self.inner.header.borrow().header.chore();
            match chore {
                Some(chore @ Chore::Trim { .. }) => self.do_chore(chore).await?,
                _ => return Ok(()),
            }
        }
    }

    async fn do_chore(&self, chore: Chore) -> Result<()> {
        let inner = &self.inner;
        let pool = &inner.pool;
        let (family, head) = {
            let header = &inner.header.borrow().header;
            (header.family, header.head)
        };
        match chore {
            Chore::Trim { from, to } => {
                if !from.is_multiple_of(OBJECT_BYTES) {
                    let cut = ObjectOperations::new().assert_exists().stat();
                    let name = data_name(family, from / OBJECT_BYTES, head);
                    let stat = match pool.execute(&name, cut).await {
                        Ok(outcome) => Some(outcome.stat(1)?),
                        Err(error) if error.errno() == ENOENT => None,
                        Err(error) => return Err(error),
                    };
                    if stat.is_some_and(|stat| stat.size > from % OBJECT_BYTES) {
                        let cut = ObjectOperations::new().assert_exists().truncate(from % OBJECT_BYTES);
                        missing_is_fine(pool.execute(&name, cut).await)?;
                    }
                }
                let beyond = object_count(from)..object_count(to);
                remove_objects(pool, family, head, |index| beyond.contains(&index)).await?;
                let _shut = inner.gate.shut().await;
                inner
                    .change_header(|header| {
                        header.trimmed();
                        Ok(())
                    })
                    .await
            }
            Chore::Merge { lower, upper, visible } => {
                copy_layer(pool, family, lower, upper, visible).await?;
                let _shut = inner.gate.shut().await;
                inner
                    .change_header(|header| {
                        header.merged(lower, upper);
                        Ok(())
                    })
                    .await
            }
            Chore::Collect(layer) => {
                remove_objects(pool, family, layer, |_| true).await?;
                let _shut = inner.gate.shut().await;
                inner
                    .change_header(|header| {
                        header.collected(layer);
                        Ok(())
                    })
                    .await
            }
        }
    }

    /// Copies, without moving a byte, all that is seen of the parent into the layer over it; then the image has no parent.
    pub(super) async fn flatten(&self) -> Result<()> {
        let inner = &self.inner;
        let header = self.header();
        let (Some(parent), Some(layer)) = (header.parent.clone(), header.over_parent().copied()) else {
            let message = format!("image {:?} has no parent: there is nothing to flatten", inner.name);
            return Err(crate::Error::new(EINVAL, message));
        };
        // From the layer over the parent down.
        let view = View::of(&inner.pool, &header, layer.id, layer.visible, true).await?;
        let count = object_count(layer.visible);
        let mut index = 0;
        while index < count {
            let end = (index + TIDY_JOBS as u64).min(count);
            let copies = (index..end).map(|index| copy_object(&inner.pool, &view, index)).collect();
            join_all(copies).await.into_iter().collect::<Result<Vec<()>>>()?;
            inner.check_writable()?;
            index = end;
        }
        {
            let _shut = inner.gate.shut().await;
            inner
                .change_header(|header| {
                    header.flattened();
                    Ok(())
                })
                .await?;
        }
        // Cut short before this, the parent keeps a name that `snap unprotect` finds to be no clone of it any more.
        let forgotten = header_object::change(&inner.pool, parent.image, &parent.name, |header: &mut Header| {
            header.forget_child(parent.snapshot, inner.id);
            Ok(())
        });
        missing_is_fine(forgotten.await)
    }
}

fn missing_is_fine<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(error) if error.errno() != ENOENT => Err(error),
        _ => Ok(()),
    }
}

/// Gives the top of a view an object that it lacks and something below has.
async fn copy_object(pool: &Pool, view: &View, index: u64) -> Result<()> {
    loop {
        let Some(Found { depth, .. }) = view.locate(pool, index).await? else { return Ok(()) };
        let Some(link) = view.links(index).get(depth).copied().filter(|_| depth > 0) else { return Ok(()) };
        let copy = ObjectOperations::new().assert_absent().operation(Operation::CloneRange {
            source: view.name_at(index, &link),
            source_offset: 0,
            offset: 0,
            length: view.visible_within(index, &link),
        });
        match pool.execute(&view.top_name(index), copy).await {
            Ok(_) => return Ok(()),
            Err(error) if error.errno() == EEXIST => return Ok(()),
            // It is being merged into the layer above.
            Err(error) if error.errno() == ENOENT => view.set_place(index, super::places::Place::Unknown),
            Err(error) => return Err(error),
        }
    }
}

/// Gives `upper` all objects of `lower` that it lacks, as far as they are seen through it.
async fn copy_layer(pool: &Pool, family: Id, lower: Id, upper: Id, visible: u64) -> Result<()> {
    for_each_object(pool, family, lower, async |index| {
        let seen = visible.saturating_sub(index.saturating_mul(OBJECT_BYTES)).min(OBJECT_BYTES);
        if seen == 0 {
            return Ok(());
        }
        let copy = ObjectOperations::new().assert_absent().operation(Operation::CloneRange {
            source: data_name(family, index, lower),
            source_offset: 0,
            offset: 0,
            length: seen,
        });
        match pool.execute(&data_name(family, index, upper), copy).await {
            Err(error) if !matches!(error.errno(), EEXIST | ENOENT) => Err(error),
            _ => Ok(()),
        }
    })
    .await
}

async fn remove_objects(pool: &Pool, family: Id, layer: Id, is_meant: impl Fn(u64) -> bool) -> Result<()> {
    for_each_object(pool, family, layer, async |index| {
        if !is_meant(index) {
            return Ok(());
        }
        missing_is_fine(pool.remove(&data_name(family, index, layer)).await)
    })
    .await
}

/// Calls `work` for each object that a layer has, some at a time.
async fn for_each_object(pool: &Pool, family: Id, layer: Id, work: impl AsyncFn(u64) -> Result<()>) -> Result<()> {
    let mut names = pool.list(&data_prefix(family)).with_pieces();
    loop {
        let mut indices = Vec::new();
        let mut is_end = false;
        while indices.len() < TIDY_JOBS && !is_end {
            match names.next().await? {
                Some(name) => {
                    let found = parse_data_name(family, &name).filter(|(_, of)| *of == layer);
                    indices.extend(found.map(|(index, _)| index));
                }
                None => is_end = true,
            }
        }
        join_all(indices.into_iter().map(|index| work(index)).collect())
            .await
            .into_iter()
            .collect::<Result<Vec<()>>>()?;
        if is_end {
            return Ok(());
        }
    }
}

/// Removes everything that a layer has. For an image that goes as a whole.
pub(super) async fn remove_layer(pool: &Pool, family: Id, layer: Id) -> Result<()> {
    remove_objects(pool, family, layer, |_| true).await
}
