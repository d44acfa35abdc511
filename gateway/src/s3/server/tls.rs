//! The certificate, read anew when its files change.

use super::TlsFiles;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant, SystemTime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How often the files are looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Cheap to clone.
#[derive(Clone)]
pub struct Certificate {
    files: TlsFiles,
    current: Arc<RwLock<Current>>,
}

struct Current {
    acceptor: TlsAcceptor,
    changed: Times,
    looked: Instant,
}

type Times = [Option<SystemTime>; 2];

impl Certificate {
    pub fn load(files: &TlsFiles) -> Result<Certificate, String> {
        let changed = times(files);
        let current = Current { acceptor: acceptor(files)?, changed, looked: Instant::now() };
        Ok(Certificate { files: files.clone(), current: Arc::new(RwLock::new(current)) })
    }

    /// With the newest certificate that is whole.
    pub fn acceptor(&self) -> TlsAcceptor {
        {
            let current = self.current.read().unwrap_or_else(|poisoned| poisoned.into_inner());
            if current.looked.elapsed() < LOOK_INTERVAL {
                return current.acceptor.clone();
            }
        }
        let mut current = self.current.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        current.looked = Instant::now();
        let changed = times(&self.files);
        if changed != current.changed {
            match acceptor(&self.files) {
                Ok(acceptor) => {
                    tracing::info!(certificate = %self.files.certificate.display(), "a new certificate is used");
                    current.acceptor = acceptor;
                    current.changed = changed;
                }
                // The two files change one after the other.
                Err(problem) => tracing::warn!(problem, "the new certificate is not used"),
            }
        }
        current.acceptor.clone()
    }
}

fn times(files: &TlsFiles) -> Times {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    [changed(&files.certificate), changed(&files.key)]
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, String> {
    let of = |path: &Path, problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| of(&files.certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| of(&files.key, &error))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| of(&files.certificate, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
