//! Whether a request belongs here, judged by this OSD's map alone.

use crate::limits;
use crate::osd::Osd;
use crate::refusal::Refusal;
use crate::sabotage::{Sabotage, sabotaged};
use basalt_cluster::{Map, MapFlags, PgId};
use basalt_net::message::peer::Reign;

/// The reign that this OSD's map has, if it is the one that `peer` claims to be the primary of. Waits for a map that knows of it.
pub async fn reign_of(osd: &Osd, peer: u32, claimed: Reign) -> Result<u32, Refusal> {
    reign_by(osd, claimed, |primary, _| primary == Some(peer)).await
}

/// As [`reign_of`], of a peer that is in the in-sync set.
pub async fn reign_shared_with(osd: &Osd, peer: u32, claimed: Reign) -> Result<u32, Refusal> {
    reign_by(osd, claimed, |_, in_sync| in_sync.contains(&peer)).await
}

async fn reign_by(osd: &Osd, claimed: Reign, is_right: impl Fn(Option<u32>, &[u32]) -> bool) -> Result<u32, Refusal> {
    let id = PgId { pool: claimed.pool, seed: claimed.pg };
    let began = osd.ring().now();
    loop {
        let changed = osd.map_change();
        let known =
            osd.map().and_then(|map| map.pg(id).map(|group| (group.reign, is_right(group.primary, &group.in_sync))));
        let (reign, is_right) = known.unwrap_or((0, false));
        if reign == claimed.reign && is_right || sabotaged(Sabotage::IgnoreReign) {
            return Ok(reign);
        }
        let waited = osd.ring().now().since(began);
        let rest = limits::MAP_WAIT_MAX.checked_sub(waited).filter(|rest| !rest.is_zero());
        let Some(rest) = rest.filter(|_| reign < claimed.reign) else {
            let message = format!("{id} is in reign {reign} by epoch {}, not in reign {}", osd.epoch(), claimed.reign);
            return Err(Refusal::new(libc::ESTALE, message));
        };
        let _ = osd.ring().timeout(rest, changed).await;
    }
}

/// What a request says of where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The map its client placed it by.
    pub epoch: u32,
    pub pg: PgId,
    /// `None` for requests about the whole group.
    pub name: Option<&'a [u8]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This OSD is to do it.
    Here,
    /// Its client knows a newer map than this OSD: wait for it.
    MapTooOld,
    /// The cluster is paused: wait for a map that says otherwise.
    Paused,
    Refused(Refusal),
}

pub fn judge(map: &Map, osd: u32, claim: &Claim<'_>) -> Verdict {
    let refuse = |errno, message: String| Verdict::Refused(Refusal::new(errno, message));
    if claim.epoch > map.epoch() {
        return Verdict::MapTooOld;
    }
    if let Some(name) = claim.name {
        if name.is_empty() {
            return refuse(libc::EINVAL, "an object's name must not be empty".into());
        }
        if name.len() > limits::OBJECT_NAME_BYTES_MAX {
            return refuse(
                libc::ENAMETOOLONG,
                format!(
                    "an object's name has at most {} bytes, and this one has {}",
                    limits::OBJECT_NAME_BYTES_MAX,
                    name.len()
                ),
            );
        }
    }
    let Some(pool) = map.pool(claim.pg.pool) else {
        return refuse(libc::ENOENT, format!("there is no pool {} in epoch {}", claim.pg.pool, map.epoch()));
    };
    let stale = |message: String| {
        refuse(libc::ESTALE, format!("{message}; place the request by epoch {} or newer", map.epoch()))
    };
    let Some(group) = map.pg(claim.pg) else {
        return stale(format!("pool '{}' has {} placement groups, and none is {}", pool.name, pool.pg_num, claim.pg));
    };
    if let Some(name) = claim.name
        && map.pg_of(claim.pg.pool, name) != Some(claim.pg)
    {
        return stale(format!("object '{}' does not belong to placement group {}", name.escape_ascii(), claim.pg));
    }
    if group.primary != Some(osd) {
        return stale(format!("osd.{osd} is not the primary of placement group {}", claim.pg));
    }
    if group.changed_epoch > claim.epoch {
        return stale(format!(
            "placement group {} changed in epoch {}, after {}",
            claim.pg, group.changed_epoch, claim.epoch
        ));
    }
    if map.flags.contains(MapFlags::PAUSE) {
        return Verdict::Paused;
    }
    Verdict::Here
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_cluster::{PlacementGroup, Pool};

    /// One pool of four groups, all of osd.3.
    fn map() -> Map {
        let mut map = Map::new([0; 16], 0);
        let group = PlacementGroup { in_sync: vec![3], primary: Some(3), reign: 1, changed_epoch: 1 };
        map.pools.push(Pool { pgs: vec![group; 4], ..Pool::new(1, "data", 1, 4, 1) });
        map
    }

    fn errno(map: &Map, osd: u32, claim: &Claim<'_>) -> i32 {
        match judge(map, osd, claim) {
            Verdict::Refused(refusal) => refusal.errno,
            other => panic!("{other:?} where a refusal is due"),
        }
    }

    #[test]
    fn a_request_is_done_where_its_object_belongs_and_nowhere_else() {
        let map = map();
        let name = b"object".as_slice();
        let right = map.pg_of(1, name).unwrap();
        let claim = Claim { epoch: 1, pg: right, name: Some(name) };
        assert_eq!(judge(&map, 3, &claim), Verdict::Here);
        assert_eq!(errno(&map, 2, &claim), libc::ESTALE);
        for seed in (0..6).filter(|seed| *seed != right.seed) {
            assert_eq!(errno(&map, 3, &Claim { pg: PgId { pool: 1, seed }, ..claim }), libc::ESTALE);
        }
        assert_eq!(errno(&map, 3, &Claim { pg: PgId { pool: 2, seed: 0 }, ..claim }), libc::ENOENT);
        assert_eq!(judge(&map, 3, &Claim { epoch: 2, ..claim }), Verdict::MapTooOld);
    }

    #[test]
    fn a_request_older_than_its_group_is_placed_anew() {
        let mut map = map();
        let name = b"object".as_slice();
        let right = map.pg_of(1, name).unwrap();
        map.pools[0].pgs[right.seed as usize].changed_epoch = 1;
        let claim = Claim { epoch: 0, pg: right, name: Some(name) };
        assert_eq!(errno(&map, 3, &claim), libc::ESTALE);
    }

    #[test]
    fn names_outside_the_limits_are_refused_with_the_limit() {
        let map = map();
        let long = vec![b'x'; limits::OBJECT_NAME_BYTES_MAX + 1];
        for (name, expected) in [(b"".as_slice(), libc::EINVAL), (&long, libc::ENAMETOOLONG)] {
            let pg = map.pg_of(1, name).unwrap();
            assert_eq!(errno(&map, 3, &Claim { epoch: 1, pg, name: Some(name) }), expected);
        }
        let longest = &long[1..];
        let pg = map.pg_of(1, longest).unwrap();
        assert_eq!(judge(&map, 3, &Claim { epoch: 1, pg, name: Some(longest) }), Verdict::Here);
    }

    #[test]
    fn a_paused_cluster_makes_requests_wait() {
        let mut map = map();
        map.flags = MapFlags::PAUSE;
        let pg = map.pg_of(1, b"object").unwrap();
        assert_eq!(judge(&map, 3, &Claim { epoch: 1, pg, name: Some(b"object") }), Verdict::Paused);
    }
}
