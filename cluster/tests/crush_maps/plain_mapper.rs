//! A mapper that is slow and plain: one item after the other, integer divisions, maps of names as they are. It shares with the shipped
//! one only the hash, the logarithm and the straws' lengths, which have tests of their own.

use basalt_cluster::crush::{
    Algorithm, Bucket, ChooseArgs, CrushMap, ITEM_NONE, Mode, Step, hash, shortfall, straw_lengths,
};

const UNDECIDED: i32 = 0x7fff_fffe;

pub struct Plain<'a> {
    pub map: &'a CrushMap,
    pub choose_args: Option<&'a ChooseArgs>,
    pub reweights: &'a [u32],
    pub x: u32,
}

#[derive(Clone, Copy)]
struct Tries {
    total: u32,
    leaf: u32,
    local: u32,
    fallback: u32,
    vary_r: u32,
    stable: u32,
}

impl Plain<'_> {
    pub fn do_rule(&self, rule: u32, result_max: usize) -> Vec<i32> {
        let mut result = Vec::new();
        let Some(rule) = self.map.rule(rule) else { return result };
        let tunables = self.map.tunables();
        let mut tries = Tries {
            total: tunables.choose_total_tries + 1,
            leaf: 0,
            local: tunables.choose_local_tries,
            fallback: tunables.choose_local_fallback_tries,
            vary_r: tunables.chooseleaf_vary_r,
            stable: tunables.chooseleaf_stable,
        };
        let mut work: Vec<i32> = Vec::new();
        for step in &rule.steps {
            match *step {
                Step::Noop => {}
                Step::Take(item) => {
                    if item < self.map.device_count() {
                        work = vec![item];
                    }
                }
                Step::SetChooseTries(0) | Step::SetChooseleafTries(0) => {}
                Step::SetChooseTries(value) => tries.total = value,
                Step::SetChooseleafTries(value) => tries.leaf = value,
                Step::SetChooseLocalTries(value) => tries.local = value,
                Step::SetChooseLocalFallbackTries(value) => tries.fallback = value,
                Step::SetChooseleafVaryR(value) => tries.vary_r = value,
                Step::SetChooseleafStable(value) => tries.stable = value,
                Step::Emit => {
                    for item in work.drain(..) {
                        if result.len() < result_max {
                            result.push(item);
                        }
                    }
                }
                Step::Choose(choose) => {
                    if work.is_empty() {
                        continue;
                    }
                    let mut output = Vec::new();
                    for item in &work {
                        let mut count = choose.count;
                        if count <= 0 {
                            count += result_max as i32;
                            if count <= 0 {
                                continue;
                            }
                        }
                        let Some(bucket) = self.map.bucket(*item) else { continue };
                        let room = result_max - output.len();
                        let kind = choose.type_id;
                        match choose.mode {
                            Mode::Firstn => {
                                let leaf_tries = if tries.leaf > 0 {
                                    tries.leaf
                                } else if tunables.chooseleaf_descend_once > 0 {
                                    1
                                } else {
                                    tries.total
                                };
                                let (mut out, mut out2) = (Vec::new(), Vec::new());
                                let leaf = choose.leaf.then_some(leaf_tries);
                                self.firstn(
                                    bucket,
                                    count,
                                    kind,
                                    &mut out,
                                    room,
                                    tries,
                                    tries.total,
                                    leaf,
                                    &mut out2,
                                    0,
                                );
                                output.extend(if choose.leaf { out2 } else { out });
                            }
                            Mode::Indep => {
                                let size = (count as usize).min(room);
                                let (mut out, mut out2) = (vec![0; size], vec![0; size]);
                                let leaf = choose.leaf.then_some(tries.leaf.max(1));
                                self.indep(bucket, size, count, kind, &mut out, 0, tries.total, leaf, &mut out2, 0);
                                output.extend(if choose.leaf { out2 } else { out });
                            }
                        }
                    }
                    work = output;
                }
            }
        }
        result
    }

    #[allow(clippy::too_many_arguments)]
    fn firstn(
        &self,
        bucket: &Bucket,
        numrep: i32,
        kind: u16,
        out: &mut Vec<i32>,
        out_size: usize,
        tries: Tries,
        total: u32,
        leaf_tries: Option<u32>,
        out2: &mut Vec<i32>,
        parent_r: u32,
    ) {
        let mut count = out_size;
        let mut rep = if tries.stable > 0 { 0 } else { out.len() as i32 };
        while rep < numrep && count > 0 {
            let mut ftotal = 0;
            let mut skip = false;
            let mut item = 0;
            'descent: loop {
                let mut inside = bucket;
                let mut flocal = 0;
                loop {
                    let r = (rep as u32).wrapping_add(parent_r).wrapping_add(ftotal);
                    let mut collide = false;
                    let mut reject = false;
                    let size = inside.items.len() as u32;
                    let is_permuted = size > 0 && tries.fallback > 0 && flocal >= size / 2 && flocal > tries.fallback;
                    let chosen =
                        if is_permuted { Some(self.permuted(inside, r)) } else { self.choose(inside, r, out.len()) };
                    if chosen.is_none() {
                        reject = true;
                    }
                    if let Some(chosen) = chosen {
                        item = chosen;
                        if item >= self.map.device_count() {
                            skip = true;
                            break 'descent;
                        }
                        let item_kind = self.map.item_type(item).unwrap();
                        if item_kind != kind {
                            if item >= 0 {
                                skip = true;
                                break 'descent;
                            }
                            inside = self.map.bucket(item).unwrap();
                            continue;
                        }
                        collide = out.contains(&item);
                        if let Some(leaf_tries) = leaf_tries.filter(|_| !collide) {
                            if item < 0 {
                                let sub_r =
                                    if tries.vary_r > 0 { ((u64::from(r)) >> (tries.vary_r - 1)) as u32 } else { 0 };
                                let before = out2.len();
                                let numrep = if tries.stable > 0 { 1 } else { out.len() as i32 + 1 };
                                let child = self.map.bucket(item).unwrap();
                                assert_eq!(before, out.len());
                                self.firstn(
                                    child,
                                    numrep,
                                    0,
                                    out2,
                                    count,
                                    tries,
                                    leaf_tries,
                                    None,
                                    &mut Vec::new(),
                                    sub_r,
                                );
                                reject = out2.len() <= before;
                            } else {
                                out2.push(item);
                            }
                        }
                        if !reject && !collide && item_kind == 0 {
                            reject = self.is_out(item);
                        }
                        if leaf_tries.is_some() && (reject || collide) {
                            // What was written for this place is written over.
                            out2.truncate(out.len());
                        }
                    }
                    if !reject && !collide {
                        break 'descent;
                    }
                    ftotal += 1;
                    flocal += 1;
                    let again_here = collide && flocal <= tries.local
                        || tries.fallback > 0 && flocal <= inside.items.len() as u32 + tries.fallback;
                    if again_here {
                        continue;
                    }
                    if ftotal < total {
                        continue 'descent;
                    }
                    skip = true;
                    break 'descent;
                }
            }
            if !skip {
                out.push(item);
                count -= 1;
                if leaf_tries.is_some() {
                    out2.truncate(out.len());
                }
            }
            rep += 1;
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn indep(
        &self,
        bucket: &Bucket,
        mut left: usize,
        numrep: i32,
        kind: u16,
        out: &mut [i32],
        outpos: usize,
        tries: u32,
        leaf_tries: Option<u32>,
        out2: &mut [i32],
        parent_r: u32,
    ) {
        let end = outpos + left;
        out[outpos..end].fill(UNDECIDED);
        if !out2.is_empty() {
            out2[outpos..end].fill(UNDECIDED);
        }
        let numrep_u = numrep as u32;
        let mut ftotal = 0;
        while left > 0 && ftotal < tries {
            for rep in outpos..end {
                if out[rep] != UNDECIDED {
                    continue;
                }
                let mut inside = bucket;
                loop {
                    let size = inside.items.len() as u32;
                    let stride = if inside.algorithm == Algorithm::Uniform && size.is_multiple_of(numrep_u) {
                        numrep_u + 1
                    } else {
                        numrep_u
                    };
                    let r = (rep as u32).wrapping_add(parent_r).wrapping_add(stride.wrapping_mul(ftotal));
                    let Some(item) = self.choose(inside, r, outpos) else { break };
                    let item_kind = self.map.item_type(item);
                    if item >= self.map.device_count() || item_kind != Some(kind) && item >= 0 {
                        out[rep] = ITEM_NONE;
                        if !out2.is_empty() {
                            out2[rep] = ITEM_NONE;
                        }
                        left -= 1;
                        break;
                    }
                    if item_kind != Some(kind) {
                        inside = self.map.bucket(item).unwrap();
                        continue;
                    }
                    if out[outpos..end].contains(&item) {
                        break;
                    }
                    if let Some(leaf_tries) = leaf_tries {
                        if item < 0 {
                            let child = self.map.bucket(item).unwrap();
                            self.indep(child, 1, numrep, 0, out2, rep, leaf_tries, None, &mut [], r);
                            if out2[rep] == ITEM_NONE {
                                break;
                            }
                        } else {
                            out2[rep] = item;
                        }
                    }
                    if kind == 0 && self.is_out(item) {
                        break;
                    }
                    out[rep] = item;
                    left -= 1;
                    break;
                }
            }
            ftotal += 1;
        }
        for item in &mut out[outpos..end] {
            if *item == UNDECIDED {
                *item = ITEM_NONE;
            }
        }
        if !out2.is_empty() {
            for item in &mut out2[outpos..end] {
                if *item == UNDECIDED {
                    *item = ITEM_NONE;
                }
            }
        }
    }

    fn is_out(&self, item: i32) -> bool {
        match self.reweights.get(item as usize).copied().unwrap_or(0) {
            0 => true,
            weight if weight >= 0x10000 => false,
            weight => hash::hash_2(self.x, item as u32) & 0xffff >= weight,
        }
    }

    /// Nothing of an empty bucket, and of a tree bucket without weight, which may come to a leaf that is no item's: Ceph reads beyond its
    /// array there.
    fn choose(&self, bucket: &Bucket, r: u32, position: usize) -> Option<i32> {
        if bucket.items.is_empty() {
            return None;
        }
        let weights: Vec<u32> = bucket.items.iter().map(|item| item.weight).collect();
        let ids: Vec<i32> = bucket.items.iter().map(|item| item.id).collect();
        Some(match bucket.algorithm {
            Algorithm::Uniform => self.permuted(bucket, r),
            Algorithm::List => {
                for index in (0..ids.len()).rev() {
                    let sum: u64 = weights[..=index].iter().map(|weight| u64::from(*weight)).sum();
                    let draw = u64::from(hash::hash_4(self.x, ids[index] as u32, r, bucket.id as u32) & 0xffff);
                    if (draw * sum) >> 16 < u64::from(weights[index]) {
                        return Some(ids[index]);
                    }
                }
                ids[0]
            }
            Algorithm::Tree => {
                // A node of height h covers the leaves from node - (2^h - 1) to node + (2^h - 1); leaf 2i + 1 is item i.
                let weight_of = |node: usize| -> u64 {
                    let reach = (1 << node.trailing_zeros()) - 1;
                    let leaves = (node - reach..=node + reach).step_by(2);
                    leaves.filter_map(|leaf| weights.get(leaf / 2)).map(|weight| u64::from(*weight)).sum()
                };
                let mut node = weights.len().next_power_of_two();
                while node.is_multiple_of(2) {
                    let half = 1 << (node.trailing_zeros() - 1);
                    let draw = u64::from(hash::hash_4(self.x, node as u32, r, bucket.id as u32));
                    let point = ((u128::from(draw) * u128::from(weight_of(node))) >> 32) as u64;
                    node = if point < weight_of(node - half) { node - half } else { node + half };
                }
                return ids.get(node / 2).copied();
            }
            Algorithm::Straw => {
                let straws = straw_lengths(&weights, self.map.tunables().straw_calc_version);
                let draw = |index: usize| {
                    u64::from(hash::hash_3(self.x, ids[index] as u32, r) & 0xffff) * u64::from(straws[index])
                };
                ids[(0..ids.len()).max_by_key(|index| (draw(*index), usize::MAX - index)).unwrap()]
            }
            Algorithm::Straw2 => {
                let arg = self.choose_args.and_then(|args| args.get(&bucket.id));
                let sets = arg.map(|arg| &arg.weight_sets).filter(|sets| !sets.is_empty());
                let weights = sets.map_or(&weights, |sets| &sets[position.min(sets.len() - 1)]);
                let hashed = arg.map(|arg| &arg.ids).filter(|ids| !ids.is_empty()).unwrap_or(&ids);
                let mut best = (0, i64::MIN);
                for index in 0..ids.len() {
                    let draw = if weights[index] == 0 {
                        i64::MIN
                    } else {
                        let u = hash::hash_3(self.x, hashed[index] as u32, r) as u16;
                        -(shortfall(u) as i64) / i64::from(weights[index])
                    };
                    if draw > best.1 {
                        best = (index, draw);
                    }
                }
                ids[best.0]
            }
        })
    }

    fn permuted(&self, bucket: &Bucket, r: u32) -> i32 {
        let size = bucket.items.len() as u32;
        let mut order: Vec<usize> = (0..bucket.items.len()).collect();
        for place in 0..size - 1 {
            let by = hash::hash_3(self.x, bucket.id as u32, place) % (size - place);
            order.swap(place as usize, (place + by) as usize);
        }
        bucket.items[order[(r % size) as usize]].id
    }
}
