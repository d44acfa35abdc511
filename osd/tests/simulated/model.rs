//! Random operation vectors, with numbers from the edges of what the wire can say, against a model of three objects in memory. Every
//! request is answered, succeeds exactly where the model's does, and brings and leaves what the model's does.

use crate::peer::Peer;
use crate::simulated_cluster::{ClusterOptions, POOL, SimulatedCluster};
use basalt_net::message::object::{Operation, OperationResult};
use std::collections::BTreeMap;
use std::time::Duration;

const MAX_OBJECT: u64 = 64 << 10;

#[derive(Clone, Default, PartialEq, Debug)]
struct Object {
    data: Vec<u8>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    omap: BTreeMap<Vec<u8>, Vec<u8>>,
    version: u64,
}

type Objects = BTreeMap<Vec<u8>, Object>;

impl Object {
    fn write(&mut self, offset: u64, data: &[u8]) {
        let offset = offset as usize;
        self.data.resize(self.data.len().max(offset + data.len()), 0);
        self.data[offset..offset + data.len()].copy_from_slice(data);
    }
}

/// The vector's effect and results, or the errno it fails with.
fn apply(
    objects: &mut Objects,
    name: &[u8],
    operations: &[Operation],
    payload: &[u8],
) -> Result<(Vec<OperationResult>, Vec<u8>), i32> {
    let before = objects.get(name).cloned();
    let mut data = Vec::new();
    let mut results = Vec::new();
    for operation in operations {
        results.push(judge(before.as_ref(), operation, &mut data)?);
    }
    let mut after = objects.clone();
    let mut payload = payload;
    for operation in operations {
        change(&mut after, name, operation, &mut payload)?;
    }
    *objects = after;
    Ok((results, data))
}

fn judge(object: Option<&Object>, operation: &Operation, data: &mut Vec<u8>) -> Result<OperationResult, i32> {
    let exists = object.ok_or(libc::ENOENT);
    match operation {
        Operation::AssertExists => exists.map(|_| OperationResult::Done),
        Operation::AssertAbsent if object.is_some() => Err(libc::EEXIST),
        Operation::AssertVersion(version) if object.map_or(0, |object| object.version) != *version => Err(libc::ERANGE),
        Operation::AssertXattr { name, value }
            if object.and_then(|object| object.xattrs.get(name)) != value.as_ref() =>
        {
            Err(libc::ECANCELED)
        }
        Operation::AssertOmap { key, value } if object.and_then(|object| object.omap.get(key)) != value.as_ref() => {
            Err(libc::ECANCELED)
        }
        Operation::Read { offset, length } => {
            let object = exists?;
            let from = (*offset).min(object.data.len() as u64) as usize;
            let to = offset.saturating_add(*length).min(object.data.len() as u64) as usize;
            data.extend_from_slice(&object.data[from..to.max(from)]);
            Ok(OperationResult::Data { length: (to.max(from) - from) as u64 })
        }
        Operation::Stat => {
            let object = exists?;
            Ok(OperationResult::Stat { size: object.data.len() as u64, mtime_ns: 0, version: object.version })
        }
        Operation::GetXattr { name } => {
            exists?.xattrs.get(name).cloned().map(OperationResult::Value).ok_or(libc::ENODATA)
        }
        Operation::ListXattrs => {
            let pairs = exists?.xattrs.clone().into_iter().collect();
            Ok(OperationResult::Pairs { pairs, more: false })
        }
        Operation::ListOmap { after, prefix, max, .. } => {
            let mut pairs: Vec<_> = exists?
                .omap
                .iter()
                .filter(|(key, _)| *key > after && key.starts_with(prefix))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let more = pairs.len() > *max as usize;
            pairs.truncate(*max as usize);
            Ok(OperationResult::Pairs { pairs, more })
        }
        _ => Ok(OperationResult::Done),
    }
}

