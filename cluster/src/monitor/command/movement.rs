//! What a change of the map would move: computed by placing every group by the map that is proposed, or a sample of very many.

use super::View;
use crate::limits;
use crate::map::{Map, PgId, Pool};
use crate::placement::Placer;
use crate::quantity::format_bytes;
use serde_json::{Value, json};

/// By pool; pools whose groups stay where they are left out.
#[derive(Default)]
pub(super) struct Movement {
    groups_total: u64,
    pub pools: Vec<PoolMovement>,
}

pub(super) struct PoolMovement {
    name: String,
    /// What the proposed map asks for.
    size: u32,
    groups: u64,
    /// Copies of groups that are to be made on OSDs that have none and were not to have one anyhow.
    copies: u64,
    objects: u64,
    bytes: u64,
    /// Groups for which fewer OSDs are found than the pool asks for, and were not before; and the fewest that are found.
    pub short: u64,
    fewest: usize,
    /// Groups for which none is found.
    pub homeless: u64,
}

impl Movement {
    pub fn between(view: &View<'_>, new: &Map) -> Movement {
        let mut movement = Movement::default();
        let placed_alike = Placer::is_same_for(view.map, new);
        let placer = Placer::new(new);
        let groups: usize = new.pools.iter().map(|pool| pool.pg_num as usize).sum();
        let stride = groups.div_ceil(limits::MOVEMENT_GROUPS_MAX).max(1);
        for pool in &new.pools {
            movement.groups_total += u64::from(pool.pg_num);
            let Some(old) = view.map.pool(pool.id) else { continue };
            let is_alike = (old.size, old.pgp_num, old.crush_rule) == (pool.size, pool.pgp_num, pool.crush_rule);
            if placed_alike && is_alike {
                continue;
            }
            let moved = PoolMovement::of(view, &placer, old, pool, stride);
            if moved.groups > 0 || moved.short > 0 || moved.homeless > 0 {
                movement.pools.push(moved);
            }
        }
        movement
    }

    pub fn document(&self) -> Value {
        let sum = |of: fn(&PoolMovement) -> u64| self.pools.iter().map(of).fold(0u64, u64::saturating_add);
        let pools: Vec<Value> = self
            .pools
            .iter()
            .map(|pool| {
                json!({
                    "pool_name": pool.name,
                    "pgs_moved": pool.groups,
                    "copies_moved": pool.copies,
                    "objects_moved": pool.objects,
                    "bytes_moved": pool.bytes,
                    "pgs_short": pool.short,
                })
            })
            .collect();
        json!({
            "num_pgs": self.groups_total,
            "pgs_moved": sum(|pool| pool.groups),
            "copies_moved": sum(|pool| pool.copies),
            "objects_moved": sum(|pool| pool.objects),
            "bytes_moved": sum(|pool| pool.bytes),
            "pools": pools,
        })
    }

    pub fn line(&self) -> String {
        let sum = |of: fn(&PoolMovement) -> u64| self.pools.iter().map(of).fold(0u64, u64::saturating_add);
        format!(
            "{} of {} pgs would move: {} copies of pgs, about {} and {} objects",
            sum(|pool| pool.groups),
            self.groups_total,
            sum(|pool| pool.copies),
            format_bytes(sum(|pool| pool.bytes)),
            sum(|pool| pool.objects)
        )
    }
}

impl PoolMovement {
    /// From every so manieth group only, if they are many.
    fn of(view: &View<'_>, placer: &Placer, old: &Pool, new: &Pool, stride: usize) -> PoolMovement {
        let mut moved = PoolMovement {
            name: new.name.clone(),
            size: new.size,
            groups: 0,
            copies: 0,
            objects: 0,
            bytes: 0,
            short: 0,
            fewest: new.size as usize,
            homeless: 0,
        };
        for (seed, group) in (0u32..).zip(&old.pgs).step_by(stride) {
            let before = view.core.belonging.of_group(PgId { pool: old.id, seed });
            let after = placer.choose(new, seed);
            let made = after.iter().filter(|id| !before.contains(id) && !group.in_sync.contains(id)).count() as u64;
            moved.copies += made;
            moved.groups += u64::from(made > 0);
            let was_found = before.len() >= old.size as usize;
            if after.len() < new.size as usize && was_found {
                moved.short += 1;
                moved.fewest = moved.fewest.min(after.len());
            }
            moved.homeless += u64::from(after.is_empty() && !before.is_empty());
        }
        for count in [&mut moved.groups, &mut moved.copies, &mut moved.short, &mut moved.homeless] {
            *count *= stride as u64;
        }
        let stored = view.stored(old);
        let of_copies =
            |amount: u64| (amount as f64 / f64::from(old.pg_num.max(1)) * moved.copies as f64).ceil() as u64;
        let (objects, bytes) =
            (of_copies(stored.objects), of_copies(stored.data_bytes.saturating_add(stored.omap_bytes)));
        (moved.objects, moved.bytes) = (objects, bytes);
        moved
    }

    pub fn homeless_line(&self) -> String {
        format!(
            "pool '{}' would be left without a place: its rule would find no OSD for {} pgs",
            self.name, self.homeless
        )
    }

    pub fn short_line(&self) -> String {
        format!(
            "the rule of pool '{}' would find only {} OSDs for some of its pgs, and its size is {} ({} pgs)",
            self.name, self.fewest, self.size, self.short
        )
    }
}
