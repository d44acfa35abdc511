//! What the monitor is told of the peers: whom this OSD does not hear, on which network, and whether the fault is rather its own.

use super::Peers;
use basalt_net::message::monitor::PeerSilence;
use basalt_ring::Instant;
use std::time::Duration;

/// Of all peers.
#[derive(Default)]
pub struct Hearing {
    pub silent: Vec<PeerSilence>,
    pub heard: Vec<u32>,
    /// Most peers are silent on the cluster network.
    pub is_isolated: bool,
}

impl Peers {
    /// `patience`: who answered so lately is heard.
    pub fn hearing(&self, now: Instant, patience: Duration) -> Hearing {
        let mut hearing = Hearing::default();
        let links = self.links();
        let count = links.len();
        let mut silent_on_cluster = 0;
        for link in links {
            let cluster = link.silence(now);
            let public = self.public_silence(link.peer()).unwrap_or_default();
            let is_heard = cluster < patience && link.session().is_some();
            if is_heard {
                hearing.heard.push(link.peer());
            } else if cluster >= patience {
                silent_on_cluster += 1;
            }
            let milliseconds = |silence: Duration| if silence < patience { 0 } else { silence.as_millis() as u64 };
            let silence = PeerSilence {
                osd: link.peer(),
                up_since_epoch: link.up_since_epoch(),
                cluster_ms: milliseconds(cluster),
                public_ms: milliseconds(public),
                is_refused: link.is_refused(),
            };
            if silence.cluster_ms > 0 || silence.public_ms > 0 || silence.is_refused {
                hearing.silent.push(silence);
            }
        }
        hearing.is_isolated = count > 0 && 2 * silent_on_cluster > count;
        hearing
    }
}
