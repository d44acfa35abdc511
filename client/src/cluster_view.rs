//! The newest map that a client knows.

use basalt_cluster::map::follower::{Followed, MapFollower};
use basalt_cluster::{Map, PgId};
use basalt_net::message::monitor::MapNews;
use basalt_net::{Fsid, Trust};
use basalt_ring::local::Event;
use std::cell::RefCell;
use std::rc::Rc;

#[derive(Clone)]
pub(crate) struct ClusterView {
    shared: Rc<Shared>,
}

struct Shared {
    fsid: Fsid,
    trust: Trust,
    map: RefCell<Option<Rc<Map>>>,
    changed: Event,
}

/// The OSD that a request goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub osd: u32,
    pub address: String,
}

impl ClusterView {
    pub fn new(fsid: Fsid, trust: Trust) -> ClusterView {
        ClusterView { shared: Rc::new(Shared { fsid, trust, map: RefCell::default(), changed: Event::new() }) }
    }

    /// Takes what a monitor sends, unless it is older than what is known. `false`: the whole map is to be asked for.
    pub fn follow(&self, follower: &mut MapFollower, news: MapNews) -> Result<bool, String> {
        let known = self.map();
        let map = match follower.receive(known.as_deref(), news).map_err(|error| error.to_string())? {
            Followed::Whole(map) | Followed::Newer(map) => map,
            Followed::Nothing => return Ok(true),
            Followed::AskForWhole => return Ok(false),
        };
        if map.fsid != self.shared.fsid.0 {
            return Err(format!("a map of cluster {}, not {}", Fsid(map.fsid), self.shared.fsid));
        }
        if map.epoch() > self.epoch() {
            map.teach(&self.shared.trust);
            *self.shared.map.borrow_mut() = Some(Rc::new(map));
        }
        self.shared.changed.notify_all();
        Ok(true)
    }

    /// 0 as long as there is no map.
    pub fn epoch(&self) -> u32 {
        self.shared.map.borrow().as_ref().map_or(0, |map| map.epoch())
    }

    pub fn map(&self) -> Option<Rc<Map>> {
        self.shared.map.borrow().clone()
    }

    /// Ends with the next map that comes in after this call.
    pub fn changed(&self) -> impl Future<Output = ()> + use<> {
        self.shared.changed.wait()
    }

    pub async fn wait_for_epoch(&self, epoch: u32) {
        loop {
            let changed = self.changed();
            if self.epoch() >= epoch {
                return;
            }
            changed.await;
        }
    }
}

/// The primary of a placement group; an error says what the client waits for.
pub(crate) fn primary(map: &Map, pg: PgId) -> Result<Target, String> {
    match map.acting(pg).and_then(|acting| acting.first().copied()) {
        Some(osd) => address(map, osd),
        None => Err(format!("placement group {pg} has no primary that is up (see `basalt pg query {pg}`)")),
    }
}

/// Where an OSD serves clients; an error says what the client waits for.
pub(crate) fn address(map: &Map, osd: u32) -> Result<Target, String> {
    match map.osd(osd) {
        Some(found) if found.exists && found.is_up => Ok(Target { osd, address: found.public_address.clone() }),
        _ => Err(format!("osd.{osd} is not up")),
    }
}
