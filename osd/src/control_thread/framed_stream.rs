//! Whole buffers and whole frames over a tokio-uring stream.

use basalt_net::frame::{self, FrameHeader, HEADER_BYTES};
use basalt_net::{FrameError, FrameKind, Message};
use rkyv::util::AlignedVec;
use std::io;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a payload of {0} bytes where none is due")]
    Payload(u32),
}

/// A frame without payload.
pub struct Frame {
    pub kind: FrameKind,
    message: AlignedVec,
}

impl Frame {
    pub fn message<M: Message>(&self) -> Result<M, FrameError> {
        frame::deserialize(self.kind, &self.message)
    }

    /// The reason in a frame that closes the session.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.message).into_owned()
    }
}

/// Exactly `length` bytes. Not to be dropped half way: what was read would be lost.
pub async fn read_exact(stream: &TcpStream, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let (outcome, slice) = stream.read(buffer.slice(filled..)).await;
        buffer = slice.into_inner();
        match outcome? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(buffer)
}

pub async fn write(stream: &TcpStream, bytes: Vec<u8>) -> io::Result<()> {
    if bytes.is_empty() { Ok(()) } else { stream.write_all(bytes).await.0 }
}

/// The frame that is due with this sequence.
pub async fn read_frame(stream: &TcpStream, sequence: u64) -> Result<Frame, StreamError> {
    let header = read_exact(stream, HEADER_BYTES).await?;
    let header = header.first_chunk::<HEADER_BYTES>().ok_or(io::ErrorKind::UnexpectedEof).map_err(io::Error::from)?;
    let header = FrameHeader::decode(header)?;
    if header.sequence != sequence {
        return Err(FrameError::Sequence { seen: header.sequence, expected: sequence }.into());
    }
    if header.payload_len > 0 {
        return Err(StreamError::Payload(header.payload_len));
    }
    let bytes = read_exact(stream, header.message_len as usize).await?;
    header.check_message(&bytes)?;
    let mut message = AlignedVec::with_capacity(bytes.len());
    message.extend_from_slice(&bytes);
    Ok(Frame { kind: header.kind, message })
}

pub async fn write_frame(
    stream: &TcpStream,
    kind: FrameKind,
    message: &[u8],
    sequence: u64,
) -> Result<(), StreamError> {
    let header = FrameHeader::describe(kind, message, &[], sequence)?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + message.len());
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(message);
    Ok(write(stream, bytes).await?)
}

pub async fn write_message<M: Message>(stream: &TcpStream, message: &M, sequence: u64) -> Result<(), StreamError> {
    let bytes = frame::archive(message, AlignedVec::new());
    write_frame(stream, M::KIND, &bytes, sequence).await
}
