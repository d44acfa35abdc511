//! `osd tier add|add-cache|rm|cache-mode|set-overlay|rm-overlay`, in Ceph's words, so that a script that sets up a cache tier there works here.
//!
//! What differs is said in the answers: the hot slices of a base pool's own OSDs are its cache, and the cache pool is the name under which
//! their settings are kept.

use super::{Answer, Outcome, View};
use crate::crush::CrushMap;
use crate::map::{CacheMode, Map, Pool, Tiering};
use crate::pool_settings::{self, Refusal, names};
use crate::quantity::{format_bytes, parse_bytes};
use basalt_net::message::monitor::TierCommand;
use std::collections::BTreeSet;

/// Of OSDs, no more are named than these.
const NAMED_MAX: usize = 8;

fn named(osds: &BTreeSet<u32>) -> String {
    let mut names: Vec<String> = osds.iter().take(NAMED_MAX).map(|osd| format!("osd.{osd}")).collect();
    if osds.len() > NAMED_MAX {
        names.push(format!("{} more", osds.len() - NAMED_MAX));
    }
    names.join(", ")
}

impl View<'_> {
    pub(super) fn tier_change(&self, command: TierCommand) -> Outcome {
        match command {
            TierCommand::Add { base, cache, even_if_it_holds_objects } => {
                self.tier_add(&base, &cache, even_if_it_holds_objects)
            }
            TierCommand::AddCache { base, cache, size } => self.tier_add_cache(&base, &cache, &size),
            TierCommand::Rm { base, cache } => self.tier_rm(&base, &cache),
            TierCommand::CacheMode { cache, mode } => self.tier_cache_mode(&cache, &mode),
            TierCommand::SetOverlay { base, cache } => self.tier_set_overlay(&base, &cache),
            TierCommand::RmOverlay { base } => self.tier_rm_overlay(&base),
        }
    }

    fn tier_add(&self, base: &str, cache: &str, even_if_it_holds_objects: bool) -> Outcome {
        let (base, cache) = (self.pool(base)?, self.pool(cache)?);
        let done = format!("pool '{}' is now (or already was) a tier of '{}'", cache.name, base.name);
        if cache.tiering.tier_of == Some(base.id) {
            return Answer::said(done);
        }
        let notes = self.may_be_tier(base, cache, even_if_it_holds_objects)?;
        let mut map = self.map.clone();
        relate(&mut map, base.id, cache.id);
        Answer::decided(format!("{done}{notes}"), map)
    }

    fn tier_add_cache(&self, base: &str, cache: &str, size: &str) -> Outcome {
        let (base, cache) = (self.pool(base)?, self.pool(cache)?);
        let target = parse_bytes(size)
            .map_err(|_| Refusal::invalid(format!("'{}' is no size; one looks like 100G", size.escape_debug())))?;
        if cache.tiering.tier_of == Some(base.id) {
            let message = format!("pool '{}' is now (or already was) a cache tier of '{}'", cache.name, base.name);
            return Answer::said(message);
        }
        let notes = self.may_be_tier(base, cache, false)?;
        let mut map = self.map.clone();
        relate(&mut map, base.id, cache.id);
        cover(&mut map, base.id, Some(cache.id));
        if let Some(pool) = map.pool_mut(cache.id) {
            pool.tier.cache_mode = CacheMode::Writeback;
            pool.tier.target_max_bytes = target;
        }
        let message = format!("pool '{}' is now (or already was) a cache tier of '{}'", cache.name, base.name);
        Answer::decided(format!("{message}{notes}"), map)
    }

    /// What is to be said of the new tier, or why there can be none.
    fn may_be_tier(&self, base: &Pool, cache: &Pool, even_if_it_holds_objects: bool) -> Result<String, Refusal> {
        let (low, high) = (&base.name, &cache.name);
        if base.id == cache.id {
            return Err(Refusal::invalid(format!("pool '{low}' can't be a tier of itself")));
        }
        if let Some(other) = cache.tiering.tier_of {
            let other = self.map.pool(other).map_or_else(String::new, |pool| pool.name.clone());
            return Err(Refusal::invalid(format!("tier pool '{high}' is already a tier of '{other}'")));
        }
        if let Some(other) = base.tiering.tier_of {
            let other = self.map.pool(other).map_or_else(String::new, |pool| pool.name.clone());
            let message = format!("pool '{low}' is a tier of '{other}' itself, and tiers have no tiers");
            return Err(Refusal::invalid(message));
        }
        if !cache.tiering.tiers.is_empty() {
            return Err(Refusal::invalid(format!("tier pool '{high}' has tiers itself, and tiers have no tiers")));
        }
        if self.stored(cache).objects > 0 && !even_if_it_holds_objects {
            return Err(Refusal::new(
                libc::ENOTEMPTY,
                format!("tier pool '{high}' is not empty; --force-nonempty to force"),
            ));
        }
        let crush = self.map.crush_map();
        let (of_base, of_cache) = (crush.devices_taken(base.crush_rule), crush.devices_taken(cache.crush_rule));
        let cached: BTreeSet<u32> = of_base.intersection(&of_cache).copied().filter(|osd| self.has_hot(*osd)).collect();
        if cached.is_empty() {
            return Err(self.no_common_slices(base, cache, &of_base, &of_cache));
        }
        let mut notes = format!(
            "\nnote: the hot slices of the OSDs that hold '{low}' are the cache; '{high}' keeps their settings and stores nothing of '{low}'"
        );
        let bare = self.bare(&crush, base, cache);
        if !bare.is_empty() {
            notes.push_str(&format!(
                "\nwarning: '{low}' is also on {}, whose hot slices '{high}' does not reach or which have none: writes wait for their hard disks",
                named(&bare)
            ));
        }
        Ok(notes)
    }

    fn has_hot(&self, osd: u32) -> bool {
        self.map.osd(osd).is_some_and(|osd| osd.exists && osd.hot_bytes > 0)
    }

    /// OSDs of a base pool on hard disks that its cache pool has no hot slice of.
    pub(in crate::monitor) fn bare(&self, crush: &CrushMap, base: &Pool, cache: &Pool) -> BTreeSet<u32> {
        let of_base = crush.devices_taken(base.crush_rule);
        let of_cache = if base.id == cache.id { of_base.clone() } else { crush.devices_taken(cache.crush_rule) };
        let is_slow = |osd: &u32| self.map.osd(*osd).is_some_and(|osd| osd.exists && osd.rotational);
        of_base.into_iter().filter(|osd| is_slow(osd) && !(of_cache.contains(osd) && self.has_hot(*osd))).collect()
    }

    fn no_common_slices(
        &self,
        base: &Pool,
        cache: &Pool,
        of_base: &BTreeSet<u32>,
        of_cache: &BTreeSet<u32>,
    ) -> Refusal {
        let (low, high) = (&base.name, &cache.name);
        let where_low = if of_base.is_empty() { "no OSD".into() } else { named(of_base) };
        let where_high = if of_cache.is_empty() { "no OSD".into() } else { named(of_cache) };
        Refusal::invalid(format!(
            "the SSDs of tier pool '{high}' ({where_high}) are in other OSDs than the replicas of '{low}' ({where_low}): data is cached by the OSD that holds it; \
             give the OSDs of '{low}' hot slices (partition the SSDs and name a partition as each OSD's hot device), and '{high}' a rule that takes their class"
        ))
    }

    fn tier_rm(&self, base: &str, cache: &str) -> Outcome {
        let (base, cache) = (self.pool(base)?, self.pool(cache)?);
        let done = format!("pool '{}' is now (or already was) not a tier of '{}'", cache.name, base.name);
        if cache.tiering.tier_of != Some(base.id) {
            return Answer::said(done);
        }
        if base.tiering.overlay == Some(cache.id) {
            return Err(Refusal::new(
                libc::EBUSY,
                format!("tier pool '{}' is the overlay for '{}'; please remove-overlay first", cache.name, base.name),
            ));
        }
        let mut map = self.map.clone();
        if let Some(pool) = map.pool_mut(base.id) {
            pool.tiering.tiers.retain(|id| *id != cache.id);
        }
        if let Some(pool) = map.pool_mut(cache.id) {
            pool.tiering = Tiering::default();
        }
        Answer::decided(done, map)
    }

    fn tier_cache_mode(&self, cache: &str, mode: &str) -> Outcome {
        let pool = self.pool(cache)?;
        if pool.tiering.tier_of.is_none() {
            return Err(Refusal::invalid(format!("pool '{}' is not a tier", pool.name)));
        }
        let around = self.surroundings(Some(pool.id));
        // As there, whether anything is dirty or not: what is written meanwhile would be.
        if pool.tier.cache_mode == CacheMode::Writeback && !matches!(mode, "writeback" | "proxy" | "readproxy") {
            names::cache_mode(mode)?;
            let mut refusal =
                format!("unable to set cache-mode '{mode}' on a 'writeback' pool; only 'proxy','readproxy' allowed.");
            if around.dirty_bytes > 0 {
                let (dirty, name) = (format_bytes(around.dirty_bytes), &pool.name);
                refusal.push_str(&format!(
                    " {dirty} are dirty; the way out: `osd tier cache-mode {name} proxy`, wait until `osd tier status {name}` shows it drained, then '{mode}'"
                ));
            }
            return Err(Refusal::invalid(refusal));
        }
        let mut map = self.map.clone();
        if let Some(pool) = map.pool_mut(pool.id) {
            pool_settings::set(pool, &around, "cache_mode", mode)?;
        }
        let mut message = format!("set cache-mode for pool '{}' to {mode}", pool.name);
        message.push_str(&around.drain_note(pool.tier.cache_mode, mode));
        Answer::decided(message, map)
    }

    fn tier_set_overlay(&self, base: &str, cache: &str) -> Outcome {
        let (base, cache) = (self.pool(base)?, self.pool(cache)?);
        if cache.tiering.tier_of != Some(base.id) {
            let message = format!("tier pool '{}' is not a tier of '{}'", cache.name, base.name);
            return Err(Refusal::invalid(message));
        }
        let done = format!("overlay for '{}' is now (or already was) '{}'", base.name, cache.name);
        match base.tiering.overlay {
            Some(overlay) if overlay == cache.id => return Answer::said(done),
            Some(overlay) => {
                let other = self.map.pool(overlay).map_or_else(String::new, |pool| pool.name.clone());
                let message = format!("pool '{}' has overlay '{other}'; please remove-overlay first", base.name);
                return Err(Refusal::invalid(message));
            }
            None => {}
        }
        let mut map = self.map.clone();
        cover(&mut map, base.id, Some(cache.id));
        Answer::decided(done, map)
    }

    fn tier_rm_overlay(&self, base: &str) -> Outcome {
        let base = self.pool(base)?;
        let done = format!("there is now (or already was) no overlay for '{}'", base.name);
        if base.tiering.overlay.is_none() {
            return Answer::said(done);
        }
        let mut map = self.map.clone();
        cover(&mut map, base.id, None);
        let note = format!(
            "\nnote: '{0}' is not cached any more, and what was dirty is flushed; `osd pool set {0} cache_mode writeback` has it cached by its own settings",
            base.name
        );
        Answer::decided(format!("{done}{note}"), map)
    }

    /// Why a pool can't be removed.
    pub(super) fn check_no_tiers(&self, pool: &Pool) -> Result<(), Refusal> {
        let name_of = |id: u32| self.map.pool(id).map_or_else(String::new, |pool| pool.name.clone());
        if let Some(base) = pool.tiering.tier_of {
            let message = format!("pool '{}' is a tier of '{}'", pool.name, name_of(base));
            return Err(Refusal::new(libc::EBUSY, message));
        }
        if !pool.tiering.tiers.is_empty() {
            let tiers: Vec<String> = pool.tiering.tiers.iter().map(|id| format!("'{}'", name_of(*id))).collect();
            let message = format!("pool '{}' has tiers {}", pool.name, tiers.join(", "));
            return Err(Refusal::new(libc::EBUSY, message));
        }
        Ok(())
    }
}

fn relate(map: &mut Map, base: u32, cache: u32) {
    if let Some(pool) = map.pool_mut(base) {
        pool.tiering.tiers.push(cache);
        pool.tiering.tiers.sort_unstable();
    }
    if let Some(pool) = map.pool_mut(cache) {
        pool.tiering.tier_of = Some(base);
    }
}

/// From now on the cache pool's settings count for the base pool; without one it is not cached, as those who take a tier away expect.
fn cover(map: &mut Map, base: u32, cache: Option<u32>) {
    if let Some(pool) = map.pool_mut(base) {
        pool.tiering.overlay = cache;
        pool.tier.cache_mode = CacheMode::None;
    }
}
