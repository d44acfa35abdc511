//! A cluster that serves images on a socket of the test's own.

use crate::dev_cluster::DevCluster;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub struct Served {
    pub cluster: DevCluster,
    socket: PathBuf,
    _folder: TempDir,
}

impl Served {
    pub fn start() -> Served {
        Served::start_with(&["--base", "2G", "--hot", "256M"])
    }

    pub fn start_with(arguments: &[&str]) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("nbd");
        let words = [arguments, &["--nbd", socket.to_str().unwrap()]].concat();
        Served { cluster: DevCluster::start_with(&words), socket, _folder: folder }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn uri(&self, export: &str) -> String {
        format!("nbd+unix:///{export}?socket={}", self.socket.display())
    }

    pub fn create(&self, image: &str, size: &str) {
        self.cluster.must(&["image", "create", image, "--size", size]);
    }

    /// Bytes of an image or a snapshot, by `basalt image export`.
    pub fn content(&self, image: &str) -> Vec<u8> {
        self.cluster.must(&["image", "export", image, "-"])
    }
}

/// Runs a client, whatever comes of it.
pub fn ran(program: &str, words: &[&str]) -> Output {
    Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; `make test` installs it"))
}

/// Runs a client, which must succeed, and returns its stdout.
pub fn must(program: &str, words: &[&str]) -> String {
    let output = ran(program, words);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {words:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// An image of a disk as files have it: noise, holes, a torn end.
pub fn disk(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; (37 << 20) + 1536];
    for (index, at) in [0usize, 5 << 20, (8 << 20) + 512, (22 << 20) - 700].into_iter().enumerate() {
        let noise = crate::dev_cluster::noise(seed + index as u64, (1 << 20) + index * 1000);
        bytes[at..at + noise.len()].copy_from_slice(&noise);
    }
    let end = bytes.len() - 600;
    bytes[end..].copy_from_slice(&crate::dev_cluster::noise(seed + 9, 600));
    bytes
}
