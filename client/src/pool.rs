//! One pool's objects.

use crate::{ObjectOperations, Outcome, Result, Stat};
use basalt_ring::Slice;

/// Cheap to clone. Names are any bytes, at most `limits::NAME_BYTES_MAX`. Offsets and lengths in bytes. What does not fit a frame is refused with
/// E2BIG: `striped` stores objects of any size.
#[derive(Clone)]
pub struct Pool {
    _not_send: std::marker::PhantomData<std::rc::Rc<()>>,
}

/// Pairs of a key and a value, in byte order of the keys.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

impl Pool {
    pub fn id(&self) -> u32 {
        unimplemented!()
    }
    pub fn name(&self) -> &str {
        unimplemented!()
    }
    /// Runs all operations or none. An errno in the reply is an `Err` here.
    pub async fn execute(&self, _name: &[u8], _operations: ObjectOperations) -> Result<Outcome> {
        unimplemented!()
    }

    /// Short at the object's end. ENOENT if there is no object.
    pub async fn read(&self, _name: &[u8], _offset: u64, _length: u64) -> Result<Slice> {
        unimplemented!()
    }
    /// Returns the object's new version, as do all that change it.
    pub async fn write(&self, _name: &[u8], _offset: u64, _data: Slice) -> Result<u64> {
        unimplemented!()
    }
    pub async fn write_full(&self, _name: &[u8], _data: Slice) -> Result<u64> {
        unimplemented!()
    }
    pub async fn append(&self, _name: &[u8], _data: Slice) -> Result<u64> {
        unimplemented!()
    }
    pub async fn zero(&self, _name: &[u8], _offset: u64, _length: u64) -> Result<u64> {
        unimplemented!()
    }
    pub async fn truncate(&self, _name: &[u8], _size: u64) -> Result<u64> {
        unimplemented!()
    }
    pub async fn remove(&self, _name: &[u8]) -> Result<()> {
        unimplemented!()
    }
    pub async fn stat(&self, _name: &[u8]) -> Result<Stat> {
        unimplemented!()
    }

    /// ENODATA if there is no such xattr.
    pub async fn get_xattr(&self, _name: &[u8], _xattr: &[u8]) -> Result<Vec<u8>> {
        unimplemented!()
    }
    pub async fn set_xattr(&self, _name: &[u8], _xattr: &[u8], _value: &[u8]) -> Result<u64> {
        unimplemented!()
    }
    pub async fn remove_xattr(&self, _name: &[u8], _xattr: &[u8]) -> Result<u64> {
        unimplemented!()
    }
    pub async fn list_xattrs(&self, _name: &[u8]) -> Result<Pairs> {
        unimplemented!()
    }

    /// Missing keys are left out.
    pub async fn get_omap(&self, _name: &[u8], _keys: &[&[u8]]) -> Result<Pairs> {
        unimplemented!()
    }
    pub async fn set_omap(&self, _name: &[u8], _pairs: Pairs) -> Result<u64> {
        unimplemented!()
    }
    pub async fn remove_omap(&self, _name: &[u8], _keys: &[&[u8]]) -> Result<u64> {
        unimplemented!()
    }
    /// At most `max` pairs after `after` (exclusive) whose keys start with `prefix`, and whether there are more.
    pub async fn list_omap(&self, _name: &[u8], _after: &[u8], _prefix: &[u8], _max: u32) -> Result<(Pairs, bool)> {
        unimplemented!()
    }

    /// Names that start with `prefix`, merged over all placement groups in byte order. Pieces of striped objects are hidden.
    pub fn list(&self, _prefix: &[u8]) -> NamePager {
        unimplemented!()
    }
}

/// A listing in progress. Objects made or removed meanwhile may or may not show; all others show once.
pub struct NamePager {
    _not_send: std::marker::PhantomData<std::rc::Rc<()>>,
}

impl NamePager {
    /// Starts behind this name instead of at the beginning.
    pub fn after(self, _name: &[u8]) -> NamePager {
        unimplemented!()
    }
    /// Shows the pieces of striped objects too.
    pub fn with_pieces(self) -> NamePager {
        unimplemented!()
    }
    /// The next name, `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        unimplemented!()
    }
    /// Up to `max` names; fewer only at the end.
    pub async fn next_page(&mut self, _max: usize) -> Result<Vec<Vec<u8>>> {
        unimplemented!()
    }
}
