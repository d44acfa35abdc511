//! Block images: flat ranges of bytes, striped over objects of 4 MiB, sparse, with snapshots, clones and one writer at a time.
//!
//! Decided apart from done: [`header`] says what an image is and how each change makes another of it, [`layout`] where its bytes are; both
//! do no I/O. [`Image`] is an open image, [`apply`] has a change made whoever holds the image, [`manage`] makes and removes images.
//! Promises: what is acknowledged is durable; a snapshot has every write acknowledged before it was asked for, and none that began after it
//! was made; whoever dies in the middle of anything leaves an image that goes on; a process that was taken for dead writes nothing any more.
//! docs/IMAGES.md says how.

mod change;
mod directory;
mod gate;
pub mod header;
mod header_object;
mod id;
#[allow(clippy::module_inception)]
mod image;
mod io;
pub mod layout;
pub mod limits;
mod lock;
pub mod manage;
mod name;
mod places;
mod tidy;
mod view;

pub use change::{Change, apply};
pub use header::Header;
pub use id::Id;
pub use image::{Image, Mode};
pub use io::{Extent, Segment};
pub use lock::Owner;
pub use name::ImageName;
