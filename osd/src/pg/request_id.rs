//! Which requests of a placement group were applied, so that one that is sent again is answered and not applied again.
//!
//! What the log holds, less what its clients are known to have heard the answer of; and for as long as one primary leads, the refusals that
//! it gave: a client that was told that its request failed must not find it applied by another copy that came a moment later. Copies that
//! were sent before a primary began are stale by their epoch.
//! A client says with each request up to where
//! its requests are completed; that floor stays as long as the log knows the client, so that a copy of an old request that was
//! stuck in a dead connection is not taken for a new one.

use crate::limits;
use crate::refusal::Refusal;
use basalt_net::message::object::{RequestId, Results};
use basalt_ring::local::Event;
use foldhash::HashMap;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// What a request that was applied is answered with, whenever it comes again.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object's version after it; 0 if the request removed it.
    pub version: u64,
    pub results: Results,
    /// Read data, as the results say.
    pub data: Vec<u8>,
}

/// What is to be done with a request that came in.
pub enum Claim {
    /// It is new: do it, and tell the ticket.
    New(Ticket),
    /// A copy of it is being applied: wait, then claim again.
    Running(Event),
    Applied(Applied),
    /// A copy of it was refused for good.
    Refused(Rc<Refusal>),
    /// Its client said long ago that it was completed: nobody waits for an answer.
    Forgotten,
}

#[derive(Clone, Default)]
pub struct RequestTable {
    clients: Rc<RefCell<HashMap<u64, ClientRequests>>>,
    /// The oldest first; bounded, since no log lets go of them.
    refused: Rc<RefCell<VecDeque<RequestId>>>,
}

#[derive(Default)]
struct ClientRequests {
    completed_up_to: u64,
    /// By sequence; all above `completed_up_to`, or still running.
    requests: BTreeMap<u64, State>,
    /// How many entries of the log are this client's.
    logged: usize,
}

enum State {
    /// With what its copies wait for, if there are any.
    Running(Option<Event>),
    Applied(Applied),
    Refused(Rc<Refusal>),
}

impl RequestTable {
    /// Looks a request up and, if it is new, marks it as running.
    pub fn claim(&self, request: RequestId, completed_up_to: u64) -> Claim {
        let mut clients = self.clients.borrow_mut();
        let client = clients.entry(request.client).or_default();
        // What a client still asks for it cannot have completed, whatever it says.
        client.complete(completed_up_to.min(request.sequence.saturating_sub(1)));
        match client.requests.get_mut(&request.sequence) {
            Some(State::Running(event)) => Claim::Running(event.get_or_insert_with(Event::new).clone()),
            Some(State::Applied(applied)) => Claim::Applied(applied.clone()),
            Some(State::Refused(refusal)) => Claim::Refused(refusal.clone()),
            None if request.sequence <= client.completed_up_to => Claim::Forgotten,
            None => {
                client.requests.insert(request.sequence, State::Running(None));
                Claim::New(Ticket { table: self.clone(), request, outcome: None })
            }
        }
    }

    pub fn clear(&self) {
        self.clients.borrow_mut().clear();
        self.refused.borrow_mut().clear();
    }

    /// An entry of the log, found at the start of the OSD.
    pub fn recover(&self, request: RequestId, applied: Applied) {
        let mut clients = self.clients.borrow_mut();
        let client = clients.entry(request.client).or_default();
        client.logged += 1;
        client.requests.insert(request.sequence, State::Applied(applied));
    }

    /// An entry was put into the log.
    pub fn logged(&self, request: RequestId) {
        self.clients.borrow_mut().entry(request.client).or_default().logged += 1;
    }

    /// Whether the request's client has said that it has heard its answer.
    pub fn is_completed(&self, request: RequestId) -> bool {
        let clients = self.clients.borrow();
        clients.get(&request.client).is_none_or(|client| {
            request.sequence <= client.completed_up_to && !client.requests.contains_key(&request.sequence)
        })
    }

    /// The request's entry left the log.
    pub fn trimmed(&self, request: RequestId) {
        let mut clients = self.clients.borrow_mut();
        if let Some(client) = clients.get_mut(&request.client) {
            client.logged = client.logged.saturating_sub(1);
            if matches!(client.requests.get(&request.sequence), Some(State::Applied(_))) {
                client.requests.remove(&request.sequence);
            }
            if client.is_unknown() {
                clients.remove(&request.client);
            }
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.clients.borrow().values().map(|client| client.requests.len()).sum()
    }

    fn end(&self, request: RequestId, outcome: Option<State>) {
        if matches!(outcome, Some(State::Refused(_))) {
            self.keep_refusal(request);
        }
        let mut clients = self.clients.borrow_mut();
        let Some(client) = clients.get_mut(&request.client) else { return };
        let before = match outcome {
            Some(outcome) => client.requests.insert(request.sequence, outcome),
            None => client.requests.remove(&request.sequence),
        };
        if client.is_unknown() {
            clients.remove(&request.client);
        }
        drop(clients);
        if let Some(State::Running(Some(event))) = before {
            event.notify_all();
        }
    }

    fn keep_refusal(&self, request: RequestId) {
        let mut refused = self.refused.borrow_mut();
        refused.push_back(request);
        if refused.len() <= limits::REFUSALS_KEPT {
            return;
        }
        let Some(oldest) = refused.pop_front() else { return };
        let mut clients = self.clients.borrow_mut();
        let Some(client) = clients.get_mut(&oldest.client) else { return };
        if matches!(client.requests.get(&oldest.sequence), Some(State::Refused(_))) {
            client.requests.remove(&oldest.sequence);
        }
        if client.is_unknown() {
            clients.remove(&oldest.client);
        }
    }
}

impl ClientRequests {
    fn complete(&mut self, up_to: u64) {
        if up_to <= self.completed_up_to {
            return;
        }
        self.completed_up_to = up_to;
        while let Some(first) = self.requests.first_entry() {
            if *first.key() > up_to || matches!(first.get(), State::Running(_)) {
                break;
            }
            first.remove();
        }
    }

