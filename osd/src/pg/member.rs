//! Another OSD with a copy of a group, as the group's primary knows it: what it lacks, what is on its way to it, what it has.

use super::changes::Changes;
use super::log_entry::LogEntry;
use crate::sabotage::{Sabotage, sabotaged};
use basalt_ring::local::{Event, OnceSender};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

pub struct Member {
    pub osd: u32,
    /// The life of it that this is about.
    pub up_since_epoch: u32,
    /// Writes wait for it: it is in the in-sync set, or the monitor was asked to take it in.
    pub is_required: Cell<bool>,
    pub state: Cell<State>,
    pub link_session: Cell<u64>,
    /// Until it is known what it has: what it is known to have at least. `u64::MAX` from then on.
    floor: Cell<u64>,
    /// Ordered before writes waited for it.
    join_floor: Cell<u64>,
    /// Whether it had all that this OSD has, at any time in this reign.
    was_live: Cell<bool>,
    /// Versions that it is to have and has not confirmed.
    pending: RefCell<BTreeSet<u64>>,
    /// By name: what it lacks of objects. They are sent as a whole, and what is written to them meanwhile is added here.
    missing: RefCell<BTreeMap<Vec<u8>, Lack>>,
    /// Which objects are written to it as they are written here.
    pub reach: RefCell<Reach>,
    pushes: RefCell<BTreeMap<u64, OnceSender<Result<(), i32>>>>,
    last_push: Cell<u64>,
    /// Objects that it can't read, and is sent as a whole.
    pub damaged: RefCell<BTreeSet<Vec<u8>>>,
    pub progress: Progress,
    pub changed: Event,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no session, or it has not said what it has.
    Away,
    /// It is being brought up to date, and gets what is written.
    Syncing,
    /// It has all that this OSD has.
    Live,
}

/// Of an object that a member does not have as it is here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lack {
    pub changes: Changes,
    /// Entries of the log that go with it.
    pub entries: BTreeMap<u64, Vec<u8>>,
    /// Versions that only the member has.
    pub forget: BTreeSet<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    #[default]
    All,
    /// It is being found out what it lacks: all that is written is missing until then.
    Collecting,
    /// It is being filled, in the order of names: objects up to `done` it has, what is written to those up to `window` is missing,
    /// and those behind come later.
    /// Without a window's end, it reaches to the last name.
    Filling { done: Vec<u8>, window: Option<Vec<u8>> },
}

/// What becomes of a write for one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// It is sent as it is.
    Sent,
    /// It goes with its object later.
    Kept,
    /// Its object is copied later anyway.
    Skipped,
}

#[derive(Default)]
pub struct Progress {
    pub is_backfill: Cell<bool>,
    pub objects_done: Cell<u64>,
    pub objects_total: Cell<u64>,
    pub bytes_done: Cell<u64>,
    pub is_waiting: Cell<bool>,
}

impl Member {
    /// `floor`: what it surely has.
    pub fn new(osd: u32, up_since_epoch: u32, is_required: bool, floor: u64) -> Member {
        Member {
            osd,
            up_since_epoch,
            is_required: Cell::new(is_required),
            state: Cell::new(State::Away),
            link_session: Cell::new(0),
            floor: Cell::new(floor),
            join_floor: Cell::new(0),
            was_live: Cell::new(false),
            pending: RefCell::default(),
            missing: RefCell::default(),
            reach: RefCell::default(),
            pushes: RefCell::default(),
            last_push: Cell::new(0),
            damaged: RefCell::default(),
            progress: Progress::default(),
            changed: Event::new(),
        }
    }

    /// Everything up to here, but not beyond, it has confirmed. `u64::MAX`: it owes nothing.
    pub fn confirmed(&self) -> u64 {
        self.pending.borrow().first().map_or(u64::MAX, |first| first - 1).min(self.floor.get())
    }

