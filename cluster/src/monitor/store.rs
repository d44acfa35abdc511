//! Where the monitor's decisions are kept: maps by epoch, and small values by key.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

/// One atomic change: all of it is durable, or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// A new newest map.
    pub map: Option<(u32, Arc<Vec<u8>>)>,
    pub values: Vec<(String, Vec<u8>)>,
    /// Maps of epochs below this one are no longer needed.
    pub forget_maps_below: u32,
}

/// What a store holds at the monitor's start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    pub newest_map: Option<(u32, Vec<u8>)>,
    pub values: BTreeMap<String, Vec<u8>>,
}

/// The seam between the embedded store and a shared one.
pub trait MonitorStore: Send + 'static {
    fn load(&mut self) -> Result<Stored, StoreError>;
    /// Returns once the batch is durable.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;
    /// An older map, if it is still kept.
    fn map(&mut self, epoch: u32) -> Result<Option<Vec<u8>>, StoreError>;
}

#[derive(Debug, thiserror::Error)]
#[error("monitor store {place}: {problem}")]
pub struct StoreError {
    pub place: String,
    pub problem: String,
}

impl StoreError {
    pub fn new(path: &Path, problem: &dyn Display) -> StoreError {
        StoreError { place: path.display().to_string(), problem: problem.to_string() }
    }
}
