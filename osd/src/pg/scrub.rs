//! Compares the copies of a group on all members of its in-sync set, and puts right what is known to be wrong.
//!
//! Digests of many objects are compared at a time, while clients go on writing. Where they differ, the object is locked, what was
//! ordered before is waited for, and its copies are compared once more, data and all: what differs then does differ.

use super::copies::{self, Copy, Verdict, judge};
use super::leadership::{Leadership, Phase};
use super::member::Member;
use super::repair::{self, LogChange};
use crate::limits;
use crate::osd::Osd;
use crate::refusal::Refusal;
use crate::scrub_digest;
use basalt_blockstore::{ObjectKey, Transaction};
use basalt_net::message::peer::{Answer, ObjectDigest, Question};
use basalt_ring::local::join_all;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How a comparison is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// All data is read on all members, too.
    pub is_deep: bool,
    /// Of copies that differ, one is taken even where none is known to be right.
    pub settles: bool,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Found {
    pub objects: u64,
    pub repaired: u64,
    /// Left as they are: which copy is right is not known, or it could not be written.
    pub inconsistent: u64,
    /// The first of them, a line each.
    pub lines: Vec<String>,
}

impl Found {
    fn add(&mut self, line: String) {
        self.inconsistent += 1;
        if self.lines.len() < limits::SCRUB_LINES_MAX {
            self.lines.push(line);
        }
    }
}

/// Digests of some objects, in the order of names.
struct Page {
    /// By name: the digests of all members that have one.
    objects: BTreeMap<Vec<u8>, Vec<ObjectDigest>>,
    /// The last name that all members have said all of; `None`: there are no more.
    end: Option<Vec<u8>>,
}

/// Of one group, in one reign.
pub struct Comparison {
    osd: Rc<Osd>,
    leadership: Rc<Leadership>,
    scope: Scope,
}

impl Comparison {
    pub fn new(osd: &Rc<Osd>, leadership: Rc<Leadership>, scope: Scope) -> Comparison {
        Comparison { osd: osd.clone(), leadership, scope }
    }

    /// From the first name to the last. EAGAIN: not now, because the members are not all in sync.
    pub async fn run(&self, bytes_per_second: u64) -> Result<Found, Refusal> {
        let mut found = Found::default();
        let mut after = Vec::new();
        loop {
            let began = self.osd.ring().now();
            self.osd.quiet_moment(limits::SCRUB_YIELD_MAX).await;
            let members = self.members()?;
            let page = self.page(&members, &after).await?;
            let mut bytes = 0;
            for (name, digests) in &page.objects {
                bytes += limits::SCRUB_OBJECT_COST;
                if self.scope.is_deep {
                    bytes += digests.iter().map(|digest| digest.size).max().unwrap_or_default();
                }
                let is_same = digests.windows(2).all(|pair| pair.first() == pair.last());
                let is_whole =
                    digests.len() == members.len() + 1 && digests.iter().all(|digest| digest.error.is_empty());
                if !(is_same && is_whole) {
                    self.examine(name, &mut found).await?;
                }
            }
            found.objects += page.objects.len() as u64;
            let Some(end) = page.end else { return Ok(found) };
            after = end;
            let takes = Duration::from_secs_f64(bytes as f64 / bytes_per_second.max(1) as f64);
            self.osd.pause(takes.saturating_sub(self.osd.ring().now().since(began))).await;
        }
    }

    /// The other members of the set, all of them in sync.
    fn members(&self) -> Result<Vec<Rc<Member>>, Refusal> {
        let pg = self.leadership.pg();
        let again = |what: &str| Refusal::new(libc::EAGAIN, format!("{pg} can't be compared now: {what}"));
        if self.osd.is_stopping() || self.leadership.phase() != Phase::Active {
            return Err(again("this OSD does not serve it"));
        }
        let in_sync = self.osd.map().and_then(|map| map.pg(pg).map(|group| group.in_sync.clone())).unwrap_or_default();
        let others = in_sync.iter().filter(|id| **id != self.osd.id());
        let members: Option<Vec<Rc<Member>>> = others
            .map(|id| self.leadership.member(*id).filter(|member| member.is_live() && member.is_required.get()))
            .collect();
        members.ok_or_else(|| again("not all of its members are up and in sync"))
    }

    async fn ask(&self, member: &Member, question: Question) -> Result<Vec<ObjectDigest>, Refusal> {
        Ok(self.ask_page(member, question).await?.0)
    }

    async fn ask_page(&self, member: &Member, question: Question) -> Result<(Vec<ObjectDigest>, bool), Refusal> {
        let over = || Refusal::new(libc::ENOTCONN, format!("there is no session with osd.{}", member.osd));
        let link = self.osd.peers().link(member.osd).ok_or_else(over)?;
        let asked = link.ask(member.link_session.get(), self.leadership.reign(), question);
        match self.osd.ring().timeout(limits::SCRUB_ANSWER_MAX, asked).await {
            Ok(answered) => match answered?.answer {
                Answer::Digests { objects, more } => Ok((objects, more)),
                other => Err(Refusal::new(libc::EPROTO, format!("digests were asked for, and {other:?} came"))),
            },
            Err(_) => Err(Refusal::new(libc::ETIMEDOUT, format!("osd.{} does not answer", member.osd))),
        }
    }

