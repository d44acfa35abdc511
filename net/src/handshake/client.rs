//! The client's machine.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::noise;
use super::packet::{self, HEADER_BYTES, PacketHeader, PacketKind, Reject, RejectCode, Wish};
use super::{
    Authenticated, Credentials, HandshakeError, NONCE_BYTES, Progress, SessionKeys, Standing, Step, expected_name,
    proven_key, read_message, write_message,
};
use crate::software::{Told, agree};
use crate::{EntityName, PublicKey, Service};
use snow::HandshakeState;

/// The client's end. Bytes in, bytes out; no I/O, no clock, no randomness of its own.
pub struct ClientHandshake {
    credentials: Credentials,
    service: Service,
    nonce: [u8; NONCE_BYTES],
    header: Option<PacketHeader>,
    state: State,
}

// There is one at a time, and it lives for a moment.
#[allow(clippy::large_enum_variant)]
enum State {
    New,
    AwaitChallenge(HandshakeState),
    AwaitWelcome { peer: EntityName, peer_key: PublicKey, standing: Standing, is_told: bool, keys: SessionKeys },
    Ended,
}

impl ClientHandshake {
    /// `nonce` must come from a cryptographic generator and be used once.
    pub fn new(credentials: Credentials, service: Service, nonce: [u8; NONCE_BYTES]) -> ClientHandshake {
        ClientHandshake { credentials, service, nonce, header: None, state: State::New }
    }

    /// The first step.
    pub fn start(&mut self) -> Step {
        match self.greet() {
            Ok(step) => step,
            Err(error) => self.failed(error),
        }
    }

    fn greet(&mut self) -> Result<Step, HandshakeError> {
        let Credentials { fsid, mode, key, software, .. } = &self.credentials;
        let mut noise = noise::begin(key, self.nonce, software.tells(), true)?;
        let wish = Wish { fsid: *fsid, service: self.service, mode: *mode }.encode();
        let send = packet::packet(PacketKind::Hello, &write_message(&mut noise, &wish)?);
        self.state = State::AwaitChallenge(noise);
        Ok(Step { send, progress: Progress::Read(HEADER_BYTES) })
    }

    /// `bytes` are what the last [`Progress::Read`] asked for, neither more nor less.
    pub fn receive(&mut self, bytes: &[u8]) -> Step {
        match self.advance(bytes) {
            Ok(step) => step,
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: HandshakeError) -> Step {
        self.state = State::Ended;
        Step { send: Vec::new(), progress: Progress::Failed(error) }
    }

    fn advance(&mut self, bytes: &[u8]) -> Result<Step, HandshakeError> {
        let Some(header) = self.header.take() else {
            let header = PacketHeader::decode(bytes)?;
            self.header = Some(header);
            return Ok(Step { send: Vec::new(), progress: Progress::Read(header.body_len) });
        };
        if bytes.len() != header.body_len {
            return Err(HandshakeError::Malformed("a message was cut short"));
        }
        match (std::mem::replace(&mut self.state, State::Ended), header.kind) {
            (State::AwaitChallenge(noise), PacketKind::Challenge) => self.challenged(noise, bytes),
            (State::AwaitWelcome { peer, peer_key, standing, is_told, keys }, PacketKind::Welcome) => {
                let text = keys.open_welcome(bytes)?;
                let told = if is_told { packet::decode_told(&text)? } else { Told::nothing() };
                let agreed = agree(&self.credentials.told(), &told).map_err(HandshakeError::Software)?;
                let (service, mode, software) = (self.service, self.credentials.mode, told.software);
                let authenticated = Authenticated { peer, peer_key, standing, service, mode, software, agreed, keys };
                Ok(Step { send: Vec::new(), progress: Progress::Done(authenticated) })
            }
            (State::AwaitChallenge(_) | State::AwaitWelcome { .. }, PacketKind::Reject) => {
                Err(self.rejected(Reject::decode(bytes)?))
            }
            _ => Err(HandshakeError::Malformed("a message out of turn")),
        }
    }

    fn challenged(&mut self, mut noise: HandshakeState, body: &[u8]) -> Result<Step, HandshakeError> {
        let is_told = self.credentials.software.tells() && packet::is_marked(body);
        let peer = packet::decode_name(&read_message(&mut noise, body)?)?;
        let peer_key = proven_key(&noise)?;
        // Told before the key is judged: whoever answers for another is the map's fault, not the key's.
        if !expected_name(self.service, &peer) {
            return Err(HandshakeError::WrongPeer { seen: peer, wanted: self.service });
        }
        let standing = self.credentials.trust.judge(&peer, &peer_key)?;
        let told = self.credentials.told();
        if !is_told {
            // It will not say what it runs, and so nothing is to be waited for.
            agree(&told, &Told::nothing()).map_err(HandshakeError::Software)?;
        }
        let proof = packet::encode_proof(&self.credentials.name, is_told.then_some(&told));
        let send = packet::packet(PacketKind::Proof, &write_message(&mut noise, &proof)?);
        let (to_server, to_client) = noise.dangerously_get_raw_split();
        let keys = SessionKeys::new(to_server, to_client);
        self.state = State::AwaitWelcome { peer, peer_key, standing, is_told, keys };
        Ok(Step { send, progress: Progress::Read(HEADER_BYTES) })
    }

    fn rejected(&self, reject: Reject) -> HandshakeError {
        match reject.code {
            RejectCode::WrongCluster => {
                HandshakeError::WrongCluster { ours: self.credentials.fsid, theirs: reject.fsid }
            }
            RejectCode::NotHere => HandshakeError::NotHere { wanted: self.service },
            RejectCode::Mode => HandshakeError::Mode,
            RejectCode::NotYet => HandshakeError::NoTable,
            RejectCode::Software => HandshakeError::SoftwareRefused { reason: reject.reason },
            RejectCode::WrongKey | RejectCode::Other => HandshakeError::Rejected { reason: reject.reason },
        }
    }
}
