//! One object: put, get, rm, stat, append, truncate.

use super::pieces::Pieces;
use super::{name_of, of_object};
use crate::arguments::Object;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result, name_text};
use basalt_client::{ObjectOperations, Pool, striped};
use basalt_cluster::quantity::format_utc;
use basalt_net::message::object::Operation;
use serde_json::json;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An xattr that striped objects have, and only they; see `basalt_client::striped`.
const STRIPED_MARK: &[u8] = b"striped.size";

pub async fn put(pool: &Pool, object: &Object, file: &Path, output: &mut Output) -> Result<()> {
    let mut source = Pieces::open(file)?;
    let stored = striped::put(pool, name_of(object), &mut source).await;
    if let Some(failure) = source.failure {
        return Err(failure);
    }
    let bytes = of_object(pool, name_of(object), stored)?;
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

pub async fn append(pool: &Pool, object: &Object, file: &Path, output: &mut Output) -> Result<()> {
    let name = name_of(object);
    let mut pieces = Pieces::open(file)?;
    while let Some(piece) = pieces.next(pool.ring()).await? {
        change_plain(pool, name, unstriped().append(piece.freeze())).await?;
    }
    report(output, pool, name, json!({ "appended": pieces.bytes }))
}

pub async fn truncate(pool: &Pool, object: &Object, size: u64, output: &mut Output) -> Result<()> {
    let name = name_of(object);
    change_plain(pool, name, unstriped().truncate(size)).await?;
    report(output, pool, name, json!({ "size": size }))
}

/// Begins operations that are for plain objects only: the bytes of a striped one lie in other objects.
fn unstriped() -> ObjectOperations {
    ObjectOperations::new().operation(Operation::AssertXattr { name: STRIPED_MARK.to_vec(), value: None })
}

async fn change_plain(pool: &Pool, name: &[u8], operations: ObjectOperations) -> Result<()> {
    match pool.execute(name, operations).await {
        Ok(_) => Ok(()),
        Err(error) if error.errno() == libc::ECANCELED => Err(Failure::new(
            libc::EOPNOTSUPP,
            format!("object {} is stored in pieces, whose end cannot be moved: put it anew", name_text::quoted(name)),
        )),
        Err(error) => of_object(pool, name, Err(error)),
    }
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
