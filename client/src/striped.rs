//! Objects of any size, striped over objects of bounded size; works on plain objects as well.

use crate::{Pool, Result, Stat};
use basalt_ring::Slice;

/// Where `put` takes its bytes from: each call brings the next ones, an empty slice ends them.
pub trait Source {
    fn next(&mut self) -> impl Future<Output = Result<Option<Slice>>>;
}

/// Stores all of `source` under `name`, replacing what was there. A put that is killed leaves what was there before.
pub async fn put(_pool: &Pool, _name: &[u8], _source: impl Source) -> Result<u64> {
    unimplemented!()
}

/// Passes the object's bytes to `sink`, in order; returns how many there were.
pub async fn get(_pool: &Pool, _name: &[u8], _sink: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
    unimplemented!()
}

/// The size of the whole, striped or not.
pub async fn stat(_pool: &Pool, _name: &[u8]) -> Result<Stat> {
    unimplemented!()
}

pub async fn remove(_pool: &Pool, _name: &[u8]) -> Result<()> {
    unimplemented!()
}
