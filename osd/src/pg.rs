//! A placement group on this OSD: led by it, or by another OSD for which it keeps a copy.

mod changes;
mod copies;
pub mod follower;
pub mod guard;
pub mod leadership;
pub mod log;
pub mod log_entry;
pub mod member;
pub mod object_state;
pub mod peering;
pub mod placement;
pub mod read;
pub mod recovery;
pub mod repair;
pub mod request_id;
pub mod scrub;
pub mod summary;
pub mod version;
pub mod write;

use basalt_cluster::PgId;
use follower::Follower;
use leadership::{Leadership, Phase};
use std::cell::RefCell;
use std::rc::Rc;

pub struct Pg {
    id: PgId,
    follower: Follower,
    leadership: RefCell<Option<Rc<Leadership>>>,
}

impl Pg {
    pub fn new(id: PgId) -> Pg {
        Pg { id, follower: Follower::default(), leadership: RefCell::default() }
    }

    pub fn id(&self) -> PgId {
        self.id
    }

    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// `None`: another OSD is the group's primary.
    pub fn leadership(&self) -> Option<Rc<Leadership>> {
        self.leadership.borrow().clone()
    }

    pub fn lead(&self, leadership: Rc<Leadership>) {
        self.resign();
        *self.leadership.borrow_mut() = Some(leadership);
    }

    pub fn resign(&self) {
        if let Some(leadership) = self.leadership.borrow_mut().take() {
            leadership.set_phase(Phase::Ended);
        }
    }
}
