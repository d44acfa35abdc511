//! A placement group on an OSD that is not its primary: what the primary ordered is done here in the same order.
//!
//! A primary introduces itself with a question for the status; from then on only what comes on that session, in that reign, is done,
//! and all that an earlier session had begun has ended before the answer. Requests that touch different objects are prepared side by
//! side; they are submitted in the order they came.

use super::object_state;
use super::placement::{reign_of, reign_shared_with};
use super::{Pg, log_entry, summary};
use crate::operation_vector;
use crate::osd::Osd;
use crate::peer::server::Caller;
use crate::pg::write::{keys, stage};
use crate::refusal::Refusal;
use crate::sabotage::{Sabotage, sabotaged};
use crate::{limits, scrub_digest};
use basalt_blockstore::ObjectKey;
use basalt_net::message::peer::{Answer, PeerReply, Push, Question, Reign, ReplicaWrite};
use basalt_ring::Slice;
use basalt_ring::local::{Event, OnceReceiver, OnceSender, once};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub struct Follower {
    /// The session whose requests are done, and the reign it asks in.
    session: Cell<u64>,
    reign: Cell<u32>,
    /// Something that was ordered could not be done: nothing after it may be, until the primary has asked what is here.
    has_failed: Cell<bool>,
    /// Resolves when the request before has been submitted.
    last: RefCell<Option<OnceReceiver<()>>>,
    running: Cell<usize>,
    ended: Event,
}

impl Default for Follower {
    fn default() -> Follower {
        Follower {
            session: Cell::new(0),
            reign: Cell::new(0),
            has_failed: Cell::new(false),
            last: RefCell::default(),
            running: Cell::new(0),
            ended: Event::new(),
        }
    }
}

/// A place in the order of requests.
struct Turn {
    before: Option<OnceReceiver<()>>,
    /// Once it is dropped, the next one goes on.
    next: Option<OnceSender<()>>,
}

impl Turn {
    async fn come(&mut self) {
        if let Some(before) = self.before.take() {
            before.await;
        }
    }

    fn pass(&mut self) {
        self.next.take();
    }
}

struct Running<'a>(&'a Follower);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        if self.0.running.get() == 0 {
            self.0.ended.notify_all();
        }
    }
}

impl Follower {
    fn check(&self, caller: &Caller, reign: Reign) -> Result<(), Refusal> {
        if (self.session.get() != caller.session || self.reign.get() != reign.reign)
            && !sabotaged(Sabotage::IgnoreReign)
        {
            return Err(Refusal::new(libc::ESTALE, "another primary, or another session of this one, has come since"));
        }
        if self.has_failed.get() {
            return Err(Refusal::new(libc::EIO, "a request before this one failed here"));
        }
        Ok(())
    }

    fn turn(&self) -> Turn {
        let (next, after) = once();
        Turn { before: self.last.borrow_mut().replace(after), next: Some(next) }
    }

    fn running(&self) -> Running<'_> {
        self.running.set(self.running.get() + 1);
        Running(self)
    }

    /// The primary that introduced itself here, if any, has no more say: who follows asks anew.
    pub fn dismiss(&self) {
        self.session.set(0);
    }

    /// While this is held, a primary that introduces itself waits. `None`: there is one already, or something of it is still under way.
    pub fn unattended(&self) -> Option<impl Drop + '_> {
        (self.session.get() == 0 && self.running.get() == 0).then(|| self.running())
    }

    /// From here on nothing that came before is done any more, and all that was begun has ended.
    pub async fn take_over(&self, session: u64, reign: u32) {
        self.session.set(session);
        self.reign.set(reign);
        loop {
            let ended = self.ended.wait();
            if self.running.get() == 0 {
                break;
            }
            ended.await;
        }
        self.has_failed.set(false);
    }
}

