//! One item of one bucket: the innermost choice, by each algorithm.

use super::bucket::Algorithm;
use super::hash::{BLOCK, filled, hash_3, hash_3_each, hash_4};
use super::logarithm::shortfall;
use super::prepared::{Mapper, PreparedBucket};
use super::workspace::Workspace;

/// A rounded draw is within this share of the exact one, with a good margin: three roundings to 24 bits.
const ROUNDING: f32 = 1.0 / (1 << 19) as f32;

impl Mapper {
    /// The item of a bucket for input `x` and try `r`; `position` picks the weight set. `None` of a bucket without items.
    #[inline]
    pub(super) fn choose_item(
        &self,
        bucket: &PreparedBucket,
        x: u32,
        r: u32,
        position: usize,
        workspace: &mut Workspace,
    ) -> Option<i32> {
        if bucket.size == 0 {
            return None;
        }
        workspace.draws += u64::from(bucket.size);
        let index = match bucket.algorithm {
            Algorithm::Straw2 => self.choose_straw2(bucket, x, r, position),
            Algorithm::Straw => self.choose_straw(bucket, x, r),
            Algorithm::List => self.choose_list(bucket, x, r),
            Algorithm::Tree => self.choose_tree(bucket, x, r),
            Algorithm::Uniform => return self.choose_permuted(bucket, x, r, workspace),
        };
        self.items_of(bucket).get(index).copied()
    }

    #[inline]
    fn items_of(&self, bucket: &PreparedBucket) -> &[i32] {
        let at = bucket.items_at as usize;
        self.items.get(at..at + bucket.size as usize).unwrap_or_default()
    }

    #[inline]
    fn numbers_of(&self, bucket: &PreparedBucket, count: usize) -> &[u32] {
        let at = bucket.numbers_at as usize;
        self.numbers.get(at..at + count).unwrap_or_default()
    }

    /// The least `shortfall / weight`, in whole numbers; the first of those that are alike.
    ///
    /// Draws are first compared rounded, which costs a multiplication where the exact one costs a division. That settles it unless a
    /// second one is so near that the rounding, or the truncation to whole numbers, could make it as good.
    #[inline]
    fn choose_straw2(&self, bucket: &PreparedBucket, x: u32, r: u32, position: usize) -> usize {
        let filled = filled(bucket.size as usize);
        let set = position.min(bucket.positions as usize - 1);
        let hashed_at = bucket.hashed_at as usize;
        let inverses_at = bucket.inverses_at as usize + set * filled;
        let hashed = self.hashed.get(hashed_at..hashed_at + filled).unwrap_or_default();
        let inverses = self.inverses.get(inverses_at..inverses_at + filled).unwrap_or_default();

        // A draw's bits order as the draw does, since none is negative; with the place below them, the first of those alike is least.
        let (mut least, mut second) = (u64::MAX, u64::MAX);
        let mut at = 0;
        let mut hashes = [0; BLOCK];
        for (hashed, inverses) in hashed.chunks(BLOCK).zip(inverses.chunks(BLOCK)) {
            hash_3_each(x, hashed, r, &mut hashes);
            for (hash, inverse) in hashes.iter().zip(inverses) {
                let shortfall = self.shortfalls.get(*hash as usize).copied().unwrap_or(f32::INFINITY);
                let draw = u64::from((shortfall * inverse).to_bits()) << 32 | at;
                second = second.min(least.max(draw));
                least = least.min(draw);
                at += 1;
            }
        }
        let draw = |key: u64| f32::from_bits((key >> 32) as u32);
        if draw(second) <= nearly(draw(least)) {
            self.choose_straw2_exactly(bucket, x, r, set)
        } else {
            least as u32 as usize
        }
    }

    /// As Ceph computes it, item by item.
    #[cold]
    fn choose_straw2_exactly(&self, bucket: &PreparedBucket, x: u32, r: u32, set: usize) -> usize {
        let size = bucket.size as usize;
        let at = bucket.numbers_at as usize + set * size;
        let weights = self.numbers.get(at..at + size).unwrap_or_default();
        let hashed = self.hashed.get(bucket.hashed_at as usize..).unwrap_or_default();
        let draws = weights.iter().zip(hashed).map(|(weight, id)| {
            let draw = shortfall(hash_3(x, *id, r) as u16);
            // Nothing loses to an item without weight.
            draw.checked_div(u64::from(*weight)).unwrap_or(u64::MAX)
        });
        draws.enumerate().min_by_key(|(index, draw)| (*draw, *index)).map_or(0, |(index, _)| index)
    }

    fn choose_straw(&self, bucket: &PreparedBucket, x: u32, r: u32) -> usize {
        let straws = self.numbers_of(bucket, bucket.size as usize);
        let mut longest = (0, 0);
        for (index, (straw, id)) in straws.iter().zip(self.items_of(bucket)).enumerate() {
            let draw = u64::from(hash_3(x, *id as u32, r) & 0xffff) * u64::from(*straw);
            if index == 0 || draw > longest.1 {
                longest = (index, draw);
            }
        }
        longest.0
    }

    fn choose_list(&self, bucket: &PreparedBucket, x: u32, r: u32) -> usize {
        let (sums, _) = self.numbers_of(bucket, 2 * bucket.size as usize).as_chunks::<2>();
        let items = self.items_of(bucket).iter().zip(sums).enumerate().rev();
        for (index, (id, [weight, sum])) in items {
            let draw = u64::from(hash_4(x, *id as u32, r, bucket.id as u32) & 0xffff) * u64::from(*sum);
            if draw >> 16 < u64::from(*weight) {
                return index;
            }
        }
        0
    }

    fn choose_tree(&self, bucket: &PreparedBucket, x: u32, r: u32) -> usize {
        let nodes = self.numbers_of(bucket, 2 * (bucket.size as usize).next_power_of_two());
        let weight = |node: usize| u64::from(nodes.get(node).copied().unwrap_or(0));
        let mut node = nodes.len() / 2;
        while node & 1 == 0 {
            let point = u64::from(hash_4(x, node as u32, r, bucket.id as u32)) * weight(node);
            let half = (1 << node.trailing_zeros()) / 2;
            node = if point >> 32 < weight(node - half) { node - half } else { node + half };
        }
        node / 2
    }

    /// The `r`-th of a random permutation for `x`, which is made as far as it is asked for.
    pub(super) fn choose_permuted(
        &self,
        bucket: &PreparedBucket,
        x: u32,
        r: u32,
        workspace: &mut Workspace,
    ) -> Option<i32> {
        let size = bucket.size;
        let place = r % size;
        let index = if place == 0 {
            hash_3(x, bucket.id as u32, 0) % size
        } else {
            let (made, permutation) = workspace.permutation(self, bucket)?;
            while *made <= place {
                let from = *made;
                // The last one has nothing to be swapped with.
                if from < size - 1 {
                    let by = hash_3(x, bucket.id as u32, from) % (size - from);
                    permutation.swap(from as usize, (from + by) as usize);
                }
                *made += 1;
            }
            *permutation.get(place as usize)?
        };
        self.items_of(bucket).get(index as usize).copied()
    }
}

/// Up to what a rounded draw may be as good as this one, exactly.
#[inline]
fn nearly(draw: f32) -> f32 {
    (draw + 1.0) * (1.0 + ROUNDING)
}
