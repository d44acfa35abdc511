//! Images from files and to files.

use crate::obj::pieces::Pieces;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result};
use basalt_client::Client;
use basalt_client::image::{Change, Image, ImageName, Mode, Segment, manage};
use basalt_ring::{Slice, Task};
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Reads or writes under way at a time, and bytes of each.
const JOBS: usize = 8;
const STEP_BYTES: u64 = 4 << 20;
/// An image whose size shows only at the end grows in such steps.
const GROWTH_BYTES: u64 = 1 << 30;
/// Zeros in runs of so many bytes are left out.
const ZERO_RUN_BYTES: usize = 64 << 10;

pub async fn import(client: &Client, file: &Path, name: &ImageName) -> Result<()> {
    let mut pieces = Pieces::open(file)?;
    let known = (file != Path::new("-")).then(|| std::fs::metadata(file).map(|metadata| metadata.len()));
    let known = known.transpose().map_err(|error| Failure::file(file, &error))?;
    manage::create(client, &name.pool, &name.image, known.unwrap_or(0)).await?;
    let imported = async {
        let image = Image::open(client, &name.pool, &name.image, Mode::Write).await?;
        let filled = fill(client, &image, &mut pieces).await;
        image.close().await;
        filled
    };
    if let Err(failure) = imported.await {
        // An image that has half of a file is of no use; if it stays, the failure says more than this one.
        let _ = manage::remove(client, &name.pool, &name.image).await;
        return Err(failure);
    }
    Ok(())
}

async fn fill(client: &Client, image: &Image, pieces: &mut Pieces) -> Result<()> {
    let mut running: VecDeque<Task<basalt_client::Result<()>>> = VecDeque::new();
    let mut at = 0;
    while let Some(piece) = pieces.next(client.ring()).await? {
        let piece = piece.freeze();
        let end = at + piece.len() as u64;
        if end > image.size() {
            let size = end.next_multiple_of(GROWTH_BYTES);
            image.change(&Change::Resize { size }).await?;
        }
        for (offset, run) in runs(&piece) {
            if running.len() >= JOBS
                && let Some(write) = running.pop_front()
            {
                write.await?;
            }
            let image = image.clone();
            running.push_back(client.ring().spawn(async move { image.write(at + offset, run).await }));
        }
        at = end;
    }
    for write in running {
        write.await?;
    }
    if image.size() != at {
        image.change(&Change::Resize { size: at }).await?;
    }
    Ok(())
}

/// The parts of a piece that are not zeros, with where they begin.
fn runs(piece: &Slice) -> Vec<(u64, Slice)> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for start in (0..piece.len()).step_by(ZERO_RUN_BYTES) {
        let end = (start + ZERO_RUN_BYTES).min(piece.len());
        if piece[start..end].iter().all(|byte| *byte == 0) {
            continue;
        }
        match runs.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => runs.push(start..end),
        }
    }
    runs.into_iter().map(|run| (run.start as u64, piece.slice(run))).collect()
}

enum Sink<'a> {
    File(File, &'a Path),
    Stdout(&'a mut Output),
}

impl Sink<'_> {
    fn put(&mut self, offset: u64, segment: &Segment) -> Result<()> {
        match (self, segment) {
            (Sink::File(file, path), Segment::Data(data)) => {
                for (start, run) in runs(data) {
                    file.write_all_at(&run, offset + start).map_err(|error| Failure::file(path, &error))?;
                }
                Ok(())
            }
            (Sink::File(..), Segment::Zeros(_)) => Ok(()),
            (Sink::Stdout(output), Segment::Data(data)) => output.bytes(data),
            (Sink::Stdout(output), Segment::Zeros(length)) => {
                let zeros = [0; ZERO_RUN_BYTES];
                let mut left = *length;
                while left > 0 {
                    let step = left.min(zeros.len() as u64);
                    output.bytes(&zeros[..step as usize])?;
                    left -= step;
                }
                Ok(())
            }
        }
    }
}

pub async fn export(client: &Client, name: &ImageName, file: &Path, output: &mut Output) -> Result<()> {
    let mode = name.snapshot.as_ref().map_or(Mode::Read, |snapshot| Mode::Snapshot(snapshot.clone()));
    let image = Image::open(client, &name.pool, &name.image, mode).await?;
    let size = image.size();
    let mut sink = if file == Path::new("-") {
        Sink::Stdout(output)
    } else {
        let created = File::options().write(true).create_new(true).open(file);
        let made = created.map_err(|error| Failure::file(file, &error))?;
        made.set_len(size).map_err(|error| Failure::file(file, &error))?;
        Sink::File(made, file)
    };
    let mut running: VecDeque<(u64, Task<basalt_client::Result<Vec<Segment>>>)> = VecDeque::new();
    let mut asked = 0;
    loop {
        while asked < size && running.len() < JOBS {
            let (image, offset, length) = (image.clone(), asked, STEP_BYTES.min(size - asked));
            running.push_back((offset, client.ring().spawn(async move { image.read(offset, length).await })));
            asked += length;
        }
        let Some((mut offset, read)) = running.pop_front() else { break };
        for segment in read.await? {
            sink.put(offset, &segment)?;
            offset += segment.len();
        }
    }
    image.close().await;
    if let Sink::File(made, path) = sink {
        made.sync_all().map_err(|error| Failure::file(path, &error))?;
    }
    Ok(())
}
