//! The answer on stdout: plain text or one JSON document.

use crate::{Failure, Result};
use serde_json::Value;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    #[default]
    Plain,
    Json,
    JsonPretty,
}

impl Format {
    pub fn is_json(self) -> bool {
        self != Format::Plain
    }

    /// Whether progress may be drawn: for people who look, not for scripts.
    pub fn shows_progress(self) -> bool {
        self == Format::Plain && io::stderr().is_terminal()
    }
}

/// Buffered stdout. [`Output::finish`] must be called, or the tail is lost.
pub struct Output {
    format: Format,
    stdout: BufWriter<StdoutLock<'static>>,
}

impl Output {
    pub fn new(format: Format) -> Output {
        Output { format, stdout: BufWriter::with_capacity(64 << 10, io::stdout().lock()) }
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout.write_all(bytes).map_err(|error| stdout_failure(&error))
    }

    pub fn text(&mut self, text: &str) -> Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Text and a line's end.
    pub fn line(&mut self, text: &str) -> Result<()> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// One JSON document in the format that was asked for.
    pub fn json(&mut self, document: &Value) -> Result<()> {
        let text = match self.format {
            Format::JsonPretty => serde_json::to_string_pretty(document),
            Format::Plain | Format::Json => serde_json::to_string(document),
        };
        let text =
            text.map_err(|error| Failure::new(libc::EIO, format!("the answer cannot be written as JSON: {error}")))?;
        self.line(&text)
    }

    /// Either the document or the text that `plain` makes of it.
    pub fn show(&mut self, document: &Value, plain: impl FnOnce(&Value) -> String) -> Result<()> {
        if self.format.is_json() { self.json(document) } else { self.text(&plain(document)) }
    }

    pub fn flush(&mut self) -> Result<()> {
        self.stdout.flush().map_err(|error| stdout_failure(&error))
    }

    pub fn finish(mut self) -> Result<()> {
        self.flush()
    }
}

fn stdout_failure(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::reader_left()
    } else {
        Failure::new(crate::errno::of_io(error), format!("cannot write to stdout: {error}"))
    }
}
