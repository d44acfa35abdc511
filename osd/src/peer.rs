//! The other OSDs: a session to each that shares a placement group with this one, what is heard of them, and the leases they grant.

pub mod lease;
mod link;
mod public_link;
pub mod server;
pub mod silence;

pub use link::{Answered, PeerLink};

use crate::osd::Osd;
use basalt_cluster::Map;
use public_link::PublicLink;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

#[derive(Default)]
pub struct Peers {
    links: RefCell<BTreeMap<u32, Rc<PeerLink>>>,
    public_links: RefCell<BTreeMap<u32, PublicLink>>,
}

impl Peers {
    /// Keeps sessions with the OSDs that the map has this one share groups with, and with no others.
    pub fn set_map(&self, osd: &Rc<Osd>, map: &Map) {
        let wanted = sharing(osd.id(), map);
        let mut links = self.links.borrow_mut();
        let mut public_links = self.public_links.borrow_mut();
        links.retain(|id, _| wanted.contains(id));
        public_links.retain(|id, _| wanted.contains(id));
        for id in wanted {
            let Some(peer) = map.osd(id) else { continue };
            links.entry(id).or_insert_with(|| PeerLink::open(osd, id)).set_target(peer);
            public_links.entry(id).or_insert_with(|| PublicLink::open(osd, id)).set_target(peer);
        }
    }

    pub fn link(&self, osd: u32) -> Option<Rc<PeerLink>> {
        self.links.borrow().get(&osd).cloned()
    }

    pub fn links(&self) -> Vec<Rc<PeerLink>> {
        self.links.borrow().values().cloned().collect()
    }

    /// How long a peer has been silent on the public network.
    fn public_silence(&self, osd: u32) -> Option<std::time::Duration> {
        self.public_links.borrow().get(&osd).and_then(PublicLink::silence)
    }

    pub fn close(&self) {
        self.links.borrow_mut().clear();
        self.public_links.borrow_mut().clear();
    }
}

/// The OSDs that are up and share a placement group with this one, or may soon.
fn sharing(osd: u32, map: &Map) -> BTreeSet<u32> {
    let is_up = |id: &u32| map.osd(*id).is_some_and(|osd| osd.exists && osd.is_up);
    let exists = || map.osds.iter().filter(|osd| osd.exists && osd.is_up).map(|osd| osd.id);
    if map.osds.len() <= crate::limits::PEERS_ALL_MAX {
        return exists().filter(|id| *id != osd).collect();
    }
    let mut wanted: BTreeSet<u32> = BTreeSet::new();
    for (_, _, group) in map.pgs().filter(|(_, _, group)| group.in_sync.contains(&osd)) {
        wanted.extend(group.in_sync.iter().copied().filter(is_up));
    }
    // Some others besides, so that one that holds nothing yet is heard of, too.
    let ahead = exists().filter(|id| *id > osd).take(crate::limits::PEERS_BESIDES);
    wanted.extend(ahead);
    wanted.extend(exists().take(crate::limits::PEERS_BESIDES));
    wanted.remove(&osd);
    wanted
}
