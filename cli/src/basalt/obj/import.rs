//! `obj import`: every file of a tree becomes an object.

use super::pieces::Pieces;
use super::tree::{self, Progress, TreeFile};
use super::{jobs, of_object};
use crate::arguments::Tree;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result, command_line, name_text};
use basalt_client::{Pool, striped};
use basalt_ring::Ring;
use serde_json::json;
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;

struct Import {
    pool: Pool,
    progress: Rc<Progress>,
    acknowledged: Option<RefCell<File>>,
}

pub async fn run(
    ring: &Ring,
    pool: Pool,
    tree: &Tree,
    acknowledged: Option<&Path>,
    max_bytes: Option<u64>,
    output: &mut Output,
) -> Result<ExitCode> {
    let progress = Progress::new("storing", output.format());
    let files = tree::walk(&tree.dir, max_bytes, &progress)?;
    let acknowledged = match acknowledged {
        None => None,
        Some(path) => {
            let file =
                OpenOptions::new().append(true).create(true).open(path).map_err(|error| Failure::file(path, &error))?;
            Some(RefCell::new(file))
        }
    };
    let import = Rc::new(Import { pool: pool.clone(), progress: Rc::clone(&progress), acknowledged });
    let outcome = jobs::run(ring, tree.jobs, files, move |file| {
        let import = Rc::clone(&import);
        async move { import.store(file).await }
    })
    .await;
    progress.end();
    outcome.map_err(|failure| failure.while_doing(format_args!("import stopped after {}", progress.summary())))?;

    let refused = progress.refused.borrow();
    for (name, why) in refused.iter() {
        command_line::tell(&Failure::invalid(format!("{} not stored: {why}", name_text::quoted(name))));
    }
    if output.format().is_json() {
        let mut document = progress.json();
        let refused: Vec<_> =
            refused.iter().map(|(name, why)| json!({ "name": name_text::json(name), "reason": why })).collect();
        if let Some(document) = document.as_object_mut() {
            document.insert("refused".into(), refused.into());
        }
        output.json(&document)?;
    } else {
        output.line(&format!(
            "stored {}; {} links, special or surplus files passed over",
            progress.summary(),
            progress.passed_over.get()
        ))?;
    }
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Import {
    /// A file that cannot be read is told of at the end; a cluster that cannot store ends the import.
    async fn store(&self, file: TreeFile) -> Result<()> {
        let mut source = match Pieces::open(&file.path) {
            Ok(pieces) => pieces,
            Err(failure) => {
                self.progress.refuse(&file.name, failure.message());
                return Ok(());
            }
        };
        let stored = striped::put(&self.pool, &file.name, &mut source).await;
        match (stored, source.failure) {
            (Ok(_), _) => {}
            (Err(_), Some(failure)) => {
                self.progress.refuse(&file.name, failure.message());
                return Ok(());
            }
            (Err(error), None) if matches!(error.errno(), libc::ENAMETOOLONG | libc::EFBIG | libc::E2BIG) => {
                self.progress.refuse(&file.name, error.message());
                return Ok(());
            }
            (Err(error), None) => return of_object(&self.pool, &file.name, Err(error)),
        }
        if let Some(acknowledged) = &self.acknowledged {
            // One write a line: whoever reads the file after a crash sees whole lines.
            let line = format!("{}\n", name_text::json(&file.name));
            acknowledged.borrow_mut().write_all(line.as_bytes()).map_err(|error| {
                Failure::new(basalt_cli::errno::of_io(&error), format!("cannot note what was acknowledged: {error}"))
            })?;
        }
        self.progress.done(source.bytes);
        Ok(())
    }
}
