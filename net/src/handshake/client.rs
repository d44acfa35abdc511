//! The client's machine.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::packet::{self, Challenge, HEADER_BYTES, Hello, PacketHeader, PacketKind, Reject, RejectCode};
use super::{
    Authenticated, Credentials, HandshakeError, Label, NONCE_BYTES, PROOF_BYTES, Progress, Step, expected_name,
    is_proven, prove,
};
use crate::{EntityName, Key, Service};

/// The client's end. Bytes in, bytes out; no I/O, no clock, no randomness of its own.
pub struct ClientHandshake {
    credentials: Credentials,
    service: Service,
    nonce: [u8; NONCE_BYTES],
    /// Every byte that went by, in both directions.
    transcript: Vec<u8>,
    header: Option<PacketHeader>,
    state: State,
}

enum State {
    AwaitChallenge,
    AwaitWelcome { peer: EntityName, session_key: Key },
    Ended,
}

impl ClientHandshake {
    /// `nonce` must come from a cryptographic generator and be used once.
    pub fn new(credentials: Credentials, service: Service, nonce: [u8; NONCE_BYTES]) -> ClientHandshake {
        ClientHandshake {
            credentials,
            service,
            nonce,
            transcript: Vec::new(),
            header: None,
            state: State::AwaitChallenge,
        }
    }

    /// The first step.
    pub fn start(&mut self) -> Step {
        let hello = Hello {
            fsid: self.credentials.fsid,
            nonce: self.nonce,
            service: self.service,
            name: self.credentials.name.clone(),
        }
        .encode();
        self.transcript.extend(&hello);
        Step { send: hello, progress: Progress::Read(HEADER_BYTES) }
    }

    /// `bytes` are what the last [`Progress::Read`] asked for, neither more nor less.
    pub fn receive(&mut self, bytes: &[u8]) -> Step {
        match self.advance(bytes) {
            Ok(step) => step,
            Err(error) => {
                self.state = State::Ended;
                Step { send: Vec::new(), progress: Progress::Failed(error) }
            }
        }
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<Step, HandshakeError> {
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
            (State::AwaitChallenge, PacketKind::Challenge) => self.challenged(bytes),
            (State::AwaitWelcome { peer, session_key }, PacketKind::Welcome) => {
                if !is_proven(&session_key, Label::Welcome, self.without_header(), &packet::decode_proof(bytes)?) {
                    return Err(HandshakeError::WrongKey { peer });
                }
                let authenticated = Authenticated { peer, service: self.service, session_key };
                Ok(Step { send: Vec::new(), progress: Progress::Done(authenticated) })
            }
            (State::AwaitChallenge | State::AwaitWelcome { .. }, PacketKind::Reject) => {
                Err(self.rejected(Reject::decode(bytes)?))
            }
            _ => Err(HandshakeError::Malformed("a message out of turn")),
        }
    }

    fn challenged(&mut self, body: &[u8]) -> Result<Step, HandshakeError> {
        let challenge = Challenge::decode(body)?;
        if challenge.fsid != self.credentials.fsid {
            return Err(HandshakeError::WrongCluster { ours: self.credentials.fsid, theirs: challenge.fsid });
        }
        let unproven = body.len().saturating_sub(PROOF_BYTES);
        let (before_proof, proof) =
            body.split_at_checked(unproven).ok_or(HandshakeError::Malformed("a challenge without proof"))?;
        self.transcript.extend(before_proof);
        if !is_proven(&self.credentials.key, Label::Server, &self.transcript, &challenge.proof) {
            return Err(HandshakeError::WrongKey { peer: challenge.name });
        }
        if !expected_name(self.service, &challenge.name) {
            return Err(HandshakeError::WrongPeer { seen: challenge.name, wanted: self.service });
        }
        self.transcript.extend(proof);
        let proof = prove(&self.credentials.key, Label::Client, &self.transcript);
        let send = packet::encode_proof(PacketKind::Proof, proof);
        self.transcript.extend(&send);
        let session_key = Key::from_bytes(prove(&self.credentials.key, Label::SessionKey, &self.transcript));
        self.state = State::AwaitWelcome { peer: challenge.name, session_key };
        Ok(Step { send, progress: Progress::Read(HEADER_BYTES) })
    }

    /// The welcome proves what went before it; its own header is in the transcript already.
    fn without_header(&self) -> &[u8] {
        self.transcript.get(..self.transcript.len().saturating_sub(HEADER_BYTES)).unwrap_or_default()
    }

    fn rejected(&self, reject: Reject) -> HandshakeError {
        match reject.code {
            RejectCode::WrongCluster => {
                HandshakeError::WrongCluster { ours: self.credentials.fsid, theirs: reject.fsid }
            }
            RejectCode::NotHere => HandshakeError::NotHere { wanted: self.service },
            RejectCode::WrongKey | RejectCode::Other => HandshakeError::Rejected { reason: reject.reason },
        }
    }
}
