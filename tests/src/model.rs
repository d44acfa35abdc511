//! The reference model: what a store is, as maps and byte vectors.

use basalt_blockstore::{Error, ObjectKey, Result, Store, Transaction};
use basalt_ring::Ring;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelObject {
    pub data: Vec<u8>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub omap: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub objects: BTreeMap<ObjectKey, ModelObject>,
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Touch,
    Write { offset: u64, data: Vec<u8> },
    Append { data: Vec<u8> },
    Zero { offset: u64, length: u64 },
    Truncate { size: u64 },
    Remove,
    CloneRange { source: ObjectKey, source_offset: u64, offset: u64, length: u64 },
    SetXattr { name: Vec<u8>, value: Vec<u8> },
    RemoveXattr { name: Vec<u8> },
    SetOmap { key: Vec<u8>, value: Vec<u8> },
    RemoveOmap { key: Vec<u8> },
    ClearOmap,
}

impl Model {
    /// Where two of them part, for people.
    pub fn difference(&self, other: &Model) -> String {
        let mut text = String::new();
        let names: std::collections::BTreeSet<&ObjectKey> = self.objects.keys().chain(other.objects.keys()).collect();
        for name in names {
            let (Some(a), Some(b)) = (self.objects.get(name), other.objects.get(name)) else {
                text += &format!("{} is in one only; ", name.name.escape_ascii());
                continue;
            };
            if a == b {
                continue;
            }
            let differ: Vec<usize> = (0..a.data.len().max(b.data.len()).div_ceil(4096))
                .filter(|block| {
                    let of = |data: &[u8]| data.iter().skip(block * 4096).take(4096).copied().collect::<Vec<u8>>();
                    of(&a.data) != of(&b.data)
                })
                .collect();
            text += &format!(
                "{}: {} and {} bytes, blocks {differ:?} differ, attributes {}; ",
                name.name.escape_ascii(),
                a.data.len(),
                b.data.len(),
                if (&a.xattrs, &a.omap) == (&b.xattrs, &b.omap) { "equal" } else { "differ" }
            );
        }
        text
    }

    /// Applies a transaction on one object; `false`, and nothing changed, if the store must refuse it.
    pub fn apply(&mut self, object: &ObjectKey, steps: &[Step]) -> bool {
        let mut after = self.clone();
        for step in steps {
            if !after.step(object, step) {
                return false;
            }
        }
        *self = after;
        true
    }

    fn step(&mut self, name: &ObjectKey, step: &Step) -> bool {
        match step {
            Step::Remove => return self.objects.remove(name).is_some(),
            Step::RemoveXattr { name: xattr } => {
                return self.objects.get_mut(name).is_some_and(|object| object.xattrs.remove(xattr).is_some());
            }
            Step::CloneRange { source, source_offset, offset, length } => {
                let Some(from) = self.objects.get(source) else { return false };
                let mut data: Vec<u8> =
                    from.data.iter().skip(*source_offset as usize).take(*length as usize).copied().collect();
                data.resize(*length as usize, 0);
                return self.step(name, &Step::Write { offset: *offset, data });
            }
            _ => {}
        }
        let object = self.objects.entry(name.clone()).or_default();
        match step {
            Step::Write { data, .. } | Step::Append { data } if data.is_empty() => {}
            Step::Write { offset, data } => {
                let end = *offset as usize + data.len();
                object.data.resize(object.data.len().max(end), 0);
                object.data[*offset as usize..end].copy_from_slice(data);
            }
            Step::Append { data } => object.data.extend_from_slice(data),
            Step::Zero { length: 0, .. } => {}
            Step::Zero { offset, length } => {
                let end = (*offset + *length) as usize;
                object.data.resize(object.data.len().max(end), 0);
                object.data[*offset as usize..end].fill(0);
            }
            Step::Truncate { size } => object.data.resize(*size as usize, 0),
            Step::SetXattr { name, value } => {
                object.xattrs.insert(name.clone(), value.clone());
            }
            Step::SetOmap { key, value } => {
                object.omap.insert(key.clone(), value.clone());
            }
            Step::RemoveOmap { key } => {
                object.omap.remove(key);
            }
            Step::ClearOmap => object.omap.clear(),
            Step::Touch | Step::Remove | Step::RemoveXattr { .. } | Step::CloneRange { .. } => {}
        }
        true
    }

    /// Everything a store holds, read through its public interface.
    pub async fn of(store: &Store) -> Result<Model> {
        let mut model = Model::default();
        for (pool, pg) in store.list_pgs().await? {
            let mut after = Vec::new();
            loop {
                let (names, more) = store.list(pool, pg, &after, &[], 100).await?;
                after = names.last().cloned().unwrap_or_default();
                for name in names {
                    let key = ObjectKey { pool, pg, name: name.into() };
                    let object = Model::object(store, &key).await?;
                    model.objects.insert(key, object);
                }
                if !more {
                    break;
                }
            }
        }
        Ok(model)
    }

    async fn object(store: &Store, key: &ObjectKey) -> Result<ModelObject> {
        let info = store.stat(key).await?.ok_or(Error::NotFound)?;
        let data = store.read(key, 0, u64::MAX).await?.data.to_vec();
        assert_eq!(data.len() as u64, info.size, "a whole read is as long as the object");
        Ok(ModelObject {
            data,
            xattrs: store.list_xattrs(key).await?.into_iter().collect(),
            omap: store.list_omap(key, &[], &[], usize::MAX).await?.0.into_iter().collect(),
        })
    }
}

/// Stages the same steps in a store's transaction.
pub fn stage(ring: &Ring, transaction: &mut Transaction, object: &ObjectKey, steps: &[Step]) {
    let slice = |data: &[u8]| {
        let mut buffer = ring.buffer(data.len());
        buffer.copy_from_slice(data);
        buffer.freeze()
    };
    for step in steps {
        match step {
            Step::Touch => transaction.touch(object),
            Step::Write { offset, data } => transaction.write(object, *offset, slice(data)),
            Step::Append { data } => transaction.append(object, slice(data)),
            Step::Zero { offset, length } => transaction.zero(object, *offset, *length),
            Step::Truncate { size } => transaction.truncate(object, *size),
            Step::Remove => transaction.remove(object),
            Step::CloneRange { source, source_offset, offset, length } => {
                transaction.clone_range(source, *source_offset, object, *offset, *length);
            }
            Step::SetXattr { name, value } => transaction.set_xattr(object, name, value),
            Step::RemoveXattr { name } => transaction.remove_xattr(object, name),
            Step::SetOmap { key, value } => transaction.set_omap(object, key, value),
            Step::RemoveOmap { key } => transaction.remove_omap(object, key),
            Step::ClearOmap => transaction.clear_omap(object),
        }
    }
}

/// The objects that a transaction of these steps has to lock.
pub fn objects_of(object: &ObjectKey, steps: &[Step]) -> Vec<ObjectKey> {
    let sources = steps.iter().filter_map(|step| match step {
        Step::CloneRange { source, .. } => Some(source.clone()),
        _ => None,
    });
    std::iter::once(object.clone()).chain(sources).collect()
}
