//! One session: its requests come in one after another, are worked on side by side, and are answered as they end.

use crate::access::Access;
use crate::command;
use crate::limits;
use crate::operation_vector;
use crate::osd::{Osd, RequestGuard};
use crate::pg::placement::Claim;
use crate::pg::read::{self, Read};
use crate::pg::request_id::Applied;
use crate::pg::write;
use crate::refusal::Refusal;
use crate::request_stage::Stage;
use crate::running_requests::RequestTimes;
use crate::session_credits::SessionCredits;
use crate::session_figures::SessionFigures;
use basalt_blockstore::ObjectKey;
use basalt_cluster::PgId;
use basalt_net::message::object::{
    ListReply, ListRequest, ObjectName, ObjectReply, ObjectRequest, OsdCommandRequest, Results,
};
use basalt_net::{
    CloseReason, FrameError, FrameKind, Payload, ReceivedFrame, Session, SessionError, SessionSender, TurnedAway,
};
use basalt_ring::Slice;
use basalt_ring::local::{Either, Permit, select};
use std::pin::pin;
use std::rc::Rc;

/// Serves a session until it ends. What was begun goes on when the session is gone: the client may ask again for the answer.
pub async fn serve(osd: &Rc<Osd>, mut session: Session) {
    let sender = session.sender();
    let figures = Rc::new(SessionFigures::default());
    let Some(_registration) = osd.sessions().enter(sender.clone(), figures.clone()) else {
        tracing::warn!(osd = osd.id(), peer = %session.peer(), address = %session.peer_address(), "session refused: there are too many");
        sender.close("this OSD has too many sessions");
        return;
    };
    let credits = SessionCredits::new(osd.payload_bytes());
    let access = Access::new(session.authenticated());
    let server = Rc::new(Server { osd: osd.clone(), sender, credits, figures, access });
    let mut stop = pin!(osd.stop_begins());
    loop {
        let frame = match select(stop.as_mut(), session.receive()).await {
            Either::First(()) => return server.farewell().await,
            Either::Second(None) => return,
            Either::Second(Some(frame)) => frame,
        };
        let begun = match frame {
            Ok(frame) => server.clone().begin(frame).await.map_err(|error| error.to_string()),
            Err(error) => {
                if matches!(error, SessionError::Closed { reason: CloseReason::Frame(_), .. }) {
                    osd.identity().trust.turn_away(TurnedAway::Tampered);
                }
                Err(error.to_string())
            }
        };
        if let Err(reason) = begun {
            tracing::info!(osd = osd.id(), peer = %session.peer(), address = %session.peer_address(), reason, "session ended");
            return server.sender.close(&reason);
        }
    }
}

/// What the requests of one session share.
struct Server {
    osd: Rc<Osd>,
    sender: SessionSender,
    credits: SessionCredits,
    figures: Rc<SessionFigures>,
    access: Access,
}

/// What a request holds while it is worked on.
struct Holding {
    _place: Permit,
    _payload: Option<Permit>,
    /// Its receive credits.
    _frame: ReceivedFrame,
}

/// A request about an object, that a task can begin with.
pub(crate) struct ObjectJob {
    server: Rc<Server>,
    request: ObjectRequest,
    payload: Option<Slice>,
    holding: Holding,
    guard: RequestGuard,
    times: RequestTimes,
}

impl ObjectJob {
    pub async fn done(self) {
        let ObjectJob { server, request, payload, holding, guard, times } = self;
        server.object(request, payload, &times).await;
        drop((holding, guard));
    }
}

impl Server {
    /// Ends the session once what was begun is answered. The client asks elsewhere or later for the rest.
    async fn farewell(&self) {
        self.credits.all_requests_ended().await;
        // A peer that does not read its replies is not waited for.
        let _ = self.osd.ring().timeout(limits::SESSION_FAREWELL_MAX, self.sender.flush()).await;
        self.sender.close("this OSD is being stopped");
    }

