//! What the tests of several crates share: a reference model of the block store, a simulated OSD to hold it against, random work on
//! both, and the enumeration of crash images. The tests themselves are under `tests/` (one file a subject) and `tests/regressions/`.

pub mod cluster;
pub mod crash;
pub mod hunt;
pub mod kept_image;
pub mod linearizable;
pub mod lives;
pub mod model;
pub mod random;
pub mod random_work;
pub mod rot;
pub mod simulated_store;
pub mod slow_disk;
pub mod verdict;
