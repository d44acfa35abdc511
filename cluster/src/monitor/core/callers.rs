//! Who is behind each session, and what each may ask for.

use super::{Action, MonitorCore, SessionId, refuse};
use crate::capability::{Level, MonitorCaps, level_of};
use crate::map::{Entity, Map};
use crate::pool_settings::Refusal;
use basalt_net::message::monitor::{AdminCommand, MonitorRequest};
use basalt_net::{Authenticated, EntityName, PublicKey, Standing};
use std::collections::BTreeMap;

/// The other end of a session, as it has proven to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    pub name: EntityName,
    pub key: PublicKey,
    /// It has the key that the whole cluster has, and may do all.
    pub is_trusted: bool,
}

impl Caller {
    pub fn of(authenticated: &Authenticated) -> Caller {
        Caller {
            name: authenticated.peer.clone(),
            key: authenticated.peer_key,
            is_trusted: authenticated.standing == Standing::Configured,
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

impl MonitorCore {
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