    async fn page(&self, members: &[Rc<Member>], after: &[u8]) -> Result<Page, Refusal> {
        let is_deep = self.scope.is_deep;
        let max = if is_deep { limits::SCRUB_READ_OBJECTS } else { limits::SCRUB_COMPARED_OBJECTS };
        let question = || Question::Digests { after: after.to_vec(), max: max as u32, deep: is_deep };
        let asked = members.iter().map(|member| {
            let (question, member) = (question(), member.clone());
            async move { self.ask_page(&member, question).await }
        });
        let theirs = join_all(asked.collect::<Vec<_>>()).await;
        let mut pages = vec![scrub_digest::digests(&self.osd, self.leadership.pg(), after, max, is_deep).await?];
        for theirs in theirs {
            pages.push(theirs?);
        }
        let last = |(objects, more): &(Vec<ObjectDigest>, bool)| {
            objects.last().filter(|_| *more).map(|digest| digest.name.clone())
        };
        let end = pages.iter().filter_map(last).min();
        let mut objects: BTreeMap<Vec<u8>, Vec<ObjectDigest>> = BTreeMap::new();
        for digest in pages.into_iter().flat_map(|(objects, _)| objects) {
            if end.as_ref().is_none_or(|end| digest.name <= *end) {
                objects.entry(digest.name.clone()).or_default().push(digest);
            }
        }
        Ok(Page { objects, end })
    }

    /// Looks at one object of which the copies seem to differ.
    async fn examine(&self, name: &[u8], found: &mut Found) -> Result<(), Refusal> {
        let pg = self.leadership.pg();
        let key = ObjectKey { pool: pg.pool, pg: pg.seed, name: name.into() };
        let mut is_repaired = false;
        loop {
            // Nobody writes to it until this is dropped.
            let lock = self.osd.store().begin(std::slice::from_ref(&key)).await;
            let ordered = self.leadership.wait_committed(self.leadership.newest());
            let committed = self.osd.ring().timeout(limits::REPAIR_WAIT_MAX, ordered).await;
            committed.unwrap_or_else(|_| Err(Refusal::new(libc::EAGAIN, "a write before it is not on all members")))?;
            let copies = self.copies(&key).await?;
            let why = match judge(&copies, self.scope.settles) {
                Verdict::Agree => {
                    if is_repaired {
                        found.repaired += 1;
                        self.osd.note_mended();
                    }
                    return Ok(());
                }
                Verdict::Known { good, bad } if !is_repaired => {
                    tracing::warn!(osd = self.osd.id(), %pg, object = %name.escape_ascii(), good, ?bad, "scrub: {}", copies::show(&copies));
                    match self.repair(lock, &key, good, &bad).await {
                        Ok(()) => {
                            is_repaired = true;
                            continue;
                        }
                        Err(refusal) => format!("; the one of osd.{good} is right, and can't be taken over: {refusal}"),
                    }
                }
                Verdict::Known { .. } => "; writing them anew did not help".into(),
                Verdict::Unknown => String::new(),
            };
            let line = format!("object {pg}/{}: {}{why}", name.escape_ascii(), copies::show(&copies));
            tracing::error!(osd = self.osd.id(), "scrub: {line}");
            found.add(line);
            return Ok(());
        }
    }

    /// As they are on all members now, the primary's first.
    async fn copies(&self, key: &ObjectKey) -> Result<Vec<(u32, Copy)>, Refusal> {
        let members = self.members()?;
        let asked = members.iter().map(|member| {
            let question = Question::Digest { name: key.name.to_vec(), deep: true };
            async move { Ok::<_, Refusal>((member.osd, self.ask(member, question).await?.pop().into())) }
        });
        let ours = scrub_digest::digest(&self.osd, key, true).await?;
        let mut copies = vec![(self.osd.id(), Copy::from(ours))];
        for theirs in join_all(asked.collect::<Vec<_>>()).await {
            copies.push(theirs?);
        }
        Ok(copies)
    }

    /// Makes the bad copies like the good one. The transaction holds the object's lock.
    async fn repair(&self, lock: Transaction, key: &ObjectKey, good: u32, bad: &[u32]) -> Result<(), Refusal> {
        if bad.contains(&self.osd.id()) {
            let from = (self.leadership.reign(), good);
            repair::take_over(&self.osd, lock, key, from, LogChange::default()).await?;
        } else {
            drop(lock);
        }
        let members = self.members()?;
        let members: Vec<&Rc<Member>> = members.iter().filter(|member| bad.contains(&member.osd)).collect();
        for member in &members {
            member.lacks_all_of(&key.name);
        }
        for member in members {
            let settled = async {
                loop {
                    let change = member.changed.wait();
                    if member.is_settled(&key.name) || !member.is_live() {
                        break;
                    }
                    change.await;
                }
            };
            let settled = self.osd.ring().timeout(limits::REPAIR_WAIT_MAX, settled).await;
            if settled.is_err() || !member.is_live() {
                return Err(Refusal::new(libc::EAGAIN, format!("osd.{} does not take it", member.osd)));
            }
        }
        Ok(())
    }
}
