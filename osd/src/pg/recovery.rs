//! Brings a member of a group to the state that its primary has, and keeps it there.
//!
//! Two logs are compared as sets of versions, above what both surely have. Of each object that differs, what changed is sent as it is
//! now, together with the entries of the log that belong to it, in one transaction: so whatever happens on the way, each object of the
//! member is as its own log says. A member whose log does not reach back far enough is filled instead: all objects are compared by
//! their versions, in the order of names. Either way what clients write meanwhile goes to the member as well.

use super::changes::Changes;
use super::leadership::{Leadership, Phase};
use super::member::{Lack, Member, Reach, State};
use super::object_state::{self, StateReader, gather};
use super::repair::{self, LogChange, Mending};
use super::summary;
use crate::limits;
use crate::osd::Osd;
use crate::peer::{Answered, PeerLink};
use crate::recovery_pace::Underway;
use crate::refusal::Refusal;
use crate::sabotage::{Sabotage, sabotaged};
use basalt_blockstore::ObjectKey;
use basalt_cluster::MapFlags;
use basalt_net::message::monitor::GroupJoin;
use basalt_net::message::peer::{Answer, MemberStatus, ObjectState, PeerRequest, Push, Question};
use basalt_ring::local::{Either, once, select};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::rc::Rc;

/// One session with one member.
struct Sync {
    osd: Rc<Osd>,
    leadership: Rc<Leadership>,
    member: Rc<Member>,
    link: Rc<PeerLink>,
    session: u64,
    /// Pushes that are not confirmed.
    under_way: Rc<Cell<usize>>,
}

/// For as long as the member is one.
pub async fn keep_in_sync(osd: Rc<Osd>, leadership: Rc<Leadership>, member: Rc<Member>) {
    while is_member(&osd, &leadership, &member) {
        let change = leadership.change();
        let member_change = member.changed.wait();
        let Some(link) = osd.peers().link(member.osd) else {
            osd.pause(limits::PEER_RETRY_MIN).await;
            continue;
        };
        let link_change = link.changed();
        let session = link.session().filter(|_| link.up_since_epoch() == member.up_since_epoch);
        let Some(session) = session else {
            select(pin!(link_change), select(pin!(change), pin!(member_change))).await;
            continue;
        };
        let (osd_again, leadership_again, member_again) = (osd.clone(), leadership.clone(), member.clone());
        let sync = Sync {
            osd: osd_again,
            leadership: leadership_again,
            member: member_again,
            link,
            session,
            under_way: Rc::new(Cell::new(0)),
        };
        let outcome = sync.run_until_over().await;
        member.lose();
        if let Err(refusal) = outcome {
            if refusal.errno == libc::ESTALE || refusal.errno == libc::ENOTCONN {
                tracing::debug!(osd = osd.id(), pg = %leadership.pg(), member = member.osd, "not in sync: {refusal}");
            } else {
                tracing::warn!(osd = osd.id(), pg = %leadership.pg(), member = member.osd, "not in sync: {refusal}");
            }
            leadership.note_change();
            osd.pause(limits::SYNC_RETRY).await;
        }
    }
    member.lose();
}

fn is_member(osd: &Osd, leadership: &Leadership, member: &Rc<Member>) -> bool {
    let is_known = leadership.member(member.osd).is_some_and(|known| Rc::ptr_eq(&known, member));
    is_known && leadership.phase() != Phase::Ended && !osd.is_stopping()
}

fn unexpected(answer: &Answer) -> Refusal {
    Refusal::new(libc::EPROTO, format!("another answer came than was asked for: {answer:?}"))
}

impl Sync {
    fn is_over(&self) -> bool {
        self.link.session() != Some(self.session) || !is_member(&self.osd, &self.leadership, &self.member)
    }

    async fn ask(&self, question: Question) -> Result<Answered, Refusal> {
        self.link.ask(self.session, self.leadership.reign(), question).await
    }