    /// Starts a request's task. An error ends the session: the peer does not speak as it should.
    async fn begin(self: Rc<Self>, mut frame: ReceivedFrame) -> Result<(), FrameError> {
        match frame.kind() {
            FrameKind::OBJECT_REQUEST => {
                let request: ObjectRequest = frame.message()?;
                let times = self.osd.requests().begin(&request);
                let payload = frame.take_payload().map(|payload| payload.freeze());
                let holding = Holding {
                    _place: self.credits.request().await,
                    _payload: self.credits.written(payload.as_ref().map_or(0, |payload| payload.len())).await,
                    _frame: frame,
                };
                let guard = self.osd.request_guard();
                let osd = self.osd.clone();
                osd.work_on(ObjectJob { server: self, request, payload, holding, guard, times });
            }
            FrameKind::LIST_REQUEST => {
                let request: ListRequest = frame.message()?;
                let holding = Holding { _place: self.credits.request().await, _payload: None, _frame: frame };
                let guard = self.osd.request_guard();
                let ring = self.osd.ring().clone();
                ring.spawn(async move {
                    self.list(request).await;
                    drop((holding, guard));
                });
            }
            FrameKind::OSD_COMMAND_REQUEST => {
                let request: OsdCommandRequest = frame.message()?;
                let reply = match self.access.check_command(&self.osd, &request.command) {
                    Ok(()) => command::answer(&self.osd, &request).await,
                    Err(refusal) => command::refused(&request, &refusal),
                };
                // If the session has ended, its reader ends as well.
                let _ = self.sender.send(&reply, Vec::new()).await;
            }
            seen => return Err(FrameError::Kind { seen, expected: FrameKind::OBJECT_REQUEST }),
        }
        Ok(())
    }

    async fn object(&self, request: ObjectRequest, payload: Option<Slice>, times: &RequestTimes) {
        let refused = self.answer_object(&request, payload, times).await;
        times.replied(&request.name, refused.as_deref().unwrap_or_default());
    }

    /// Returns why it was refused, if it was.
    async fn answer_object(
        &self,
        request: &ObjectRequest,
        payload: Option<Slice>,
        times: &RequestTimes,
    ) -> Option<String> {
        let osd = &self.osd;
        let pg = PgId { pool: request.pool, seed: request.pg };
        let payload_length = payload.as_ref().map_or(0, |payload| payload.len());
        let summary = match operation_vector::summarize(&request.operations, payload_length, osd.max_object_size()) {
            Ok(summary) => summary,
            Err(refusal) => return self.refuse(request, refusal).await,
        };
        let began = osd.ring().now();
        let claim = Claim { epoch: request.epoch, pg, name: Some(&request.name) };
        let leadership = match osd.admit(&claim).await {
            Ok(()) => osd.serving(&claim).await,
            Err(refusal) => Err(refusal),
        };
        let leadership = leadership.and_then(|leadership| {
            osd.check_not_fenced(request.request.client)?;
            self.access.check(osd, request, &summary)?;
            Ok(leadership)
        });
        let leadership = match leadership {
            Ok(leadership) => leadership,
            Err(refusal) => return self.refuse(request, refusal).await,
        };
        let key = ObjectKey { pool: request.pool, pg: request.pg, name: ObjectName::from_slice(&request.name) };
        if summary.writes {
            match write::write(osd, &leadership, &key, request, &summary, payload, times).await {
                Ok(applied) => {
                    osd.recovery().client(osd.ring().now().since(began));
                    osd.counters().write(key.pool, summary.written_bytes);
                    self.figures.write(request.request.client, summary.written_bytes);
                    self.answer_write(request, &applied).await;
                    None
                }
                Err(refusal) => self.refuse(request, refusal).await,
            }
        } else {
            times.ended(Stage::Queue, Stage::Data);
            match read::read(osd, &leadership, &key, request, &self.credits, times).await {
                Ok(read) => {
                    osd.recovery().client(osd.ring().now().since(began));
                    self.answer_read(request, &key, read).await;
                    None
                }
                Err(refusal) => self.refuse(request, refusal).await,
            }
        }
    }