    /// Decides what becomes of a write, and notes it.
    pub fn route(&self, name: &[u8], version: u64, entry: &LogEntry, encoded: &[u8]) -> Route {
        if self.state.get() == State::Away {
            if self.is_required.get() && !sabotaged(Sabotage::OweNothingToTheAbsent) {
                self.pending.borrow_mut().insert(version);
            }
            return Route::Skipped;
        }
        let mut missing = self.missing.borrow_mut();
        let is_kept = missing.contains_key(name)
            || match &*self.reach.borrow() {
                Reach::All => false,
                Reach::Collecting => true,
                Reach::Filling { window: Some(window), .. } if name > window.as_slice() => return Route::Skipped,
                Reach::Filling { done, .. } => name > done.as_slice(),
            };
        self.pending.borrow_mut().insert(version);
        if !is_kept {
            return Route::Sent;
        }
        if sabotaged(Sabotage::ForgetWritesDuringFill) && matches!(*self.reach.borrow(), Reach::Filling { .. }) {
            return Route::Kept;
        }
        let lack = missing.entry(name.to_vec()).or_default();
        lack.changes.merge(&entry.changes);
        lack.entries.insert(version, encoded.to_vec());
        Route::Kept
    }

    /// An object, or some of it, is to be sent.
    pub fn lacks(&self, name: &[u8], add: impl FnOnce(&mut Lack)) {
        let mut missing = self.missing.borrow_mut();
        let lack = missing.entry(name.to_vec()).or_default();
        add(lack);
        self.pending.borrow_mut().extend(lack.entries.keys());
    }

    /// Its copy of the object is wrong and is to be replaced. Whoever keeps it in sync hears of it.
    pub fn lacks_all_of(&self, name: &[u8]) {
        self.lacks(name, |lack| lack.changes.merge(&Changes::everything()));
        self.changed.notify_all();
    }

    pub fn next_lacking(&self) -> Option<Vec<u8>> {
        self.missing.borrow().keys().next().cloned()
    }

    pub fn lacking(&self) -> usize {
        self.missing.borrow().len()
    }

    pub fn lack_of(&self, name: &[u8]) -> Option<Lack> {
        self.missing.borrow().get(name).cloned()
    }

    /// From here on what is written to the object is sent as it is. The object is locked.
    pub fn take_lack(&self, name: &[u8]) -> Option<Lack> {
        self.missing.borrow_mut().remove(name)
    }

    /// A push is on its way; the receiver hears of its end.
    pub fn pushed(&self, done: OnceSender<Result<(), i32>>) -> u64 {
        let number = self.last_push.get() + 1;
        self.last_push.set(number);
        self.pushes.borrow_mut().insert(number, done);
        number
    }

    /// Nothing of the object is lacking or on its way.
    pub fn is_settled(&self, name: &[u8]) -> bool {
        !self.missing.borrow().contains_key(name) && self.pushes.borrow().is_empty()
    }

    pub fn push_ended(&self, number: u64) {
        if let Some(done) = self.pushes.borrow_mut().remove(&number) {
            done.send(Ok(()));
        }
    }

    pub fn confirm(&self, versions: impl IntoIterator<Item = u64>) {
        let mut pending = self.pending.borrow_mut();
        for version in versions {
            pending.remove(&version);
        }
    }

    /// The session is over, or it refused something: nothing is known of it until it is asked again. What it owes it still owes.
    pub fn lose(&self) {
        self.state.set(State::Away);
        self.pushes.borrow_mut().clear();
        self.missing.borrow_mut().clear();
        *self.reach.borrow_mut() = Reach::All;
        if !self.is_required.get() {
            self.pending.borrow_mut().clear();
        }
        self.changed.notify_all();
    }

    /// From here on writes wait for it. `newest`: what was ordered so far, perhaps without it.
    pub fn require(&self, newest: u64) {
        if !self.is_required.replace(true) {
            self.join_floor.set(newest);
        }
    }

    /// Whether it has confirmed what was ordered before writes waited for it.
    pub fn has_all_from_before(&self) -> bool {
        self.confirmed() >= self.join_floor.get()
    }

    /// All its objects are compared: nothing is sent before it is known which of them it has.
    pub fn begin_fill(&self) {
        self.missing.borrow_mut().clear();
        self.pending.borrow_mut().clear();
        *self.reach.borrow_mut() = Reach::Filling { done: Vec::new(), window: Some(Vec::new()) };
    }