    /// Until the session ends, or the member is none any more, or refuses what it is told.
    async fn run_until_over(&self) -> Result<(), Refusal> {
        self.catch_up().await?;
        self.member.set_live();
        self.leadership.advance();
        self.leadership.note_change();
        loop {
            let link_change = self.link.changed();
            let member_change = self.member.changed.wait();
            if self.is_over() || self.member.state.get() == State::Away {
                return Ok(());
            }
            if self.member.lacking() > 0 && !sabotaged(Sabotage::JoinTooEarly) {
                self.push_all().await?;
                continue;
            }
            self.join_if_ready().await?;
            if self.is_over() || self.member.state.get() == State::Away {
                return Ok(());
            }
            if self.member.lacking() > 0 && !sabotaged(Sabotage::JoinTooEarly) {
                continue;
            }
            let look = self.osd.ring().sleep(limits::JOIN_INTERVAL);
            select(pin!(look), select(pin!(link_change), pin!(member_change))).await;
        }
    }

    /// Asks the monitor to take a member in that has everything. From before it is asked, writes wait for the member: the monitor may
    /// count on it at any moment from then on.
    async fn join_if_ready(&self) -> Result<(), Refusal> {
        let pg = self.leadership.pg();
        let epoch = self.osd.epoch();
        if self.is_in_set() || self.leadership.phase() == Phase::Peering {
            return Ok(());
        }
        self.member.require(self.leadership.newest());
        if !self.member.has_all_from_before() && !sabotaged(Sabotage::JoinTooEarly) {
            // What others have confirmed alone, it confirms first.
            return Ok(());
        }
        // An OSD that heard meanwhile that it is not to have the group may have begun to delete it: then it refuses.
        let committed = self.leadership.committed().min(self.member.confirmed());
        self.ask(Question::Settle { committed }).await?;
        self.osd.ask_to_join(GroupJoin {
            pool: pg.pool,
            pg: pg.seed,
            reign: self.leadership.reign().reign,
            osd: self.member.osd,
            up_since_epoch: self.member.up_since_epoch,
            epoch,
        });
        Ok(())
    }

    /// By the newest map.
    fn is_in_set(&self) -> bool {
        let map = self.osd.map();
        map.and_then(|map| map.pg(self.leadership.pg()).map(|group| group.in_sync.contains(&self.member.osd)))
            .unwrap_or_default()
    }

    async fn catch_up(&self) -> Result<(), Refusal> {
        let is_required = self.member.is_required.get();
        let _turn = if is_required { None } else { Some(self.osd.recovery().group(&self.member).await) };
        let mut status = self.status().await?;
        let reaches_back =
            |status: &MemberStatus| status.is_complete && status.committed >= self.leadership.before_oldest.get();
        let mut _slot = None;
        if !reaches_back(&status) && !is_required {
            // Nothing is noted for it while it waits for its turn.
            _slot = Some(self.osd.recovery().backfill(&self.member).await);
            self.may_fill().await?;
            status = self.status().await?;
        }
        self.member.begin_sync(self.session);
        let reaches_back = reaches_back(&status);
        match (reaches_back, self.is_in_set()) {
            (true, _) => self.catch_up_from_log(&status).await?,
            (false, false) => self.fill().await?,
            (false, true) => {
                return Err(Refusal::new(
                    libc::EIO,
                    format!(
                        "osd.{} is in the in-sync set, but its copy is {} and its log ends before this OSD's begins",
                        self.member.osd,
                        if status.is_complete { "old" } else { "half filled" }
                    ),
                ));
            }
        }
        if !is_required || !status.is_complete {
            // What is committed without it may still be on its way to it.
            let has = if sabotaged(Sabotage::SettleWhatIsUnderWay) { u64::MAX } else { self.member.confirmed() };
            let committed = self.leadership.committed().min(has);
            self.ask(Question::Settle { committed }).await?;
        }
        Ok(())
    }

