//! etcd servers of a test's own, on loopback: real ones, from Debian's `etcd-server`.

use crate::ports::free_ports;
use std::fs::File;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const READY_TIMEOUT: Duration = Duration::from_secs(60);

struct Server {
    client_port: u16,
    peer_port: u16,
    process: Option<Child>,
}

/// Killed with the test.
pub struct EtcdCluster {
    folder: TempDir,
    servers: Vec<Server>,
}

impl EtcdCluster {
    pub fn start(count: usize) -> EtcdCluster {
        let ports = free_ports("127.0.0.1", 2 * count);
        let servers =
            ports.chunks(2).map(|ports| Server { client_port: ports[0], peer_port: ports[1], process: None }).collect();
        let mut cluster = EtcdCluster { folder: tempfile::tempdir().unwrap(), servers };
        (0..count).for_each(|index| cluster.spawn(index));
        (0..count).for_each(|index| cluster.wait(index));
        cluster
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.servers.iter().map(|server| format!("http://127.0.0.1:{}", server.client_port)).collect()
    }

    /// SIGKILL.
    pub fn kill(&mut self, index: usize) {
        let mut process = self.servers[index].process.take().expect("it runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub fn start_again(&mut self, index: usize) {
        self.spawn(index);
        self.wait(index);
    }

    fn spawn(&mut self, index: usize) {
        let members: Vec<String> = (0..)
            .zip(&self.servers)
            .map(|(number, server)| format!("e{number}=http://127.0.0.1:{}", server.peer_port))
            .collect();
        let log = File::options().create(true).append(true).open(self.folder.path().join(format!("{index}.log")));
        let log = log.unwrap();
        let server = &mut self.servers[index];
        let client = format!("http://127.0.0.1:{}", server.client_port);
        let peer = format!("http://127.0.0.1:{}", server.peer_port);
        let process = Command::new("etcd")
            .args(["--name", &format!("e{index}")])
            .arg("--data-dir")
            .arg(self.folder.path().join(format!("e{index}")))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &members.join(","), "--initial-cluster-state", "new"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("etcd can't be started ({error}); Debian's package is etcd-server"));
        server.process = Some(process);
    }

    fn wait(&mut self, index: usize) {
        let begun = Instant::now();
        let server = &mut self.servers[index];
        while TcpStream::connect(("127.0.0.1", server.client_port)).is_err() {
            let ended = server.process.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < READY_TIMEOUT,
                "no etcd: {}",
                std::fs::read_to_string(self.folder.path().join(format!("{index}.log"))).unwrap()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        for process in self.servers.iter_mut().filter_map(|server| server.process.as_mut()) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
