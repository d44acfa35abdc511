//! `basaltd nbd` with TLS, and libnbd's clients on it.

use crate::dev_cluster::{DevCluster, noise};
use crate::server::{must, ran};
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `basaltd nbd` as an operator would start it.
struct NbdDaemon(Child);

impl NbdDaemon {
    fn start(config: &Path, port: u16) -> NbdDaemon {
        let child = Command::new(env!("CARGO_BIN_EXE_basaltd"))
            .args(["nbd", "--config", config.to_str().unwrap()])
            .env("BASALT_LOG", "warn")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = NbdDaemon(child);
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "nobody listens on port {port}");
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }

    fn stop(mut self) {
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for NbdDaemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A certificate for `localhost`, by an authority of its own, where GnuTLS clients look for them.
fn make_certificates(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    must(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test authority",
            "-keyout",
            &path("ca-key.pem"),
            "-out",
            &path("ca-cert.pem"),
        ],
    );
    for (name, subject) in [("server", "localhost"), ("client", "someone")] {
        let (key, request) = (path(&format!("{name}-key.pem")), path(&format!("{name}.csr")));
        must(
            "openssl",
            &[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                &format!("/CN={subject}"),
                "-keyout",
                &key,
                "-out",
                &request,
            ],
        );
        fs::write(folder.join("extensions"), "subjectAltName=DNS:localhost\n").unwrap();
        must(
            "openssl",
            &[
                "x509",
                "-req",
                "-days",
                "2",
                "-in",
                &request,
                "-CA",
                &path("ca-cert.pem"),
                "-CAkey",
                &path("ca-key.pem"),
                "-CAcreateserial",
                "-extfile",
                &path("extensions"),
                "-out",
                &path(&format!("{name}-cert.pem")),
            ],
        );
    }
}

#[test]
fn images_are_served_by_tls_and_only_by_tls_where_it_is_required() {
    let cluster = DevCluster::start();
    cluster.must(&["image", "create", "data/disk", "--size", "24M"]);
    let folder = cluster.scratch("tls");
    make_certificates(&folder);
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let text = fs::read_to_string(cluster.config()).unwrap();
    let (certificate, key, authority) =
        (folder.join("server-cert.pem"), folder.join("server-key.pem"), folder.join("ca-cert.pem"));
    let section = format!(
        "\n[nbd]\nlisten = [\"127.0.0.1:{port}\"]\ntls_certificate = {certificate:?}\ntls_key = {key:?}\ntls_client_authorities = {authority:?}\ntls_required = true\n"
    );
    let config = cluster.dir().join("nbd.toml");
    fs::write(&config, text + &section).unwrap();
    let daemon = NbdDaemon::start(&config, port);
    let uri = format!("nbds://localhost:{port}/data/disk?tls-certificates={}", folder.display());
    let info = must("nbdinfo", &[&uri]);
    assert!(info.contains("with TLS"), "{info}");
    let plain = ran("nbdinfo", &[&format!("nbd://localhost:{port}/data/disk")]);
    assert!(!plain.status.success());
    let file = cluster.scratch("in");
    fs::write(&file, noise(4, 24 << 20)).unwrap();
    must("nbdcopy", &[file.to_str().unwrap(), &uri]);
    let out = cluster.scratch("out");
    must("nbdcopy", &[&uri, out.to_str().unwrap()]);
    let (mut written, mut read) = (Vec::new(), Vec::new());
    fs::File::open(&file).unwrap().read_to_end(&mut written).unwrap();
    fs::File::open(&out).unwrap().read_to_end(&mut read).unwrap();
    assert!(read == written);
    // Whoever has no certificate of the authority's is turned away.
    let stranger = cluster.scratch("stranger");
    fs::create_dir(&stranger).unwrap();
    fs::copy(&authority, stranger.join("ca-cert.pem")).unwrap();
    let refused =
        ran("nbdinfo", &[&format!("nbds://localhost:{port}/data/disk?tls-certificates={}", stranger.display())]);
    assert!(!refused.status.success());
    daemon.stop();
}
