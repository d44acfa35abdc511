//! The names of requests: a client's random id and a sequence, and which of them are done with.

use basalt_net::message::object::RequestId;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

#[derive(Clone)]
pub(crate) struct RequestIds {
    client: u64,
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    last: u64,
    outstanding: BTreeSet<u64>,
}

/// A request's id, outstanding until this is dropped.
pub(crate) struct Issued {
    id: RequestId,
    state: Rc<RefCell<State>>,
}

impl RequestIds {
    /// `client` must be random: two clients with the same one would be taken for each other.
    pub fn new(client: u64) -> RequestIds {
        RequestIds { client, state: Rc::default() }
    }

    pub fn client(&self) -> u64 {
        self.client
    }

    pub fn issue(&self) -> Issued {
        let mut state = self.state.borrow_mut();
        state.last += 1;
        let sequence = state.last;
        state.outstanding.insert(sequence);
        Issued { id: RequestId { client: self.client, sequence }, state: self.state.clone() }
    }

    /// Every request up to this sequence has ended, and is never sent again.
    pub fn completed_up_to(&self) -> u64 {
        let state = self.state.borrow();
        state.outstanding.first().map_or(state.last, |first| first - 1)
    }
}

impl Issued {
    pub fn id(&self) -> RequestId {
        self.id
    }
}

impl Drop for Issued {
    fn drop(&mut self) {
        self.state.borrow_mut().outstanding.remove(&self.id.sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outstanding_is_never_among_the_completed() {
        let ids = RequestIds::new(7);
        assert_eq!(ids.completed_up_to(), 0);
        let (first, second, third) = (ids.issue(), ids.issue(), ids.issue());
        assert_eq!((first.id().sequence, third.id().sequence), (1, 3));
        drop(second);
        assert_eq!(ids.completed_up_to(), 0);
        drop(first);
        assert_eq!(ids.completed_up_to(), 2);
        drop(third);
        assert_eq!(ids.completed_up_to(), 3);
        assert_eq!(ids.issue().id().sequence, 4);
    }
}
