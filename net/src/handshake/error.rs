//! Why a handshake failed, from the view of the end that says so.

use super::packet::HANDSHAKE_VERSION;
use crate::limits::HANDSHAKE_MESSAGE_BYTES_MAX;
use crate::software::Disagreement;
use crate::{EntityName, Fsid, Service};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    #[error(
        "the peer begins with {seen:02x?}, which is no Basalt handshake: check that address and port are those of a Basalt daemon"
    )]
    Magic { seen: [u8; 4] },
    #[error(
        "the peer begins with version {seen} of the handshake, this end with {HANDSHAKE_VERSION}: one of them is too old, or too new, for the other"
    )]
    Version { seen: u16 },
    /// As this end sees it.
    #[error(transparent)]
    Software(Disagreement),
    /// As the other end said it.
    #[error("refused by the peer: {reason}")]
    SoftwareRefused { reason: String },
    #[error("a handshake message of {seen} bytes, where at most {HANDSHAKE_MESSAGE_BYTES_MAX} are allowed")]
    TooLong { seen: usize },
    #[error("malformed handshake: {0}")]
    Malformed(&'static str),
    #[error("the handshake's bytes are not those that the other end sent: somebody changed them on the way")]
    Tampered,
    #[error(
        "the peer belongs to cluster {theirs}, this end to cluster {ours}: check the address, or the fsid in the configuration"
    )]
    WrongCluster { ours: Fsid, theirs: Fsid },
    #[error(
        "{peer} has another key than the one it is known by: `basalt auth get {peer}` shows that (of a monitor: monitor_keys in the configuration)"
    )]
    WrongKey { peer: EntityName },
    #[error(
        "{peer} is not known to this cluster: `basalt auth ls` shows who is, `basalt auth add {peer}` makes it known"
    )]
    UnknownName { peer: EntityName },
    #[error("there is no map here yet that says who is known by which key: try again when the monitors are reached")]
    NoTable,
    #[error(
        "mode crc is asked for where mode secure is required: set public_mode (on the cluster network: cluster_mode) to secure at both ends"
    )]
    Mode,
    #[error(
        "the peer is {seen}, but {wanted} was asked for: the map that gave this address is old, or the address is wrong"
    )]
    WrongPeer { seen: EntityName, wanted: Service },
    #[error(
        "{wanted} is not served at this address: it has moved, has not started yet, or the map that gave the address is old"
    )]
    NotHere { wanted: Service },
    #[error("rejected by the peer: {reason}")]
    Rejected { reason: String },
}
