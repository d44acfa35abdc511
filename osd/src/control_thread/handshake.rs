//! Runs the handshake's machines over a stream.

use super::framed_stream;
use basalt_net::Authenticated;
use basalt_net::handshake::{NONCE_BYTES, Progress, Step};
use basalt_net::limits::HANDSHAKE_BYTES_MAX;
use tokio_uring::net::TcpStream;

pub fn nonce() -> Result<[u8; NONCE_BYTES], String> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| format!("no randomness to be had: {error}"))?;
    Ok(nonce)
}

/// Sends and reads what the machine asks for, beginning with its first step. An error says why there is no session.
pub async fn run(
    stream: &TcpStream,
    first: Step,
    mut receive: impl FnMut(&[u8]) -> Step,
) -> Result<Authenticated, String> {
    let mut step = first;
    let mut bytes_read = 0;
    loop {
        let sent = framed_stream::write(stream, step.send).await;
        match step.progress {
            Progress::Done(authenticated) => return sent.map(|()| authenticated).map_err(|error| error.to_string()),
            // That the peer could not be told why matters less than why.
            Progress::Failed(error) => return Err(error.to_string()),
            Progress::Read(length) => {
                sent.map_err(|error| error.to_string())?;
                bytes_read += length;
                if bytes_read > HANDSHAKE_BYTES_MAX {
                    return Err(format!("a handshake of more than {HANDSHAKE_BYTES_MAX} bytes"));
                }
                let bytes = framed_stream::read_exact(stream, length).await.map_err(|error| error.to_string())?;
                step = receive(&bytes);
            }
        }
    }
}
