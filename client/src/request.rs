//! What is asked of an OSD, and what it answers.

use crate::cluster_view::{self, Target};
use basalt_cluster::{Map, MapFlags, PgId};
use basalt_net::message::object::{
    ListReply, ListRequest, ObjectReply, ObjectRequest, OsdCommandReply, OsdCommandRequest, RequestId,
};
use basalt_net::{FrameError, FrameKind, Message, ReceivedFrame, SessionError, SessionSender};
use basalt_ring::{Buffer, Slice};

pub(crate) enum Request {
    Object(ObjectRequest, Vec<Slice>),
    List(ListRequest),
    Command { osd: u32, request: OsdCommandRequest },
}

/// Where a request can't go now.
pub(crate) enum NoTarget {
    /// A newer map may help; what is missing.
    NotYet(String),
    /// Nothing will.
    Never(crate::Error),
}

impl Request {
    pub fn id(&self) -> RequestId {
        match self {
            Request::Object(request, _) => request.request,
            Request::List(request) => request.request,
            Request::Command { request, .. } => request.request,
        }
    }

    /// Which copy it is that goes out; what is only read has none to tell apart.
    pub fn attempt(&self) -> u32 {
        match self {
            Request::Object(request, _) => request.attempt,
            Request::List(_) | Request::Command { .. } => 0,
        }
    }

    pub fn target(&self, map: &Map) -> Result<Target, NoTarget> {
        let (pool, pg) = match self {
            Request::Object(request, _) => (request.pool, map.pg_of(request.pool, &request.name)),
            Request::List(request) => (request.pool, Some(PgId { pool: request.pool, seed: request.pg })),
            Request::Command { osd, .. } => return cluster_view::address(map, *osd).map_err(NoTarget::NotYet),
        };
        let gone = || {
            let message = format!("pool {pool} does not exist (any more); `basalt osd pool ls` shows those that do");
            NoTarget::Never(crate::Error::new(crate::error::ENOENT, message))
        };
        if map.pool(pool).is_none() {
            return Err(gone());
        }
        if map.flags.contains(MapFlags::PAUSE) {
            return Err(NoTarget::NotYet("the cluster is paused (`basalt osd unset pause` ends that)".into()));
        }
        cluster_view::primary(map, pg.ok_or_else(gone)?).map_err(NoTarget::NotYet)
    }

    /// Writes into the request by which map it was placed, and that it is another copy.
    pub fn place(&mut self, map: &Map, completed_up_to: u64) {
        match self {
            Request::Object(request, _) => {
                request.epoch = map.epoch();
                request.completed_up_to = completed_up_to;
                request.attempt = request.attempt.wrapping_add(1);
                if let Some(pg) = map.pg_of(request.pool, &request.name) {
                    request.pg = pg.seed;
                }
            }
            Request::List(request) => request.epoch = map.epoch(),
            Request::Command { .. } => {}
        }
    }

    pub async fn send(&self, sender: &SessionSender) -> Result<(), SessionError> {
        match self {
            Request::Object(request, payload) => sender.send(request, payload.clone()).await,
            Request::List(request) => sender.send(request, Vec::new()).await,
            Request::Command { request, .. } => sender.send(request, Vec::new()).await,
        }
    }
}

pub(crate) enum Answer {
    Object(ObjectReply, Option<Buffer>),
    List(ListReply),
    Command(OsdCommandReply),
}

impl Answer {
    pub fn read(frame: &mut ReceivedFrame) -> Result<Answer, FrameError> {
        match frame.kind() {
            FrameKind::LIST_REPLY => Ok(Answer::List(frame.message()?)),
            FrameKind::OSD_COMMAND_REPLY => Ok(Answer::Command(frame.message()?)),
            ObjectReply::KIND => {
                let reply = frame.message()?;
                Ok(Answer::Object(reply, frame.take_payload()))
            }
            seen => Err(FrameError::Kind { seen, expected: ObjectReply::KIND }),
        }
    }

    pub fn id(&self) -> RequestId {
        match self {
            Answer::Object(reply, _) => reply.request,
            Answer::List(reply) => reply.request,
            Answer::Command(reply) => reply.request,
        }
    }

    /// As [`Request::attempt`].
    pub fn attempt(&self) -> u32 {
        match self {
            Answer::Object(reply, _) => reply.attempt,
            Answer::List(_) | Answer::Command(_) => 0,
        }
    }

    pub fn errno(&self) -> i32 {
        match self {
            Answer::Object(reply, _) => reply.errno,
            Answer::List(reply) => reply.errno,
            Answer::Command(reply) => reply.errno,
        }
    }

    pub fn message(&self) -> &str {
        match self {
            Answer::Object(reply, _) => &reply.message,
            Answer::List(reply) => &reply.message,
            Answer::Command(reply) => &reply.message,
        }
    }
}
