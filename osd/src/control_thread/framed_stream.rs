//! Whole buffers and whole frames over a tokio-uring stream.

use basalt_net::frame::{self, FrameReader};
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

/// The next frame.
pub async fn read_frame(stream: &TcpStream, frames: &mut FrameReader) -> Result<Frame, StreamError> {
    let header = frames.header(&read_exact(stream, frames.header_bytes()).await?)?;
    if header.payload_len > 0 {
        return Err(StreamError::Payload(header.payload_len));
    }
    let mut bytes = read_exact(stream, header.message_len as usize).await?;
    frames.body(&header, &mut bytes)?;
    let mut message = AlignedVec::with_capacity(bytes.len());
    message.extend_from_slice(&bytes);
    Ok(Frame { kind: header.kind, message })
}
