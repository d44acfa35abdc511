//! Pools at home on the slice whose data is on base all the same, since they had another rule or the slice had no room for a copy: it comes home
//! without being asked for.

use super::TierDriver;
use crate::limits;
use basalt_blockstore::{ObjectKey, Result};
use basalt_ring::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

impl TierDriver {
    /// Looks through the objects of each such pool once it is one, and from time to time again.
    pub async fn homecoming_loop(&self, is_stopping: impl Fn() -> bool) {
        let Some(tier) = &self.tier else { return };
        let mut looked: BTreeMap<u32, Instant> = BTreeMap::new();
        while !is_stopping() {
            let pinned: Vec<u32> = {
                let tier = tier.borrow();
                tier.pools().filter(|pool| tier.is_pinned(*pool)).collect()
            };
            looked.retain(|pool, _| pinned.contains(pool));
            let now = self.ring.now();
            let is_due = |pool: &&u32| looked.get(pool).is_none_or(|at| now.since(*at) >= limits::HOMECOMING_INTERVAL);
            let due = pinned.iter().find(is_due).copied().filter(|_| self.may_move());
            let Some(pool) = due else {
                self.idle().await;
                continue;
            };
            looked.insert(pool, now);
            match self.bring_home(pool, &is_stopping).await {
                Ok(0) => {}
                Ok(bytes) => {
                    tracing::info!(osd = self.store.osd(), pool, bytes, "data on base came home to the hot slice");
                }
                Err(error) => tracing::warn!(osd = self.store.osd(), pool, %error, "data on base did not come home"),
            }
        }
    }

    /// Returns the bytes that came. Ends early when the slice has no room, or the pool is at home elsewhere.
    async fn bring_home(&self, pool: u32, is_stopping: impl Fn() -> bool) -> Result<u64> {
        let mut came = 0;
        for (_, pg) in self.store.list_pgs().await?.into_iter().filter(|(of, _)| *of == pool) {
            let mut after = Vec::new();
            loop {
                let (names, more) = self.store.list(pool, pg, &after, &[], limits::HOT_LIST_STEP).await?;
                for name in names {
                    let key = ObjectKey { pool, pg, name: name.into() };
                    let size = self.store.stat(&key).await?.map_or(0, |info| info.size);
                    for offset in (0..size).step_by(limits::HOMECOMING_PIECE_BYTES as usize) {
                        let has_room = |tier: &mut basalt_tier::Tier| !tier.is_full_for(limits::HOMECOMING_PIECE_BYTES);
                        let goes_on = self.is_pinned(pool) && self.may_move() && !is_stopping();
                        if !goes_on || !self.look(|tier, _| has_room(tier)).unwrap_or(false) {
                            return Ok(came);
                        }
                        came += self.bring_piece(&key, offset).await?;
                    }
                    after = key.name.into_vec();
                }
                if !more {
                    break;
                }
            }
        }
        Ok(came)
    }

    /// At the rate of promotions, of which these are some.
    async fn bring_piece(&self, key: &ObjectKey, offset: u64) -> Result<u64> {
        let promoted = match self.store.promote(key, offset, limits::HOMECOMING_PIECE_BYTES).await {
            Ok((bytes, change)) => {
                self.changed(std::slice::from_ref(&change));
                bytes
            }
            // It was removed a moment ago.
            Err(basalt_blockstore::Error::NotFound) => 0,
            Err(error) => return Err(error),
        };
        let usage = self.store.usage();
        self.look(|tier, _| self.note_space(tier, &usage));
        if promoted > 0 {
            self.counters.promoted(key.pool, promoted);
            let rate = basalt_tier::limits::PROMOTE_BYTES_PER_SECOND as f64;
            self.ring.sleep(Duration::from_secs_f64(promoted as f64 / rate)).await;
        } else {
            self.ring.yield_now().await;
        }
        Ok(promoted)
    }
}
