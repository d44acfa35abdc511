//! Transactions: staged in order here, then *prepared* (`staged`: partial blocks are read and completed), then *submitted*
//! (`prepared`: one synchronous step that allocates, changes the index, hands the data to the devices and the record to the log).

use crate::error::{Error, Result};
use crate::index::key;
use crate::inner::Inner;
use crate::limits::NAME_BYTES_MAX;
use crate::object::{ObjectId, ObjectInfo, ObjectKey};
use crate::prepared::Prepared;
use crate::read::display;
use crate::staged::{Staged, Step, choose_home, stage};
use crate::store::{Placement, pairs};
use basalt_ring::Slice;
use basalt_ring::local::{KeyGuard, join_all};
use smallvec::{SmallVec, smallvec};
use std::rc::Rc;

/// Changes being gathered, with their objects locked. Reads through it see the state before it. Dropping it changes nothing.
pub struct Transaction {
    inner: Rc<Inner>,
    objects: SmallVec<[ObjectKey; 1]>,
    locks: SmallVec<[KeyGuard<ObjectKey>; 1]>,
    steps: SmallVec<[(usize, Step); 1]>,
}

impl Transaction {
    pub(crate) async fn begin(inner: Rc<Inner>, objects: &[ObjectKey]) -> Transaction {
        let mut objects: SmallVec<[ObjectKey; 1]> = objects.into();
        objects.sort_unstable();
        objects.dedup();
        // All queued for in one step, so that of two transactions the later one always waits for the earlier, never both for each other.
        let locks = match objects.as_slice() {
            [object] => smallvec![inner.locks.lock(object.clone()).await],
            objects => join_all(objects.iter().map(|object| inner.locks.lock(object.clone())).collect()).await.into(),
        };
        Transaction { inner, objects, locks, steps: SmallVec::new() }
    }

    fn index(&self, object: &ObjectKey) -> usize {
        self.objects
            .binary_search(object)
            .unwrap_or_else(|_| panic!("{} is not part of the transaction", display(object)))
    }

    fn push(&mut self, object: &ObjectKey, step: Step) {
        let index = self.index(object);
        self.steps.push((index, step));
    }

    /// Sees the staged state (size after earlier staged steps), and changes of the objects that are not yet durable. A staged creation
    /// has object number 0.
    pub async fn stat(&mut self, object: &ObjectKey) -> Result<Option<ObjectInfo>> {
        let index = self.index(object);
        let record = self.inner.record(object).await?;
        let mut info = record.map(|record| record.info());
        for (_, step) in self.steps.iter().filter(|(at, _)| *at == index) {
            if matches!(step, Step::Remove) {
                info = None;
                continue;
            }
            let info = info.get_or_insert(ObjectInfo { id: ObjectId(0), size: 0, version: 0, mtime_ns: 0 });
            // Sizes beyond all bounds are refused by `prepare`.
            info.size = match step {
                Step::Write { offset, data } if !data.is_empty() => {
                    info.size.max(offset.saturating_add(data.len() as u64))
                }
                Step::Append { data } => info.size.saturating_add(data.len() as u64),
                Step::Zero { offset, length } if *length > 0 => info.size.max(offset.saturating_add(*length)),
                Step::CloneRange { offset, length, .. } if *length > 0 => info.size.max(offset.saturating_add(*length)),
                Step::Truncate { size } => *size,
                _ => info.size,
            };
        }
        Ok(info)
    }

    /// The value before this transaction.
    pub async fn get_xattr(&mut self, object: &ObjectKey, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(record) = self.inner.record(object).await? else { return Ok(None) };
        let key = key::xattr(record.id, name);
        self.inner.index(|state| state.tree.get(&key)).await
    }

    /// The value of an omap key before this transaction.
    pub async fn get_omap(&mut self, object: &ObjectKey, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(record) = self.inner.record(object).await? else { return Ok(None) };
        let key = key::omap(record.id, name);
        self.inner.index(|state| state.tree.get(&key)).await
    }

