//! What a host and its monitor say to each other: pure, messages in and messages out.
//!
//! Every session begins with the boots of all OSDs that are up and the wish for maps newer than the one at hand, so a monitor that
//! was restarted, or is another one, knows all it needs. An OSD that a map calls down, or at another address, boots again.

use crate::core_loop::Opened;
use crate::host_config::HostConfig;
use basalt_cluster::Map;
use basalt_cluster::map::follower::{FollowError, Followed, MapFollower};
use basalt_net::message::monitor::{MonitorReply, MonitorRequest, OsdBoot, OsdReport};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// How an OSD that is up introduces itself.
pub fn boot(config: &HostConfig, public_address: SocketAddr, cluster_address: SocketAddr, opened: Opened) -> OsdBoot {
    OsdBoot {
        osd: opened.osd,
        store_id: opened.store_id,
        life: opened.life,
        host: config.host.clone(),
        public_address: public_address.to_string(),
        cluster_address: cluster_address.to_string(),
        base_bytes: opened.base_bytes,
        hot_bytes: opened.hot_bytes,
        rotational: opened.rotational,
    }
}

#[derive(Default)]
pub struct MonitorLink {
    /// The host's OSDs that are up.
    boots: BTreeMap<u32, OsdBoot>,
    map: Option<Arc<Map>>,
    follower: MapFollower,
}

/// What follows from a monitor's message.
#[derive(Default)]
pub struct Consequences {
    /// A newer map, for every OSD.
    pub map: Option<Arc<Map>>,
    pub requests: Vec<MonitorRequest>,
    /// The monitor's reason to refuse a boot or a report.
    pub refusal: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the monitor sent something that is no map: {0}")]
    Map(#[from] FollowError),
    #[error("the monitor sent a map of another cluster")]
    OtherCluster,
    /// No failure: another monitor is to be asked. The address is empty if there is none.
    #[error("the monitor does not lead, {}", if leader.is_empty() { "and knows nobody who does" } else { leader })]
    NotLeading { leader: String },
}

impl MonitorLink {
    pub fn map(&self) -> Option<&Arc<Map>> {
        self.map.as_ref()
    }

    /// A session has begun.
    pub fn connected(&self) -> Vec<MonitorRequest> {
        let boots = self.boots.values().cloned().map(MonitorRequest::Boot);
        let have_epoch = self.map.as_ref().map_or(0, |map| map.epoch());
        boots.chain([MonitorRequest::Subscribe { have_epoch }]).collect()
    }

    pub fn opened(&mut self, boot: OsdBoot) -> MonitorRequest {
        self.boots.insert(boot.osd, boot.clone());
        MonitorRequest::Boot(boot)
    }

    pub fn closed(&mut self, osd: u32) {
        self.boots.remove(&osd);
    }

    /// What to send of an OSD's figures: nothing before the map knows it, as the monitor could make nothing of it.
    pub fn report(&self, report: OsdReport) -> Option<MonitorRequest> {
        let known = self.map.as_ref().and_then(|map| map.osd(report.osd)).is_some_and(|osd| osd.exists);
        known.then_some(MonitorRequest::Report(report))
    }

    pub fn receive(&mut self, fsid: [u8; 16], reply: MonitorReply) -> Result<Consequences, LinkError> {
        let news = match reply {
            MonitorReply::Map(news) => news,
            MonitorReply::NotLeading { leader } => return Err(LinkError::NotLeading { leader }),
            MonitorReply::Command { reply, .. } => {
                return Ok(Consequences { refusal: Some(reply.message), ..Consequences::default() });
            }
        };
        let map = match self.follower.receive(self.map.as_deref(), news)? {
            Followed::Whole(map) | Followed::Newer(map) => Arc::new(map),
            Followed::Nothing => return Ok(Consequences::default()),
            Followed::AskForWhole => {
                let requests = vec![MonitorRequest::Subscribe { have_epoch: 0 }];
                return Ok(Consequences { requests, ..Consequences::default() });
            }
        };
        if map.fsid != fsid {
            return Err(LinkError::OtherCluster);
        }
        if self.map.as_ref().is_some_and(|known| known.epoch() >= map.epoch()) {
            return Ok(Consequences::default());
        }
        self.map = Some(map.clone());
        let requests =
            self.boots.values().filter(|boot| !self.is_up(boot.osd)).cloned().map(MonitorRequest::Boot).collect();
        Ok(Consequences { map: Some(map), requests, refusal: None })
    }

