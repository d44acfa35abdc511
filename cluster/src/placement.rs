//! Placement group → OSDs, for a group that is made now: highest random weight over the OSDs that are in.
//!
//! Each OSD draws a number from the group's id and its own; the draws, stretched by the OSDs' weights, are ordered, and the highest win.
//! It needs no table, and an OSD that comes or goes moves only its own share. The monitor computes it and the map records it.

use crate::map::{Map, Osd, PgId, Pool};

/// Computes where groups belong, by one map.
pub struct Placer {
    osds: Vec<Osd>,
}

impl Placer {
    pub fn new(map: &Map) -> Placer {
        Placer { osds: map.osds.clone() }
    }

    /// Whether a placer of the one map computes what one of the other does.
    pub fn is_same_for(one: &Map, other: &Map) -> bool {
        let inputs = |map: &Map| -> Vec<(u32, bool, f64)> {
            map.osds.iter().map(|osd| (osd.id, osd.exists && osd.is_in, osd.weight * osd.reweight)).collect()
        };
        one.crush == other.crush && inputs(one) == inputs(other)
    }

    /// The OSDs that a group belongs on, the first to lead it, whether they are up or not.
    pub fn choose(&self, pool: &Pool, seed: u32) -> Vec<u32> {
        choose(PgId { pool: pool.id, seed }, &self.osds, pool.size)
    }
}

/// Up to `size` distinct OSDs of those that exist and are in with a weight, the primary first.
pub fn choose(pg: PgId, osds: &[Osd], size: u32) -> Vec<u32> {
    let mut drawn: Vec<(f64, u32)> = osds
        .iter()
        .filter(|osd| osd.exists && osd.is_in && osd.weight * osd.reweight > 0.0)
        .map(|osd| (draw(pg, osd), osd.id))
        .collect();
    let higher_first =
        |(draw_a, id_a): &(f64, u32), (draw_b, id_b): &(f64, u32)| draw_b.total_cmp(draw_a).then(id_a.cmp(id_b));
    let size = size as usize;
    if size < drawn.len() {
        drawn.select_nth_unstable_by(size, higher_first);
        drawn.truncate(size);
    }
    drawn.sort_unstable_by(higher_first);
    drawn.into_iter().map(|(_, id)| id).collect()
}

/// `ln(u) / weight` for a uniform `u` in (0, 1]: the OSD's chance of the highest draw is then proportional to its weight.
fn draw(pg: PgId, osd: &Osd) -> f64 {
    let group = u64::from(pg.pool) << 32 | u64::from(pg.seed);
    let random = splitmix(splitmix(group).wrapping_add(u64::from(osd.id)));
    let uniform = ((random >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
    uniform.ln() / (osd.weight * osd.reweight)
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection that scatters neighbouring inputs.
fn splitmix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