fn change(objects: &mut Objects, name: &[u8], operation: &Operation, payload: &mut &[u8]) -> Result<(), i32> {
    let mut take = |length: u64| {
        let (taken, rest) = payload.split_at(length as usize);
        *payload = rest;
        taken
    };
    match operation {
        Operation::Remove => return objects.remove(name).map(|_| ()).ok_or(libc::ENOENT),
        Operation::RemoveXattr { name: xattr } => {
            let object = objects.get_mut(name).ok_or(libc::ENODATA)?;
            return object.xattrs.remove(xattr).map(|_| ()).ok_or(libc::ENODATA);
        }
        Operation::CloneRange { source, source_offset, offset, length } => {
            let mut bytes = objects.get(source).ok_or(libc::ENOENT)?.data.clone();
            bytes.resize(bytes.len().max((source_offset + length) as usize), 0);
            let bytes = bytes[*source_offset as usize..(source_offset + length) as usize].to_vec();
            let object = objects.entry(name.to_vec()).or_default();
            if *length > 0 {
                object.write(*offset, &bytes);
            }
            return Ok(());
        }
        Operation::Touch
        | Operation::Write { .. }
        | Operation::WriteFull { .. }
        | Operation::Append { .. }
        | Operation::Zero { .. }
        | Operation::Truncate { .. }
        | Operation::SetXattr { .. }
        | Operation::SetOmap { .. }
        | Operation::RemoveOmap { .. }
        | Operation::ClearOmap => {}
        _ => return Ok(()),
    }
    let object = objects.entry(name.to_vec()).or_default();
    match operation {
        Operation::Write { offset, length } if *length > 0 => object.write(*offset, take(*length)),
        Operation::WriteFull { length } => object.data = take(*length).to_vec(),
        Operation::Append { length } => object.data.extend_from_slice(take(*length)),
        Operation::Zero { offset, length } if *length > 0 => object.write(*offset, &vec![0; *length as usize]),
        Operation::Truncate { size } => object.data.resize(*size as usize, 0),
        Operation::SetXattr { name, value } => drop(object.xattrs.insert(name.clone(), value.clone())),
        Operation::SetOmap { pairs } => object.omap.extend(pairs.iter().cloned()),
        Operation::RemoveOmap { keys } => keys.iter().for_each(|key| drop(object.omap.remove(key))),
        Operation::ClearOmap => object.omap.clear(),
        _ => {}
    }
    if object.data.len() as u64 > MAX_OBJECT { Err(libc::EFBIG) } else { Ok(()) }
}

/// Splitmix64: histories are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn place(&mut self) -> u64 {
        match self.roll(12) {
            0 => 0,
            1 => 4096,
            2 => 4095,
            3 => MAX_OBJECT - 1,
            4 if self.roll(8) == 0 => u64::MAX,
            _ => self.roll(MAX_OBJECT / 2),
        }
    }

    fn short(&mut self) -> u64 {
        match self.roll(6) {
            0 => 0,
            1 => 4096,
            _ => self.roll(10_000),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        vec![b'a' + self.roll(3) as u8; 1 + self.roll(2) as usize]
    }

    fn value(&mut self) -> Vec<u8> {
        vec![self.roll(256) as u8; self.roll(30) as usize]
    }

    fn operation(&mut self, names: &[Vec<u8>], objects: &Objects, name: &[u8]) -> Operation {
        match self.roll(24) {
            0 => Operation::AssertExists,
            1 if self.roll(3) == 0 => Operation::AssertAbsent,
            2 => Operation::AssertVersion(objects.get(name).map_or(0, |object| object.version) + self.roll(5) / 4),
            3 => {
                let name_of_xattr = self.key();
                if self.roll(2) == 0 {
                    let held = objects.get(name).and_then(|object| object.omap.get(&name_of_xattr).cloned());
                    let value = if self.roll(5) == 0 { Some(self.value()) } else { held };
                    return Operation::AssertOmap { key: name_of_xattr, value };
                }
                let held = objects.get(name).and_then(|object| object.xattrs.get(&name_of_xattr).cloned());
                Operation::AssertXattr {
                    name: name_of_xattr,
                    value: if self.roll(5) == 0 { Some(self.value()) } else { held },
                }
            }
            4 => Operation::Read { offset: self.place(), length: self.roll(500) },
            5 => Operation::Stat,
            6 => Operation::GetXattr { name: self.key() },
            7 => Operation::ListXattrs,
            8 => Operation::ListOmap { after: self.key(), prefix: Vec::new(), max: self.roll(4) as u32, values: true },
            9 => Operation::Touch,
            10 | 11 => Operation::Write { offset: self.place(), length: self.short() },
            12 => Operation::WriteFull { length: self.short() },
            13 => Operation::Append { length: self.short() },
            14 => Operation::Zero { offset: self.place(), length: self.short() },
            15 => Operation::Truncate { size: self.place() },
            16 => Operation::Remove,
            17 => Operation::SetXattr { name: self.key(), value: self.value() },
            18 => Operation::RemoveXattr { name: self.key() },
            19 => Operation::SetOmap { pairs: vec![(self.key(), self.value()), (self.key(), self.value())] },
            20 => Operation::RemoveOmap { keys: vec![self.key(), self.key()] },
            21 if self.roll(4) == 0 => Operation::ClearOmap,
            22 => Operation::CloneRange {
                source: names[self.roll(names.len() as u64) as usize].clone(),
                source_offset: self.place(),
                offset: self.place(),
                length: self.short(),
            },
            _ => Operation::Touch,
        }
    }
}

fn payload_of(operations: &[Operation], dice: &mut Dice) -> Vec<u8> {
    let length: u64 = operations
        .iter()
        .map(|operation| match operation {
            Operation::Write { length, .. } | Operation::WriteFull { length } | Operation::Append { length } => *length,
            _ => 0,
        })
        .sum();
    (0..length).map(|_| dice.roll(256) as u8).collect()
}

fn out_of_range(operation: &Operation) -> bool {
    let beyond = |offset: u64, length: u64| offset.checked_add(length).is_none_or(|end| end > MAX_OBJECT);
    match operation {
        Operation::Write { offset, length } | Operation::Zero { offset, length } => beyond(*offset, *length),
        Operation::Truncate { size } => beyond(*size, 0),
        Operation::CloneRange { offset, source_offset, length, .. } => {
            beyond(*offset, *length) || beyond(*source_offset, *length)
        }
        _ => false,
    }
}