    async fn status(&self) -> Result<MemberStatus, Refusal> {
        match self.ask(Question::Status).await?.answer {
            Answer::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    async fn catch_up_from_log(&self, status: &MemberStatus) -> Result<(), Refusal> {
        self.member.progress.is_backfill.set(false);
        if sabotaged(Sabotage::SkipReconciliation) {
            *self.member.reach.borrow_mut() = Reach::All;
            self.member.settle_pending(|_| true);
            return Ok(());
        }
        let theirs = self.their_log(status.committed).await?;
        let ours = self.our_log(status.committed).await?;
        for (version, bytes) in ours.iter().filter(|(version, _)| !theirs.contains_key(version)) {
            let entry = summary::decode(self.leadership.pg(), *version, bytes)?;
            self.member.lacks(&entry.name, |lack| {
                lack.changes.merge(&entry.changes);
                lack.entries.insert(*version, bytes.clone());
            });
        }
        let divergent = |version: &u64| !ours.contains_key(version) && !sabotaged(Sabotage::KeepDivergentWrites);
        for (version, bytes) in theirs.iter().filter(|(version, _)| divergent(version)) {
            let entry = summary::decode(self.leadership.pg(), *version, bytes)?;
            self.member.lacks(&entry.name, |lack| {
                lack.changes.merge(&entry.changes);
                lack.forget.insert(*version);
            });
        }
        let damaged = std::mem::take(&mut *self.member.damaged.borrow_mut());
        for name in damaged {
            self.member.lacks(&name, |lack| lack.changes.merge(&Changes::everything()));
        }
        *self.member.reach.borrow_mut() = Reach::All;
        self.member.settle_pending(|version| version <= status.committed || theirs.contains_key(&version));
        self.leadership.advance();
        self.member.progress.objects_done.set(0);
        self.member.progress.objects_total.set(self.member.lacking() as u64);
        if sabotaged(Sabotage::JoinTooEarly) {
            return Ok(());
        }
        self.push_all().await
    }

    async fn their_log(&self, above: u64) -> Result<BTreeMap<u64, Vec<u8>>, Refusal> {
        let mut log = BTreeMap::new();
        let mut above = above;
        loop {
            let answer = self.ask(Question::Log { above, max: limits::LOG_READ_STEP as u32 }).await?.answer;
            let Answer::Log { entries, more } = answer else { return Err(unexpected(&answer)) };
            let Some((last, _)) = entries.last() else { return Ok(log) };
            above = *last;
            log.extend(entries);
            if !more {
                return Ok(log);
            }
        }
    }

    async fn our_log(&self, above: u64) -> Result<BTreeMap<u64, Vec<u8>>, Refusal> {
        let pg = self.leadership.pg();
        let mut log = BTreeMap::new();
        let mut from = above.saturating_add(1);
        loop {
            let step = self.osd.store().read_log(pg.pool, pg.seed, from, limits::LOG_READ_STEP).await?;
            let Some((last, _)) = step.last() else { return Ok(log) };
            from = last.saturating_add(1);
            log.extend(step);
        }
    }

    /// Sends what the member lacks until it lacks nothing.
    async fn push_all(&self) -> Result<(), Refusal> {
        loop {
            if self.is_over() || self.member.state.get() == State::Away {
                return Err(Refusal::new(libc::ENOTCONN, "the session ended"));
            }
            match self.member.next_lacking() {
                Some(name) => self.push_object(name).await?,
                None if self.under_way.get() == 0 => return Ok(()),
                None => {
                    let change = self.member.changed.wait();
                    let link_change = self.link.changed();
                    if self.under_way.get() > 0 {
                        select(pin!(change), pin!(link_change)).await;
                    }
                }
            }
        }
    }

    async fn push_object(&self, name: Vec<u8>) -> Result<(), Refusal> {
        let pg = self.leadership.pg();
        let key = ObjectKey { pool: pg.pool, pg: pg.seed, name: name.into() };
        let Some(lack) = self.member.lack_of(&key.name) else { return Ok(()) };
        let size = self.osd.store().stat(&key).await?.map_or(0, |info| info.size);
        let mut permit = Some(self.admit(lack.changes.bytes(size)).await?);
        let lock = self.osd.store().begin(std::slice::from_ref(&key)).await;
        // From here to the end nobody writes to the object; then what is written goes to the member as it comes.
        let Some(lack) = self.member.lack_of(&key.name) else { return Ok(()) };
        let mut reader = StateReader::new(&self.osd, &key, &lack.changes).await?;
        loop {
            let (part, is_last) = match reader.next().await {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(refusal) => {
                    // What is damaged here may be whole elsewhere; then the object is tried again.
                    drop(lock);
                    let Some(offset) = refusal.damage else { return Err(refusal) };
                    if repair::mend(&self.osd, &key, offset..offset + 1).await == Mending::Done {
                        return Ok(());
                    }
                    self.adopt(&key, &lack).await?;
                    return Err(refusal);
                }
            };
            let mut push =
                Push { name: key.name.to_vec(), number: 0, state: part.state, entries: Vec::new(), forget: Vec::new() };
            let bytes: u64 = part.payload.iter().map(|slice| slice.len() as u64).sum();
            let payload =
                if part.payload.is_empty() { Vec::new() } else { vec![gather(self.osd.ring(), &part.payload)] };
            let versions: Vec<u64> = if is_last { lack.entries.keys().copied().collect() } else { Vec::new() };
            if is_last {
                self.member.take_lack(&key.name);
                push.forget = lack.forget.iter().copied().collect();
                push.entries = lack.entries.clone().into_iter().collect();
            }
            let held = if is_last { permit.take() } else { None };
            self.send_push(push, payload, versions, bytes, held)?;
        }
        drop(lock);
        let progress = &self.member.progress;
        progress.objects_done.set(progress.objects_done.get() + 1);
        Ok(())
    }

    /// Makes the object what the member has, with writes that a primary before this one had only begun, where this OSD's own copy is
    /// damaged and nobody has another of its version. Before the group is served that is as good as taking them back: neither they nor
    /// what this OSD has instead were ever answered. Then all members are compared anew.
    async fn adopt(&self, key: &ObjectKey, lack: &Lack) -> Result<(), Refusal> {
        let Some(oldest) = lack.forget.first() else { return Ok(()) };
        if self.leadership.phase() != Phase::Peering || !self.is_in_set() {
            return Ok(());
        }
        let mut entries = self.their_log(oldest.saturating_sub(1)).await?;
        entries.retain(|version, _| lack.forget.contains(version));
        let log = LogChange { entries: entries.into_iter().collect(), forget: lack.entries.keys().copied().collect() };
        let lock = self.osd.store().begin(std::slice::from_ref(key)).await;
        let from = (self.leadership.reign(), self.member.osd);
        repair::take_over(&self.osd, lock, key, from, log).await?;
        tracing::warn!(
            osd = self.osd.id(),
            pg = %self.leadership.pg(),
            object = %key.name.escape_ascii(),
            from = self.member.osd,
            "damaged here, and taken over with writes that were not answered yet"
        );
        self.osd.note_mended();
        self.osd.lead_anew(&self.leadership);
        Ok(())
    }

    /// Recovery of what is not needed at once yields to clients. What is under way holds its place until the session is known to be over,
    /// and that is known here: so nobody waits for a place longer than the session lasts.
    async fn admit(&self, bytes: u64) -> Result<Underway, Refusal> {
        let pace = (!self.member.is_required.get()).then_some(bytes);
        let mut admitted = pin!(self.osd.recovery().object(pace, bytes));
        loop {
            let link_change = self.link.changed();
            let member_change = self.member.changed.wait();
            if self.is_over() || self.member.state.get() == State::Away {
                return Err(Refusal::new(libc::ENOTCONN, "the session ended"));
            }
            if let Either::First(place) =
                select(admitted.as_mut(), select(pin!(link_change), pin!(member_change))).await
            {
                return Ok(place);
            }
        }
    }

    fn send_push(
        &self,
        mut push: Push,
        payload: Vec<basalt_ring::Slice>,
        versions: Vec<u64>,
        bytes: u64,
        permit: Option<Underway>,
    ) -> Result<(), Refusal> {
        let (done, ended) = once();
        push.number = self.member.pushed(done);
        let request = PeerRequest::Push { reign: self.leadership.reign(), push };
        let sent = self.link.send(self.session, request, payload);
        sent.map_err(|_| Refusal::new(libc::ENOTCONN, "the session ended"))?;
        self.under_way.set(self.under_way.get() + 1);
        let (osd, member, leadership) = (self.osd.clone(), self.member.clone(), self.leadership.clone());
        let under_way = self.under_way.clone();
        self.osd.ring().spawn(async move {
            if let Some(Ok(())) = ended.await {
                member.confirm(versions);
                leadership.advance();
                osd.recovery().sent(bytes);
                member.progress.bytes_done.set(member.progress.bytes_done.get() + bytes);
            }
            drop(permit);
            under_way.set(under_way.get() - 1);
            member.changed.notify_all();
        });
        Ok(())
    }

    /// Compares all objects and copies those that differ.
    async fn fill(&self) -> Result<(), Refusal> {
        let pg = self.leadership.pg();
        let progress = &self.member.progress;
        progress.is_backfill.set(true);
        progress.objects_done.set(0);
        progress.objects_total.set(self.osd.objects_of(pg));
        self.member.begin_fill();
        tracing::info!(osd = self.osd.id(), pg = %pg, member = self.member.osd, "backfill begins");
        self.ask(Question::BeginFill).await?;
        let mut done = Vec::new();
        loop {
            let max = limits::COMPARE_STEP;
            let theirs = self.ask(Question::Objects { after: done.clone(), max: max as u32 }).await?.answer;
            let Answer::Objects { objects: theirs, more: they_have_more } = theirs else {
                return Err(unexpected(&theirs));
            };
            let (ours, we_have_more) = object_state::versions(self.osd.store(), pg, &done, max).await?;
            let last = |page: &[(Vec<u8>, u64)], more: bool| {
                if more { page.last().map(|(name, _)| name.clone()) } else { None }
            };
            let window = match (last(&ours, we_have_more), last(&theirs, they_have_more)) {
                (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
                (one, other) => one.or(other),
            };
            *self.member.reach.borrow_mut() = Reach::Filling { done: done.clone(), window: window.clone() };
            self.compare(&done, window.as_deref(), theirs).await?;
            self.push_all().await?;
            match window {
                Some(end) => {
                    let fresh = Reach::Filling { done: end.clone(), window: Some(end.clone()) };
                    *self.member.reach.borrow_mut() = fresh;
                    done = end;
                }
                None => break,
            }
            // A flag that is set meanwhile holds it here.
            self.may_fill().await?;
        }
        self.complete_log().await?;
        tracing::info!(osd = self.osd.id(), pg = %pg, member = self.member.osd, "backfill ends");
        Ok(())
    }

    /// Waits while a flag holds backfill back.
    async fn may_fill(&self) -> Result<(), Refusal> {
        loop {
            let change = self.osd.map_change();
            let link_change = self.link.changed();
            let is_held = self
                .osd
                .map()
                .is_some_and(|map| map.flags.contains(MapFlags::NOBACKFILL) || map.flags.contains(MapFlags::NORECOVER));
            if self.is_over() {
                return Err(Refusal::new(libc::ENOTCONN, "the session ended"));
            }
            self.member.progress.is_waiting.set(is_held);
            if !is_held {
                return Ok(());
            }
            select(pin!(change), pin!(link_change)).await;
        }
    }

    /// Finds what differs of the objects after `done` up to the window's end. What is written to them meanwhile is noted by itself.
    async fn compare(&self, done: &[u8], window: Option<&[u8]>, theirs: Vec<(Vec<u8>, u64)>) -> Result<(), Refusal> {
        let pg = self.leadership.pg();
        let is_inside = |name: &[u8]| window.is_none_or(|end| name <= end);
        let mut theirs: BTreeMap<Vec<u8>, u64> = theirs.into_iter().filter(|(name, _)| is_inside(name)).collect();
        let everything = |lack: &mut Lack| lack.changes.merge(&Changes::everything());
        let mut after = done.to_vec();
        let progress = &self.member.progress;
        loop {
            let (ours, more) = object_state::versions(self.osd.store(), pg, &after, limits::COMPARE_STEP).await?;
            let reached = ours.last().map(|(name, _)| name.clone());
            for (name, version) in ours.into_iter().filter(|(name, _)| is_inside(name)) {
                if theirs.remove(&name) == Some(version) {
                    progress.objects_done.set(progress.objects_done.get() + 1);
                } else {
                    self.member.lacks(&name, everything);
                }
            }
            match reached.filter(|name| more && is_inside(name)) {
                Some(name) => after = name,
                None => break,
            }
        }
        for name in theirs.into_keys() {
            self.member.lacks(&name, everything);
        }
        Ok(())
    }

    /// The objects are all there; now the log of how they came to be.
    async fn complete_log(&self) -> Result<(), Refusal> {
        *self.member.reach.borrow_mut() = Reach::Collecting;
        let theirs: BTreeSet<u64> = self.their_log(0).await?.into_keys().collect();
        let newest = self.leadership.newest();
        let ours = self.our_log(0).await?;
        let lacking: Vec<(u64, Vec<u8>)> =
            ours.into_iter().filter(|(version, _)| *version <= newest && !theirs.contains(version)).collect();
        let kept: BTreeSet<u64> = self.member.kept_versions();
        let lacking: Vec<(u64, Vec<u8>)> = lacking.into_iter().filter(|(version, _)| !kept.contains(version)).collect();
        for step in steps(&lacking) {
            let push = Push {
                name: Vec::new(),
                number: 0,
                state: ObjectState::default(),
                entries: step.to_vec(),
                forget: Vec::new(),
            };
            let versions = step.iter().map(|(version, _)| *version).collect();
            self.send_push(push, Vec::new(), versions, 0, None)?;
        }
        *self.member.reach.borrow_mut() = Reach::All;
        self.member.settle_pending(|_| false);
        self.push_all().await
    }
}

/// Entries of a log in steps that a member's store takes at once, however small its own log is.
fn steps(entries: &[(u64, Vec<u8>)]) -> impl Iterator<Item = &[(u64, Vec<u8>)]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |(_, entry): &&(u64, Vec<u8>)| {
            bytes += entry.len() + LOG_ENTRY_OVERHEAD;
            bytes <= limits::LOG_PUSH_BYTES
        };
        let count = rest.iter().take(limits::LOG_PUSH_STEP).take_while(fits).count().max(1).min(rest.len());
        let (step, later) = rest.split_at(count);
        rest = later;
        (!step.is_empty()).then_some(step)
    })
}

/// What an entry's key takes in a transaction besides.
const LOG_ENTRY_OVERHEAD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_sent_in_order_in_steps_that_the_smallest_store_takes() {
        let entries: Vec<(u64, Vec<u8>)> =
            (0..1000).map(|version| (version, vec![0; (version as usize * 37) % 17_000])).collect();
        let sent: Vec<&[(u64, Vec<u8>)]> = steps(&entries).collect();
        assert_eq!(sent.concat(), entries);
        for step in sent {
            let bytes: usize = step.iter().map(|(_, entry)| entry.len() + LOG_ENTRY_OVERHEAD).sum();
            assert!(step.len() == 1 || (bytes <= limits::LOG_PUSH_BYTES && step.len() <= limits::LOG_PUSH_STEP));
        }
        assert_eq!(steps(&[]).count(), 0);
    }
}
