//! A file's or a pipe's bytes on their way into the cluster.

use super::PIECE_BYTES;
use basalt_cli::{Failure, Result, errno};
use basalt_client::striped;
use basalt_ring::{Buffer, Ring, mailbox};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc;

/// Pieces read ahead of a pipe's consumer.
const READ_AHEAD: usize = 2;

/// Where an object's bytes come from.
pub struct Pieces {
    origin: Origin,
    /// How many have gone by.
    pub bytes: u64,
    /// Why reading them failed, to be told from a failure to store them.
    pub failure: Option<Failure>,
}

enum Origin {
    File { file: File, name: String },
    Pipe(Pipe),
}

/// Stdin, read by a thread of its own: whoever fills the pipe may take their time, and the sessions must not wait for them.
struct Pipe {
    demand: mpsc::Sender<()>,
    pieces: mailbox::Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    /// Bytes of the piece that are used.
    used: usize,
}

impl Pieces {
    /// `-` is stdin.
    pub fn open(path: &Path) -> Result<Pieces> {
        let origin = if path == Path::new("-") {
            Origin::Pipe(Pipe::start()?)
        } else {
            let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
            if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
                return Err(Failure::new(
                    libc::EISDIR,
                    format!("{} is a directory; `basalt obj import` stores trees", path.display()),
                ));
            }
            Origin::File { file, name: path.display().to_string() }
        };
        Ok(Pieces { origin, bytes: 0, failure: None })
    }

    /// The next bytes, as many as a piece has but for the last; `None` at the end.
    pub async fn next(&mut self, ring: &Ring) -> Result<Option<Buffer>> {
        let piece = self.fill_from_origin(ring.buffer(PIECE_BYTES)).await?;
        Ok(if piece.is_empty() { None } else { Some(piece) })
    }

    async fn fill_from_origin(&mut self, mut buffer: Buffer) -> Result<Buffer> {
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            let count = match &mut self.origin {
                Origin::File { file, name } => match file.read(room) {
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => {
                        return Err(Failure::new(errno::of_io(&error), format!("cannot read {name}: {error}")));
                    }
                },
                Origin::Pipe(pipe) => pipe.read(room).await?,
            };
            if count == 0 {
                break;
            }
            filled += count;
        }
        buffer.truncate(filled);
        self.bytes += filled as u64;
        Ok(buffer)
    }
}

impl striped::Source for &mut Pieces {
    async fn fill(&mut self, buffer: Buffer) -> basalt_client::Result<Buffer> {
        self.fill_from_origin(buffer).await.map_err(|failure| {
            let error = basalt_client::Error::new(failure.errno(), failure.message());
            self.failure = Some(failure);
            error
        })
    }
}

impl Pipe {
    fn start() -> Result<Pipe> {
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
            .map_err(|error| {
                Failure::new(errno::of_io(&error), format!("cannot start a thread to read stdin: {error}"))
            })?;
        for _ in 0..READ_AHEAD {
            // The thread lives until this end is dropped.
            let _ = demand.send(());
        }
        Ok(Pipe { demand, pieces, piece: Vec::new(), used: 0 })
    }

    /// 0 at the end.
    async fn read(&mut self, room: &mut [u8]) -> Result<usize> {
        if self.used == self.piece.len() {
            self.piece = match self.pieces.receive().await {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => {
                    return Err(Failure::new(errno::of_io(&error), format!("cannot read stdin: {error}")));
                }
                None => return Err(Failure::new(libc::EIO, "the thread that reads stdin has ended")),
            };
            self.used = 0;
            let _ = self.demand.send(());
        }
        let unused = self.piece.get(self.used..).unwrap_or_default();
        let count = unused.len().min(room.len());
        for (to, from) in room.iter_mut().zip(unused) {
            *to = *from;
        }
        self.used += count;
        Ok(count)
    }
}
