//! One session that another OSD opened: heartbeats, and what it asks of the groups that it is the primary of.

use crate::osd::Osd;
use crate::pg::follower;
use basalt_cluster::{Map, PgId};
use basalt_net::message::peer::{PeerReply, PeerRequest};
use basalt_net::{ReceivedFrame, Session, SessionSender};
use basalt_ring::Instant;
use std::rc::Rc;

/// The other end, as the groups know it.
#[derive(Clone)]
pub struct Caller {
    /// Unlike that of any other session of this OSD's life.
    pub session: u64,
    pub peer: u32,
    pub sender: SessionSender,
}

impl Caller {
    pub async fn reply(&self, reply: &PeerReply, payload: Vec<basalt_ring::Slice>) {
        // If the session has ended, its reader ends as well, and the peer asks anew on its next one.
        let _ = self.sender.send(reply, payload).await;
    }
}

pub async fn serve(osd: &Rc<Osd>, mut session: Session) {
    let Some(peer) = session.peer().osd_id() else {
        return session.sender().close("only OSDs are peers of an OSD");
    };
    let caller = Caller { session: osd.next_peer_session(), peer, sender: session.sender() };
    while !osd.is_stopping() {
        let frame = match session.receive().await {
            Some(Ok(frame)) => frame,
            Some(Err(_)) | None => return,
        };
        if let Err(reason) = begin(osd, &caller, frame).await {
            tracing::info!(osd = osd.id(), peer, reason, "session with a peer ended");
            return caller.sender.close(&reason);
        }
    }
}

/// A session that only shows that this OSD can be reached: pings are answered by it itself.
pub async fn listen(osd: &Rc<Osd>, mut session: Session) {
    while !osd.is_stopping() && matches!(session.receive().await, Some(Ok(_))) {}
}

/// Starts what a frame asks for. What it asks of one group is begun, and so ordered, in the order of the frames.
async fn begin(osd: &Rc<Osd>, caller: &Caller, mut frame: ReceivedFrame) -> Result<(), String> {
    let request: PeerRequest = frame.message().map_err(|error| error.to_string())?;
    let payload = frame.take_payload().map(|payload| payload.freeze());
    match request {
        PeerRequest::Heartbeat { sent_ns, epoch } => {
            if !osd.knows(caller.sender.authenticated()) {
                return Err(format!("osd.{} is not known any more by its key", caller.peer));
            }
            // A fenced OSD is of no use to its groups; silence takes it out of them.
            if osd.is_healthy() {
                let now: Instant = osd.ring().now();
                osd.leases().grant(caller.peer, now, epoch);
                let is_full = osd.capacity().is_full();
                let reply = PeerReply::Heartbeat { sent_ns, epoch: osd.epoch(), is_full };
                caller.reply(&reply, Vec::new()).await;
            }
        }
        PeerRequest::Map { map } => {
            let map = Map::decode(&map).map_err(|error| error.to_string())?;
            osd.hear_of_map(map);
        }
        PeerRequest::Write { reign, write } => {
            let pg = osd.pg(PgId { pool: reign.pool, seed: reign.pg });
            let task = follower::write(osd.clone(), pg, caller.clone(), reign, write, payload);
            spawn(osd, frame, task);
        }
        PeerRequest::Push { reign, push } => {
            let pg = osd.pg(PgId { pool: reign.pool, seed: reign.pg });
            let task = follower::push(osd.clone(), pg, caller.clone(), reign, push, payload);
            spawn(osd, frame, task);
        }
        PeerRequest::Ask { tag, reign, question } => {
            let pg = osd.pg(PgId { pool: reign.pool, seed: reign.pg });
            let task = follower::answer(osd.clone(), pg, caller.clone(), reign, tag, question);
            spawn(osd, frame, task);
        }
    }
    Ok(())
}

/// A task for a request; it holds its frame's credits and is waited for by a clean stop. Tasks first run in the order they were
/// spawned, and each takes its place in the group's order with its first step.
fn spawn(osd: &Rc<Osd>, frame: ReceivedFrame, task: impl Future<Output = ()> + 'static) {
    let guard = osd.request_guard();
    osd.ring().spawn(async move {
        task.await;
        drop((frame, guard));
    });
}
