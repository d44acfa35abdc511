//! What a session's peer may do here: looked up once for a map and a pool, and remembered as long as the map stays.

use crate::operation_vector::{self, Kind, Summary};
use crate::osd::Osd;
use crate::refusal::Refusal;
use basalt_cluster::capability::{OsdCaps, PoolRights, Rights};
use basalt_net::message::object::{ListRequest, ObjectRequest, OsdCommand};
use basalt_net::{Authenticated, Standing};
use std::cell::RefCell;

pub struct Access {
    peer: Authenticated,
    known: RefCell<Known>,
}

#[derive(Default)]
struct Known {
    /// Of the map that this was looked up in.
    epoch: u32,
    /// As the map says it; `caps` is what it means.
    text: Option<String>,
    caps: OsdCaps,
    /// By pool: those that were asked for.
    pools: Vec<(u32, PoolRights)>,
}

impl Access {
    pub fn new(peer: &Authenticated) -> Access {
        Access { peer: peer.clone(), known: RefCell::default() }
    }

    /// EACCES, and what is missing.
    pub fn check(&self, osd: &Osd, request: &ObjectRequest, summary: &Summary) -> Result<(), Refusal> {
        if self.is_trusted() {
            return Ok(());
        }
        let looks = summary.reads
            || !summary.writes
            || request.operations.iter().any(|operation| operation_vector::kind(operation) == Kind::Guard);
        let mut wanted = if looks { Rights::READ } else { Rights::NONE };
        if summary.writes {
            wanted = wanted.and(Rights::WRITE);
        }
        self.check_objects(osd, request.pool, [&request.name[..]], wanted)?;
        self.check_objects(osd, request.pool, summary.sources.iter().map(Vec::as_slice), Rights::READ)
    }

    /// Who may read all that begins with a prefix may see their names.
    pub fn check_list(&self, osd: &Osd, request: &ListRequest) -> Result<(), Refusal> {
        self.check_objects(osd, request.pool, [request.prefix.as_slice()], Rights::READ)
    }

    pub fn check_command(&self, osd: &Osd, command: &OsdCommand) -> Result<(), Refusal> {
        let wanted = match command {
            OsdCommand::TierDrain { pool } | OsdCommand::ScrubGroup { pool, .. } => {
                return self.check_objects(osd, *pool, [&b""[..]], Rights::EXECUTE);
            }
            OsdCommand::DeepScrub => Rights::EXECUTE,
            OsdCommand::TierStatus
            | OsdCommand::StoreStatus
            | OsdCommand::SlowRequests
            | OsdCommand::Sessions
            | OsdCommand::Settings => Rights::READ,
        };
        if self.is_trusted() {
            return Ok(());
        }
        self.refresh(osd);
        let lacking = wanted.without(self.known.borrow().caps.of_osd());
        if lacking.is_none() {
            return Ok(());
        }
        Err(Refusal::new(libc::EACCES, format!("{} lacks 'osd allow {lacking}' for all pools", self.peer.peer)))
    }

    fn is_trusted(&self) -> bool {
        self.peer.standing == Standing::Configured
    }

    fn check_objects<'a>(
        &self,
        osd: &Osd,
        pool: u32,
        objects: impl IntoIterator<Item = &'a [u8]>,
        wanted: Rights,
    ) -> Result<(), Refusal> {
        if self.is_trusted() {
            return Ok(());
        }
        self.refresh(osd);
        let mut known = self.known.borrow_mut();
        let known = &mut *known;
        let place = match known.pools.iter().position(|(id, _)| *id == pool) {
            Some(place) => place,
            None => {
                let map = osd.map();
                let name = map.as_ref().and_then(|map| map.pool(pool)).map(|pool| pool.name.as_str());
                let rights = name.map_or_else(PoolRights::default, |name| known.caps.in_pool(name));
                known.pools.push((pool, rights));
                known.pools.len() - 1
            }
        };
        let Some((_, rights)) = known.pools.get(place) else { return Ok(()) };
        for object in objects {
            let lacking = rights.lacks(wanted, object);
            if !lacking.is_none() {
                let name = osd.map().and_then(|map| map.pool(pool).map(|pool| pool.name.clone())).unwrap_or_default();
                let message = format!(
                    "{} lacks 'osd allow {lacking} pool={name}' for '{}'",
                    self.peer.peer,
                    object.escape_ascii()
                );
                return Err(Refusal::new(libc::EACCES, message));
            }
        }
        Ok(())
    }

    /// Goes by the newest map.
    fn refresh(&self, osd: &Osd) {
        let mut known = self.known.borrow_mut();
        let epoch = osd.epoch();
        if known.epoch == epoch {
            return;
        }
        known.epoch = epoch;
        // Pools may have other names now.
        known.pools.clear();
        let map = osd.map();
        let entity = map.as_ref().and_then(|map| map.auth.get(self.peer.peer.as_str()));
        let text = entity.filter(|entity| entity.has_key(&self.peer.peer_key)).map(|entity| entity.osd.as_str());
        if known.text.as_deref() != text {
            // What is in the map can be read; were it not, it would grant nothing.
            known.caps = text.and_then(|text| OsdCaps::parse(text).ok()).unwrap_or_default();
            known.text = text.map(str::to_owned);
        }
    }
}