    /// It said what it has: from here on it owes what is found missing, and what is written.
    pub fn begin_sync(&self, session: u64) {
        self.link_session.set(session);
        self.missing.borrow_mut().clear();
        *self.reach.borrow_mut() = Reach::Collecting;
        self.state.set(State::Syncing);
    }

    /// What it owes is exactly what it lacks.
    pub fn settle_pending(&self, known_to_have: impl Fn(u64) -> bool) {
        let missing = self.missing.borrow();
        let owed: BTreeSet<u64> = missing.values().flat_map(|lack| lack.entries.keys().copied()).collect();
        self.pending.borrow_mut().retain(|version| owed.contains(version) || !known_to_have(*version));
        self.floor.set(u64::MAX);
    }

    /// Versions that go with objects later.
    pub fn kept_versions(&self) -> BTreeSet<u64> {
        self.missing.borrow().values().flat_map(|lack| lack.entries.keys().copied()).collect()
    }

    pub fn is_live(&self) -> bool {
        self.state.get() == State::Live
    }

    pub fn was_live(&self) -> bool {
        self.was_live.get()
    }

    pub fn set_live(&self) {
        self.state.set(State::Live);
        self.was_live.set(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_net::message::object::{RequestId, Results};

    fn entry(name: &[u8]) -> LogEntry {
        LogEntry {
            request: RequestId { client: 1, sequence: 1 },
            name: name.into(),
            exists: true,
            previous: 0,
            committed: 0,
            changes: Changes { xattrs: true, ..Changes::default() },
            results: Results::new(),
            data: Vec::new(),
        }
    }

    fn route(member: &Member, name: &[u8], version: u64) -> Route {
        member.route(name, version, &entry(name), b"entry")
    }

    #[test]
    fn a_live_member_owes_what_it_was_sent_until_it_confirms() {
        let member = Member::new(1, 5, true, u64::MAX);
        member.begin_sync(1);
        *member.reach.borrow_mut() = Reach::All;
        member.state.set(State::Live);
        assert_eq!([route(&member, b"a", 10), route(&member, b"b", 11)], [Route::Sent; 2]);
        assert_eq!(member.confirmed(), 9);
        member.confirm([11]);
        assert_eq!(member.confirmed(), 9);
        member.confirm([10]);
        assert_eq!(member.confirmed(), u64::MAX);
    }

    #[test]
    fn a_member_that_is_away_owes_only_if_writes_wait_for_it() {
        let required = Member::new(1, 5, true, u64::MAX);
        let other = Member::new(2, 5, false, u64::MAX);
        assert_eq!([route(&required, b"a", 10), route(&other, b"a", 10)], [Route::Skipped; 2]);
        assert_eq!((required.confirmed(), other.confirmed()), (9, u64::MAX));
    }

    #[test]
    fn what_is_written_to_a_missing_object_goes_with_it() {
        let member = Member::new(1, 5, false, u64::MAX);
        member.begin_sync(1);
        assert_eq!(route(&member, b"a", 10), Route::Kept);
        *member.reach.borrow_mut() = Reach::All;
        assert_eq!([route(&member, b"a", 11), route(&member, b"b", 12)], [Route::Kept, Route::Sent]);
        let lack = member.take_lack(b"a").unwrap();
        assert_eq!(lack.entries.keys().copied().collect::<Vec<_>>(), [10, 11]);
        assert_eq!(route(&member, b"a", 13), Route::Sent);
        assert_eq!(member.confirmed(), 9);
    }

    #[test]
    fn while_a_member_is_filled_objects_behind_the_window_are_left_for_later() {
        let member = Member::new(1, 5, false, u64::MAX);
        member.begin_sync(1);
        *member.reach.borrow_mut() = Reach::Filling { done: b"f".to_vec(), window: Some(b"m".to_vec()) };
        let routes =
            [route(&member, b"a", 10), route(&member, b"g", 11), route(&member, b"m", 12), route(&member, b"n", 13)];
        assert_eq!(routes, [Route::Sent, Route::Kept, Route::Kept, Route::Skipped]);
    }
}
