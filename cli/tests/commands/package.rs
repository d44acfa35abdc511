//! The Debian package: built from the programs at hand, installed below a folder of its own, used, upgraded and removed.

use crate::dev_cluster::noise;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A root that dpkg installs into, with nothing in it; maintainer scripts run outside and see it as `DPKG_ROOT`.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Root {
        let root = Root(tempfile::tempdir().unwrap());
        for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc", "var/log"] {
            fs::create_dir_all(root.path(folder)).unwrap();
        }
        fs::write(root.path("var/lib/dpkg/status"), "").unwrap();
        root
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    fn dpkg(&self, words: &[&str]) -> String {
        let output = Command::new("dpkg")
            .arg(format!("--root={}", self.0.path().display()))
            .args(["--force-script-chrootless", "--force-depends", "--force-not-root", "--log=/dev/null"])
            .args(words)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .unwrap();
        ended_well("dpkg", output)
    }
}

fn ended_well(what: &str, output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{what}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn build(revision: u32, dir: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/deb.sh");
    let output = Command::new("sh")
        .arg(script)
        .env("BASALT_BINARIES", Path::new(env!("CARGO_BIN_EXE_basaltd")).parent().unwrap())
        .env("BASALT_DEB_DIR", dir)
        .env("BASALT_DEB_REVISION", revision.to_string())
        .env("BASALT_DEB_COMPRESSION", "none")
        .output()
        .unwrap();
    ended_well("deb.sh", output).trim().to_owned()
}

/// Killed with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_package_is_installed_started_without_systemd_upgraded_and_removed() {
    if !Path::new("/usr/bin/dpkg-deb").exists() {
        println!("SKIPPED: there is no dpkg-deb");
        return;
    }
    let packages = tempfile::tempdir().unwrap();
    let (first, second) = (build(1, packages.path()), build(2, packages.path()));
    let root = Root::new();
    root.dpkg(&["-i", &first]);
    for file in [
        "usr/share/bash-completion/completions/basalt",
        "usr/share/zsh/vendor-completions/_basaltd",
        "usr/share/man/man1/basalt-osd-pool-create.1.gz",
        "usr/share/man/man8/basaltd-osd.8.gz",
        "usr/lib/systemd/system/basalt.target",
        "usr/share/doc/basalt/OPERATIONS.md",
    ] {
        assert!(root.path(file).exists(), "{file}");
    }
    // A shell reads what it is to complete by.
    for shell in ["basalt", "basaltd"] {
        let script = root.path("usr/share/bash-completion/completions").join(shell);
        ended_well("bash", Command::new("bash").arg("-n").arg(script).output().unwrap());
    }

    let installed = |program: &str| Command::new(root.path("usr/bin").join(program));
    let notify = packages.path().join("notify");
    let told = UnixDatagram::bind(&notify).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let hear = || {
        let mut buffer = [0; 256];
        let length = told.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let config = root.path("etc/basalt/basalt.toml");
    let address = format!("127.0.0.1:{}", crate::ports::free_ports("127.0.0.1", 1)[0]);
    basalt_net::Key::from_bytes([0x5a; 32]).create(&root.path("etc/basalt/key")).unwrap();
    let data = root.path("var/lib/basalt");
    let disk = data.join("disk");
    fs::File::create(&disk).unwrap().set_len(1 << 30).unwrap();
    fs::write(
        &config,
        format!(
            "fsid = \"5d2c2b4e-8f2c-4a43-9d38-6c7d3a0f8e11\"\nkey_file = \"key\"\nmonitors = [\"{address}\"]\n\n\
             [monitor]\nname = \"a\"\nlisten = \"{address}\"\ndata = \"{}\"\n\n\
             [osd]\nhost = \"h1\"\npublic_address = \"127.0.0.1:0\"\ncluster_address = \"127.0.1.1:0\"\n\n\
             [[osd.device]]\nid = 0\nbase = \"{}\"\n",
            data.join("mon").display(),
            disk.display()
        ),
    )
    .unwrap();
    let start = |role: &str| {
        let mut command = installed("basaltd");
        command.args([role, "--config"]).arg(&config).env("NOTIFY_SOCKET", &notify).env("BASALT_LOG", "off");
        Daemon(command.stdin(Stdio::null()).spawn().unwrap())
    };
    let made = installed("basaltd").args(["mkfs", "--osd", "0", "--config"]).arg(&config).output().unwrap();
    ended_well("mkfs", made);
    let mut monitor = start("mon");
    assert_eq!(hear(), "READY=1\nSTATUS=serves\n");
    let mut osd = start("osd");
    assert_eq!(hear(), "READY=1\nSTATUS=its stores are open\n");
    let basalt = |words: &[&str]| {
        let output = installed("basalt").arg("-c").arg(&config).args(words).output().unwrap();
        ended_well(&words.join(" "), output)
    };
    basalt(&["osd", "pool", "create", "p", "8", "--size", "1"]);
    let file = packages.path().join("file");
    fs::write(&file, noise(3, 50_000)).unwrap();
    basalt(&["obj", "put", "p", "x", file.to_str().unwrap()]);

    // What runs goes on while the package is upgraded, and then while it is removed, without systemd to stop it.
    root.dpkg(&["-i", &second]);
    assert!(monitor.0.try_wait().unwrap().is_none() && osd.0.try_wait().unwrap().is_none());
    let back = packages.path().join("back");
    basalt(&["obj", "get", "p", "x", back.to_str().unwrap()]);
    assert!(fs::read(&back).unwrap() == noise(3, 50_000));
    let stop = |daemon: &mut Daemon| {
        assert!(Command::new("kill").arg(daemon.0.id().to_string()).status().unwrap().success());
        assert_eq!(hear(), "STOPPING=1\nSTATUS=stopping\n");
        assert_eq!(daemon.0.wait().unwrap().code(), Some(0));
    };
    stop(&mut osd);
    stop(&mut monitor);
    root.dpkg(&["-r", "basalt"]);
    assert!(!root.path("usr/bin/basalt").exists() && config.exists());
    let said = root.dpkg(&["-P", "basalt"]);
    assert!(said.contains("is not empty and is kept"), "{said}");
    assert!(config.exists() && disk.exists(), "a purge took the key or the data with it");
}
