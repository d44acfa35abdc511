//! Before a job that reads: whatever of its region is not there yet is written, outside of the measurement.

use crate::job::Job;
use crate::limits::{LAYOUT_DEPTH, LAYOUT_WRITE_BYTES};
use crate::pattern::{self, Stamp};
use crate::random::Random;
use crate::target::{Target, TargetError};
use basalt_ring::{Ring, local};
use std::cell::Cell;

/// Writes what is missing. The bytes written.
pub async fn lay_out(ring: &Ring, job: &Job, owner: u64, target: &Target) -> Result<u64, TargetError> {
    let file = job.file_size();
    let piece = target.piece().min(file);
    let pieces_a_file = file.div_ceil(piece);
    let next = Cell::new(0_u64);
    let written = Cell::new(0_u64);
    let worker = async || -> Result<(), TargetError> {
        loop {
            let number = next.get();
            if number == pieces_a_file * job.files {
                return Ok(());
            }
            next.set(number + 1);
            let within = number % pieces_a_file * piece;
            let offset = number / pieces_a_file * file + within;
            let length = piece.min(file - within);
            if target.is_laid_out(offset, length).await? {
                continue;
            }
            lay_out_piece(ring, job, owner, target, offset, length).await?;
            written.set(written.get() + length);
        }
    };
    let results = local::join_all((0..LAYOUT_DEPTH).map(|_| worker()).collect()).await;
    results.into_iter().collect::<Result<(), TargetError>>()?;
    target.flush().await?;
    Ok(written.get())
}

async fn lay_out_piece(
    ring: &Ring,
    job: &Job,
    owner: u64,
    target: &Target,
    offset: u64,
    length: u64,
) -> Result<(), TargetError> {
    let block = job.read_sizes.min();
    // In whole blocks, so that those a verifying job will read are whole.
    let step = (LAYOUT_WRITE_BYTES / block).max(1) * block;
    let end = offset + length;
    let mut at = offset;
    while at < end {
        let mut buffer = ring.buffer(step.min(end - at) as usize);
        if job.verify {
            for (index, block) in buffer.chunks_mut(block as usize).enumerate() {
                let stamp = Stamp { owner, offset: at + index as u64 * job.read_sizes.min(), sequence: 0 };
                if block.len() >= pattern::HEADER {
                    pattern::fill(stamp, block);
                }
            }
        } else {
            Random::new(owner ^ at).fill(&mut buffer);
        }
        let written = buffer.len() as u64;
        target.write(at, buffer.freeze()).await?;
        at += written;
    }
    Ok(())
}
