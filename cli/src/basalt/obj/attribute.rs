//! What an object has beside its bytes: extended attributes and omap.

use super::single::report;
use super::{name_of, of_object};
use crate::arguments::Object;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result, name_text};
use basalt_client::Pool;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The largest value that is read from stdin; the cluster's own limit is lower.
const VALUE_BYTES_MAX: u64 = 16 << 20;
/// Keys asked for at a time.
const KEYS_PAGE: u32 = 1000;

pub async fn list_xattrs(pool: &Pool, object: &Object, output: &mut Output) -> Result<()> {
    let pairs = of_object(pool, name_of(object), pool.list_xattrs(name_of(object)).await)?;
    names(output, pairs.iter().map(|(name, _)| name.as_slice()))
}

pub async fn get_xattr(pool: &Pool, object: &Object, xattr: &OsStr, output: &mut Output) -> Result<()> {
    let value = of_object(pool, name_of(object), pool.get_xattr(name_of(object), xattr.as_bytes()).await)?;
    if output.format().is_json() {
        return output.json(&json!({ "xattr": name_text::json(xattr.as_bytes()), "value": name_text::json(&value) }));
    }
    output.bytes(&value)
}

pub async fn set_xattr(
    pool: &Pool,
    object: &Object,
    xattr: &OsStr,
    value: Option<&OsStr>,
    output: &mut Output,
) -> Result<()> {
    let value = given_or_stdin(value)?;
    of_object(pool, name_of(object), pool.set_xattr(name_of(object), xattr.as_bytes(), &value).await)?;
    report(output, pool, name_of(object), json!({ "xattr": name_text::json(xattr.as_bytes()) }))
}

pub async fn remove_xattr(pool: &Pool, object: &Object, xattr: &OsStr, output: &mut Output) -> Result<()> {
    of_object(pool, name_of(object), pool.remove_xattr(name_of(object), xattr.as_bytes()).await)?;
    report(output, pool, name_of(object), json!({ "removed": name_text::json(xattr.as_bytes()) }))
}

pub async fn list_omap_keys(pool: &Pool, object: &Object, output: &mut Output) -> Result<()> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let mut more = true;
    while more {
        let after = keys.last().map_or(&b""[..], Vec::as_slice);
        let (page, follows) =
            of_object(pool, name_of(object), pool.list_omap(name_of(object), after, b"", KEYS_PAGE).await)?;
        more = follows && !page.is_empty();
        keys.extend(page.into_iter().map(|(key, _)| key));
    }
    names(output, keys.iter().map(Vec::as_slice))
}

pub async fn get_omap(pool: &Pool, object: &Object, key: &OsStr, file: &Path, output: &mut Output) -> Result<()> {
    let pairs = of_object(pool, name_of(object), pool.get_omap(name_of(object), &[key.as_bytes()]).await)?;
    let Some((_, value)) = pairs.into_iter().next() else {
        let (key, name) = (name_text::quoted(key.as_bytes()), name_text::quoted(name_of(object)));
        return Err(Failure::new(
            libc::ENOENT,
            format!("object {name} in pool '{}' has no omap key {key}; listomapkeys shows those it has", pool.name()),
        ));
    };
    if file != Path::new("-") {
        std::fs::write(file, &value).map_err(|error| Failure::file(file, &error))?;
        return report(output, pool, name_of(object), json!({ "size": value.len() }));
    }
    if output.format().is_json() {
        return output.json(&json!({ "key": name_text::json(key.as_bytes()), "value": name_text::json(&value) }));
    }
    output.bytes(&value)
}

pub async fn set_omap(
    pool: &Pool,
    object: &Object,
    key: &OsStr,
    value: Option<&OsStr>,
    output: &mut Output,
) -> Result<()> {
    let pairs = vec![(key.as_bytes().to_vec(), given_or_stdin(value)?)];
    of_object(pool, name_of(object), pool.set_omap(name_of(object), pairs).await)?;
    report(output, pool, name_of(object), json!({ "key": name_text::json(key.as_bytes()) }))
}

pub async fn remove_omap(pool: &Pool, object: &Object, key: &OsStr, output: &mut Output) -> Result<()> {
    of_object(pool, name_of(object), pool.remove_omap(name_of(object), &[key.as_bytes()]).await)?;
    report(output, pool, name_of(object), json!({ "removed": name_text::json(key.as_bytes()) }))
}

fn names<'a>(output: &mut Output, names: impl Iterator<Item = &'a [u8]>) -> Result<()> {
    if output.format().is_json() {
        return output.json(&Value::Array(names.map(name_text::json).collect()));
    }
    for name in names {
        output.bytes(name)?;
        output.bytes(b"\n")?;
    }
    Ok(())
}

fn given_or_stdin(value: Option<&OsStr>) -> Result<Vec<u8>> {
    if let Some(value) = value {
        return Ok(value.as_bytes().to_vec());
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(VALUE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::new(basalt_cli::errno::of_io(&error), format!("cannot read stdin: {error}")))?;
    if bytes.len() as u64 > VALUE_BYTES_MAX {
        return Err(Failure::new(
            libc::E2BIG,
            format!("the value on stdin is larger than {} MiB", VALUE_BYTES_MAX >> 20),
        ));
    }
    Ok(bytes)
}
