//! A cluster as it is run in production: one configuration file, `basaltd mon` and `basaltd osd` as processes of their own.

use crate::dev_cluster::{Answer, basalt};
use crate::ports::free_ports;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

pub struct Site {
    dir: PathBuf,
    monitor: Option<Child>,
    osd: Option<Child>,
    osd_starts: usize,
}

pub const FSID: &str = "6a8f9d3e-1c5b-4a57-9f0e-3c2d1b0a9f8e";

/// The configuration of a host with one OSD. Nothing else listens on its ports.
pub fn configuration(fsid: &str, osd: u32, base: &str, hot: Option<&str>) -> String {
    let monitor = free_ports("127.0.0.1", 1)[0];
    let hot = hot.map_or_else(String::new, |hot| format!("hot = \"{hot}\"\n"));
    format!(
        "fsid = \"{fsid}\"\nkey_file = \"key\"\nmonitors = [\"127.0.0.1:{monitor}\"]\n\n\
         [monitor]\nlisten = \"127.0.0.1:{monitor}\"\ndata = \"mon\"\n\n\
         [osd]\nhost = \"one\"\npublic_address = \"127.0.0.1:0\"\ncluster_address = \"127.0.0.1:0\"\n\n\
         [[osd.device]]\nid = {osd}\nbase = \"{base}\"\n{hot}"
    )
}

/// Writes `basalt.toml` and a key beside it. Returns the former's path.
pub fn write_configuration(dir: &Path, text: &str) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    let path = dir.join("basalt.toml");
    fs::write(&path, text).unwrap();
    let key = dir.join("key");
    if !key.exists() {
        basalt_net::Key::from_bytes([0x5e; 32]).create(&key).unwrap();
    }
    path
}

/// Runs `basaltd` to its end, with nothing but failures on stderr.
pub fn basaltd(words: &[&str]) -> Answer {
    Answer::of(Command::new(env!("CARGO_BIN_EXE_basaltd")).env("BASALT_LOG", "off").args(words).output().unwrap())
}

/// `basaltd fsck --deep`, which must find nothing; returns its JSON document.
pub fn clean_fsck(base: &str, hot: Option<&str>) -> serde_json::Value {
    let mut words = vec!["fsck", "--deep", "--format", "json", "--base", base];
    words.extend(hot.iter().flat_map(|hot| ["--hot", hot]));
    let answer = basaltd(&words);
    assert_eq!(answer.status, 0, "{}{}", String::from_utf8_lossy(&answer.stdout), answer.stderr);
    serde_json::from_slice(&answer.stdout).unwrap()
}

impl Site {
    /// Writes the configuration and makes the store.
    pub fn make(dir: &Path, base: &str, hot: Option<&str>) -> Site {
        let config = write_configuration(dir, &configuration(FSID, 0, base, hot));
        let made = basaltd(&["mkfs", "--config", config.to_str().unwrap(), "--osd", "0"]);
        assert_eq!(made.status, 0, "{}", made.stderr);
        Site { dir: dir.to_owned(), monitor: None, osd: None, osd_starts: 0 }
    }

    pub fn config(&self) -> PathBuf {
        self.dir.join("basalt.toml")
    }

    pub fn log(&self, role: &str) -> String {
        fs::read_to_string(self.dir.join(format!("{role}.log"))).unwrap_or_default()
    }

    fn spawn(&self, role: &str) -> Child {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.dir.join(format!("{role}.log"))).unwrap();
        Command::new(env!("CARGO_BIN_EXE_basaltd"))
            .args([role, "--config", self.config().to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn wait_for(&self, role: &str, words: &str, times: usize) {
        let begun = Instant::now();
        while self.log(role).matches(words).count() < times {
            assert!(begun.elapsed() < START_TIMEOUT, "no '{words}' from the {role}:\n{}", self.log(role));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn start(&mut self) {
        if self.monitor.is_none() {
            self.monitor = Some(self.spawn("mon"));
        }
        self.osd = Some(self.spawn("osd"));
        self.osd_starts += 1;
        self.wait_for("mon", " boot osd=0", self.osd_starts);
    }

    fn end(child: &mut Child, signal: &str) -> i32 {
        let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(begun.elapsed() < STOP_TIMEOUT, "SIG{signal} did not end process {}", child.id());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends both, OSDs first, by SIGTERM; both must end with 0.
    pub fn stop(&mut self) {
        for (role, child) in [("osd", self.osd.take()), ("mon", self.monitor.take())] {
            let status = Site::end(&mut child.unwrap(), "TERM");
            assert_eq!(status, 0, "the {role} did not stop cleanly:\n{}", self.log(role));
        }
    }

    /// SIGKILL for the OSDs' process.
    pub fn kill_osd(&mut self) {
        Site::end(&mut self.osd.take().unwrap(), "KILL");
    }

    pub fn is_serving(&mut self) -> bool {
        [&mut self.osd, &mut self.monitor]
            .into_iter()
            .all(|child| child.as_mut().unwrap().try_wait().unwrap().is_none())
    }

    pub fn run(&self, words: &[&str]) -> Answer {
        Answer::of(basalt().arg("-c").arg(self.config()).args(words).output().unwrap())
    }

    pub fn must(&self, words: &[&str]) -> Vec<u8> {
        let answer = self.run(words);
        assert_eq!(answer.status, 0, "{words:?}: {}\nthe OSD's log:\n{}", answer.stderr, self.log("osd"));
        answer.stdout
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.dir.join("put");
        fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        self.must(&["obj", "put", "data", name, path.to_str().unwrap()]);
    }

    pub fn assert_holds(&self, name: &str, bytes: &[u8]) {
        assert!(self.must(&["obj", "get", "data", name, "-"]) == bytes, "'{name}' came back as other bytes");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for mut child in [self.osd.take(), self.monitor.take()].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
