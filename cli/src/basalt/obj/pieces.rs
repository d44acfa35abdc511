//! A file's or a pipe's bytes, piece by piece, on their way into the cluster.

use super::PIECE_BYTES;
use basalt_cli::{Failure, Result, errno};
use basalt_ring::{Ring, Slice, mailbox};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc;

/// Pieces read ahead of a pipe's consumer.
const READ_AHEAD: usize = 2;

/// Where an object's bytes come from.
pub enum Pieces {
    File { file: File, ring: Ring, name: String },
    Pipe(Pipe),
}

/// Stdin, read by a thread of its own: whoever fills the pipe may take their time, and the sessions must not wait for them.
pub struct Pipe {
    ring: Ring,
    demand: mpsc::Sender<()>,
    pieces: mailbox::Receiver<io::Result<Vec<u8>>>,
}

impl Pieces {
    /// `-` is stdin.
    pub fn open(ring: &Ring, path: &Path) -> Result<Pieces> {
        if path == Path::new("-") {
            return Ok(Pieces::Pipe(Pipe::start(ring)?));
        }
        let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(Failure::new(
                libc::EISDIR,
                format!("{} is a directory; `basalt obj import` stores trees", path.display()),
            ));
        }
        Ok(Pieces::File { file, ring: ring.clone(), name: path.display().to_string() })
    }

    /// The next bytes, whole pieces but for the last; `None` at the end.
    pub async fn next_piece(&mut self) -> Result<Option<Slice>> {
        match self {
            Pieces::File { file, ring, name } => {
                let expected = file.metadata().map_or(0, |metadata| metadata.len());
                read_piece(ring, file, expected).map_err(|error| {
                    Failure::new(errno::of_io(&error), format!("cannot read {name}: {error}"))
                })
            }
            Pieces::Pipe(pipe) => pipe.next_piece().await,
        }
    }
}

impl basalt_client::striped::Source for Pieces {
    async fn next(&mut self) -> basalt_client::Result<Option<Slice>> {
        self.next_piece().await.map_err(|failure| basalt_client::Error::new(failure.errno(), failure.message()))
    }
}

impl Pipe {
    fn start(ring: &Ring) -> Result<Pipe> {
        let (demand, demanded) = mpsc::channel();
        let (sender, pieces) = mailbox::channel(READ_AHEAD + 1);
        std::thread::Builder::new()
            .name("stdin".into())
            .spawn(move || {
                for () in demanded {
                    let mut piece = Vec::new();
                    let read = io::stdin().lock().take(PIECE_BYTES as u64).read_to_end(&mut piece);
                    // A full or closed mailbox means that nobody wants the bytes any more.
                    if sender.try_send(read.map(|_| piece)).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| Failure::new(errno::of_io(&error), format!("cannot start a thread to read stdin: {error}")))?;
        for _ in 0..READ_AHEAD {
            // The thread lives until this end is dropped.
            let _ = demand.send(());
        }
        Ok(Pipe { ring: ring.clone(), demand, pieces })
    }

    async fn next_piece(&mut self) -> Result<Option<Slice>> {
        let piece = match self.pieces.receive().await {
            Some(Ok(piece)) => piece,
            Some(Err(error)) => return Err(Failure::new(errno::of_io(&error), format!("cannot read stdin: {error}"))),
            None => return Err(Failure::new(libc::EIO, "the thread that reads stdin has ended")),
        };
        let _ = self.demand.send(());
        if piece.is_empty() {
            return Ok(None);
        }
        let mut buffer = self.ring.buffer(piece.len());
        buffer.copy_from_slice(&piece);
        Ok(Some(buffer.freeze()))
    }
}

/// Reads until the piece is full or the file ends. `expected` bytes, the file's size, only decides how much memory is taken.
fn read_piece(ring: &Ring, file: &mut File, expected: u64) -> io::Result<Option<Slice>> {
    let capacity = usize::try_from(expected).unwrap_or(PIECE_BYTES).clamp(basalt_ring::BLOCK, PIECE_BYTES);
    let mut buffer = ring.buffer(capacity);
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if filled == 0 {
        return Ok(None);
    }
    buffer.truncate(filled);
    Ok(Some(buffer.freeze()))
}