    async fn answer_write(&self, request: &ObjectRequest, applied: &Applied) {
        let payload = if applied.data.is_empty() {
            Payload::new()
        } else {
            let mut buffer = self.osd.ring().buffer(applied.data.len());
            buffer.put(0, &applied.data);
            Payload::from_elem(buffer.freeze(), 1)
        };
        let reply = ObjectReply {
            request: request.request,
            attempt: request.attempt,
            errno: 0,
            message: String::new(),
            failed_operation: None,
            version: applied.version,
            epoch: self.osd.epoch(),
            results: applied.results.clone(),
        };
        self.send(&reply, payload).await;
    }

    async fn answer_read(&self, request: &ObjectRequest, key: &ObjectKey, read: Read) {
        let bytes = read.accesses.iter().map(|access| access.length).sum();
        self.osd.counters().read(key.pool, bytes);
        self.figures.read(request.request.client, bytes);
        let reply = ObjectReply {
            request: request.request,
            attempt: request.attempt,
            errno: 0,
            message: String::new(),
            failed_operation: None,
            version: read.version,
            epoch: self.osd.epoch(),
            results: read.results,
        };
        self.send(&reply, read.data).await;
        // Promotion is decided after the reply, so that it costs the client nothing.
        for access in &read.accesses {
            self.osd.tier().read(key, access);
        }
    }

    /// Returns the reason.
    async fn refuse(&self, request: &ObjectRequest, refusal: Refusal) -> Option<String> {
        let refusal = self.osd.passed_on(PgId { pool: request.pool, seed: request.pg }, refusal);
        // What a fenced store can't do is no news any more.
        if refusal.errno == libc::EIO && self.osd.store().fenced().is_none() {
            tracing::warn!(
                osd = self.osd.id(),
                pool = request.pool,
                pg = request.pg,
                object = %request.name.escape_ascii(),
                "{}",
                refusal.message
            );
        }
        if refusal.errno == libc::EIO {
            self.osd.counters().failure();
        }
        let reply = ObjectReply {
            request: request.request,
            attempt: request.attempt,
            errno: refusal.errno,
            message: refusal.message.clone(),
            failed_operation: refusal.operation,
            version: 0,
            epoch: self.osd.epoch(),
            results: Results::new(),
        };
        self.send(&reply, Payload::new()).await;
        Some(refusal.message)
    }

    async fn send(&self, reply: &ObjectReply, payload: Payload) {
        if let Err(error) = self.sender.send(reply, payload).await {
            // The client asks again on its next session, and finds its write applied.
            tracing::debug!(osd = self.osd.id(), %error, "a reply had nobody to go to");
        }
    }

    async fn list(&self, request: ListRequest) {
        let pg = PgId { pool: request.pool, seed: request.pg };
        let claim = Claim { epoch: request.epoch, pg, name: None };
        let listed = match self.osd.admit(&claim).await {
            Ok(()) => match self.osd.serving(&claim).await {
                Ok(leadership) => match self.access.check_list(&self.osd, &request) {
                    Ok(()) => read::list(&self.osd, &leadership, &request).await,
                    Err(refusal) => Err(refusal),
                },
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        let (errno, message, names, more) = match listed {
            Ok((names, more)) => (0, String::new(), names, more),
            Err(refusal) => {
                let refusal = self.osd.passed_on(pg, refusal);
                (refusal.errno, refusal.message, Vec::new(), false)
            }
        };
        let reply = ListReply { request: request.request, errno, message, epoch: self.osd.epoch(), names, more };
        if let Err(error) = self.sender.send(&reply, Vec::new()).await {
            tracing::debug!(osd = self.osd.id(), %error, "a listing had nobody to go to");
        }
    }
}
