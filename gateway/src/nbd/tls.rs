//! TLS on a ring's socket: `rustls` decides what the bytes are, the ring moves them.

use basalt_client::{Error, Result};
use basalt_ring::local::Semaphore;
use basalt_ring::{Buffer, Ring, Slice, Socket};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConnection};
use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Ciphertext received, and sent, at a time.
const RECEIVE_BYTES: usize = 16 << 10;
const SEND_BYTES: usize = 256 << 10;

/// Where a server's identity is. PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Clients must show a certificate that one of these has signed.
    pub client_authorities: Option<PathBuf>,
    /// Whoever does not ask for TLS is told to.
    pub is_required: bool,
}

#[derive(Clone)]
pub struct Tls {
    config: Arc<rustls::ServerConfig>,
    pub is_required: bool,
}

impl Tls {
    /// EINVAL for files that are no certificates or keys, or don't belong together.
    pub fn load(files: &TlsFiles) -> Result<Tls> {
        let failed = |path: &PathBuf, error: &dyn Display| Error::new(22, format!("TLS: {}: {error}", path.display()));
        let certificates = |path: &PathBuf| -> Result<Vec<CertificateDer<'static>>> {
            let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
            let all = all.map_err(|error| failed(path, &error))?;
            if all.is_empty() { Err(failed(path, &"there is no certificate in it")) } else { Ok(all) }
        };
        let chain = certificates(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| failed(&files.key, &error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&files.certificate, &error))?;
        let builder = match &files.client_authorities {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority).map_err(|error| failed(path, &error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| failed(path, &error))?)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(|error| failed(&files.certificate, &error))?;
        Ok(Tls { config: Arc::new(config), is_required: files.is_required })
    }

    /// Shakes hands with a client that has been told to begin.
    pub async fn accept(&self, ring: &Ring, socket: Socket) -> io::Result<TlsStream> {
        let connection = ServerConnection::new(self.config.clone()).map_err(io::Error::other)?;
        let stream = TlsStream {
            ring: ring.clone(),
            socket,
            connection: RefCell::new(connection),
            received: RefCell::default(),
            sending: Semaphore::new(1),
        };
        while stream.connection.borrow().is_handshaking() {
            stream.flush().await?;
            if stream.connection.borrow().wants_read() && !stream.go_on().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        stream.flush().await?;
        Ok(stream)
    }
}

pub struct TlsStream {
    ring: Ring,
    socket: Socket,
    connection: RefCell<ServerConnection>,
    /// Ciphertext, and which part of it is not opened yet.
    received: RefCell<Option<(Slice, Range<usize>)>>,
    /// Records leave in the order in which they were sealed.
    sending: Semaphore,
}

impl TlsStream {
    /// At least one byte into the buffer's start; 0: the client has closed.
    pub async fn receive(&self, mut buffer: Buffer) -> (io::Result<usize>, Buffer) {
        loop {
            let read = self.connection.borrow_mut().reader().read(&mut buffer);
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return (read, buffer),
            }
            match self.go_on().await {
                Ok(true) => {}
                // Without a farewell; what came before it was whole.
                Ok(false) => return (Ok(0), buffer),
                Err(error) => return (Err(error), buffer),
            }
        }
    }

    /// Opens more of what was received, or receives more. False: the socket has ended.
    async fn go_on(&self) -> io::Result<bool> {
        Ok(self.open_some().await? || self.receive_ciphertext().await?)
    }

    /// False: the socket has ended.
    async fn receive_ciphertext(&self) -> io::Result<bool> {
        let (received, buffer) = self.socket.receive(self.ring.buffer(RECEIVE_BYTES)).await;
        let count = received?;
        *self.received.borrow_mut() = Some((buffer.freeze(), 0..count));
        Ok(count > 0)
    }

    /// Opens some of what was received; false if there is nothing. Only when all plaintext is taken: rustls holds little of it.
    async fn open_some(&self) -> io::Result<bool> {
        let opened = {
            let mut received = self.received.borrow_mut();
            let Some((bytes, range)) = received.as_mut().filter(|(_, range)| !range.is_empty()) else {
                return Ok(false);
            };
            let mut ciphertext = bytes.get(range.clone()).unwrap_or_default();
            let mut connection = self.connection.borrow_mut();
            range.start += connection.read_tls(&mut ciphertext)?;
            connection.process_new_packets()
        };
        match opened {
            Ok(_) => Ok(true),
            Err(error) => {
                // The client is told why, if it still listens.
                let _ = self.flush().await;
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }

    /// Sends all, in order.
    pub async fn send(&self, slices: Vec<Slice>) -> io::Result<()> {
        let _turn = self.sending.acquire(1).await;
        let mut sealed = Vec::new();
        for slice in slices {
            let mut plain: &[u8] = &slice;
            while !plain.is_empty() {
                {
                    let mut connection = self.connection.borrow_mut();
                    let count = connection.writer().write(plain)?;
                    plain = plain.get(count..).unwrap_or_default();
                    while connection.wants_write() {
                        connection.write_tls(&mut sealed)?;
                    }
                }
                if sealed.len() >= SEND_BYTES {
                    self.send_sealed(&mut sealed).await?;
                }
            }
        }
        self.send_sealed(&mut sealed).await
    }

    /// Sends what the protocol itself has to say.
    async fn flush(&self) -> io::Result<()> {
        let _turn = self.sending.acquire(1).await;
        let mut sealed = Vec::new();
        while self.connection.borrow().wants_write() {
            self.connection.borrow_mut().write_tls(&mut sealed)?;
        }
        self.send_sealed(&mut sealed).await
    }

    async fn send_sealed(&self, sealed: &mut Vec<u8>) -> io::Result<()> {
        if sealed.is_empty() {
            return Ok(());
        }
        let mut buffer = self.ring.buffer(sealed.len());
        buffer.copy_from_slice(sealed);
        sealed.clear();
        self.socket.send(vec![buffer.freeze()]).await.0
    }

    pub fn shutdown(&self) {
        self.socket.shutdown();
    }
}
