//! Objects of a pool as a target: each clone's region, file after file, cut into objects of `object_size`.

use crate::job::Job;
use crate::target::TargetError;
use basalt_client::{Client, Error, Pool};
use basalt_ring::Slice;
use std::rc::Rc;

#[derive(Clone)]
pub struct PoolTarget {
    pool: Pool,
    /// Of the names of the clone's objects: the same job finds what it wrote before.
    prefix: Rc<str>,
    object_size: u64,
    file_size: u64,
}

fn failed(what: String, error: &Error) -> TargetError {
    TargetError::new(error.errno(), format!("{what}: {}", error.message()))
}

impl PoolTarget {
    pub async fn open(client: &Client, pool: &str, job: &Job, clone: u32) -> Result<PoolTarget, TargetError> {
        let pool = client.pool(pool).await.map_err(|error| failed(format!("pool '{pool}'"), &error))?;
        let prefix = format!("bench.{}.{clone}", job.name).into();
        Ok(PoolTarget { pool, prefix, object_size: job.object_size, file_size: job.file_size() })
    }

    pub fn object_size(&self) -> u64 {
        // Where files are smaller, a piece is a file.
        self.object_size.min(self.file_size)
    }

    /// The object and the place in it.
    fn place(&self, offset: u64) -> (String, u64) {
        let (file, within) = (offset / self.file_size, offset % self.file_size);
        let (object, at) = (within / self.object_size, within % self.object_size);
        (format!("{}.{file}.{object:08x}", self.prefix), at)
    }

    pub async fn read(&self, offset: u64, length: u64) -> Result<Slice, TargetError> {
        let (name, at) = self.place(offset);
        let data = self.pool.read(name.as_bytes(), at, length).await;
        let data = data.map_err(|error| failed(format!("reading {length} bytes at {at} of {name}"), &error))?;
        if data.len() as u64 != length {
            let message = format!("reading {length} bytes at {at} of {name}: only {} are there", data.len());
            return Err(TargetError::new(libc::EIO, message));
        }
        Ok(data)
    }

    pub async fn write(&self, offset: u64, data: Slice) -> Result<(), TargetError> {
        let (name, at) = self.place(offset);
        let length = data.len();
        let result = self.pool.write(name.as_bytes(), at, data).await;
        result.map(|_| ()).map_err(|error| failed(format!("writing {length} bytes at {at} of {name}"), &error))
    }

    pub async fn is_laid_out(&self, offset: u64, length: u64) -> Result<bool, TargetError> {
        let (name, at) = self.place(offset);
        match self.pool.stat(name.as_bytes()).await {
            Ok(stat) => Ok(stat.size >= at + length),
            Err(error) if error.errno() == libc::ENOENT => Ok(false),
            Err(error) => Err(failed(format!("looking for {name}"), &error)),
        }
    }
}
