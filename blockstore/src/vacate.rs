//! Vacate: clean hot extents leave the room that the index has grown into. The room is made larger long before it is full (see
//! `State::settle_zone`), so whoever does this has time, and can flush what is dirty there first.

use crate::error::Result;
use crate::evict;
use crate::index::{Layer, key};
use crate::inner::Inner;
use crate::limits::VACATE_STEP_OBJECTS;
use crate::object::{HotChange, ObjectId};
use crate::record::{ExtentState, HotSummary};
use crate::store::pairs;
use std::rc::Rc;

/// Where a pass is.
#[derive(Clone, Copy, Debug)]
pub struct VacateCursor {
    after: (u32, ObjectId),
    /// Size of the room when the pass began.
    zone_blocks: u64,
    found_dirty: bool,
}

impl Default for VacateCursor {
    fn default() -> Self {
        VacateCursor { after: (0, ObjectId(0)), zone_blocks: 0, found_dirty: false }
    }
}

/// One step of vacating the index's room.
#[derive(Clone, Debug, Default)]
pub struct Vacated {
    pub bytes: u64,
    /// What the objects hold now that lost something.
    pub changes: Vec<HotChange>,
    /// Pool and number of objects with dirty extents there: they have to be flushed before those can go.
    pub dirty: Vec<(u32, ObjectId)>,
    /// Where to go on; `None` after the last object.
    pub next: Option<VacateCursor>,
}

pub(crate) async fn vacate(inner: &Rc<Inner>, mut cursor: VacateCursor) -> Result<Vacated> {
    let prefix = key::hot_summaries();
    let (pool, object) = cursor.after;
    if (pool, object) == VacateCursor::default().after {
        cursor.zone_blocks = zone_blocks(inner);
    }
    let from = key::hot_summary(pool, object);
    let (found, more) = inner.index(|state| pairs(state, &prefix, &from, &[], VACATE_STEP_OBJECTS)).await?;
    let hot: Vec<(u32, ObjectId)> = found
        .iter()
        .filter(|(_, value)| HotSummary::decode(value).is_some_and(|summary| !summary.is_empty()))
        .filter_map(|(name, _)| key::parse_hot_summary(&[prefix.as_slice(), name].concat()))
        .collect();
    let mut vacated = Vacated::default();
    let mut changed = Vec::new();
    for &(pool, object) in &hot {
        let (clean, dirty) = inner
            .index(|state| {
                let (mut clean, mut dirty) = (false, false);
                for (_, extent) in state.extents(object, Layer::Hot, 0, u32::MAX)? {
                    if state.hot.as_ref().is_some_and(|hot| hot.is_in_zone(extent.run())) {
                        clean |= extent.state == ExtentState::HotClean;
                        dirty |= extent.state == ExtentState::HotDirty;
                    }
                }
                Ok((clean, dirty))
            })
            .await?;
        if dirty {
            vacated.dirty.push((pool, object));
        }
        if clean {
            let in_zone = |state: &crate::state::State, extent: &crate::record::Extent| {
                state.hot.as_ref().is_some_and(|hot| hot.is_in_zone(extent.run()))
            };
            let (bytes, _) = evict::evict(inner, pool, &[(object, evict::all())], in_zone).await?;
            vacated.bytes += bytes;
            changed.push((pool, object));
        }
    }
    // All at once at the end: what was true of the first may not be any more.
    vacated.changes = inner
        .index(|state| {
            changed.iter().map(|(pool, object)| Ok(state.hot_summary(*pool, *object)?.change(*pool, *object))).collect()
        })
        .await?;
    cursor.found_dirty |= !vacated.dirty.is_empty();
    match hot.last() {
        Some(&last) if more => vacated.next = Some(VacateCursor { after: last, ..cursor }),
        // The room may have grown again on the way.
        _ if !cursor.found_dirty && zone_blocks(inner) <= cursor.zone_blocks => {
            inner.state.borrow_mut().zone_is_mixed = false;
        }
        _ => {}
    }
    Ok(vacated)
}

fn zone_blocks(inner: &Inner) -> u64 {
    inner.state.borrow().hot.as_ref().map_or(0, |hot| hot.zone_blocks())
}
