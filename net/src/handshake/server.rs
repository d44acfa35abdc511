//! The server's machine.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::noise;
use super::packet::{self, HEADER_BYTES, PacketHeader, PacketKind, Reject, Wish};
use super::{
    Authenticated, Credentials, HandshakeError, NONCE_BYTES, Progress, SessionKeys, Step, WireMode, proven_key,
    read_message, write_message,
};
use crate::software::agree;
use crate::{EntityName, Service, TurnedAway};
use snow::HandshakeState;

/// The server's end. Bytes in, bytes out; no I/O, no clock, no randomness of its own.
pub struct ServerHandshake {
    credentials: Credentials,
    nonce: [u8; NONCE_BYTES],
    header: Option<PacketHeader>,
    state: State,
}

// There is one at a time, and it lives for a moment.
#[allow(clippy::large_enum_variant)]
enum State {
    AwaitHello,
    AwaitProof { noise: HandshakeState, asked: Asked },
    Ended,
}

/// What the client wants, and whether it tells what it runs.
struct Asked {
    service: Service,
    mode: WireMode,
    is_told: bool,
}

impl ServerHandshake {
    /// `nonce` must come from a cryptographic generator and be used once.
    pub fn new(credentials: Credentials, nonce: [u8; NONCE_BYTES]) -> ServerHandshake {
        ServerHandshake { credentials, nonce, header: None, state: State::AwaitHello }
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
                self.credentials.trust.turn_away(TurnedAway::of(&error));
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
            return Ok(Step { send: Vec::new(), progress: Progress::Read(header.body_len) });
        };
        if bytes.len() != header.body_len {
            return Err(HandshakeError::Malformed("a message was cut short"));
        }
        match (std::mem::replace(&mut self.state, State::Ended), header.kind) {
            (State::AwaitHello, PacketKind::Hello) => self.greeted(bytes),
            (State::AwaitProof { noise, asked }, PacketKind::Proof) => self.proven(noise, bytes, &asked, lives_here),
            (State::AwaitHello | State::AwaitProof { .. }, PacketKind::Reject) => {
                Err(HandshakeError::Rejected { reason: Reject::decode(bytes)?.reason })
            }
            _ => Err(HandshakeError::Malformed("a message out of turn")),
        }
    }

    fn greeted(&mut self, body: &[u8]) -> Result<Step, HandshakeError> {
        let is_told = self.credentials.software.tells() && packet::is_marked(body);
        let mut noise = noise::begin(&self.credentials.key, self.nonce, is_told, false)?;
        let Wish { fsid, service, mode } = Wish::decode(&read_message(&mut noise, body)?)?;
        if fsid != self.credentials.fsid {
            return Err(HandshakeError::WrongCluster { ours: self.credentials.fsid, theirs: fsid });
        }
        if mode < self.credentials.mode {
            return Err(HandshakeError::Mode);
        }
        let name = match service {
            Service::Monitor => self.credentials.name.clone(),
            Service::Osd(id) | Service::Peer(id) | Service::Heartbeat(id) => EntityName::osd(id),
        };
        let challenge = write_message(&mut noise, name.as_str().as_bytes())?;
        self.state = State::AwaitProof { noise, asked: Asked { service, mode, is_told } };
        let send = packet::packet(PacketKind::Challenge, &challenge);
        Ok(Step { send, progress: Progress::Read(HEADER_BYTES) })
    }

    fn proven(
        &mut self,
        mut noise: HandshakeState,
        body: &[u8],
        &Asked { service, mode, is_told }: &Asked,
        lives_here: impl FnOnce(Service) -> bool,
    ) -> Result<Step, HandshakeError> {
        let (peer, theirs) = packet::decode_proof(&read_message(&mut noise, body)?, is_told)?;
        let peer_key = proven_key(&noise)?;
        let standing = self.credentials.trust.judge(&peer, &peer_key)?;
        // Only to those who are known: what is required here is nobody else's business.
        let ours = self.credentials.told();
        let agreed = agree(&ours, &theirs).map_err(HandshakeError::Software)?;
        // Other OSDs come as what they are; whatever else a client may do, it is no member of a group.
        if matches!(service, Service::Peer(_) | Service::Heartbeat(_)) && peer.osd_id().is_none() {
            return Err(HandshakeError::WrongPeer { seen: peer, wanted: service });
        }
        if !lives_here(service) {
            return Err(HandshakeError::NotHere { wanted: service });
        }
        let (to_server, to_client) = noise.dangerously_get_raw_split();
        let keys = SessionKeys::new(to_client, to_server);
        let mut welcome = Vec::new();
        if is_told {
            ours.encode(&mut welcome);
        }
        let send = packet::packet(PacketKind::Welcome, &keys.seal_welcome(welcome));
        let software = theirs.software;
        let authenticated = Authenticated { peer, peer_key, standing, service, mode, software, agreed, keys };
        Ok(Step { send, progress: Progress::Done(authenticated) })
    }
}
