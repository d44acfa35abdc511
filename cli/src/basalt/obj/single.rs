//! One object: put, get, rm, stat, append, truncate.

use super::pieces::Pieces;
use super::{name_of, of_object};
use crate::arguments::Object;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result, name_text};
use basalt_client::{Pool, striped};
use basalt_cluster::quantity::format_utc;
use basalt_ring::Ring;
use serde_json::json;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub async fn put(ring: &Ring, pool: &Pool, object: &Object, file: &Path, output: &mut Output) -> Result<()> {
    let mut source = Counted { pieces: Pieces::open(ring, file)?, bytes: 0 };
    of_object(pool, name_of(object), striped::put(pool, name_of(object), &mut source).await)?;
    let bytes = source.bytes;
    report(output, pool, name_of(object), json!({ "size": bytes }))
}

pub async fn get(pool: &Pool, object: &Object, file: &Path, output: &mut Output) -> Result<()> {
    let name = name_of(object);
    if file == Path::new("-") {
        return copy(pool, name, |bytes| output.bytes(bytes)).await.map(|_| ());
    }
    // Opened with the first bytes, so that an object that is not there leaves the file as it is.
    let mut target: Option<File> = None;
    let create = || File::create(file).map_err(|error| Failure::file(file, &error));
    let bytes = copy(pool, name, |bytes| {
        let target = match &mut target {
            Some(target) => target,
            empty => empty.insert(create()?),
        };
        target.write_all(bytes).map_err(|error| Failure::file(file, &error))
    })
    .await?;
    if target.is_none() {
        create()?;
    }
    report(output, pool, name, json!({ "size": bytes }))
}

/// Passes an object's bytes on; a failure of `sink` keeps its own message.
pub async fn copy(pool: &Pool, name: &[u8], mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
    let mut refused = None;
    let copied = striped::get(pool, name, |bytes| {
        sink(bytes).map_err(|failure| {
            let error = basalt_client::Error::new(failure.errno(), failure.message());
            refused = Some(failure);
            error
        })
    })
    .await;
    match refused {
        Some(failure) => Err(failure),
        None => of_object(pool, name, copied),
    }
}

pub async fn remove(pool: &Pool, names: &[OsString], output: &mut Output) -> Result<()> {
    for name in names {
        of_object(pool, name.as_bytes(), striped::remove(pool, name.as_bytes()).await)?;
    }
    if output.format().is_json() {
        let removed: Vec<_> = names.iter().map(|name| name_text::json(name.as_bytes())).collect();
        output.json(&json!({ "pool": pool.name(), "removed": removed }))?;
    }
    Ok(())
}

pub async fn stat(pool: &Pool, object: &Object, output: &mut Output) -> Result<()> {
    let name = name_of(object);
    let stat = of_object(pool, name, striped::stat(pool, name).await)?;
    let mtime = utc(stat.mtime_ns);
    if output.format().is_json() {
        return output.json(&json!({
            "pool": pool.name(),
            "name": name_text::json(name),
            "size": stat.size,
            "mtime": mtime,
            "version": stat.version,
        }));
    }
    output.text(pool.name())?;
    output.bytes(b"/")?;
    output.bytes(name)?;
    output.line(&format!(" mtime {mtime}, size {}", stat.size))
}

pub async fn append(ring: &Ring, pool: &Pool, object: &Object, file: &Path, output: &mut Output) -> Result<()> {
    let name = name_of(object);
    let mut pieces = Pieces::open(ring, file)?;
    let mut bytes = 0;
    while let Some(piece) = pieces.next_piece().await? {
        bytes += piece.len() as u64;
        of_object(pool, name, pool.append(name, piece).await)?;
    }
    report(output, pool, name, json!({ "appended": bytes }))
}

pub async fn truncate(pool: &Pool, object: &Object, size: u64, output: &mut Output) -> Result<()> {
    let name = name_of(object);
    of_object(pool, name, pool.truncate(name, size).await)?;
    report(output, pool, name, json!({ "size": size }))
}

/// What was done, for JSON only: a command that did as it was told says nothing to a person.
pub fn report(output: &mut Output, pool: &Pool, name: &[u8], done: serde_json::Value) -> Result<()> {
    if !output.format().is_json() {
        return Ok(());
    }
    let mut document = json!({ "pool": pool.name(), "name": name_text::json(name) });
    if let (Some(document), serde_json::Value::Object(done)) = (document.as_object_mut(), done) {
        document.extend(done);
    }
    output.json(&document)
}

/// `2026-11-22T13:02:02.123456+0000`
fn utc(nanoseconds: u64) -> String {
    let seconds = format_utc(nanoseconds / 1_000_000_000);
    seconds.replace('+', &format!(".{:06}+", nanoseconds / 1000 % 1_000_000))
}

/// Counts the bytes that pass.
struct Counted {
    pieces: Pieces,
    bytes: u64,
}

impl striped::Source for &mut Counted {
    async fn next(&mut self) -> basalt_client::Result<Option<basalt_ring::Slice>> {
        let piece = striped::Source::next(&mut self.pieces).await?;
        self.bytes += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }
}
