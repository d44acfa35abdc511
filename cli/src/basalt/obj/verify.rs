//! `obj verify`: every file of a tree against its object, byte for byte.

use super::tree::{self, Progress, TreeFile};
use super::{jobs, of_object};
use crate::arguments::Tree;
use basalt_cli::output::Output;
use basalt_cli::{Result, name_text};
use basalt_client::{Pool, striped};
use basalt_ring::Ring;
use serde_json::json;
use std::fs::File;
use std::io::{BufReader, Read};
use std::process::ExitCode;
use std::rc::Rc;

/// What a comparison that has found a difference tells the client to stop reading with; never shown.
const STOP: i32 = libc::ECANCELED;

pub async fn run(
    ring: &Ring,
    pool: Pool,
    tree: &Tree,
    max_bytes: Option<u64>,
    output: &mut Output,
) -> Result<ExitCode> {
    let progress = Progress::new("comparing", output.format());
    let files = tree::walk(&tree.dir, max_bytes, &progress)?;
    let shared = Rc::new((pool, Rc::clone(&progress)));
    let outcome = jobs::run(ring, tree.jobs, files, move |file| {
        let shared = Rc::clone(&shared);
        async move { compare(&shared.0, &shared.1, file).await }
    })
    .await;
    progress.end();
    outcome.map_err(|failure| failure.while_doing(format_args!("verify stopped after {}", progress.summary())))?;

    let mut different = progress.refused.borrow_mut();
    different.sort();
    if output.format().is_json() {
        let mut document = progress.json();
        let named: Vec<_> =
            different.iter().map(|(name, why)| json!({ "name": name_text::json(name), "reason": why })).collect();
        if let Some(document) = document.as_object_mut() {
            document.insert("different".into(), named.into());
        }
        output.json(&document)?;
    } else {
        for (name, why) in different.iter() {
            output.line(&format!("differs: {}: {why}", name_text::quoted(name)))?;
        }
        let verdict = match different.len() {
            0 => "all equal".to_owned(),
            count => format!("{count} differ"),
        };
        output.line(&format!("compared {}: {verdict}", progress.summary()))?;
    }
    Ok(if different.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn compare(pool: &Pool, progress: &Progress, file: TreeFile) -> Result<()> {
    let mut reader = match File::open(&file.path) {
        Ok(file) => BufReader::with_capacity(256 << 10, file),
        Err(error) => {
            progress.refuse(&file.name, format!("the file cannot be read: {error}"));
            return Ok(());
        }
    };
    let mut position = 0u64;
    let mut difference = None;
    let mut expected = Vec::new();
    let read = striped::get(pool, &file.name, |bytes| {
        difference = next_difference(&mut reader, &mut expected, bytes, position);
        position += bytes.len() as u64;
        match &difference {
            None => Ok(()),
            Some(_) => Err(basalt_client::Error::new(STOP, "the object differs from its file")),
        }
    })
    .await;
    let why = match (difference, read) {
        (Some(difference), _) => difference,
        (None, Err(error)) if error.errno() == libc::ENOENT => "there is no such object".into(),
        (None, Err(error)) if error.errno() == libc::EIO => format!("the object cannot be read: {}", error.message()),
        (None, Err(error)) => return of_object(pool, &file.name, Err(error)),
        (None, Ok(_)) => match reader.read(&mut [0]) {
            Ok(0) => {
                progress.done(position);
                return Ok(());
            }
            Ok(_) => format!("the object ends at byte {position}, the file goes on"),
            Err(error) => format!("the file cannot be read: {error}"),
        },
    };
    progress.refuse(&file.name, why);
    Ok(())
}

/// Where the file, from where it has been read to, is not as `bytes`.
fn next_difference(reader: &mut impl Read, expected: &mut Vec<u8>, bytes: &[u8], position: u64) -> Option<String> {
    expected.clear();
    if let Err(error) = reader.by_ref().take(bytes.len() as u64).read_to_end(expected) {
        return Some(format!("the file cannot be read: {error}"));
    }
    if expected.as_slice() == bytes {
        return None;
    }
    match expected.iter().zip(bytes).position(|(expected, seen)| expected != seen) {
        Some(offset) => Some(format!("other bytes from byte {} on", position + offset as u64)),
        None => Some(format!("the file ends at byte {}, the object goes on", position + expected.len() as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(file: &[u8], object: &[u8]) -> Option<String> {
        next_difference(&mut &file[..], &mut Vec::new(), object, 1000)
    }

    #[test]
    fn a_difference_is_named_by_its_place() {
        assert_eq!(difference(b"abc", b"abc"), None);
        assert_eq!(difference(b"abcd", b"abc"), None, "the rest is compared by the next call");
        assert_eq!(difference(b"abc", b"axc").as_deref(), Some("other bytes from byte 1001 on"));
        assert_eq!(difference(b"ab", b"abc").as_deref(), Some("the file ends at byte 1002, the object goes on"));
    }
}