    /// The xattrs before this transaction, by name.
    pub async fn list_xattrs(&mut self, object: &ObjectKey) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let Some(record) = self.inner.record(object).await? else { return Ok(Vec::new()) };
        let prefix = key::xattr(record.id, &[]);
        Ok(self.inner.index(|state| pairs(state, &prefix, &prefix, &[], usize::MAX)).await?.0)
    }

    pub fn touch(&mut self, object: &ObjectKey) {
        self.push(object, Step::Touch);
    }

    /// The slice is written from where it lies if `offset` is a multiple of 4096 and the slice begins on such an address; else copied.
    pub fn write(&mut self, object: &ObjectKey, offset: u64, data: Slice) {
        self.push(object, Step::Write { offset, data });
    }

    /// Writes at the object's end as it is by then.
    pub fn append(&mut self, object: &ObjectKey, data: Slice) {
        self.push(object, Step::Append { data });
    }

    /// Extends the object if it is shorter.
    pub fn zero(&mut self, object: &ObjectKey, offset: u64, length: u64) {
        self.push(object, Step::Zero { offset, length });
    }

    pub fn truncate(&mut self, object: &ObjectKey, size: u64) {
        self.push(object, Step::Truncate { size });
    }

    /// `NotFound` at [`Transaction::prepare`] if there is no such object by then.
    pub fn remove(&mut self, object: &ObjectKey) {
        self.push(object, Step::Remove);
    }

    /// Whole blocks are shared, not copied, where source and target have them at the same offset within a block; see `sharing`. Bytes
    /// beyond the source's end are zeros. `NotFound` at [`Transaction::prepare`] if there is no source.
    pub fn clone_range(
        &mut self,
        source: &ObjectKey,
        source_offset: u64,
        object: &ObjectKey,
        offset: u64,
        length: u64,
    ) {
        let source = self.index(source);
        self.push(object, Step::CloneRange { source, source_offset, offset, length });
    }

    pub fn set_xattr(&mut self, object: &ObjectKey, name: &[u8], value: &[u8]) {
        self.push(object, Step::SetXattr { name: name.to_vec(), value: value.to_vec() });
    }

    /// `NoXattr` at [`Transaction::prepare`] if it is missing.
    pub fn remove_xattr(&mut self, object: &ObjectKey, name: &[u8]) {
        self.push(object, Step::RemoveXattr { name: name.to_vec() });
    }

    pub fn set_omap(&mut self, object: &ObjectKey, key: &[u8], value: &[u8]) {
        self.push(object, Step::SetOmap { key: key.to_vec(), value: value.to_vec() });
    }

    pub fn remove_omap(&mut self, object: &ObjectKey, key: &[u8]) {
        self.push(object, Step::RemoveOmap { key: key.to_vec() });
    }

    pub fn clear_omap(&mut self, object: &ObjectKey) {
        self.push(object, Step::ClearOmap);
    }

    /// Reads what partial blocks need and checks every limit. Nothing is changed yet.
    pub async fn prepare(self, placement: Placement) -> Result<Prepared> {
        let Transaction { inner, objects, locks, steps } = self;
        let mut staged: SmallVec<[Staged; 1]> = SmallVec::with_capacity(objects.len());
        for object in objects {
            if object.name.is_empty() || object.name.len() > NAME_BYTES_MAX {
                return Err(Error::Invalid(format!(
                    "an object's name has 1 to {NAME_BYTES_MAX} bytes; this one has {}",
                    object.name.len()
                )));
            }
            staged.push(Staged::new(inner.record(&object).await?, object));
        }
        for (index, step) in steps {
            stage(&inner, &mut staged, index, step).await?;
        }
        staged.retain(|object| object.changed);
        for object in &mut staged {
            choose_home(&inner, object).await?;
            object.checksum();
        }
        Ok(Prepared::new(inner, placement, staged, locks))
    }
}
