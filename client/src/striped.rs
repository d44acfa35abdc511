//! Objects of any size. A small one is a plain object, written in one piece. A large one is a head object under its name, empty but for
//! the xattrs below, and pieces, each an object of its own:
//!
//! | object                                             | content                                             |
//! |----------------------------------------------------|-----------------------------------------------------|
//! | `NAME`                                             | xattrs `striped.size`, `striped.unit`, `striped.generation` (decimal, decimal, 16 hexadecimal digits) |
//! | `NAME` `\0` generation (16 hex) index (16 hex)      | bytes `[index * unit, (index + 1) * unit)` of the whole |
//!
//! Pieces are written first, under a generation that nothing names yet, and the head last, in one request that is refused if anybody changed the head
//! meanwhile. So a put that is killed leaves what was there before, and a reader sees the old whole or the new one. The generation that the head
//! named before is removed afterwards. What a killed put wrote stays as pieces that nothing names; listings hide them.

mod get;
mod head;
mod put;

pub use get::get;
pub use put::{FromReader, Source, put};

use crate::error::{ENOENT, EOPNOTSUPP, Error, Result};
use crate::limits::STRIPE_JOBS;
use crate::{ObjectOperations, Pool, Stat};
use basalt_ring::Slice;
use head::{Head, Stripes};
use std::collections::VecDeque;

const HEX_DIGITS: usize = 16;

/// Whether this is the name of a piece.
pub fn is_piece(name: &[u8]) -> bool {
    let Some((front, digits)) = name.split_last_chunk::<{ 2 * HEX_DIGITS }>() else { return false };
    front.last() == Some(&0) && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn piece_name(name: &[u8], generation: u64, index: u64) -> Vec<u8> {
    let mut piece = name.to_vec();
    piece.push(0);
    piece.extend(format!("{generation:016x}{index:016x}").into_bytes());
    piece
}

/// The size of the whole, striped or not.
pub async fn stat(pool: &Pool, name: &[u8]) -> Result<Stat> {
    let head = Head::read(pool, name).await?;
    let size = head.stripes.as_ref().map_or(head.stat.size, |stripes| stripes.size);
    Ok(Stat { size, ..head.stat })
}

/// Removes the head, then its pieces. ENOENT if there is no object.
pub async fn remove(pool: &Pool, name: &[u8]) -> Result<()> {
    loop {
        let head = Head::read(pool, name).await?;
        let removal = ObjectOperations::new().assert_version(head.stat.version).remove();
        match pool.execute(name, removal).await {
            Ok(_) => {
                if let Some(stripes) = &head.stripes {
                    remove_pieces(pool, name, stripes).await?;
                }
                return Ok(());
            }
            // Somebody changed it in between: its pieces may be others now.
            Err(error) if head::is_outdated(Some(&head), &error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Appends to a plain object. EOPNOTSUPP for a striped one, whose head has no bytes of its own.
pub async fn append(pool: &Pool, name: &[u8], data: Slice) -> Result<u64> {
    change_plain(pool, name, |guarded| guarded.append(data.clone())).await
}

/// Cuts or extends a plain object. EOPNOTSUPP for a striped one, whose head has no bytes of its own.
pub async fn truncate(pool: &Pool, name: &[u8], size: u64) -> Result<u64> {
    change_plain(pool, name, |guarded| guarded.truncate(size)).await
}

async fn change_plain(pool: &Pool, name: &[u8], change: impl Fn(ObjectOperations) -> ObjectOperations) -> Result<u64> {
    loop {
        let head = Head::find(pool, name).await?;
        if head.as_ref().is_some_and(|head| head.stripes.is_some()) {
            let message =
                format!("object {} is stored in stripes, which can only be put anew as a whole", name.escape_ascii());
            return Err(Error::new(EOPNOTSUPP, message));
        }
        match pool.execute(name, change(head::guard(head.as_ref()))).await {
            Ok(outcome) => return Ok(outcome.version()),
            Err(error) if head::is_outdated(head.as_ref(), &error) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn remove_pieces(pool: &Pool, name: &[u8], stripes: &Stripes) -> Result<()> {
    remove_range(pool, name, stripes.generation, stripes.count()).await
}

/// Removes the first `count` pieces of a generation, as many as there are.
async fn remove_range(pool: &Pool, name: &[u8], generation: u64, count: u64) -> Result<()> {
    let mut running = VecDeque::new();
    let mut result = Ok(());
    let mut index = 0;
    while index < count || !running.is_empty() {
        if index < count && running.len() < STRIPE_JOBS {
            let (pool, piece) = (pool.clone(), piece_name(name, generation, index));
            running.push_back(pool.ring().clone().spawn(async move { pool.remove(&piece).await }));
            index += 1;
            continue;
        }
        if let Some(removal) = running.pop_front() {
            match removal.await {
                Err(error) if error.errno() != ENOENT => result = Err(error),
                _ => {}
            }
        }
    }
    result
}

fn piece_missing(name: &[u8], index: u64, seen: &str) -> Error {
    Error::new(
        crate::error::EIO,
        format!("piece {index} of object {} is {seen}: the object is damaged", name.escape_ascii()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_told_from_objects_by_their_names() {
        assert!(is_piece(&piece_name(b"a/b", 1, u64::MAX)));
        for name in [
            &b"a"[..],
            b"0123456789abcdef0123456789abcdef",
            b"a\x000123456789abcdef",
            b"",
            b"a\x00X123456789abcdef0123456789abcdef",
        ] {
            assert!(!is_piece(name), "{}", name.escape_ascii());
        }
    }
}
