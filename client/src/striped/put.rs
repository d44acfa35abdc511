//! Storing an object of any size.

use super::head::{self, Head, Stripes};
use super::{piece_name, remove_pieces, remove_range};
use crate::error::{EIO, ETIMEDOUT, Error, Result};
use crate::limits::{PLAIN_BYTES_MAX, STRIPE_JOBS, STRIPE_UNIT};
use crate::{ObjectOperations, Pool};
use basalt_ring::{Buffer, Slice, Task};
use std::collections::VecDeque;

/// Where a put takes its bytes from.
pub trait Source {
    /// Fills the buffer from its start; cuts it shorter only at the end of all.
    fn fill(&mut self, buffer: Buffer) -> impl Future<Output = Result<Buffer>>;
}

/// Takes a put's bytes from a file or a pipe. Blocks the thread while it reads, so it is for tools, not for daemons.
pub struct FromReader<R>(pub R);

impl<R: std::io::Read> Source for FromReader<R> {
    async fn fill(&mut self, mut buffer: Buffer) -> Result<Buffer> {
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.0.read(room) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::new(EIO, format!("can't read what is to be stored: {error}"))),
            }
        }
        buffer.truncate(filled);
        Ok(buffer)
    }
}

/// Stores all of `source` under `name`, replacing what was there; returns how many bytes that were. A put that fails or is killed leaves what
/// was there before.
pub async fn put(pool: &Pool, name: &[u8], mut source: impl Source) -> Result<u64> {
    let (mut pieces, mut size) = (VecDeque::new(), 0);
    loop {
        let piece = source.fill(pool.ring().buffer(STRIPE_UNIT as usize)).await?;
        let is_last = (piece.len() as u64) < STRIPE_UNIT;
        size += piece.len() as u64;
        if !piece.is_empty() {
            pieces.push_back(piece.freeze());
        }
        if size > PLAIN_BYTES_MAX {
            return put_striped(pool, name, pieces, (!is_last).then_some(source)).await;
        }
        if is_last {
            return put_plain(pool, name, pieces.into()).await;
        }
    }
}

async fn put_plain(pool: &Pool, name: &[u8], pieces: Vec<Slice>) -> Result<u64> {
    let size = pieces.iter().map(|piece| piece.len() as u64).sum();
    loop {
        let old = Head::find(pool, name).await?;
        let mut operations = head::guard(old.as_ref());
        let old_stripes = old.as_ref().and_then(|old| old.stripes);
        if old_stripes.is_some() {
            operations = head::unmark(operations);
        }
        operations = operations.write_full_of(pieces.clone());
        match pool.execute(name, operations).await {
            Ok(_) => {
                if let Some(stripes) = old_stripes {
                    remove_pieces(pool, name, &stripes).await?;
                }
                return Ok(size);
            }
            Err(error) if head::is_outdated(old.as_ref(), &error) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn put_striped(pool: &Pool, name: &[u8], first: VecDeque<Slice>, rest: Option<impl Source>) -> Result<u64> {
    let generation = pool.ring().random_u64();
    let mut writer = PieceWriter { pool, name, generation, index: 0, size: 0, running: VecDeque::new() };
    let switched = match writer.write_all(first, rest).await {
        Ok(()) => {
            let stripes = Stripes { size: writer.size, unit: STRIPE_UNIT, generation };
            switch(pool, name, stripes).await
        }
        Err(error) => Err(error),
    };
    match switched {
        Ok(old_stripes) => {
            if let Some(stripes) = old_stripes {
                remove_pieces(pool, name, &stripes).await?;
            }
            Ok(writer.size)
        }
        Err(error) => {
            // A switch without an answer may still happen, and then the head needs its pieces.
            if error.errno() != ETIMEDOUT {
                let _ = remove_range(pool, name, generation, writer.index).await;
            }
            Err(error)
        }
    }
}

/// Makes the head name these pieces; returns those it named before.
async fn switch(pool: &Pool, name: &[u8], stripes: Stripes) -> Result<Option<Stripes>> {
    loop {
        let old = Head::find(pool, name).await?;
        let operations = stripes.mark(head::guard(old.as_ref()).write_full(pool.ring().buffer(0).freeze()));
        match pool.execute(name, operations).await {
            Ok(_) => return Ok(old.and_then(|old| old.stripes)),
            Err(error) if head::is_outdated(old.as_ref(), &error) => {}
            Err(error) => return Err(error),
        }
    }
}

struct PieceWriter<'a> {
    pool: &'a Pool,
    name: &'a [u8],
    generation: u64,
    /// Of the next piece.
    index: u64,
    size: u64,
    running: VecDeque<Task<Result<u64>>>,
}

impl PieceWriter<'_> {
    async fn write_all(&mut self, first: VecDeque<Slice>, mut rest: Option<impl Source>) -> Result<()> {
        for piece in first {
            self.write(piece).await?;
        }
        while let Some(source) = &mut rest {
            let piece = source.fill(self.pool.ring().buffer(STRIPE_UNIT as usize)).await?;
            let is_last = (piece.len() as u64) < STRIPE_UNIT;
            if !piece.is_empty() {
                self.write(piece.freeze()).await?;
            }
            if is_last {
                rest = None;
            }
        }
        while let Some(write) = self.running.pop_front() {
            write.await?;
        }
        Ok(())
    }

    /// Begins a write, after waiting for the oldest if there are many.
    async fn write(&mut self, piece: Slice) -> Result<()> {
        if self.running.len() >= STRIPE_JOBS
            && let Some(write) = self.running.pop_front()
        {
            write.await?;
        }
        self.size += piece.len() as u64;
        let (pool, name) = (self.pool.clone(), piece_name(self.name, self.generation, self.index));
        self.index += 1;
        let write = async move {
            // A retried put of the same generation does not exist; a piece that is there already is somebody else's.
            let operations = ObjectOperations::new().assert_absent().write_full(piece);
            Ok(pool.execute(&name, operations).await?.version())
        };
        self.running.push_back(self.pool.ring().spawn(write));
        Ok(())
    }
}
