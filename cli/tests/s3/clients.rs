//! A cluster with a gateway, and the scripts of `tests/clients` that are run against it.

use crate::dev_cluster::DevCluster;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The slowest script takes a fifth of it on an idle machine.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(400);

pub struct Gateway {
    cluster: DevCluster,
    address: String,
}

impl Gateway {
    /// With the users `main` and `other`.
    pub fn start() -> Gateway {
        // Whoever takes the port before the daemon does makes this test fail, not lie.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let cluster = DevCluster::start_with(&["--base", "4G", "--hot", "256M", "--s3", &address]);
        let gateway = Gateway { cluster, address };
        for user in ["main", "other"] {
            let upper = user.to_uppercase();
            let name = format!("{user} user");
            let address = format!("{user}@example.net");
            let (access, secret) = (format!("AK{upper}"), format!("SK{upper}"));
            let words = ["user", "create", "--uid", user, "--display-name", &name, "--email", &address];
            gateway.basalt(&[&words[..], &["--access-key", &access, "--secret-key", &secret]].concat());
        }
        gateway
    }

    /// What `basalt` prints on success.
    pub fn basalt(&self, words: &[&str]) -> String {
        let (status, stdout, stderr) = self.try_basalt(words);
        assert_eq!(status, 0, "basalt {words:?}: {stderr}");
        stdout
    }

    /// Exit status, stdout, stderr.
    pub fn try_basalt(&self, words: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_basalt"))
            .args(words)
            .env("BASALT_CONFIG", self.cluster.dir().join("basalt.toml"))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Runs a script of `tests/clients`; it fails the test if it fails.
    pub fn run(&self, program: &str, words: &[&str]) {
        let scratch = self.cluster.scratch("client");
        std::fs::create_dir_all(&scratch).unwrap();
        let log = self.cluster.scratch("client.log");
        let file = std::fs::File::create(&log).unwrap();
        let installed = installed_clients();
        let path = format!("{}:{}", installed.display(), std::env::var("PATH").unwrap_or_default());
        let mut child = Command::new(program)
            .args(words)
            .current_dir(scripts())
            .env("PATH", &path)
            .env("HOME", &scratch)
            .env("TMPDIR", &scratch)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("S3_ENDPOINT", format!("http://{}", self.address))
            .env("S3_ACCESS", "AKMAIN")
            .env("S3_SECRET", "SKMAIN")
            .env("S3_ACCESS_2", "AKOTHER")
            .env("S3_SECRET_2", "SKOTHER")
            .env("S3_BASALT", env!("CARGO_BIN_EXE_basalt"))
            .env("S3_BASALTD", env!("CARGO_BIN_EXE_basaltd"))
            .env("BASALT_CONFIG", self.cluster.dir().join("basalt.toml"))
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; scripts/test.sh installs what is missing"));
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > SCRIPT_TIMEOUT {
                let _ = child.kill();
                break child.wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let daemon = self.cluster.log();
        let daemon: Vec<&str> = daemon.lines().rev().take(40).collect();
        assert!(
            status.success(),
            "{words:?} ended with {status}:\n{said}\nthe daemon's last lines, newest first:\n{}",
            daemon.join("\n")
        );
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/clients")
}

/// Where `scripts/test.sh` has put the clients that come from Python's index.
fn installed_clients() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")).join("clients/bin")
}
