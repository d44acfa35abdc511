//! What the OSD knows of the groups that it leads: which they are by the map, and what their members say.

use super::Osd;
use crate::pg::leadership::Leadership;
use crate::pg::{Pg, peering};
use crate::refusal::Refusal;
use basalt_cluster::placement::Placer;
use basalt_cluster::{Map, PgId};
use basalt_net::message::peer::Reign;
use std::rc::Rc;

impl Osd {
    /// Begins to lead the groups that the map names this OSD the primary of, and ends it where it does not, or anew.
    pub(super) fn lead_groups(self: &Rc<Self>, map: &Map) {
        let has_others = map.osds.iter().any(|osd| osd.exists && osd.id != self.id);
        let fence = self.leases.fence(map.epoch(), has_others);
        // A map from before it started, or that the monitor made without having heard of it, is about another life of it: perhaps
        // of another store, and surely of writes under way that this one knows nothing of.
        let is_meant = map
            .osd(self.id)
            .is_some_and(|known| (known.life, known.store_id) == (self.options.life, self.store.store_id()));
        let may_lead = self.is_healthy() && is_meant;
        for (id, _, group) in map.pgs() {
            if group.primary != Some(self.id) || !may_lead {
                if let Some(pg) = self.pgs.borrow().get(&id) {
                    pg.resign();
                }
                continue;
            }
            let pg = self.pg(id);
            if pg.leadership().is_some_and(|leadership| leadership.reign().reign == group.reign) {
                continue;
            }
            let leadership = Rc::new(Leadership::new(id, group.reign, fence.clone()));
            pg.lead(leadership.clone());
            self.ring.spawn(peering::lead(self.clone(), pg, leadership));
        }
    }

    /// From the log on, in the same reign: to be done only as long as nothing was ordered in it.
    pub(crate) fn lead_anew(self: &Rc<Self>, leadership: &Leadership) {
        let pg = self.pg(leadership.pg());
        if pg.leadership().is_some_and(|led| std::ptr::eq(&*led, leadership)) {
            let again = Rc::new(Leadership::new(pg.id(), leadership.reign().reign, leadership.fence.clone()));
            pg.lead(again.clone());
            self.ring.spawn(peering::lead(self.clone(), pg, again));
        }
    }

    /// Where groups belong by this map.
    pub(crate) fn placer(&self, map: &Map) -> Rc<Placer> {
        let mut known = self.placer.borrow_mut();
        if let Some((basis, placer)) = known.as_ref()
            && Placer::is_same_for(basis, map)
        {
            return placer.clone();
        }
        let placer = Rc::new(Placer::new(map));
        if let Some(newest) = self.map.borrow().as_ref().filter(|newest| newest.epoch() == map.epoch()) {
            *known = Some((newest.clone(), placer.clone()));
        }
        placer
    }

    /// About how many objects a group has.
    pub(crate) fn objects_of(&self, pg: PgId) -> u64 {
        let Some(map) = self.map() else { return 0 };
        let held = map
            .pool(pg.pool)
            .map_or(0, |pool| pool.pgs.iter().filter(|group| group.in_sync.contains(&self.id)).count() as u64);
        self.store.pool_usage(pg.pool).objects / held.max(1)
    }

    /// A member confirmed a write or a push.
    pub(crate) fn written(&self, peer: u32, reign: Reign, version: u64, number: u64) {
        let Some(leadership) = self.leadership_of(reign) else { return };
        let Some(member) = leadership.member(peer) else { return };
        if number > 0 {
            member.push_ended(number);
        } else {
            member.confirm([version]);
            leadership.advance();
        }
    }

    /// A member can't do what it was told: it is asked anew what it has.
    pub(crate) fn refused(&self, peer: u32, reign: Reign, refusal: &Refusal, damaged: Vec<u8>) {
        let Some(leadership) = self.leadership_of(reign) else { return };
        let Some(member) = leadership.member(peer) else { return };
        tracing::info!(osd = self.id, pg = %leadership.pg(), member = peer, "a member refused: {refusal}");
        if !damaged.is_empty() {
            member.damaged.borrow_mut().insert(damaged);
        }
        member.lose();
    }

    /// Of all groups that this OSD leads.
    pub(crate) fn leaderships(&self) -> impl Iterator<Item = Rc<Leadership>> {
        let led: Vec<Rc<Leadership>> = self.pgs.borrow().values().filter_map(|pg| pg.leadership()).collect();
        led.into_iter()
    }

    fn leadership_of(&self, reign: Reign) -> Option<Rc<Leadership>> {
        let id = PgId { pool: reign.pool, seed: reign.pg };
        let pg = self.pgs.borrow().get(&id).cloned()?;
        pg.leadership().filter(|leadership| leadership.reign() == reign)
    }

    pub(crate) fn pg(&self, id: PgId) -> Rc<Pg> {
        self.pgs.borrow_mut().entry(id).or_insert_with(|| Rc::new(Pg::new(id))).clone()
    }
}
