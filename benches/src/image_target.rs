//! Block images as targets. As fio has it for a device, all clones of a job work on the same region, the beginning.

use crate::job::Job;
use crate::limits::LAYOUT_WRITE_BYTES;
use crate::target::TargetError;
use basalt_client::image::{Image, ImageName, Mode, Segment};
use basalt_client::{Client, Error};
use basalt_ring::{Ring, Slice};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The images of a run: each is opened once, since it has one writer.
#[derive(Default)]
pub struct Images {
    open: RefCell<BTreeMap<ImageName, Image>>,
}

impl Images {
    async fn open(&self, client: &Client, name: ImageName) -> Result<Image, TargetError> {
        let there = self.open.borrow().get(&name).cloned();
        if let Some(image) = there {
            return Ok(image);
        }
        let mode = match &name.snapshot {
            Some(snapshot) => Mode::Snapshot(snapshot.clone()),
            // Reading too begins with writing what is not there yet.
            None => Mode::Write,
        };
        let image = Image::open(client, &name.pool, &name.image, mode).await;
        let image = image.map_err(|error| failed(format!("image {name}"), &error))?;
        self.open.borrow_mut().insert(name, image.clone());
        Ok(image)
    }

    pub async fn close(&self) {
        for image in self.open.take().into_values() {
            image.close().await;
        }
    }
}

#[derive(Clone)]
pub struct ImageTarget {
    ring: Ring,
    image: Image,
}

fn failed(what: String, error: &Error) -> TargetError {
    TargetError::new(error.errno(), format!("{what}: {}", error.message()))
}

impl ImageTarget {
    pub async fn open(client: &Client, images: &Images, name: &str, job: &Job) -> Result<ImageTarget, TargetError> {
        let name = ImageName::parse(name).map_err(|error| TargetError::new(error.errno(), error.message()))?;
        let image = images.open(client, name.clone()).await?;
        let (size, region) = (image.size(), job.region());
        if region > size {
            let message = format!("image {name} has {size} bytes, and the job wants {region}");
            return Err(TargetError::new(libc::ENOSPC, message));
        }
        Ok(ImageTarget { ring: client.ring().clone(), image })
    }

    pub async fn read(&self, offset: u64, length: u64) -> Result<Slice, TargetError> {
        let segments = self.image.read(offset, length).await;
        let segments = segments.map_err(|error| failed(format!("reading {length} bytes at {offset}"), &error))?;
        if let [Segment::Data(data)] = segments.as_slice() {
            return Ok(data.clone());
        }
        let mut whole = self.ring.buffer(length as usize);
        let mut at = 0;
        for segment in segments {
            let place = &mut whole[at..at + segment.len() as usize];
            at += place.len();
            match segment {
                Segment::Data(data) => place.copy_from_slice(&data),
                Segment::Zeros(_) => place.fill(0),
            }
        }
        Ok(whole.freeze())
    }

    pub async fn write(&self, offset: u64, data: Slice) -> Result<(), TargetError> {
        let length = data.len();
        let written = self.image.write(offset, data).await;
        written.map_err(|error| failed(format!("writing {length} bytes at {offset}"), &error))
    }

    pub fn piece(&self) -> u64 {
        LAYOUT_WRITE_BYTES
    }

    /// Whether all of it has data, so that reads find some.
    pub async fn is_laid_out(&self, offset: u64, length: u64) -> Result<bool, TargetError> {
        let extents = self.image.extents(offset, length, 2).await;
        let extents = extents.map_err(|error| failed(format!("looking for {length} bytes at {offset}"), &error))?;
        Ok(extents.iter().all(|extent| extent.is_data))
    }
}
