//! `obj export`: objects become files below a folder, and never anywhere else.
//!
//! An object's name is taken as a path as it stands, so that `import` after `export` gives the same names. A name that is no path
//! below the folder (it is absolute, or has an empty, `.` or `..` part, a zero byte, or a part longer than 255 bytes), and one whose
//! way leads through a link or a file, is refused by name, and the rest goes on.

use super::tree::Progress;
use super::{jobs, single};
use crate::arguments::Tree;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result, command_line, name_text};
use basalt_client::Pool;
use basalt_ring::Ring;
use serde_json::json;
use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

const NAMES_PAGE: usize = 4096;
/// Linux's limit on a part of a path.
const PART_BYTES_MAX: usize = 255;

struct Export {
    pool: Pool,
    dir: PathBuf,
    progress: Rc<Progress>,
    next_temporary: Cell<u64>,
}

pub async fn run(ring: &Ring, pool: Pool, tree: &Tree, prefix: &[u8], output: &mut Output) -> Result<ExitCode> {
    fs::create_dir_all(&tree.dir).map_err(|error| Failure::file(&tree.dir, &error))?;
    let progress = Progress::new("exporting", output.format());
    let mut pager = pool.list(prefix);
    let export = Rc::new(Export {
        pool: pool.clone(),
        dir: tree.dir.clone(),
        progress: Rc::clone(&progress),
        next_temporary: Cell::new(0),
    });
    loop {
        let page = pager.next_page(NAMES_PAGE).await?;
        if page.is_empty() {
            break;
        }
        let export = Rc::clone(&export);
        let outcome = jobs::run(ring, tree.jobs, page.into_iter(), move |name| {
            let export = Rc::clone(&export);
            async move { export.write(&name).await }
        })
        .await;
        outcome.map_err(|failure| failure.while_doing(format_args!("export stopped after {}", progress.summary())))?;
    }
    progress.end();

    let refused = progress.refused.borrow();
    for (name, why) in refused.iter() {
        command_line::tell(&Failure::invalid(format!("object {} not exported: {why}", name_text::quoted(name))));
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
        output.line(&format!("exported {}; {} refused", progress.summary(), refused.len()))?;
    }
    Ok(if refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Export {
    /// Written beside and renamed: a link that stands in the file's place is replaced, never followed.
    async fn write(&self, name: &[u8]) -> Result<()> {
        let path = match relative_path(name) {
            Ok(path) => path,
            Err(why) => {
                self.progress.refuse(name, why);
                return Ok(());
            }
        };
        if let Err(why) = make_folders(&self.dir, path.parent().unwrap_or(Path::new(""))) {
            self.progress.refuse(name, why);
            return Ok(());
        }
        let number = self.next_temporary.get();
        self.next_temporary.set(number + 1);
        let temporary = Temporary(self.dir.join(format!(".basalt-export-{}-{number}", std::process::id())));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary.0)
            .map_err(|error| Failure::file(&temporary.0, &error))?;
        let bytes = single::copy(&self.pool, name, |bytes| {
            file.write_all(bytes).map_err(|error| Failure::file(&temporary.0, &error))
        })
        .await;
        let bytes = match bytes {
            Ok(bytes) => bytes,
            // Removed since it was listed.
            Err(failure) if failure.errno() == libc::ENOENT => return Ok(()),
            Err(failure) => return Err(failure),
        };
        match fs::rename(&temporary.0, self.dir.join(&path)) {
            Ok(()) => self.progress.done(bytes),
            Err(error) => self.progress.refuse(name, format!("{}: {error}", self.dir.join(&path).display())),
        }
        Ok(())
    }
}

/// Removed when it has not been renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The path below the folder that a name stands for, or why it stands for none.
fn relative_path(name: &[u8]) -> std::result::Result<PathBuf, String> {
    let mut path = PathBuf::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" => {
                return Err(
                    "its name has an empty part or begins or ends with '/', which is no path below a folder".into()
                );
            }
            b"." | b".." => return Err("its name has a part '.' or '..', which would lead elsewhere".into()),
            part if part.contains(&0) => return Err("its name has a zero byte, which no path can have".into()),
            part if part.len() > PART_BYTES_MAX => {
                return Err(format!(
                    "a part of its name has {} bytes; a path's part has at most {PART_BYTES_MAX}",
                    part.len()
                ));
            }
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Ok(path)
}

/// Makes the folders of `path` below `root`, going through folders only.
fn make_folders(root: &Path, path: &Path) -> std::result::Result<(), String> {
    let mut folder = root.to_owned();
    for part in path.components() {
        folder.push(part);
        match fs::symlink_metadata(&folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(format!("{} is no folder, and links are not followed", folder.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            }
            Err(error) => return Err(format!("{}: {error}", folder.display())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_leave_the_folder_is_refused() {
        let long = [b'a'; 256];
        for name in [&b"/etc/passwd"[..], b"../x", b"a/../../x", b"a//b", b"a/", b".", b"a/./b", b"", b"a\0b", &long] {
            assert!(relative_path(name).is_err(), "{}", name_text::quoted(name));
        }
    }

    #[test]
    fn every_other_name_is_its_own_path() {
        for name in [&b"a"[..], b"a b/c\nd", b"\xff/..x", b"...", b"%2e%2e/x"] {
            assert_eq!(relative_path(name).map(|path| path.as_os_str().as_bytes().to_vec()), Ok(name.to_vec()));
        }
    }

    #[test]
    fn a_link_on_the_way_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("link")).unwrap();
        assert!(make_folders(folder.path(), Path::new("link/below")).is_err());
        assert!(!elsewhere.path().join("below").exists());
        assert_eq!(make_folders(folder.path(), Path::new("a/b")), Ok(()));
        assert!(folder.path().join("a/b").is_dir());
    }
}