/// Modification times are the daemon's own.
fn without_time(results: Vec<OperationResult>) -> Vec<OperationResult> {
    let strip = |result| match result {
        OperationResult::Stat { size, version, .. } => OperationResult::Stat { size, version, mtime_ns: 0 },
        other => other,
    };
    results.into_iter().map(strip).collect()
}

async fn check_everything(peer: &Peer, names: &[Vec<u8>], objects: &Objects) {
    for name in names {
        let read = peer.read_all(POOL, name).await;
        assert_eq!(read.as_ref().ok(), objects.get(name).map(|object| &object.data));
        if let Some(object) = objects.get(name) {
            let operations = vec![
                Operation::ListXattrs,
                Operation::ListOmap { after: Vec::new(), prefix: Vec::new(), max: 100, values: true },
            ];
            let reply = peer.done(POOL, name, operations, &[]).await;
            let pairs = |map: &BTreeMap<Vec<u8>, Vec<u8>>| OperationResult::Pairs {
                pairs: map.clone().into_iter().collect(),
                more: false,
            };
            assert_eq!(reply.results.to_vec(), vec![pairs(&object.xattrs), pairs(&object.omap)]);
        }
    }
}

fn history(seed: u64, hot_bytes: u64) {
    let cluster = SimulatedCluster::new(
        seed,
        ClusterOptions { max_object_size: MAX_OBJECT, hot_bytes, ..ClusterOptions::default() },
    );
    let mut dice = Dice(seed);
    let mut objects = Objects::new();
    for round in 0..3 {
        cluster.world.block_on(async {
            let ring = cluster.client.ring();
            let peer = cluster.peer().await;
            // Objects of one group, as clones do not cross groups.
            let names: Vec<Vec<u8>> = (0..)
                .map(|index| format!("object {index}").into_bytes())
                .filter(|name| peer.map().pg_of(POOL, name).is_some_and(|pg| pg.seed == 3))
                .take(3)
                .collect();
            for step in 0..300 {
                let name = &names[dice.roll(3) as usize];
                let operations: Vec<_> =
                    (0..1 + dice.roll(4)).map(|_| dice.operation(&names, &objects, name)).collect();
                let payload = payload_of(&operations, &mut dice);
                let request = peer.request(POOL, name, operations.clone());
                let answer = ring.timeout(Duration::from_secs(60), peer.exchange(&request, &payload)).await;
                let (reply, data) = answer.expect("every request is answered").expect("the session lives");
                let told = format!(
                    "seed {seed} round {round} step {step}: {operations:?} gave {} {}",
                    reply.errno, reply.message
                );
                let expected = if operations.iter().any(out_of_range) {
                    Err(libc::EFBIG)
                } else {
                    apply(&mut objects, name, &operations, &payload)
                };
                match expected {
                    Ok((results, expected_data)) => {
                        assert_eq!(reply.errno, 0, "{told}");
                        assert_eq!(without_time(reply.results.to_vec()), results, "{told}");
                        assert_eq!(data, expected_data, "{told}");
                        assert_eq!(reply.version > 0, objects.contains_key(name), "{told}");
                        if let Some(object) = objects.get_mut(name) {
                            assert!(reply.version >= object.version, "{told}");
                            object.version = reply.version;
                        }
                    }
                    // Growth beyond the largest object is noticed when all is staged, other failures while it is.
                    Err(libc::EFBIG) => assert_ne!(reply.errno, 0, "{told}"),
                    Err(errno) => assert_eq!(reply.errno, errno, "{told}"),
                }
            }
            check_everything(&peer, &names, &objects).await;
        });
        cluster.crash_host();
        cluster.world.block_on(cluster.start_host());
    }
}

#[test]
fn a_random_history_leaves_what_a_model_leaves() {
    for seed in 100..106 {
        history(seed, 0);
    }
}

#[test]
fn a_random_history_on_a_tier_leaves_what_a_model_leaves() {
    for seed in 200..206 {
        history(seed, 64 << 20);
    }
}

#[test]
fn a_vector_with_more_results_than_are_recorded_is_refused() {
    let cluster = SimulatedCluster::new(7, ClusterOptions::default());
    cluster.world.block_on(async {
        let peer = cluster.peer().await;
        peer.write_full(POOL, b"o", b"data").await;
        let mut operations = vec![Operation::Stat; 1023];
        operations.push(Operation::Touch);
        let (reply, _) = peer.ask(POOL, b"o", operations, &[]).await;
        assert_eq!(reply.errno, libc::EOVERFLOW, "{}", reply.message);
        let operations = [vec![Operation::Stat; 50], vec![Operation::Touch]].concat();
        peer.done(POOL, &[b'n'; 2048], vec![Operation::Touch], &[]).await;
        peer.done(POOL, &[b'n'; 2048], operations, &[]).await;
    });
}
