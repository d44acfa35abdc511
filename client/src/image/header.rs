//! What an image is: its size, its layers, its snapshots, its parent. Pure: each change is a function of the header before it, and is
//! written by one request that is refused if anybody changed the header meanwhile.
//!
//! Layers form a tree. Each has objects of its own and looks through to the one below where it has none. The image writes to the layer
//! `head`; a snapshot makes the head a layer that nobody writes any more, and puts a new one over it. So a snapshot costs one small
//! write, and so does rolling back to one. A layer that no snapshot names any more is merged into the only one above it, or goes.

use super::Id;
use super::limits::{CHAIN_MAX, CHILDREN_MAX, IMAGE_BYTES_MAX, IMAGE_NAME_BYTES_MAX, SNAPSHOTS_MAX};
use crate::error::{EEXIST, EINVAL, EIO, ENOENT, Error, Result};
use serde::{Deserialize, Serialize};

pub const EBUSY: i32 = 16;
pub const ENOSPC: i32 = 28;
pub const ENOTEMPTY: i32 = 39;

const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Programs refuse a newer one than they know.
    pub format: u32,
    pub id: Id,
    pub name: String,
    pub stage: Stage,
    /// Bytes.
    pub size: u64,
    pub created_unix_s: u64,
    /// Of the names of its data objects.
    pub family: Id,
    /// The layer that is written to.
    pub head: Id,
    pub layers: Vec<Layer>,
    /// In the order they were made.
    pub snapshots: Vec<Snapshot>,
    pub last_snapshot: u64,
    pub parent: Option<Parent>,
    /// Layers whose objects nothing needs any more, and some of which may be there still.
    pub garbage: Vec<Id>,
    /// Objects of the head from `size` up to here may be there still: they go before the image grows.
    pub trim_end: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// A clone that its parent may not know yet.
    Incomplete,
    Complete,
    /// Only its removal can go on.
    Removing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    pub id: Id,
    pub below: Below,
    /// So many bytes of what is below are seen through this layer, from the start.
    pub visible: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Below {
    Nothing,
    Layer(Id),
    /// The parent's snapshot.
    Parent,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    pub id: u64,
    pub name: String,
    pub size: u64,
    pub created_unix_s: u64,
    pub protected: bool,
    pub layer: Id,
    /// Who asked for it: the same request, made again, has been carried out.
    pub request: Id,
    pub children: Vec<Child>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Child {
    pub image: Id,
    pub name: String,
    /// False while the clone is being made: then there may be no such image.
    pub confirmed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    pub image: Id,
    pub name: String,
    pub snapshot: u64,
    pub snapshot_name: String,
}

/// One layer as a read through an image meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub layer: Id,
    /// Bytes of this layer that are seen from above.
    pub visible: u64,
}

/// What there is to do behind an image's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// Objects of `lower` that `upper` lacks are to be cloned there, up to so many bytes; then [`Header::merged`].
    Merge { lower: Id, upper: Id, visible: u64 },
    /// This layer's objects are to be removed; then [`Header::collected`].
    Collect(Id),
    /// The head's objects between these bounds are to be removed; then [`Header::trimmed`].
    Trim { from: u64, to: u64 },
}

pub fn check_name(what: &str, name: &str) -> Result<()> {
    let fits = (1..=IMAGE_NAME_BYTES_MAX).contains(&name.len());
    if fits && !name.chars().any(|character| matches!(character, '/' | '@') || character.is_control()) {
        return Ok(());
    }
    let message = format!(
        "{name:?} can't be {what}'s name: that has 1 to {IMAGE_NAME_BYTES_MAX} bytes, and no '/', '@' or control character"
    );
    Err(Error::new(EINVAL, message))
}

pub fn check_size(size: u64) -> Result<()> {
    if size <= IMAGE_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(EINVAL, format!("an image of {size} bytes, where {IMAGE_BYTES_MAX} are possible")))
}

impl Header {
    /// A new image without data.
    pub fn new(id: Id, name: &str, size: u64, head: Id, created_unix_s: u64) -> Header {
        Header {
            format: FORMAT,
            id,
            name: name.into(),
            stage: Stage::Complete,
            size,
            created_unix_s,
            family: id,
            head,
            layers: vec![Layer { id: head, below: Below::Nothing, visible: 0 }],
            snapshots: Vec::new(),
            last_snapshot: 0,
            parent: None,
            garbage: Vec::new(),
            trim_end: None,
        }
    }

