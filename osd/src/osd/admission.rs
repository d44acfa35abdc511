//! When a request may be served: not before this OSD is known to be the one, and a read not before what it saw is the truth.

use super::Osd;
use crate::limits;
use crate::pg::leadership::{Leadership, Phase};
use crate::pg::placement::{self, Claim, Verdict};
use crate::refusal::Refusal;
use crate::sabotage::{Sabotage, sabotaged};
use basalt_cluster::PgId;
use basalt_ring::Elapsed;
use basalt_ring::local::select;
use std::pin::pin;
use std::rc::Rc;

impl Osd {
    /// Waits until the request is to be done here, or says why it is not.
    pub(crate) async fn admit(&self, claim: &Claim<'_>) -> Result<(), Refusal> {
        if let Some(reason) = self.store.fenced() {
            return Err(Refusal::new(libc::EIO, format!("osd.{} is out of service: {reason}", self.id)));
        }
        loop {
            if self.is_stopping() {
                return Err(Refusal::new(libc::EAGAIN, format!("osd.{} is being stopped", self.id)));
            }
            let changed = self.map_change();
            let verdict = match self.map.borrow().as_ref() {
                Some(map) => placement::judge(map, self.id, claim),
                None => Verdict::MapTooOld,
            };
            let patience = match verdict {
                Verdict::Here => return Ok(()),
                Verdict::Refused(refusal) => return Err(refusal),
                Verdict::MapTooOld => limits::MAP_WAIT_MAX,
                Verdict::Paused => limits::PAUSE_WAIT_MAX,
            };
            if let Err(Elapsed) = self.ring.timeout(patience, changed).await {
                let message = match verdict {
                    Verdict::Paused => "the cluster is paused; osd unset pause lets it go on".into(),
                    _ => format!("osd.{} has epoch {} and no word of epoch {} yet", self.id, self.epoch(), claim.epoch),
                };
                return Err(Refusal::new(libc::EAGAIN, message));
            }
        }
    }

    /// The group's leadership, once requests may be served. The request was admitted; if the map changed while it waited, it has to be again.
    pub(crate) async fn serving(&self, claim: &Claim<'_>) -> Result<Rc<Leadership>, Refusal> {
        let id = claim.pg;
        let began = self.ring.now();
        let mut admitted_in = self.epoch();
        loop {
            if self.epoch() != admitted_in {
                self.admit(claim).await?;
                admitted_in = self.epoch();
            }
            let map_change = self.map_change();
            let leadership = self.pg(id).leadership();
            let Some(leadership) = leadership else {
                return Err(Refusal::new(libc::ESTALE, format!("osd.{} is not the primary of {id} any more", self.id)));
            };
            let change = leadership.change();
            match leadership.phase() {
                Phase::Active => return Ok(leadership),
                Phase::Ended => {
                    return Err(Refusal::new(libc::ESTALE, format!("{id} has another primary now; ask it")));
                }
                Phase::Peering | Phase::Peered => {}
            }
            let waited = self.ring.now().since(began);
            let Some(rest) = limits::GROUP_WAIT_MAX.checked_sub(waited).filter(|rest| !rest.is_zero()) else {
                let message = format!("{id} waits for {}", leadership.waits_for.borrow());
                return Err(Refusal::new(libc::EAGAIN, message));
            };
            let _ = self.ring.timeout(rest, select(pin!(change), pin!(map_change))).await;
            if self.is_stopping() {
                return Err(Refusal::new(libc::EAGAIN, format!("osd.{} is being stopped", self.id)));
            }
        }
    }

    /// What a reader was shown of a version is committed, and no other primary may have changed it since it was read.
    pub(crate) async fn confirm_read(&self, leadership: &Leadership, version: u64) -> Result<(), Refusal> {
        if !sabotaged(Sabotage::ReadUncommitted) {
            leadership.wait_committed(version).await?;
        }
        let deadline = self.ring.now();
        loop {
            let came = self.lease_event.wait();
            let map_change = self.map_change();
            if leadership.phase() == Phase::Ended {
                return Err(Refusal::new(libc::ESTALE, format!("{} has another primary now; ask it", leadership.pg())));
            }
            if leadership.phase() == Phase::Active
                && self.map.borrow().as_ref().is_some_and(|map| leadership.has_leases(self, map))
            {
                return Ok(());
            }
            let waited = self.ring.now().since(deadline);
            let Some(rest) = limits::GROUP_WAIT_MAX.checked_sub(waited).filter(|rest| !rest.is_zero()) else {
                let message =
                    format!("{}: the other members have not confirmed that this is its primary", leadership.pg());
                return Err(Refusal::new(libc::EAGAIN, message));
            };
            let _ = self.ring.timeout(rest, select(pin!(came), pin!(map_change))).await;
        }
    }

    /// What a client is told. That this OSD's store is out of service concerns nobody while others have the group: one of them takes over.
    pub(crate) fn passed_on(&self, pg: PgId, refusal: Refusal) -> Refusal {
        let is_fenced = refusal.errno == libc::EIO && self.store.fenced().is_some();
        let has_others = || {
            let map = self.map.borrow();
            map.as_ref().and_then(|map| map.pool(pg.pool)).is_some_and(|pool| pool.size > 1)
        };
        if is_fenced && has_others() { Refusal { errno: libc::EAGAIN, ..refusal } } else { refusal }
    }
}
