//! A cluster on files, for as long as it is measured.

use crate::Result;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Ended when dropped, and its folder removed.
pub struct Cluster {
    daemon: Child,
    dir: PathBuf,
    programs: PathBuf,
}

impl Cluster {
    /// `dev`: what `basaltd dev` is told besides the folder.
    pub fn start(programs: &Path, dir: PathBuf, dev: &[&str]) -> Result<Cluster> {
        if dir.exists() {
            return Err(format!("{} is there already; if nothing uses it, remove it", dir.display()).into());
        }
        let log = std::fs::File::create(dir.with_extension("log"))?;
        let mut command = Command::new(programs.join("basaltd"));
        command.args(["dev", "--dir"]).arg(&dir).args(dev).stdout(Stdio::piped()).stderr(log);
        let daemon = command.spawn()?;
        let mut cluster = Cluster { daemon, dir, programs: programs.to_owned() };
        for line in BufReader::new(cluster.daemon.stdout.take().ok_or("no output")?).lines() {
            if line? == "ready" {
                return Ok(cluster);
            }
        }
        Err(format!("the cluster did not come up: see {}", cluster.dir.with_extension("log").display()).into())
    }

    /// The first job of a run of `basalt bench` on the pool `data`.
    pub fn bench(&self, options: &[String]) -> Result<Value> {
        let mut command = Command::new(self.programs.join("basalt"));
        command.arg("-c").arg(self.dir.join("basalt.toml")).args(["bench", "--pool=data"]).args(options);
        first_job(&mut command)
    }
}

/// Runs what prints fio's JSON.
pub fn first_job(command: &mut Command) -> Result<Value> {
    let output = command.arg("--output-format=json").stderr(Stdio::piped()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let report: Value = serde_json::from_slice(&output.stdout)?;
    Ok(report["jobs"][0].clone())
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _already_gone = Command::new("kill").args(["-TERM", &self.daemon.id().to_string()]).status();
        let _already_gone = self.daemon.wait();
        let _left_behind = std::fs::remove_dir_all(&self.dir);
    }
}
