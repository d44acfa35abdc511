//! The object that a header is kept in.

use super::Id;
use super::header::Header;
use super::layout::header_name;
use super::limits::{HEADER_BYTES_MAX, HEADER_TRIES};
use crate::error::{E2BIG, EAGAIN, ENOENT, ERANGE, Error, Result};
use crate::{ObjectOperations, Pool};
use basalt_ring::Slice;

/// A header and the version of its object.
#[derive(Clone, Debug)]
pub struct Stored {
    pub header: Header,
    pub version: u64,
}

/// `name`: of the image, for messages. ENOENT if there is no such header.
pub async fn read(pool: &Pool, id: Id, name: &str) -> Result<Stored> {
    let operations = ObjectOperations::new().stat().read(0, HEADER_BYTES_MAX);
    let outcome = pool.execute(&header_name(id), operations).await.map_err(|error| missing(error, pool, name))?;
    let header = Header::decode(name, &outcome.data(1)?)?;
    Ok(Stored { header, version: outcome.stat(0)?.version })
}

/// Of its object: another one after each change.
pub async fn version(pool: &Pool, id: Id, name: &str) -> Result<u64> {
    let outcome = pool.execute(&header_name(id), ObjectOperations::new().stat()).await;
    Ok(outcome.map_err(|error| missing(error, pool, name))?.stat(0)?.version)
}

fn missing(error: Error, pool: &Pool, name: &str) -> Error {
    match error.errno() {
        ENOENT => Error::new(ENOENT, format!("there is no image {name:?} in pool {:?}", pool.name())),
        _ => error,
    }
}

/// EEXIST if there is one.
pub async fn create(pool: &Pool, header: &Header) -> Result<()> {
    let operations = ObjectOperations::new().assert_absent().write_full(encoded(pool, header)?);
    pool.execute(&header_name(header.id), operations).await.map(drop)
}

/// Makes a change of the header as it is now, whoever else changes it at the same time. What `change` refuses is not written.
pub async fn change<T>(
    pool: &Pool,
    id: Id,
    name: &str,
    mut change: impl FnMut(&mut Header) -> Result<T>,
) -> Result<(Stored, T)> {
    for _ in 0..HEADER_TRIES {
        let Stored { mut header, version } = read(pool, id, name).await?;
        let before = header.clone();
        let outcome = change(&mut header)?;
        if header == before {
            return Ok((Stored { header, version }, outcome));
        }
        let operations = ObjectOperations::new().assert_version(version).write_full(encoded(pool, &header)?);
        match pool.execute(&header_name(id), operations).await {
            Ok(written) => return Ok((Stored { header, version: written.version() }, outcome)),
            Err(error) if error.errno() == ERANGE => {}
            Err(error) => return Err(missing(error, pool, name)),
        }
    }
    Err(Error::new(EAGAIN, format!("the header of image {name:?} is changed by others all the time; try again")))
}

/// Nothing happens if there is none.
pub async fn remove(pool: &Pool, id: Id) -> Result<()> {
    match pool.remove(&header_name(id)).await {
        Err(error) if error.errno() != ENOENT => Err(error),
        _ => Ok(()),
    }
}

fn encoded(pool: &Pool, header: &Header) -> Result<Slice> {
    let bytes = header.encode();
    if bytes.len() as u64 > HEADER_BYTES_MAX {
        let message = format!(
            "the header of image {:?} would have {} bytes; remove snapshots or clones",
            header.name,
            bytes.len()
        );
        return Err(Error::new(E2BIG, message));
    }
    let mut buffer = pool.ring().buffer(bytes.len());
    buffer.copy_from_slice(&bytes);
    Ok(buffer.freeze())
}
