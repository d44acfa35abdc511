//! The newest map that a client knows.

use basalt_cluster::{Map, PgId};
use basalt_net::Fsid;
use basalt_ring::local::Event;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

#[derive(Clone)]
pub(crate) struct ClusterView {
    shared: Rc<Shared>,
}

struct Shared {
    fsid: Fsid,
    map: RefCell<Option<Rc<Map>>>,
    /// Maps that came in, newer or not.
    received: Cell<u64>,
    changed: Event,
}

/// The OSD that a request goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub osd: u32,
    pub address: String,
}

impl ClusterView {
    pub fn new(fsid: Fsid) -> ClusterView {
        ClusterView {
            shared: Rc::new(Shared { fsid, map: RefCell::default(), received: Cell::default(), changed: Event::new() }),
        }
    }

    /// Takes a map from a monitor, unless it is older than what is known.
    pub fn update(&self, bytes: &[u8]) -> Result<(), String> {
        let map = Map::decode(bytes).map_err(|error| error.to_string())?;
        if map.fsid != self.shared.fsid.0 {
            return Err(format!("a map of cluster {}, not {}", Fsid(map.fsid), self.shared.fsid));
        }
        self.shared.received.set(self.shared.received.get() + 1);
        if map.epoch() > self.epoch() {
            *self.shared.map.borrow_mut() = Some(Rc::new(map));
        }
        self.shared.changed.notify_all();
        Ok(())
    }

    /// 0 as long as there is no map.
    pub fn epoch(&self) -> u32 {
        self.shared.map.borrow().as_ref().map_or(0, |map| map.epoch())
    }

    pub fn map(&self) -> Option<Rc<Map>> {
        self.shared.map.borrow().clone()
    }

    pub fn received(&self) -> u64 {
        self.shared.received.get()
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
