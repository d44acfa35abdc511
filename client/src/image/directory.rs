//! A pool's images by name. An image is there once its name leads to a header.

use super::Id;
use super::header_object;
use super::layout::DIRECTORY;
use super::limits::{DIRECTORY_PAGE, HEADER_TRIES};
use crate::error::{EAGAIN, EEXIST, EIO, ENOENT, ERANGE, Error, Result};
use crate::{ObjectOperations, Pool};
use basalt_net::message::object::Operation;

/// ENOENT if there is no such name.
pub async fn find(pool: &Pool, name: &str) -> Result<Id> {
    match entry(pool, name).await? {
        (Some(id), _) => Ok(id),
        (None, _) => Err(no_image(pool, name)),
    }
}

pub fn no_image(pool: &Pool, name: &str) -> Error {
    Error::new(
        ENOENT,
        format!("there is no image {name:?} in pool {:?}; `basalt image ls` shows those there are", pool.name()),
    )
}

/// What a name leads to, and the version of the directory that says so (0: there is none yet).
async fn entry(pool: &Pool, name: &str) -> Result<(Option<Id>, u64)> {
    let get = Operation::GetOmap { keys: vec![name.as_bytes().to_vec()] };
    let outcome = match pool.execute(DIRECTORY, ObjectOperations::new().stat().operation(get)).await {
        Ok(outcome) => outcome,
        Err(error) if error.errno() == ENOENT => return Ok((None, 0)),
        Err(error) => return Err(error),
    };
    let version = outcome.stat(0)?.version;
    match outcome.pairs(1)?.0.first() {
        None => Ok((None, version)),
        Some((_, value)) => match std::str::from_utf8(value).ok().and_then(Id::parse) {
            Some(id) => Ok((Some(id), version)),
            None => Err(Error::new(EIO, format!("the directory's entry of image {name:?} is damaged"))),
        },
    }
}

/// Takes a name. EEXIST if it leads to an image; an entry that leads nowhere is one of a creation that was cut short, and is taken over.
pub async fn add(pool: &Pool, name: &str, id: Id) -> Result<()> {
    for _ in 0..HEADER_TRIES {
        let (there, version) = entry(pool, name).await?;
        if there == Some(id) {
            return Ok(());
        }
        if let Some(there) = there {
            match header_object::read(pool, there, name).await {
                Err(error) if error.errno() == ENOENT => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    let message = format!("there is an image {name:?} in pool {:?} already", pool.name());
                    return Err(Error::new(EEXIST, message));
                }
            }
        }
        let pairs = vec![(name.as_bytes().to_vec(), id.to_string().into_bytes())];
        if changed(pool, version, Operation::SetOmap { pairs }).await? {
            return Ok(());
        }
    }
    Err(busy(pool))
}

/// Gives a name up, if it still leads to this image.
pub async fn remove(pool: &Pool, name: &str, id: Id) -> Result<()> {
    for _ in 0..HEADER_TRIES {
        let (there, version) = entry(pool, name).await?;
        if there != Some(id) {
            return Ok(());
        }
        if changed(pool, version, Operation::RemoveOmap { keys: vec![name.as_bytes().to_vec()] }).await? {
            return Ok(());
        }
    }
    Err(busy(pool))
}

async fn changed(pool: &Pool, version: u64, change: Operation) -> Result<bool> {
    let guard = ObjectOperations::new();
    let guard = if version == 0 { guard.assert_absent() } else { guard.assert_version(version) };
    match pool.execute(DIRECTORY, guard.operation(change)).await {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.errno(), ERANGE | EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

fn busy(pool: &Pool) -> Error {
    Error::new(EAGAIN, format!("the directory of pool {:?} is changed by others all the time; try again", pool.name()))
}

/// Names in byte order, with what they lead to.
pub async fn list(pool: &Pool) -> Result<Vec<(String, Id)>> {
    let mut found = Vec::new();
    let mut after = Vec::new();
    loop {
        let (pairs, more) = match pool.list_omap(DIRECTORY, &after, b"", DIRECTORY_PAGE).await {
            Ok(page) => page,
            Err(error) if error.errno() == ENOENT => return Ok(found),
            Err(error) => return Err(error),
        };
        let Some((last, _)) = pairs.last() else { return Ok(found) };
        after.clone_from(last);
        found.extend(pairs.into_iter().filter_map(|(name, value)| {
            let id = Id::parse(std::str::from_utf8(&value).ok()?)?;
            Some((String::from_utf8(name).ok()?, id))
        }));
        if !more {
            return Ok(found);
        }
    }
}
