//! Makes the allocation maps anew from what the index refers to. Nothing else of the store changes, and a crash on the way leaves it as it
//! was: the new maps come with a checkpoint of their own.

use super::reached::Reached;
use super::walk::Walk;
use crate::allocator::Run;
use crate::checkpoint;
use crate::error::{Error, Result};
use crate::index::{Body, Child, NodePointer, key};
use crate::inner::Inner;
use crate::record::Extent;
use crate::replay;
use crate::store::OpenOptions;
use crate::superblock;
use crate::wal::Side;
use basalt_ring::{Device, Ring};
use std::rc::Rc;

/// `walk` has been through the whole store, and found nothing wrong with its index.
pub(super) async fn repair(walk: Walk<'_>) -> Result<()> {
    let Walk { ring, devices, mut opened, reached: [base, hot], .. } = walk;
    if let Err(why) = opened.superblock.features.refuse_writing() {
        return Err(Error::Refused(format!("the store cannot be repaired: {why}")));
    }
    // What replay freed is still the checkpoint's, until the next one is there.
    let mut kept = [
        Reached::new(Side::Base, opened.superblock.layout.base_blocks),
        Reached::new(Side::Hot, opened.superblock.layout.hot_blocks),
    ];
    let index_side = opened.state.index_side();
    let index = if index_side == Side::Hot { devices.hot.as_ref().unwrap_or(&devices.base) } else { &devices.base };
    let superblock = opened.superblock.clone();
    reach(ring, (index, index_side), superblock.root, &superblock.store_id, &mut |side, run| {
        let [base, hot] = &mut kept;
        if side == Side::Base { base.add(run, false) } else { hot.add(run, false) }
    })
    .await?;
    let [kept_base, kept_hot] = &kept;
    opened.state.base.rebuild(base.words(), kept_base.words());
    if let Some(allocator) = &mut opened.state.hot {
        allocator.rebuild(hot.words(), kept_hot.words());
    }
    let inner = Inner::new(ring, devices.clone(), OpenOptions::default(), opened);
    // As at opening: what was read may be in the devices' caches only.
    inner.flush(Side::Base).await?;
    if devices.hot.is_some() {
        inner.flush(Side::Hot).await?;
    }
    for device in [Some(&devices.base), devices.hot.as_ref()].into_iter().flatten() {
        superblock::repair(ring, device).await?;
    }
    checkpoint::checkpoint(&inner, true).await
}

/// Calls `f` with every run that a checkpoint refers to.
async fn reach(
    ring: &Ring,
    (index, index_side): (&Device, Side),
    root: NodePointer,
    store_id: &[u8; 16],
    f: &mut dyn FnMut(Side, Run),
) -> Result<()> {
    let mut waiting = vec![Child::on_disk(root)];
    while let Some(child) = waiting.pop() {
        let Some(pointer) = child.pointer.get() else { continue };
        let node = replay::read_node(ring, index, &pointer, store_id).await?;
        f(index_side, Run { at: pointer.block, blocks: pointer.blocks.into() });
        match &node.body {
            Body::Leaf(leaf) => {
                for at in 0..leaf.len() {
                    let (key, value) = leaf.entry(at);
                    if let (Some((_, crate::index::Content::Extent(layer, _))), Some(extent)) =
                        (key::parse_content(key), Extent::decode(value))
                    {
                        f(layer.side(), extent.run());
                    }
                }
            }
            Body::Inner(inner) => {
                waiting.extend(inner.children().iter().map(|(_, child): &(_, Rc<Child>)| child.clone()))
            }
        }
    }
    Ok(())
}
