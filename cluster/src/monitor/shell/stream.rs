//! Whole buffers and whole frames over a tokio-uring stream.

use crate::limits;
use basalt_net::frame::{self, FrameReader};
use basalt_net::message::monitor::MonitorRequest;
use basalt_net::{FrameError, FrameKind};
use rkyv::util::AlignedVec;
use std::io;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a request of {message_len} bytes with a payload of {payload_len}; a monitor takes at most {max} and none", max = limits::REQUEST_BYTES_MAX)]
    TooLong { message_len: u32, payload_len: u32 },
    #[error("frame of kind {0:?}, which no monitor takes")]
    Kind(FrameKind),
}

/// What a peer may send to a monitor once it is known.
// There is one at a time, and nearly all are requests.
#[allow(clippy::large_enum_variant)]
pub(super) enum Incoming {
    Request(MonitorRequest),
    Ping,
    Pong,
    Close,
}

/// Exactly `length` bytes; `None` if the peer ended the stream before the first.
pub(super) async fn read_exact(stream: &TcpStream, length: usize) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0u8; length];
    let mut filled = 0;
    while filled < length {
        let (outcome, slice) = stream.read(buffer.slice(filled..)).await;
        buffer = slice.into_inner();
        match outcome? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(Some(buffer))
}

pub(super) async fn write(stream: &TcpStream, bytes: Vec<u8>) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    stream.write_all(bytes).await.0
}

/// The next frame; `None` if the peer ended the stream between frames.
pub(super) async fn read_frame(stream: &TcpStream, frames: &mut FrameReader) -> Result<Option<Incoming>, StreamError> {
    let Some(header) = read_exact(stream, frames.header_bytes()).await? else { return Ok(None) };
    let header = frames.header(&header)?;
    if header.message_len > limits::REQUEST_BYTES_MAX || header.payload_len > 0 {
        return Err(StreamError::TooLong { message_len: header.message_len, payload_len: header.payload_len });
    }
    let mut message = match header.message_len {
        0 => Vec::new(),
        length => read_exact(stream, length as usize).await?.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?,
    };
    frames.body(&header, &mut message)?;
    Ok(Some(match header.kind {
        FrameKind::PING => Incoming::Ping,
        FrameKind::PONG => Incoming::Pong,
        FrameKind::CLOSE => Incoming::Close,
        FrameKind::MONITOR_REQUEST => {
            let mut aligned = AlignedVec::<16>::with_capacity(message.len());
            aligned.extend_from_slice(&message);
            Incoming::Request(frame::deserialize(header.kind, &aligned)?)
        }
        other => return Err(StreamError::Kind(other)),
    }))
}
