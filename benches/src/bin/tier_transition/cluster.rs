//! A cluster of one OSD that lives as long as it is wanted.

use crate::throttle::ThrottledDevice;
use crate::{Arguments, Result};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Ended when dropped, and its folder removed.
pub struct Cluster {
    daemon: Child,
    dir: PathBuf,
    basalt: PathBuf,
    /// Let go of behind the daemon.
    throttled: Option<ThrottledDevice>,
}

impl Cluster {
    pub fn start(arguments: &Arguments, name: &str, hot: &str) -> Result<Cluster> {
        let dir = arguments.dir.join(name);
        std::fs::create_dir_all(&arguments.dir)?;
        let mut dev = Command::new(arguments.programs.join("basaltd"));
        dev.args(["dev", "--osds", "1", "--size", "1", "--base-model", &arguments.base_model, "--dir"]).arg(&dir);
        let mut again = Command::new(dev.get_program());
        again.args(dev.get_args());
        let basalt = arguments.programs.join("basalt");
        let daemon = spawn(dev.args(["--base", &arguments.base, "--hot", hot]))?;
        let mut cluster = Cluster { daemon, dir, basalt, throttled: None };
        cluster.wait_until_ready()?;
        if arguments.base_iops > 0 {
            // What it made is put on a device that is slow, and it starts again.
            cluster.stop();
            let throttled = ThrottledDevice::new(&cluster.dir.join("osd.0/base"), arguments.base_iops)?;
            cluster.daemon = spawn(&mut throttled.inside(&again))?;
            cluster.throttled = Some(throttled);
            cluster.wait_until_ready()?;
        }
        Ok(cluster)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let lines = BufReader::new(self.daemon.stdout.take().ok_or("no output")?).lines();
        for line in lines {
            if line? == "ready" {
                return Ok(());
            }
        }
        Err("basaltd ended before it was ready".into())
    }

    fn stop(&mut self) {
        let pid = self.daemon.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.daemon.wait();
    }

    fn basalt(&self) -> Command {
        let mut command = Command::new(&self.basalt);
        command.arg("-c").arg(self.dir.join("basalt.toml"));
        command
    }

    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let output = self.basalt().args(words).args(["--format", "json"]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub fn bench(&self, arguments: &Arguments, seconds: u64) -> Result<Child> {
        let mut command = self.basalt();
        command
            .args(["bench", "--name=transition", "--pool=data", "--rw=randwrite", "--bs=4k", "--time_based"])
            .args(["--norandommap", "--output-format=json", "--log_avg_msec=1000"])
            .arg(format!("--random_distribution={}", arguments.distribution))
            .arg(format!("--iodepth={}", arguments.iodepth))
            .arg(format!("--size={}", arguments.size))
            .arg(format!("--runtime={seconds}"));
        Ok(command.stdout(Stdio::piped()).spawn()?)
    }
}

fn spawn(command: &mut Command) -> Result<Child> {
    Ok(command.stdout(Stdio::piped()).spawn()?)
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        drop(self.throttled.take());
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
