//! A tree of files, walked in the order of their names, and what has been done with it.

use basalt_cli::output::Format;
use basalt_cli::{Failure, Result, errno};
use basalt_cluster::quantity::format_bytes;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A regular file below the tree's root.
pub struct TreeFile {
    pub path: PathBuf,
    /// The object's name: the path from the root.
    pub name: Vec<u8>,
}

/// What happened so far, shared by all who work on the tree.
pub struct Progress {
    pub files: Cell<u64>,
    pub bytes: Cell<u64>,
    /// Links, special files.
    pub passed_over: Cell<u64>,
    /// What could not be done, each with its reason.
    pub refused: RefCell<Vec<(Vec<u8>, String)>>,
    begun: Instant,
    bar: ProgressBar,
}

impl Progress {
    pub fn new(verb: &'static str, format: Format) -> Rc<Progress> {
        let bar = if format.shows_progress() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {prefix} {binary_bytes} ({binary_bytes_per_sec}) {msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(verb);
        bar.enable_steady_tick(Duration::from_millis(200));
        Rc::new(Progress {
            files: Cell::new(0),
            bytes: Cell::new(0),
            passed_over: Cell::new(0),
            refused: RefCell::new(Vec::new()),
            begun: Instant::now(),
            bar,
        })
    }

    /// One more file is done.
    pub fn done(&self, bytes: u64) {
        self.files.set(self.files.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
        self.bar.set_position(self.bytes.get());
        self.bar.set_message(format!("{} files", self.files.get()));
    }

    pub fn refuse(&self, name: &[u8], why: impl Into<String>) {
        self.refused.borrow_mut().push((name.to_vec(), why.into()));
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    pub fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// `1234 files, 512 MiB in 12.3 s (42 MiB/s)`.
    pub fn summary(&self) -> String {
        let (bytes, seconds) = (self.bytes.get(), self.seconds());
        let rate = format_bytes((bytes as f64 / seconds.max(0.001)) as u64);
        format!("{} files, {} in {seconds:.1} s ({rate}/s)", self.files.get(), format_bytes(bytes))
    }

    pub fn json(&self) -> Value {
        json!({
            "files": self.files.get(),
            "bytes": self.bytes.get(),
            "passed_over": self.passed_over.get(),
            "seconds": self.seconds(),
        })
    }
}

/// The regular files below `dir`. Links are not followed. Files that would make the whole larger than `max_bytes` are passed over,
/// so that the same tree gives the same files again.
pub fn walk(
    dir: &Path,
    max_bytes: Option<u64>,
    progress: &Rc<Progress>,
) -> Result<impl Iterator<Item = TreeFile> + use<>> {
    let metadata = std::fs::metadata(dir).map_err(|error| Failure::file(dir, &error))?;
    if !metadata.is_dir() {
        return Err(Failure::new(
            libc::ENOTDIR,
            format!("{} is no directory; `basalt obj put` stores one file", dir.display()),
        ));
    }
    let root = dir.to_owned();
    let progress = Rc::clone(progress);
    let mut left = max_bytes.unwrap_or(u64::MAX);
    Ok(walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().filter_map(move |entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let name =
                    error.path().unwrap_or(&root).strip_prefix(&root).unwrap_or(&root).as_os_str().as_bytes().to_vec();
                progress.refuse(&name, error.to_string());
                return None;
            }
        };
        if entry.file_type().is_dir() {
            return None;
        }
        let name = entry.path().strip_prefix(&root).ok()?.as_os_str().as_bytes().to_vec();
        if !entry.file_type().is_file() {
            progress.passed_over.set(progress.passed_over.get() + 1);
            return None;
        }
        match entry.metadata() {
            Ok(metadata) if metadata.len() <= left => {
                left -= metadata.len();
                Some(TreeFile { name, path: entry.into_path() })
            }
            Ok(_) => {
                progress.passed_over.set(progress.passed_over.get() + 1);
                None
            }
            Err(error) => {
                let error = std::io::Error::from(error);
                progress.refuse(&name, format!("{} ({})", error, errno::name(errno::of_io(&error))));
                None
            }
        }
    }))
}
