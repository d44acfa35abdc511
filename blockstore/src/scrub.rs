//! Scrub: reads everything that the store keeps, on both devices, and compares it with its checksums, in small steps that a caller paces.
//!
//! A pass goes through the superblocks, the allocation pages, the index nodes (as they are on disk, not as they are in memory), and
//! then the data of every object in order of names, hot and base copies alike. Base blocks under a dirty hot extent are nobody's, and
//! passed over. A pass is a sequence of steps, each of which says where the next begins; nothing is kept in between.
//!
//! Nothing is locked. What is read may change, move, be flushed, evicted or removed meanwhile, so a mismatch counts only if the index
//! still says the same after everything under way has become durable, and the same is read again. Where the store has the same bytes
//! a second time it repairs: a damaged clean hot copy goes, and over a damaged base copy the hot one is made dirty again, so that the
//! next flush writes base anew. Of its own structures it writes anew what it still has in memory.

mod cursor;
mod finding;
mod objects;
mod repair;
mod shape;
mod structures;

pub use cursor::ScrubCursor;
pub use finding::{ScrubFinding, ScrubKind, ScrubSubject};
pub use shape::Fragmented;

use crate::error::Result;
use crate::inner::Inner;
use cursor::Place;
use std::rc::Rc;

/// What one step of a pass did.
#[derive(Clone, Debug, Default)]
pub struct ScrubStep {
    /// Where the next step begins; `None`: the pass is over.
    pub next: Option<ScrubCursor>,
    /// Read from the devices and compared.
    pub bytes: u64,
    /// Objects that this step came to the end of.
    pub objects: u64,
    pub findings: Vec<ScrubFinding>,
    /// Objects without hot data that lie in many more pieces on base than they need to.
    pub fragmented: Vec<Fragmented>,
}

/// Does the step that begins at `cursor`, which reads about `bytes_max`, or nothing more than it must where that is more.
pub(crate) async fn step(inner: &Rc<Inner>, cursor: ScrubCursor, bytes_max: u64) -> Result<ScrubStep> {
    let mut step = ScrubStep::default();
    let next = match cursor.place {
        Place::Superblocks => structures::superblocks(inner, &mut step).await?,
        Place::Pages { page } => structures::pages(inner, page, bytes_max, &mut step).await?,
        Place::Nodes { low, level } => structures::nodes(inner, (low, level), bytes_max, &mut step).await?,
        Place::Objects { from, block, shape } => {
            objects::objects(inner, (from, block, shape), bytes_max, &mut step).await?
        }
    };
    step.next = next.map(|place| ScrubCursor { place });
    Ok(step)
}