/// Does a write and answers when it is durable.
pub async fn write(
    osd: Rc<Osd>,
    pg: Rc<Pg>,
    caller: Caller,
    reign: Reign,
    write: ReplicaWrite,
    payload: Option<Slice>,
) {
    let version = write.version;
    let name = write.name.clone();
    let mut turn = pg.follower().turn();
    let _running = pg.follower().running();
    let outcome = apply_write(&osd, &pg, &caller, reign, write, payload, &mut turn).await;
    // The next one goes on, and finds that this one failed.
    if let Err(refusal) = &outcome {
        fail(&osd, &pg, &caller, reign, refusal);
    }
    drop(turn);
    match outcome {
        Ok(()) => caller.reply(&PeerReply::Written { reign, version, number: 0 }, Vec::new()).await,
        Err(refusal) => {
            let damaged = if refusal.damage.is_some() { name.into_vec() } else { Vec::new() };
            refuse(&osd, &caller, reign, 0, refusal, damaged).await;
        }
    }
}

async fn apply_write(
    osd: &Osd,
    pg: &Pg,
    caller: &Caller,
    reign: Reign,
    write: ReplicaWrite,
    payload: Option<Slice>,
    turn: &mut Turn,
) -> Result<(), Refusal> {
    let key = ObjectKey { pool: reign.pool, pg: reign.pg, name: write.name };
    let bytes = payload.as_ref().map_or(0, |payload| payload.len());
    let summary = operation_vector::summarize(&write.operations, bytes, u64::MAX)?;
    let mut transaction = osd.store().begin(&keys(&key, &summary)).await;
    pg.follower().check(caller, reign)?;
    let placed = osd.tier().place_copy(&mut transaction, &key, &summary).await?;
    stage(&mut transaction, &key, &write.operations, payload).await?;
    let mut prepared = transaction.prepare(placed.placement).await?;
    turn.come().await;
    pg.follower().check(caller, reign)?;
    prepared.set_version(write.version, write.mtime_ns);
    if !sabotaged(Sabotage::ForgetTheLog) {
        prepared.put_log(key.pool, key.pg, write.version, write.entry.into());
    }
    if write.trim_below > 0 {
        prepared.trim_log(key.pool, key.pg, write.trim_below);
    }
    let commit = prepared.submit().await?;
    turn.pass();
    osd.tier().written(key.pool, &summary, placed, &commit);
    commit.durable().await?;
    Ok(())
}

/// Puts an object into the state that the primary has, with the entries of the log that belong to it.
pub async fn push(osd: Rc<Osd>, pg: Rc<Pg>, caller: Caller, reign: Reign, push: Push, payload: Option<Slice>) {
    let number = push.number;
    let name = push.name.clone();
    let version = push.entries.last().map_or(0, |(version, _)| *version);
    osd.recovery().received();
    let mut turn = pg.follower().turn();
    let _running = pg.follower().running();
    let outcome = apply_push(&osd, &pg, &caller, reign, push, payload, &mut turn).await;
    if let Err(refusal) = &outcome {
        fail(&osd, &pg, &caller, reign, refusal);
    }
    drop(turn);
    match outcome {
        Ok(()) => caller.reply(&PeerReply::Written { reign, version, number }, Vec::new()).await,
        Err(refusal) => {
            let damaged = if refusal.damage.is_some() { name } else { Vec::new() };
            refuse(&osd, &caller, reign, 0, refusal, damaged).await;
        }
    }
}

async fn apply_push(
    osd: &Osd,
    pg: &Pg,
    caller: &Caller,
    reign: Reign,
    push: Push,
    payload: Option<Slice>,
    turn: &mut Turn,
) -> Result<(), Refusal> {
    let key = ObjectKey { pool: reign.pool, pg: reign.pg, name: push.name.into() };
    let touches = push.state.object.is_some() || push.state.is_absent;
    let locked = if touches { vec![key.clone()] } else { Vec::new() };
    let mut transaction = osd.store().begin(&locked).await;
    pg.follower().check(caller, reign)?;
    let version = push.state.object.as_ref().map(|parts| (parts.version, parts.mtime_ns));
    object_state::stage(&mut transaction, &key, push.state, payload).await?;
    let mut prepared = transaction.prepare(osd.tier().home(key.pool)).await?;
    turn.come().await;
    pg.follower().check(caller, reign)?;
    if let Some((version, mtime_ns)) = version {
        prepared.set_version(version, mtime_ns);
    }
    for version in &push.forget {
        prepared.forget_log(key.pool, key.pg, *version);
    }
    for (version, entry) in push.entries {
        let entry = log_entry::without_committed(entry);
        prepared.put_log(key.pool, key.pg, version, entry.into());
    }
    let commit = prepared.submit().await?;
    turn.pass();
    osd.tier().changed(commit.hot_changes());
    commit.durable().await?;
    Ok(())
}

