//! What a subscriber makes of the maps that a monitor sends: whole, in parts where one message can't hold them, or as increments.
//!
//! Pure, and the same for clients and hosts. Whatever does not lead on from the map at hand is answered with the wish for the whole map.

use super::{Incremental, IncrementalError, Map, MapError};
use crate::limits;
use basalt_net::message::monitor::MapNews;

/// A map that comes in parts, as far as it has come.
#[derive(Default)]
pub struct MapFollower {
    parts: Option<Parts>,
}

struct Parts {
    epoch: u32,
    total: u64,
    bytes: Vec<u8>,
}

/// What follows.
#[derive(Debug, PartialEq)]
pub enum Followed {
    /// A whole map came: newer, or not.
    Whole(Map),
    /// The map at hand was led on from.
    Newer(Map),
    /// Nothing yet, or nothing new.
    Nothing,
    /// Subscribe anew, as one who has no map.
    AskForWhole,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FollowError {
    #[error(transparent)]
    Map(#[from] MapError),
    #[error(transparent)]
    Increment(IncrementalError),
    #[error("a part of map {epoch} begins at {offset} of {total} bytes, which is not where the one before ended")]
    Part { epoch: u32, offset: u64, total: u64 },
}

impl MapFollower {
    /// `known` is the map at hand. After an error the monitor can't be trusted to send maps at all.
    pub fn receive(&mut self, known: Option<&Map>, news: MapNews) -> Result<Followed, FollowError> {
        match news {
            MapNews::Whole { map, .. } => {
                self.parts = None;
                Ok(Followed::Whole(Map::decode(&map)?))
            }
            MapNews::Part { epoch, offset, total, bytes } => self.part(epoch, offset, total, &bytes),
            MapNews::Increment { increment, .. } => {
                let increment = Incremental::decode(&increment).map_err(FollowError::Increment)?;
                match known {
                    Some(known) if increment.epoch() <= known.epoch() => Ok(Followed::Nothing),
                    Some(known) => Ok(match increment.apply(known) {
                        Ok(map) => Followed::Newer(map),
                        Err(error) => {
                            tracing::info!(%error, "the whole map is asked for");
                            Followed::AskForWhole
                        }
                    }),
                    None => Ok(Followed::AskForWhole),
                }
            }
        }
    }

    fn part(&mut self, epoch: u32, offset: u64, total: u64, bytes: &[u8]) -> Result<Followed, FollowError> {
        let out_of_place = FollowError::Part { epoch, offset, total };
        if total > limits::MAP_BYTES_MAX as u64 || bytes.is_empty() {
            return Err(out_of_place);
        }
        // A newer map may begin before this one has come to its end.
        let parts = match &mut self.parts {
            parts if offset == 0 => parts.insert(Parts { epoch, total, bytes: Vec::new() }),
            Some(parts) => parts,
            None => return Err(out_of_place),
        };
        let end = offset.saturating_add(bytes.len() as u64);
        if (parts.epoch, parts.total, parts.bytes.len() as u64) != (epoch, total, offset) || end > total {
            return Err(out_of_place);
        }
        parts.bytes.extend_from_slice(bytes);
        if end < total {
            return Ok(Followed::Nothing);
        }
        let whole = Map::decode(&parts.bytes)?;
        self.parts = None;
        Ok(Followed::Whole(whole))
    }
}

/// A whole map in as many messages as it takes.
pub fn whole_map(epoch: u32, map: &[u8]) -> Vec<MapNews> {
    if map.len() <= limits::MAP_PART_BYTES {
        return vec![MapNews::Whole { epoch, map: map.to_vec() }];
    }
    let parts = (0u64..).zip(map.chunks(limits::MAP_PART_BYTES)).map(|(index, part)| MapNews::Part {
        epoch,
        offset: index * limits::MAP_PART_BYTES as u64,
        total: map.len() as u64,
        bytes: part.to_vec(),
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map of some megabytes, and the one after it.
    fn two() -> (Map, Map) {
        let mut old = Map::new([7; 16], 1);
        // The longest that it may be: with the rest more than two parts.
        old.crush = (0..limits::CRUSH_BYTES_MAX as u32).map(|i| (i.wrapping_mul(7) >> 3) as u8).collect();
        let mut new = old.clone();
        new.epoch += 1;
        new.modified_unix_s += 1;
        (old, new)
    }

    fn increment(old: &Map, new: &Map) -> MapNews {
        let increment = Incremental::between(old, new, &new.encode()).encode();
        MapNews::Increment { epoch: new.epoch, increment }
    }

    #[test]
    fn a_large_map_is_put_together_and_led_on_from() {
        let (old, new) = two();
        let news = whole_map(1, &old.encode());
        assert!(news.len() > 2);
        let mut follower = MapFollower::default();
        let mut followed = Followed::Nothing;
        for part in news {
            assert_eq!(followed, Followed::Nothing);
            followed = follower.receive(None, part).unwrap();
        }
        assert!(followed == Followed::Whole(old.clone()));
        assert!(follower.receive(Some(&old), increment(&old, &new)) == Ok(Followed::Newer(new.clone())));
        assert_eq!(follower.receive(Some(&new), increment(&old, &new)), Ok(Followed::Nothing));
        assert_eq!(follower.receive(None, increment(&old, &new)), Ok(Followed::AskForWhole));
    }

    #[test]
    fn parts_that_do_not_follow_each_other_are_refused() {
        let (old, new) = two();
        let parts = whole_map(1, &old.encode());
        let mut follower = MapFollower::default();
        assert!(follower.receive(None, parts[1].clone()).is_err());
        let mut follower = MapFollower::default();
        follower.receive(None, parts[0].clone()).unwrap();
        assert!(follower.receive(None, parts[2].clone()).is_err());
        // A newer map that begins in between is taken in its stead.
        let mut follower = MapFollower::default();
        follower.receive(None, parts[0].clone()).unwrap();
        let followed: Vec<_> =
            whole_map(2, &new.encode()).into_iter().map(|part| follower.receive(None, part).unwrap()).collect();
        assert!(followed.last() == Some(&Followed::Whole(new)));
        let huge = MapNews::Part { epoch: 1, offset: 0, total: u64::MAX, bytes: vec![1] };
        assert!(follower.receive(None, huge).is_err());
    }
}
