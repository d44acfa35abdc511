//! The file in a form, as it comes in: everything up to the delimiter behind it.

use super::form::find;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use s3s::Body;
use s3s::dto::StreamingBlob;
use std::io;

/// What comes behind the file is read to its end if it is no more than this, so that the connection can be used again.
const DRAINED_BYTES_MAX: usize = 64 << 10;

/// Tells the file from what is behind it, whatever pieces they come in.
struct Scanner {
    /// With the line break that belongs to it.
    delimiter: Vec<u8>,
    /// What may be the delimiter's begin.
    held: BytesMut,
    is_done: bool,
}

impl Scanner {
    fn new(boundary: &str, begin: &[u8]) -> Scanner {
        Scanner { delimiter: format!("\r\n--{boundary}").into_bytes(), held: BytesMut::from(begin), is_done: false }
    }

    /// What certainly belongs to the file.
    fn take(&mut self) -> Bytes {
        let end = match find(&self.held, &self.delimiter, 0) {
            Some(end) => {
                self.is_done = true;
                end
            }
            None => self.held.len().saturating_sub(self.delimiter.len() - 1),
        };
        self.held.split_to(end).freeze()
    }
}

struct FormFile {
    body: Body,
    scanner: Scanner,
}

impl FormFile {
    /// `None`: this was all of it.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if self.scanner.is_done {
                self.drain().await;
                return None;
            }
            let bytes = self.scanner.take();
            if !bytes.is_empty() {
                return Some(Ok(bytes));
            }
            if self.scanner.is_done {
                continue;
            }
            match self.body.frame().await {
                None => return Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the form has no end"))),
                Some(Err(error)) => return Some(Err(io::Error::other(error.to_string()))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.scanner.held.extend_from_slice(&bytes);
                    }
                }
            }
        }
    }

    async fn drain(&mut self) {
        let mut drained = 0;
        while drained < DRAINED_BYTES_MAX
            && let Some(Ok(frame)) = self.body.frame().await
        {
            drained += frame.data_ref().map_or(0, Bytes::len);
        }
    }
}

/// The rest of `body` up to the delimiter; `begin` of the file came in before.
pub fn stream(boundary: &str, begin: &[u8], body: Body) -> StreamingBlob {
    let file = FormFile { body, scanner: Scanner::new(boundary, begin) };
    StreamingBlob::wrap(futures::stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        match file.next().await? {
            Ok(bytes) => Some((Ok(bytes), Some(file))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The file as it was told from the rest, and whether its end was seen.
    fn scanned(form: &[u8], piece: usize) -> (Vec<u8>, bool) {
        let mut scanner = Scanner::new("b", b"");
        let mut file = Vec::new();
        for bytes in form.chunks(piece) {
            scanner.held.extend_from_slice(bytes);
            while !scanner.is_done {
                let taken = scanner.take();
                if taken.is_empty() {
                    break;
                }
                file.extend_from_slice(&taken);
            }
        }
        (file, scanner.is_done)
    }

    proptest! {
        #[test]
        fn a_file_ends_at_its_delimiter_in_whatever_pieces_it_comes(
            file in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'x')], 0..60),
            piece in 1_usize..70,
        ) {
            let form = [&file[..], b"\r\n--b--\r\n"].concat();
            prop_assert_eq!(scanned(&form, piece), (file.clone(), true));
            prop_assert!(!scanned(&form[..file.len() + 4], piece).1);
        }
    }
}