fn fail(osd: &Osd, pg: &Pg, caller: &Caller, reign: Reign, refusal: &Refusal) {
    if refusal.errno != libc::ESTALE && !pg.follower().has_failed.replace(true) {
        tracing::warn!(
            osd = osd.id(),
            primary = caller.peer,
            pool = reign.pool,
            pg = reign.pg,
            "what the primary ordered can't be done here: {refusal}"
        );
    }
}

/// `damaged`: the object that can't be changed because it is damaged here.
async fn refuse(osd: &Osd, caller: &Caller, reign: Reign, tag: u64, refusal: Refusal, damaged: Vec<u8>) {
    let Refusal { errno, message, .. } = refusal;
    let reply = PeerReply::Refused { reign, tag, errno, message, damaged, epoch: osd.epoch() };
    caller.reply(&reply, Vec::new()).await;
}

pub async fn answer(osd: Rc<Osd>, pg: Rc<Pg>, caller: Caller, reign: Reign, tag: u64, question: Question) {
    match try_answer(&osd, &pg, &caller, reign, question).await {
        Ok((answer, payload)) => caller.reply(&PeerReply::Answer { tag, answer }, payload).await,
        Err(refusal) => refuse(&osd, &caller, reign, tag, refusal, Vec::new()).await,
    }
}

async fn try_answer(
    osd: &Osd,
    pg: &Pg,
    caller: &Caller,
    reign: Reign,
    question: Question,
) -> Result<(Answer, Vec<Slice>), Refusal> {
    let (pool, seed) = (reign.pool, reign.pg);
    match question {
        Question::Status => {
            let current = reign_of(osd, caller.peer, reign).await?;
            pg.follower().take_over(caller.session, current).await;
            return Ok((Answer::Status(summary::load(osd.store(), pg.id()).await?.status()), Vec::new()));
        }
        // Reads of single objects and comparisons change nothing, and come on any session of the primary.
        Question::Object { .. } => {
            reign_shared_with(osd, caller.peer, reign).await?;
        }
        Question::Digests { .. } | Question::Digest { .. } => {
            reign_of(osd, caller.peer, reign).await?;
        }
        _ => pg.follower().check(caller, reign)?,
    }
    let answer = match question {
        Question::Status => unreachable!("answered above"),
        Question::Log { above, max } => {
            let max = (max as usize).clamp(1, limits::LOG_READ_STEP);
            let entries = osd.store().read_log(pool, seed, above.saturating_add(1), max).await?;
            Answer::Log { more: entries.len() == max, entries }
        }
        Question::BeginFill => {
            summary::begin_fill(osd.store(), pg.id()).await?;
            Answer::Done
        }
        Question::Settle { committed } => {
            summary::settle(osd.store(), pg.id(), committed).await?;
            Answer::Done
        }
        Question::Objects { after, max } => {
            let (objects, more) = object_state::versions(osd.store(), pg.id(), &after, max as usize).await?;
            Answer::Objects { objects, more }
        }
        Question::Object { name, ranges, attributes } => {
            let key = ObjectKey { pool, pg: seed, name: name.into() };
            let (state, payload) = object_state::read_ranges(osd, &key, &ranges, attributes).await?;
            return Ok((Answer::Object(state), payload));
        }
        Question::Digests { after, max, deep } => {
            let (objects, more) = scrub_digest::digests(osd, pg.id(), &after, max as usize, deep).await?;
            Answer::Digests { objects, more }
        }
        Question::Digest { name, deep } => {
            let digest = scrub_digest::digest(osd, &ObjectKey { pool, pg: seed, name: name.into() }, deep).await?;
            Answer::Digests { objects: digest.into_iter().collect(), more: false }
        }
    };
    Ok((answer, Vec::new()))
}
