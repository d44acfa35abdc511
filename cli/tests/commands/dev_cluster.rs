//! A `basaltd dev` of a test's own, and `basalt` pointed at it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A start on a loaded machine, replay included.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

pub struct DevCluster {
    dir: TempDir,
    arguments: Vec<String>,
    daemon: Option<Child>,
}

impl DevCluster {
    /// Small devices: 2 GiB over 256 MiB, both sparse.
    pub fn start() -> DevCluster {
        DevCluster::start_with(&["--base", "2G", "--hot", "256M"])
    }

    /// One OSD, unless these say otherwise.
    pub fn start_with(arguments: &[&str]) -> DevCluster {
        let osds: &[&str] = if arguments.contains(&"--osds") { &[] } else { &["--osds", "1"] };
        let arguments = arguments.iter().chain(osds).map(|word| (*word).to_owned()).collect();
        let mut cluster = DevCluster { dir: tempfile::tempdir().unwrap(), arguments, daemon: None };
        cluster.start_again();
        cluster
    }

    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("cluster")
    }

    /// Room for a test's files beside the cluster's folder.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn start_again(&mut self) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        let log = std::fs::OpenOptions::new().append(true).create(true).open(self.dir.path().join("log")).unwrap();
        let mut daemon = Command::new(env!("CARGO_BIN_EXE_basaltd"))
            .args(["dev", "--dir"])
            .arg(self.dir())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = daemon.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        self.daemon = Some(daemon);
        let first = lines.recv_timeout(READY_TIMEOUT);
        assert_eq!(first.as_deref(), Ok("ready"), "no `ready`; the daemon's log:\n{}", self.log());
    }

    /// From now on it is started with nothing but its folder.
    #[allow(dead_code, reason = "only some of the test binaries that share this file start it anew")]
    pub fn forget_arguments(&mut self) {
        self.arguments.clear();
    }

    pub fn is_alive(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|daemon| daemon.try_wait().unwrap().is_none())
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([format!("-{signal}"), self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// A clean stop.
    pub fn stop(&mut self) -> ExitStatus {
        self.stop_by("TERM")
    }

    pub fn stop_by(&mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        let mut daemon = self.daemon.take().unwrap();
        let begun = Instant::now();
        loop {
            if let Some(status) = daemon.try_wait().unwrap() {
                return status;
            }
            if begun.elapsed() > STOP_TIMEOUT {
                daemon.kill().unwrap();
                panic!("SIG{signal} did not stop the daemon; its log:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn config(&self) -> PathBuf {
        self.dir().join("basalt.toml")
    }

    pub fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = basalt();
        command.arg("-c").arg(self.config()).args(words);
        command
    }

    /// Runs `basalt` to its end.
    pub fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Answer {
        Answer::of(self.command(words).output().unwrap())
    }

    pub fn run_with_stdin<S: AsRef<OsStr>>(&self, words: &[S], stdin: &[u8]) -> Answer {
        let mut child =
            self.command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // A command that fails early closes the pipe.
                let _ = pipe.write_all(stdin);
            });
            Answer::of(child.wait_with_output().unwrap())
        })
    }

    /// Runs `basalt`, which must succeed, and returns its stdout.
    pub fn must<S: AsRef<OsStr>>(&self, words: &[S]) -> Vec<u8> {
        let answer = self.run(words);
        let shown: Vec<_> =
            words.iter().map(|word| word.as_ref().to_string_lossy().chars().take(80).collect::<String>()).collect();
        assert_eq!(answer.status, 0, "{shown:?} failed: {}\nthe daemon's log:\n{}", answer.stderr, self.log());
        answer.stdout
    }

    /// As [`DevCluster::must`], with the JSON document.
    pub fn must_json<S: AsRef<OsStr>>(&self, words: &[S]) -> serde_json::Value {
        let mut all: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        all.extend([OsStr::new("--format"), OsStr::new("json")]);
        let stdout = self.must(&all);
        serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&stdout)))
    }

    pub fn put(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> Answer {
        self.run_with_stdin(&[OsStr::new("obj"), "put".as_ref(), "data".as_ref(), name.as_ref(), "-".as_ref()], bytes)
    }

    pub fn get(&self, name: impl AsRef<OsStr>) -> Answer {
        self.run(&[OsStr::new("obj"), "get".as_ref(), "data".as_ref(), name.as_ref(), "-".as_ref()])
    }
}

impl Drop for DevCluster {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

pub fn basalt() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_basalt"));
    command.env_remove("BASALT_CONFIG").stdin(Stdio::null());
    command
}

pub struct Answer {
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Answer {
    pub fn of(output: Output) -> Answer {
        Answer {
            status: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The only line on stderr begins with `Error NAME: ` and the exit status is the error's number; nothing is on stdout.
    pub fn assert_fails(&self, errno: i32, name: &str) {
        assert_eq!(self.status, errno, "stderr: {}", self.stderr);
        assert!(self.stderr.starts_with(&format!("Error {name}: ")), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert!(self.stdout.is_empty(), "{}", String::from_utf8_lossy(&self.stdout));
    }
}

/// Bytes that no other seed gives; cheap, and good enough to notice a block in the wrong place.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Every file below `dir`, by its path from there.
pub fn files_below(dir: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    walkdir::WalkDir::new(dir)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let mut bytes = Vec::new();
            std::fs::File::open(entry.path()).unwrap().read_to_end(&mut bytes).unwrap();
            (entry.path().strip_prefix(dir).unwrap().to_owned(), bytes)
        })
        .collect()
}