    /// A new image that shows what a snapshot of another has. Incomplete until the parent knows it.
    pub fn clone_of(parent: &Header, snapshot: &str, id: Id, name: &str, head: Id, now_unix_s: u64) -> Result<Header> {
        let snapshot = parent.snapshot(snapshot)?;
        let mut header = Header::new(id, name, snapshot.size, head, now_unix_s);
        header.stage = Stage::Incomplete;
        header.family = parent.family;
        header.layers = vec![Layer { id: head, below: Below::Parent, visible: snapshot.size }];
        header.parent = Some(Parent {
            image: parent.id,
            name: parent.name.clone(),
            snapshot: snapshot.id,
            snapshot_name: snapshot.name.clone(),
        });
        Ok(header)
    }

    pub fn encode(&self) -> Vec<u8> {
        match serde_json::to_vec(self) {
            Ok(bytes) => bytes,
            // Strings, numbers and vectors of them have no way to fail.
            Err(error) => panic!("a header can't be written as JSON: {error}"),
        }
    }

    pub fn decode(name: &str, bytes: &[u8]) -> Result<Header> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let damaged = |what: String| Error::new(EIO, format!("the header of image {name:?} is damaged: {what}"));
        match serde_json::from_slice::<Format>(bytes) {
            Ok(Format { format }) if format > FORMAT => {
                let message =
                    format!("image {name:?} has format {format}, and this program knows up to {FORMAT}: update it");
                return Err(Error::new(crate::error::EOPNOTSUPP, message));
            }
            Ok(_) => {}
            Err(error) => return Err(damaged(error.to_string())),
        }
        let header: Header = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        header.check().map_err(|what| damaged(what.to_string()))?;
        Ok(header)
    }

    /// What all that walks its layers relies on.
    fn check(&self) -> std::result::Result<(), &'static str> {
        if self.size > IMAGE_BYTES_MAX || self.snapshots.len() > SNAPSHOTS_MAX {
            return Err("its size or the number of its snapshots is beyond what is possible");
        }
        let mut known: Vec<Id> = Vec::new();
        // A layer comes after the one it looks through to, so there is no ring.
        for layer in &self.layers {
            let fits = match layer.below {
                Below::Nothing => true,
                Below::Layer(below) => known.contains(&below),
                Below::Parent => self.parent.is_some(),
            };
            if !fits || known.contains(&layer.id) {
                return Err("a layer lies over one that is not there");
            }
            known.push(layer.id);
        }
        let has_all = self.snapshots.iter().all(|snapshot| known.contains(&snapshot.layer));
        if !has_all || !known.contains(&self.head) || self.garbage.iter().any(|id| known.contains(id)) {
            return Err("its head, or a snapshot's layer, is not there");
        }
        Ok(())
    }

    pub fn snapshot(&self, name: &str) -> Result<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.name == name).ok_or_else(|| self.no_snapshot(name))
    }

    fn snapshot_mut(&mut self, name: &str) -> Result<&mut Snapshot> {
        let missing = self.no_snapshot(name);
        self.snapshots.iter_mut().find(|snapshot| snapshot.name == name).ok_or(missing)
    }

    fn no_snapshot(&self, name: &str) -> Error {
        Error::new(ENOENT, format!("image {:?} has no snapshot {name:?}; `snap ls` shows those it has", self.name))
    }

    pub fn layer(&self, id: Id) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.id == id)
    }

    /// The layers below and including this one, topmost first, and through how many bytes the parent shows at their end (0: there is none).
    pub fn chain(&self, top: Id) -> (Vec<Link>, u64) {
        let mut chain = Vec::new();
        let (mut at, mut visible) = (Some(top), u64::MAX);
        while let Some(layer) = at.and_then(|id| self.layer(id)) {
            chain.push(Link { layer: layer.id, visible });
            visible = visible.min(layer.visible);
            at = match layer.below {
                Below::Layer(below) => Some(below),
                Below::Parent => return (chain, visible),
                Below::Nothing => None,
            };
        }
        (chain, 0)
    }

    fn depth(&self) -> usize {
        self.chain(self.head).0.len()
    }

    /// Puts a new layer over the head; what the image has now stays as the snapshot. `depth` is how deep the image's chain is, parents included.
    pub fn create_snapshot(&mut self, name: &str, layer: Id, request: Id, now_unix_s: u64, depth: usize) -> Result<()> {
        check_name("a snapshot", name)?;
        if let Ok(there) = self.snapshot(name) {
            if there.request == request {
                return Ok(());
            }
            return Err(Error::new(EEXIST, format!("image {:?} has a snapshot {name:?} already", self.name)));
        }
        if self.snapshots.len() >= SNAPSHOTS_MAX || depth.max(self.depth()) >= CHAIN_MAX {
            let message = format!(
                "image {:?} has {} snapshots and layers {depth} deep; {SNAPSHOTS_MAX} and {CHAIN_MAX} are possible: remove snapshots or flatten it",
                self.name,
                self.snapshots.len()
            );
            return Err(Error::new(ENOSPC, message));
        }
        self.last_snapshot += 1;
        self.snapshots.push(Snapshot {
            id: self.last_snapshot,
            name: name.into(),
            size: self.size,
            created_unix_s: now_unix_s,
            protected: false,
            layer: self.head,
            request,
            children: Vec::new(),
        });
        self.layers.push(Layer { id: layer, below: Below::Layer(self.head), visible: self.size });
        self.head = layer;
        // What was not trimmed yet is hidden by the new layer.
        self.trim_end = None;
        Ok(())
    }

    /// Makes the head what the snapshot is. Its objects are garbage then.
    pub fn roll_back(&mut self, name: &str, layer: Id) -> Result<()> {
        let Snapshot { layer: below, size, .. } = *self.snapshot(name)?;
        let old = std::mem::replace(&mut self.head, layer);
        self.layers.push(Layer { id: layer, below: Below::Layer(below), visible: size });
        self.layers.retain(|layer| layer.id != old);
        self.garbage.push(old);
        // What was to be trimmed is garbage as well.
        self.trim_end = None;
        self.size = size;
        self.drop_unreachable();
        Ok(())
    }

    pub fn remove_snapshot(&mut self, name: &str) -> Result<()> {
        let snapshot = self.snapshot(name)?;
        if snapshot.protected || !snapshot.children.is_empty() {
            let message = format!("snapshot {name:?} of image {:?} is protected; `snap unprotect` it first", self.name);
            return Err(Error::new(EBUSY, message));
        }
        self.snapshots.retain(|snapshot| snapshot.name != name);
        self.drop_unreachable();
        Ok(())
    }

    pub fn protect_snapshot(&mut self, name: &str) -> Result<()> {
        let image = self.name.clone();
        let snapshot = self.snapshot_mut(name)?;
        if snapshot.protected {
            return Err(Error::new(EBUSY, format!("snapshot {name:?} of image {image:?} is protected already")));
        }
        snapshot.protected = true;
        Ok(())
    }

    /// Refuses while there are clones of it.
    pub fn unprotect_snapshot(&mut self, name: &str) -> Result<()> {
        let image = self.name.clone();
        let snapshot = self.snapshot_mut(name)?;
        if !snapshot.protected {
            return Err(Error::new(EINVAL, format!("snapshot {name:?} of image {image:?} is not protected")));
        }
        if let Some(child) = snapshot.children.first() {
            let message = format!(
                "snapshot {name:?} of image {image:?} has {} clones, {:?} among them; flatten or remove them first",
                snapshot.children.len(),
                child.name
            );
            return Err(Error::new(EBUSY, message));
        }
        snapshot.protected = false;
        Ok(())
    }

    /// Notes a clone that is about to be made of a protected snapshot.
    pub fn announce_child(&mut self, snapshot: &str, image: Id, name: &str) -> Result<()> {
        let own_name = self.name.clone();
        let snapshot = self.snapshot_mut(snapshot)?;
        if !snapshot.protected {
            let message = format!(
                "snapshot {:?} of image {own_name:?} is not protected; `snap protect` it, so that it stays while clones need it",
                snapshot.name
            );
            return Err(Error::new(EINVAL, message));
        }
        if snapshot.children.len() >= CHILDREN_MAX {
            let message = format!(
                "snapshot {:?} of image {own_name:?} has {CHILDREN_MAX} clones, and may have no more",
                snapshot.name
            );
            return Err(Error::new(ENOSPC, message));
        }
        snapshot.children.push(Child { image, name: name.into(), confirmed: false });
        Ok(())
    }

    /// Writes down that the clone is there: from now on it is forgotten only when it is gone. ENOENT if it was forgotten already.
    pub fn confirm_child(&mut self, snapshot: u64, image: Id) -> Result<()> {
        let children = self.snapshots.iter_mut().find(|found| found.id == snapshot).map(|found| &mut found.children);
        let child = children.and_then(|children| children.iter_mut().find(|child| child.image == image));
        match child {
            Some(child) => {
                child.confirmed = true;
                Ok(())
            }
            None => Err(Error::new(ENOENT, format!("image {:?} was unprotected meanwhile: clone again", self.name))),
        }
    }

    pub fn forget_child(&mut self, snapshot: u64, image: Id) {
        if let Some(snapshot) = self.snapshots.iter_mut().find(|found| found.id == snapshot) {
            snapshot.children.retain(|child| child.image != image);
        }
    }

    /// Refused while something is to be trimmed: see [`Chore::Trim`].
    pub fn resize(&mut self, size: u64) -> Result<()> {
        check_size(size)?;
        if self.trim_end.is_some() {
            return Err(Error::new(EBUSY, format!("image {:?} is being shrunk; try again", self.name)));
        }
        let old = self.size;
        if size < old {
            self.trim_end = Some(old);
            let head = self.head;
            if let Some(layer) = self.layers.iter_mut().find(|layer| layer.id == head) {
                layer.visible = layer.visible.min(size);
            }
        }
        self.size = size;
        Ok(())
    }

    /// What is to be done next, if anything.
    pub fn chore(&self) -> Option<Chore> {
        if let Some(to) = self.trim_end {
            return Some(Chore::Trim { from: self.size, to });
        }
        if let Some(layer) = self.garbage.first() {
            return Some(Chore::Collect(*layer));
        }
        let is_named = |id: Id| id == self.head || self.snapshots.iter().any(|snapshot| snapshot.layer == id);
        self.layers.iter().filter(|layer| !is_named(layer.id)).find_map(|lower| {
            let mut above = self.layers.iter().filter(|layer| layer.below == Below::Layer(lower.id));
            match (above.next(), above.next()) {
                (Some(upper), None) => Some(Chore::Merge { lower: lower.id, upper: upper.id, visible: upper.visible }),
                // With several above it, it stays until there is one.
                _ => None,
            }
        })
    }

    /// Layers that nothing leads to any more become garbage.
    fn drop_unreachable(&mut self) {
        loop {
            let is_needed = |id: Id| {
                id == self.head
                    || self.snapshots.iter().any(|snapshot| snapshot.layer == id)
                    || self.layers.iter().any(|layer| layer.below == Below::Layer(id))
            };
            let Some(index) = self.layers.iter().position(|layer| !is_needed(layer.id)) else { return };
            let layer = self.layers.remove(index);
            self.garbage.push(layer.id);
        }
    }

    /// `upper` has all that is seen of `lower` through it.
    pub fn merged(&mut self, lower: Id, upper: Id) {
        let Some(Layer { below, visible, .. }) = self.layer(lower).copied() else { return };
        if self.snapshots.iter().any(|snapshot| snapshot.layer == lower) {
            return;
        }
        let Some(over) = self.layers.iter_mut().find(|layer| layer.id == upper) else { return };
        if over.below != Below::Layer(lower) {
            return;
        }
        over.below = below;
        over.visible = over.visible.min(visible);
        self.drop_unreachable();
    }

    pub fn collected(&mut self, layer: Id) {
        self.garbage.retain(|garbage| *garbage != layer);
    }

    pub fn trimmed(&mut self) {
        self.trim_end = None;
    }

    /// The layer that lies over the parent, if one does.
    pub fn over_parent(&self) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.below == Below::Parent)
    }

    /// The image has all that it showed of its parent.
    pub fn flattened(&mut self) {
        for layer in &mut self.layers {
            if layer.below == Below::Parent {
                layer.below = Below::Nothing;
                layer.visible = 0;
            }
        }
        self.parent = None;
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
