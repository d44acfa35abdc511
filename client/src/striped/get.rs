//! Reading an object of any size, from one version of it.

use super::head::{Head, Stripes};
use super::{piece_missing, piece_name};
use crate::error::{ENOENT, ERANGE, ESTALE, Error, Result};
use crate::limits::{STRIPE_JOBS, STRIPE_UNIT};
use crate::{ObjectOperations, Pool};
use basalt_ring::{Slice, Task};
use std::collections::VecDeque;

/// Passes the object's bytes to `sink`, in order; returns how many there were. All of them are of one version: an object that is replaced
/// meanwhile is read anew, or is ESTALE if `sink` has had some bytes already.
pub async fn get(pool: &Pool, name: &[u8], mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
    loop {
        let head = Head::read_with_data(pool, name, STRIPE_UNIT).await?;
        let mut passed = 0;
        let mut pass = |data: Slice| {
            passed += data.len() as u64;
            sink(&data)
        };
        let read = match &head.stripes {
            Some(stripes) => get_pieces(pool, name, stripes, &mut pass).await,
            None => get_plain(pool, name, &head, &mut pass).await,
        };
        match read {
            Ok(()) => return Ok(passed),
            Err(Interrupted::Failed(error)) => return Err(error),
            Err(Interrupted::PieceMissing(index)) => {
                let now = Head::find(pool, name).await?;
                if now.as_ref().is_some_and(|now| now.stripes == head.stripes) {
                    return Err(piece_missing(name, index, "missing"));
                }
            }
            Err(Interrupted::Replaced) => {}
        }
        if passed > 0 {
            let message = format!("object {} was replaced while it was read: read it again", name.escape_ascii());
            return Err(Error::new(ESTALE, message));
        }
    }
}

enum Interrupted {
    Replaced,
    PieceMissing(u64),
    Failed(Error),
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Interrupted {
        Interrupted::Failed(error)
    }
}

async fn get_plain(
    pool: &Pool,
    name: &[u8],
    head: &Head,
    pass: &mut impl FnMut(Slice) -> Result<()>,
) -> std::result::Result<(), Interrupted> {
    let first = head.data()?;
    let mut offset = first.len() as u64;
    pass(first)?;
    while offset < head.stat.size {
        let operations = ObjectOperations::new().assert_version(head.stat.version).read(offset, STRIPE_UNIT);
        match pool.execute(name, operations).await {
            Ok(outcome) => {
                let data = outcome.data(1)?;
                if data.is_empty() {
                    return Err(Error::protocol("the OSD", "no bytes before the object's end").into());
                }
                offset += data.len() as u64;
                pass(data)?;
            }
            Err(error) if matches!(error.errno(), ERANGE | ENOENT) => return Err(Interrupted::Replaced),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn get_pieces(
    pool: &Pool,
    name: &[u8],
    stripes: &Stripes,
    pass: &mut impl FnMut(Slice) -> Result<()>,
) -> std::result::Result<(), Interrupted> {
    let mut running: VecDeque<(u64, Task<Result<Slice>>)> = VecDeque::new();
    let mut indices = 0..stripes.count();
    loop {
        while running.len() < STRIPE_JOBS
            && let Some(index) = indices.next()
        {
            let (pool, piece, unit) = (pool.clone(), piece_name(name, stripes.generation, index), stripes.unit);
            running.push_back((index, pool.ring().clone().spawn(async move { pool.read(&piece, 0, unit).await })));
        }
        let Some((index, read)) = running.pop_front() else { return Ok(()) };
        match read.await {
            Ok(data) if data.len() as u64 == stripes.piece_len(index) => pass(data)?,
            Ok(data) => return Err(piece_missing(name, index, &format!("{} bytes long", data.len())).into()),
            Err(error) if error.errno() == ENOENT => return Err(Interrupted::PieceMissing(index)),
            Err(error) => return Err(error.into()),
        }
    }
}
