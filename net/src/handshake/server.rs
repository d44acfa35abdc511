//! The server's machine.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::packet::{self, Challenge, HEADER_BYTES, Hello, PacketHeader, PacketKind, Reject};
use super::{Authenticated, Credentials, HandshakeError, Label, NONCE_BYTES, Progress, Step, is_proven, prove};
use crate::{EntityName, Key, Service};

/// The server's end. Bytes in, bytes out; no I/O, no clock, no randomness of its own.
pub struct ServerHandshake {
    credentials: Credentials,
    nonce: [u8; NONCE_BYTES],
    /// Every byte that went by, in both directions.
    transcript: Vec<u8>,
    header: Option<PacketHeader>,
    state: State,
}

enum State {
    AwaitHello,
    AwaitProof { peer: EntityName, service: Service },
    Ended,
}

impl ServerHandshake {
    /// `nonce` must come from a cryptographic generator and be used once.
    pub fn new(credentials: Credentials, nonce: [u8; NONCE_BYTES]) -> ServerHandshake {
        ServerHandshake { credentials, nonce, transcript: Vec::new(), header: None, state: State::AwaitHello }
    }

    /// The first step.
    pub fn start(&mut self) -> Step {
        Step { send: Vec::new(), progress: Progress::Read(HEADER_BYTES) }
    }

    /// `bytes` are what the last [`Progress::Read`] asked for, neither more nor less. `lives_here` says whether this daemon serves what the client
    /// asks for; it is asked once, of an authenticated client.
    pub fn receive(&mut self, bytes: &[u8], lives_here: impl FnOnce(Service) -> bool) -> Step {
        match self.advance(bytes, lives_here) {
            Ok(step) => step,
            Err(error) => {
                self.state = State::Ended;
                // Whoever sent no handshake would not understand an answer either, and may be a port scan.
                let send = match error {
                    HandshakeError::Magic { .. } => Vec::new(),
                    _ => Reject::from_error(&error, self.credentials.fsid).encode(),
                };
                Step { send, progress: Progress::Failed(error) }
            }
        }
    }

    fn advance(&mut self, bytes: &[u8], lives_here: impl FnOnce(Service) -> bool) -> Result<Step, HandshakeError> {
        let Some(header) = self.header.take() else {
            let header = PacketHeader::decode(bytes)?;
            self.header = Some(header);
            self.transcript.extend(bytes);
            return Ok(Step { send: Vec::new(), progress: Progress::Read(header.body_len) });
        };
        if bytes.len() != header.body_len {
            return Err(HandshakeError::Malformed("a message was cut short"));
        }
        match (std::mem::replace(&mut self.state, State::Ended), header.kind) {
            (State::AwaitHello, PacketKind::Hello) => self.greeted(bytes),
            (State::AwaitProof { peer, service }, PacketKind::Proof) => self.proven(bytes, peer, service, lives_here),
            (State::AwaitHello | State::AwaitProof { .. }, PacketKind::Reject) => {
                Err(HandshakeError::Rejected { reason: Reject::decode(bytes)?.reason })
            }
            _ => Err(HandshakeError::Malformed("a message out of turn")),
        }
    }

    fn greeted(&mut self, body: &[u8]) -> Result<Step, HandshakeError> {
        let hello = Hello::decode(body)?;
        if hello.fsid != self.credentials.fsid {
            return Err(HandshakeError::WrongCluster { ours: self.credentials.fsid, theirs: hello.fsid });
        }
        self.transcript.extend(body);
        let name = match hello.service {
            Service::Monitor => self.credentials.name.clone(),
            Service::Osd(id) | Service::Peer(id) | Service::Heartbeat(id) => EntityName::osd(id),
        };
        let mut send = Challenge::encode_unproven(self.credentials.fsid, self.nonce, &name);
        self.transcript.extend(&send);
        let proof = prove(&self.credentials.key, Label::Server, &self.transcript);
        self.transcript.extend(proof);
        send.extend(proof);
        self.state = State::AwaitProof { peer: hello.name, service: hello.service };
        Ok(Step { send, progress: Progress::Read(HEADER_BYTES) })
    }

    fn proven(
        &mut self,
        body: &[u8],
        peer: EntityName,
        service: Service,
        lives_here: impl FnOnce(Service) -> bool,
    ) -> Result<Step, HandshakeError> {
        let before = self.transcript.len().saturating_sub(HEADER_BYTES);
        let proof = packet::decode_proof(body)?;
        let challenged = self.transcript.get(..before).unwrap_or_default();
        if !is_proven(&self.credentials.key, Label::Client, challenged, &proof) {
            return Err(HandshakeError::WrongKey { peer });
        }
        if !lives_here(service) {
            return Err(HandshakeError::NotHere { wanted: service });
        }
        self.transcript.extend(body);
        let session_key = Key::from_bytes(prove(&self.credentials.key, Label::SessionKey, &self.transcript));
        let welcome = prove(&session_key, Label::Welcome, &self.transcript);
        let send = packet::encode_proof(PacketKind::Welcome, welcome);
        Ok(Step { send, progress: Progress::Done(Authenticated { peer, service, session_key }) })
    }
}
