//! Who is behind each session, and what each may ask for.

use super::{Action, MonitorCore, SessionId, refuse};
use crate::capability::{Level, MonitorCaps, level_of};
use crate::map::{Entity, Map};
use crate::pool_settings::Refusal;
use basalt_net::message::monitor::{AdminCommand, MonitorRequest};
use basalt_net::{Authenticated, EntityName, Features, PublicKey, Software, Standing};
use std::collections::BTreeMap;

/// The other end of a session, as it has proven to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    pub name: EntityName,
    pub key: PublicKey,
    /// It has the key that the whole cluster has, and may do all.
    pub is_trusted: bool,
    pub software: Software,
}

impl Caller {
    pub fn of(authenticated: &Authenticated) -> Caller {
        Caller {
            name: authenticated.peer.clone(),
            key: authenticated.peer_key,
            is_trusted: authenticated.standing == Standing::Configured,
            software: authenticated.software.clone(),
        }
    }
}

/// By session. One that nobody opened belongs to the monitor's own process.
#[derive(Default)]
pub(super) struct Callers(BTreeMap<SessionId, Caller>);

impl Callers {
    pub fn open(&mut self, session: SessionId, caller: Caller) {
        self.0.insert(session, caller);
    }

    pub fn close(&mut self, session: SessionId) {
        self.0.remove(&session);
    }

    /// Those whose name or key the map does not know.
    pub fn unknown_to(&self, map: &Map) -> Vec<(SessionId, &EntityName)> {
        let is_unknown = |caller: &Caller| !caller.is_trusted && !map.knows(&caller.name, &caller.key);
        let unknown = self.0.iter().filter(|(_, caller)| is_unknown(caller));
        unknown.map(|(session, caller)| (*session, &caller.name)).collect()
    }
}

impl Callers {
    /// Those that can't do one of these.
    pub fn lacking(&self, features: Features) -> Vec<(SessionId, &Caller)> {
        let lacks = |caller: &Caller| !caller.software.features.contains(features);
        let lacking = self.0.iter().filter(|(_, caller)| lacks(caller));
        lacking.map(|(session, caller)| (*session, caller)).collect()
    }
}

impl MonitorCore {
    /// What a session's other end runs. One that nobody opened is this process's.
    pub(super) fn software_behind(&self, session: SessionId) -> &Software {
        self.callers.0.get(&session).map_or(&self.software, |caller| &caller.software)
    }

    /// What an OSD runs, as far as it has booted since this monitor began to lead.
    pub(in crate::monitor) fn software_of(&self, osd: u32) -> Option<&Software> {
        self.osd_software.get(&osd)
    }

    /// Clients with sessions that lack one of these, each name once.
    pub(in crate::monitor) fn clients_lacking(&self, features: Features) -> BTreeMap<&EntityName, &Software> {
        let lacking = self.callers.lacking(features).into_iter();
        let clients = lacking.filter(|(_, caller)| caller.name.osd_id().is_none());
        clients.map(|(_, caller)| (&caller.name, &caller.software)).collect()
    }

    /// The answer to a request that its session may not make.
    pub(super) fn refused(&self, session: SessionId, request: &MonitorRequest) -> Option<Vec<Action>> {
        let refusal = self.permit(session, request).err()?;
        tracing::info!(session = session.0, reason = %refusal, "not permitted");
        Some(match request {
            MonitorRequest::Command { tag, .. } | MonitorRequest::Change { tag, .. } => {
                vec![refuse(session, *tag, refusal)]
            }
            // Who may hear of no map can do nothing here.
            MonitorRequest::Subscribe { .. } => vec![Action::Close { session, reason: refusal.message }],
            MonitorRequest::Boot(_) | MonitorRequest::Report(_) | MonitorRequest::Groups(_) => {
                vec![refuse(session, 0, refusal)]
            }
        })
    }

    fn permit(&self, session: SessionId, request: &MonitorRequest) -> Result<(), Refusal> {
        let Some(caller) = self.callers.0.get(&session).filter(|caller| !caller.is_trusted) else { return Ok(()) };
        let name = &caller.name;
        let denied = |lacking: &str| Err(Refusal::new(libc::EACCES, format!("{name} lacks {lacking}")));
        let Some(entity) = self.map.auth.get(name.as_str()).filter(|entity| entity.has_key(&caller.key)) else {
            return Err(Refusal::new(libc::EACCES, format!("{name} is not known any more, or not by its key")));
        };
        // What is in the map can be read; were it not, it would grant nothing.
        let caps = MonitorCaps::parse(&entity.mon).unwrap_or_default();
        match request {
            MonitorRequest::Subscribe { .. } if caps.level >= Level::Show => Ok(()),
            MonitorRequest::Subscribe { .. } => denied("'mon allow r'"),
            MonitorRequest::Boot(boot) => self.permit_osd(caller, &caps, boot.osd),
            MonitorRequest::Report(report) => self.permit_osd(caller, &caps, report.osd),
            MonitorRequest::Groups(changes) => self.permit_osd(caller, &caps, changes.primary),
            MonitorRequest::Command { command, .. } | MonitorRequest::Change { command, .. } => {
                if caps.permits(command) { Ok(()) } else { denied(lacking(command)) }
            }
        }
    }

    /// A host speaks for the OSDs that have its key, and for no others.
    fn permit_osd(&self, caller: &Caller, caps: &MonitorCaps, osd: u32) -> Result<(), Refusal> {
        let name = EntityName::osd(osd);
        let is_its_own = |entity: &Entity| entity.has_key(&caller.key);
        if caps.is_osd && self.map.auth.get(name.as_str()).is_some_and(is_its_own) {
            return Ok(());
        }
        let message = match caps.is_osd {
            false => format!("{} lacks 'mon profile osd'", caller.name),
            true => format!("{name} is not known by the key of {}: auth add {name}", caller.name),
        };
        Err(Refusal::new(libc::EACCES, message))
    }
}

fn lacking(command: &AdminCommand) -> &'static str {
    match level_of(command) {
        Level::Nothing | Level::Show => "'mon allow r'",
        Level::Change => "'mon allow rw'",
        Level::Rule => "'mon allow *'",
    }
}