    fn is_unknown(&self) -> bool {
        self.logged == 0 && self.requests.is_empty()
    }
}

/// The right to apply a request. Dropped without [`Ticket::applied`] or [`Ticket::refused`], the request counts as never seen: a copy of it
/// may be applied.
pub struct Ticket {
    table: RequestTable,
    request: RequestId,
    outcome: Option<State>,
}

impl Ticket {
    /// The request is durable: copies of it get this answer.
    pub fn applied(mut self, applied: Applied) {
        self.outcome = Some(State::Applied(applied));
    }

    /// The client is told so, and takes it for the end: copies are refused likewise.
    pub fn refused(mut self, mut refusal: Refusal) {
        // Object names are in the words, and many refusals are kept.
        let most = refusal.message.floor_char_boundary(limits::REFUSAL_BYTES_KEPT);
        refusal.message.truncate(most);
        refusal.message.shrink_to_fit();
        self.outcome = Some(State::Refused(Rc::new(refusal)));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.table.end(self.request, self.outcome.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: u64) -> RequestId {
        RequestId { client: 7, sequence }
    }

    fn applied(version: u64) -> Applied {
        Applied { version, results: Results::default(), data: Vec::new() }
    }

    fn apply(table: &RequestTable, sequence: u64, completed_up_to: u64) {
        let Claim::New(ticket) = table.claim(id(sequence), completed_up_to) else { panic!("{sequence} is not new") };
        table.logged(id(sequence));
        ticket.applied(applied(sequence));
    }

    #[test]
    fn a_copy_gets_the_first_ones_answer() {
        let table = RequestTable::default();
        let Claim::New(ticket) = table.claim(id(1), 0) else { panic!("1 is not new") };
        assert!(matches!(table.claim(id(1), 0), Claim::Running(_)));
        ticket.applied(applied(9));
        assert!(matches!(table.claim(id(1), 0), Claim::Applied(found) if found == applied(9)));
    }

    #[test]
    fn a_request_that_failed_may_be_tried_again() {
        let table = RequestTable::default();
        let Claim::New(ticket) = table.claim(id(1), 0) else { panic!("1 is not new") };
        drop(ticket);
        assert!(matches!(table.claim(id(1), 0), Claim::New(_)));
    }

    #[test]
    fn a_request_that_was_refused_for_good_is_refused_again() {
        let table = RequestTable::default();
        let Claim::New(ticket) = table.claim(id(1), 0) else { panic!("1 is not new") };
        let refusal = Refusal::no_such_object(b"x");
        ticket.refused(refusal.clone());
        assert!(matches!(table.claim(id(1), 0), Claim::Refused(found) if *found == refusal));
        let Claim::New(_running) = table.claim(id(2), 1) else { panic!("2 is not new") };
        assert!(matches!(table.claim(id(1), 0), Claim::Forgotten));
    }

    #[test]
    fn refusals_are_bounded() {
        let table = RequestTable::default();
        let of = |client| RequestId { client, sequence: 1 };
        for client in 0..limits::REFUSALS_KEPT as u64 + 10 {
            let Claim::New(ticket) = table.claim(of(client), 0) else { panic!("{client} is new") };
            ticket.refused(Refusal::no_such_object(b"x"));
        }
        assert_eq!((table.len(), table.clients.borrow().len()), (limits::REFUSALS_KEPT, limits::REFUSALS_KEPT));
        assert!(matches!(table.claim(of(9), 0), Claim::New(_)));
        assert!(matches!(table.claim(of(11), 0), Claim::Refused(_)));
    }

    #[test]
    fn what_is_completed_is_forgotten_but_not_applied_again() {
        let table = RequestTable::default();
        (1..=5).for_each(|sequence| apply(&table, sequence, 0));
        apply(&table, 6, 5);
        assert_eq!(table.len(), 1);
        assert!(table.is_completed(id(5)) && !table.is_completed(id(6)));
        assert!((1..=5).all(|sequence| matches!(table.claim(id(sequence), 0), Claim::Forgotten)));
    }

    #[test]
    fn a_request_completed_by_its_own_word_is_applied() {
        let table = RequestTable::default();
        assert!(matches!(table.claim(id(4), u64::MAX), Claim::New(_)));
    }

    #[test]
    fn a_client_leaves_the_table_with_its_last_entry_of_the_log() {
        let table = RequestTable::default();
        (1..=3).for_each(|sequence| apply(&table, sequence, sequence - 1));
        (1..=3).for_each(|sequence| table.trimmed(id(sequence)));
        assert_eq!(table.len(), 0);
        assert!(table.clients.borrow().is_empty());
    }

    #[test]
    fn what_the_log_says_at_a_start_is_not_applied_again() {
        let table = RequestTable::default();
        table.recover(id(3), applied(30));
        assert!(matches!(table.claim(id(3), 0), Claim::Applied(found) if found.version == 30));
    }
}
