//! Nothing: operations that end at the next turn, so that what is left to be measured is the bench itself.

use basalt_ring::{Ring, Slice};

#[derive(Clone)]
pub struct NullTarget {
    ring: Ring,
    /// What every read brings.
    data: Slice,
}

impl NullTarget {
    /// For reads of up to so many bytes.
    pub fn new(ring: &Ring, read_bytes_max: u64) -> NullTarget {
        let mut data = ring.buffer(read_bytes_max as usize);
        data.fill(0);
        NullTarget { ring: ring.clone(), data: data.freeze() }
    }

    pub async fn read(&self, length: u64) -> Slice {
        self.ring.yield_now().await;
        self.data.slice(0..length as usize)
    }

    pub async fn write(&self, data: Slice) {
        self.ring.yield_now().await;
        drop(data);
    }
}
