//! What a bucket holds, kept beside what it is a count of: each change of a shard that makes entries appear or go changes a count in the
//! same step, so that the two never differ.
//!
//! A shard has many counts, and each change takes one of them, so that changes of different keys seldom stand in each other's way. Their
//! sum is the shard's; one alone may be negative.

use super::bucket::Bucket;
use super::index::Change;
use super::listing::Merger;
use super::shard::Shard;
use super::{Store, decode, encode};
use crate::s3::fault::Result;
use crate::s3::limits;
use basalt_ring::local::join_all;
use serde::{Deserialize, Serialize};

pub const PREFIX: u8 = b'#';

/// Versions of objects, delete markers too, and their bytes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Count {
    #[serde(rename = "n")]
    pub objects: i64,
    #[serde(rename = "b")]
    pub bytes: i64,
}

/// One of a shard's counts, as it was seen.
#[derive(Clone, Debug)]
pub struct Slot {
    pub name: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// All that is asked of an entry here.
#[derive(Deserialize)]
struct Sized {
    #[serde(rename = "s")]
    size: u64,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

impl Count {
    /// Of one entry, as it is stored.
    pub fn of_entry(value: &[u8]) -> Result<Count> {
        let Sized { size } = decode(value, || "an index entry".into())?;
        Ok(Count { objects: 1, bytes: size as i64 })
    }

    pub fn negative(self) -> Count {
        Count { objects: -self.objects, bytes: -self.bytes }
    }
}

/// Whether what is under this omap key is an entry, which counts.
pub fn is_counted(omap_key: &[u8]) -> bool {
    matches!(omap_key.first(), Some(b'k' | b'v'))
}

pub fn slot_name(number: u64) -> Vec<u8> {
    format!("{}{:02x}", char::from(PREFIX), number % limits::COUNTS_OF_A_SHARD).into_bytes()
}

impl Change {
    /// Has the shard's count follow from what was expected and set so far.
    pub fn counted(self, slot: Slot) -> Result<Change> {
        let difference = self.difference()?;
        if difference == Count::default() {
            return Ok(self);
        }
        let mut count: Count = match &slot.value {
            Some(value) => decode(value, || "a shard's count".into())?,
            None => Count::default(),
        };
        count += difference;
        Ok(self.expect(slot.name.clone(), slot.value).set(slot.name, encode(&count)))
    }
}

impl Store {
    /// Another one with each call, so that what this gateway does at the same time meets seldom.
    pub fn next_slot(&self) -> Vec<u8> {
        let number = self.slots.get();
        self.slots.set(number.wrapping_add(1));
        slot_name(number)
    }

    pub async fn count_of_shard(&self, shard: &Shard) -> Result<Count> {
        let mut count = Count::default();
        // There are fewer than a page has.
        let (pairs, _) = self.shard_page(shard, b"", &[PREFIX], limits::LIST_PAGE_MAX).await?;
        for (_, value) in pairs {
            count += decode(&value, || "a shard's count".into())?;
        }
        Ok(count)
    }

    /// How many versions of objects a bucket has, and their bytes.
    pub async fn count_objects(&self, bucket: &Bucket) -> Result<(u64, u64)> {
        if !bucket.is_counted {
            return self.look_at_all_objects(bucket).await;
        }
        let mut count = Count::default();
        let shards: Vec<Shard> = bucket.all_shards().collect();
        for some in shards.chunks(limits::SHARDS_COUNTED_AT_ONCE) {
            for of_shard in join_all(some.iter().map(|shard| self.count_of_shard(shard)).collect()).await {
                count += of_shard?;
            }
        }
        Ok((u64::try_from(count.objects).unwrap_or(0), u64::try_from(count.bytes).unwrap_or(0)))
    }

    /// Of a bucket from before there were counts, until its index is cut anew.
    async fn look_at_all_objects(&self, bucket: &Bucket) -> Result<(u64, u64)> {
        let mut count = Count::default();
        for kind in [b"k", b"v"] {
            let mut merger = Merger::new(self, bucket, kind.to_vec(), Vec::new(), u32::MAX / 2);
            while let Some((_, value)) = merger.next().await? {
                count += Count::of_entry(&value)?;
            }
        }
        Ok((u64::try_from(count.objects).unwrap_or(0), u64::try_from(count.bytes).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Entry;
    use super::super::index::{entry_key, version_key};
    use super::*;

    fn entry(size: u64) -> Vec<u8> {
        encode(&Entry { size, ..Entry::default() })
    }

    #[test]
    fn a_count_follows_from_what_a_change_expects_and_sets() {
        let key = entry_key("a");
        let older = version_key("a", &Entry::default());
        let difference = |change: Change| change.difference().unwrap();
        let count = |objects, bytes| Count { objects, bytes };
        let replaced = || Change::new().expect(key.clone(), Some(entry(5))).set(key.clone(), entry(7));
        assert_eq!(difference(Change::new().expect(key.clone(), None).set(key.clone(), entry(7))), count(1, 7));
        assert_eq!(difference(replaced()), count(0, 2));
        assert_eq!(difference(replaced().set(older.clone(), entry(5))), count(1, 7));
        assert_eq!(difference(Change::new().expect(key.clone(), Some(entry(5))).remove(key.clone())), count(-1, -5));
        // The newest goes, and the one behind it comes forward.
        let forward = Change::new()
            .expect(key.clone(), Some(entry(5)))
            .expect(older.clone(), Some(entry(9)))
            .remove(older.clone())
            .set(key.clone(), entry(9));
        assert_eq!(difference(forward), count(-1, -5));
        assert_eq!(difference(Change::new().set(b"g1".to_vec(), b"x".to_vec()).remove(b"i1".to_vec())), count(0, 0));
    }

    #[test]
    fn a_change_that_changes_no_count_takes_none() {
        let slot = || Slot { name: slot_name(3), value: None };
        let key = entry_key("a");
        let none = Change::new().expect(key.clone(), Some(entry(5))).set(key.clone(), entry(5));
        assert!(!none.counted(slot()).unwrap().touches(&slot_name(3)));
        let some = Change::new().expect(key.clone(), Some(entry(5))).set(key, entry(6));
        assert!(some.counted(slot()).unwrap().touches(&slot_name(3)));
    }
}
