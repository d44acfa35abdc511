//! Signs of life of one other OSD on the public network, on which nothing else passes between OSDs.

use crate::core_loop::Network;
use crate::limits;
use crate::osd::Osd;
use basalt_net::{Service, session};
use basalt_ring::{Instant, Ring, Task};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// Dropping it ends the session.
pub struct PublicLink {
    shared: Rc<Shared>,
    task: Task<()>,
}

struct Shared {
    osd: Weak<Osd>,
    ring: Ring,
    peer: u32,
    address: RefCell<String>,
    heard: Cell<Instant>,
}

impl PublicLink {
    pub fn open(osd: &Rc<Osd>, peer: u32) -> PublicLink {
        let shared = Rc::new(Shared {
            osd: Rc::downgrade(osd),
            ring: osd.ring().clone(),
            peer,
            address: RefCell::default(),
            heard: Cell::new(osd.ring().now()),
        });
        let task = osd.ring().spawn(run(shared.clone()));
        PublicLink { shared, task }
    }

    pub fn set_target(&self, peer: &basalt_cluster::Osd) {
        if *self.shared.address.borrow() != peer.public_address {
            *self.shared.address.borrow_mut() = peer.public_address.clone();
            self.shared.heard.set(self.shared.ring.now());
        }
    }

    pub fn silence(&self) -> Option<Duration> {
        Some(self.shared.ring.now().since(self.shared.heard.get()))
    }
}

impl Drop for PublicLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(shared: Rc<Shared>) {
    loop {
        let Some(osd) = shared.osd.upgrade() else { return };
        let address = shared.address.borrow().clone();
        let credentials = osd.identity().credentials(osd.id(), Network::Public);
        let interval = osd.heartbeat_interval();
        drop(osd);
        if let Ok(at) = address.parse::<SocketAddr>() {
            let connecting = session::connect(&shared.ring, at, &credentials, Service::Heartbeat(shared.peer));
            if let Ok(Ok(mut session)) = shared.ring.timeout(limits::PEER_CONNECT_TIMEOUT, connecting).await {
                let sender = session.sender();
                while !sender.is_closed() && *shared.address.borrow() == address {
                    let _ = sender.ping();
                    // It answers pings by itself, which brings no frame here.
                    let _ = shared.ring.timeout(interval, session.receive()).await;
                    shared.heard.set(shared.heard.get().max(sender.last_received()));
                    if shared.ring.now().since(sender.last_received()) > limits::PEER_SILENCE_MAX {
                        break;
                    }
                }
            }
        }
        shared.ring.sleep(interval).await;
    }
}
