//! What one session may have under way: so that a client that asks for more than it takes is slowed, not the daemon filled.

use crate::limits;
use basalt_ring::local::{Permit, Semaphore};

#[derive(Clone)]
pub struct SessionCredits {
    requests: Semaphore,
    read_bytes: Semaphore,
    /// Shared by all sessions of the OSD.
    osd_payload_bytes: Semaphore,
}

/// Bytes of read data, from before they are read until they are on their way.
pub struct ReadPermit {
    _session: Permit,
    _osd: Permit,
}

impl SessionCredits {
    pub fn new(osd_payload_bytes: Semaphore) -> SessionCredits {
        SessionCredits {
            requests: Semaphore::new(limits::SESSION_REQUESTS_MAX),
            read_bytes: Semaphore::new(limits::SESSION_READ_BYTES_MAX),
            osd_payload_bytes,
        }
    }

    /// A request's place; the session's reader waits here.
    pub async fn request(&self) -> Permit {
        self.requests.acquire(1).await
    }

    /// Resolves once no request of the session is being worked on.
    pub async fn all_requests_ended(&self) {
        drop(self.requests.acquire(limits::SESSION_REQUESTS_MAX).await);
    }

    /// A write's payload, which is in memory already. The reader waits here, so what it holds beyond the bound is one frame.
    pub async fn written(&self, bytes: usize) -> Option<Permit> {
        if bytes == 0 { None } else { Some(self.osd_payload_bytes.acquire(bytes as u64).await) }
    }

    /// Everybody takes from the session first and the OSD second, and a request does it once, so nobody waits in a circle.
    pub async fn reserve_read(&self, bytes: u64) -> ReadPermit {
        let session = self.read_bytes.acquire(bytes).await;
        ReadPermit { _session: session, _osd: self.osd_payload_bytes.acquire(bytes).await }
    }
}
