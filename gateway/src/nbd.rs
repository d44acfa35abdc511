//! Block images as NBD exports, named `POOL/NAME`; `POOL/NAME@SNAPSHOT` is a snapshot, read-only.
//!
//! Fixed newstyle negotiation, structured replies, block status (`base:allocation`), several connections on one export, TLS. A server
//! runs on one ring thread: sockets, images and their OSDs share it. Who talks nonsense, or too slowly, loses its connection; nobody else
//! notices. What a connection may have in flight is bounded in bytes and in number.

mod exports;
mod figures;
mod inbox;
pub mod limits;
mod negotiate;
mod outbox;
mod server;
mod tls;
mod transmit;
mod transport;
pub mod wire;

pub use exports::ExportPolicy;
pub use figures::{CommandFigures, NbdFigures};
pub use server::{Listen, Server, ServerConfig};
pub use tls::TlsFiles;