    /// Whether the newest map has the OSD up as it booted.
    pub fn is_up(&self, osd: u32) -> bool {
        let in_map = self.map.as_ref().and_then(|map| map.osd(osd));
        match (self.boots.get(&osd), in_map) {
            (Some(boot), Some(known)) => {
                known.is_up
                    && (known.life, known.store_id) == (boot.life, boot.store_id)
                    && known.public_address == boot.public_address
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_cluster::monitor::core::{Action, Event, MonitorCore, Now, SessionId};
    use basalt_cluster::monitor::store::Stored;
    use basalt_net::message::monitor::MapNews;
    use std::time::Duration;

    const FSID: [u8; 16] = [7; 16];
    const NOW: Now = Now { monotonic: Duration::from_secs(1), unix: Duration::from_secs(1) };

    fn boot(osd: u32) -> OsdBoot {
        OsdBoot {
            osd,
            store_id: [1; 16],
            life: 3,
            host: "host".into(),
            public_address: "127.0.0.1:1".into(),
            cluster_address: "127.0.0.1:2".into(),
            base_bytes: 1 << 40,
            hot_bytes: 0,
            rotational: false,
        }
    }

    /// Tells a real monitor's core, and the link what it answers.
    fn exchange(core: &mut MonitorCore, link: &mut MonitorLink, request: MonitorRequest) -> Vec<MonitorRequest> {
        let mut requests = Vec::new();
        for action in core.handle(NOW, Event::Request { session: SessionId(1), request }) {
            let reply = match action {
                Action::Reply { reply, .. } => reply,
                Action::Publish { epoch, map, .. } => MonitorReply::Map(MapNews::Whole { epoch, map: map.to_vec() }),
                Action::Persist(_) | Action::Close { .. } => continue,
            };
            requests.extend(link.receive(FSID, reply).unwrap().requests);
        }
        requests
    }

    #[test]
    fn an_osd_is_up_once_a_map_says_so() {
        let (mut core, _) = MonitorCore::restore("a".into(), FSID, Stored::default(), NOW).unwrap();
        let mut link = MonitorLink::default();
        let request = link.opened(boot(3));
        assert!(!link.is_up(3));
        for request in [link.connected(), vec![request]].concat() {
            exchange(&mut core, &mut link, request);
        }
        assert!(link.is_up(3));
        link.closed(3);
        assert!(!link.is_up(3));
    }

    #[test]
    fn an_osd_that_a_map_calls_down_boots_again() {
        let (mut core, _) = MonitorCore::restore("a".into(), FSID, Stored::default(), NOW).unwrap();
        let mut link = MonitorLink::default();
        link.opened(boot(3));
        // The map that the subscription brings does not have the OSD yet.
        let again = exchange(&mut core, &mut link, MonitorRequest::Subscribe { have_epoch: 0 });
        assert_eq!(again, vec![MonitorRequest::Boot(boot(3))]);
    }

    #[test]
    fn a_refused_boot_says_why() {
        let (mut core, _) = MonitorCore::restore("a".into(), FSID, Stored::default(), NOW).unwrap();
        let mut link = MonitorLink::default();
        let request = link.opened(OsdBoot { base_bytes: 0, ..boot(3) });
        let actions = core.handle(NOW, Event::Request { session: SessionId(1), request });
        let [Action::Reply { reply, .. }] = actions.as_slice() else { panic!("{actions:?}") };
        let refusal = link.receive(FSID, reply.clone()).unwrap().refusal.unwrap();
        assert!(refusal.contains("osd.3"), "{refusal}");
    }

    #[test]
    fn bytes_that_are_no_map_and_maps_of_others_are_refused() {
        let mut link = MonitorLink::default();
        assert!(link.receive(FSID, MonitorReply::Map(MapNews::Whole { epoch: 1, map: vec![0; 64] })).is_err());
        let foreign = Map::new([8; 16], 0).encode();
        assert!(matches!(
            link.receive(FSID, MonitorReply::Map(MapNews::Whole { epoch: 1, map: foreign })),
            Err(LinkError::OtherCluster)
        ));
        assert!(link.map().is_none());
    }
}
