//! What a block device was asked for, read from a file: fio's logs of versions 2 and 3 (`write_iolog`), or a CSV of time, operation, offset
//! and size.
//!
//! A CSV's time is in seconds from any beginning, its operation `read` or `write` by any word that begins so (`R`, `W`), its offset and size
//! in bytes; a first line of words is passed over. fio's times are microseconds; its version 2 has none but in `wait` lines, so what
//! happens at a given rate there is for the caller to say.

use crate::limits::SECOND;
use std::collections::BTreeMap;

/// One access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockAccess {
    /// Nanoseconds since the trace's first line.
    pub now: u64,
    /// Traces may be of several devices.
    pub device: u32,
    pub is_write: bool,
    pub offset: u64,
    pub length: u64,
}

/// A line that is none of a trace's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {number} '{line}': {reason}")]
pub struct BlockTraceError {
    pub number: usize,
    pub line: String,
    pub reason: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Csv,
    FioVersion2,
    FioVersion3,
}

/// Reads a trace line by line.
pub struct BlockTraceReader {
    format: Option<Format>,
    /// Between two accesses where the trace tells no times.
    interval: u64,
    number: usize,
    now: u64,
    first: Option<u64>,
    devices: BTreeMap<String, u32>,
}

/// Lines of errors are shown no longer than this.
const SHOWN_CHARS: usize = 80;

impl BlockTraceReader {
    /// `per_second`: accesses of a trace that tells no times.
    pub fn new(per_second: u64) -> BlockTraceReader {
        let interval = SECOND / per_second.max(1);
        BlockTraceReader { format: None, interval, number: 0, now: 0, first: None, devices: BTreeMap::new() }
    }

    /// The access that a line tells of; many tell of none.
    pub fn line(&mut self, line: &str) -> Result<Option<BlockAccess>, BlockTraceError> {
        self.number += 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let outcome = match self.format {
            None => self.first_line(line),
            Some(Format::Csv) => self.csv(line),
            Some(Format::FioVersion2) => self.fio(line.split_ascii_whitespace().collect(), false),
            Some(Format::FioVersion3) => self.fio(line.split_ascii_whitespace().collect(), true),
        };
        outcome.map_err(|reason| {
            let line = line.chars().filter(|character| !character.is_control()).take(SHOWN_CHARS).collect();
            BlockTraceError { number: self.number, line, reason }
        })
    }

    fn first_line(&mut self, line: &str) -> Result<Option<BlockAccess>, &'static str> {
        self.format = Some(match line {
            "fio version 2 iolog" => Format::FioVersion2,
            "fio version 3 iolog" => Format::FioVersion3,
            _ if line.starts_with("fio version") => return Err("this is no iolog of version 2 or 3"),
            _ => Format::Csv,
        });
        if self.format != Some(Format::Csv) {
            return Ok(None);
        }
        // The columns' names.
        let is_named = line.split(',').next().is_some_and(|word| word.trim().parse::<f64>().is_err());
        if is_named && line.contains(',') { Ok(None) } else { self.csv(line) }
    }

    fn csv(&mut self, line: &str) -> Result<Option<BlockAccess>, &'static str> {
        let words: Vec<&str> = line.split(',').map(str::trim).collect();
        let [time, operation, offset, length, ..] = words.as_slice() else {
            return Err("a line has a time, an operation, an offset and a size, with commas between them");
        };
        let time: f64 = time.parse().map_err(|_| "its time is no number of seconds")?;
        if !(0.0..1e11).contains(&time) {
            return Err("its time is not within 0 and 1e11 seconds");
        }
        let is_write = match operation.chars().next() {
            Some('r' | 'R') => false,
            Some('w' | 'W') => true,
            _ => return Err("its operation is neither read nor write"),
        };
        let now = (time * SECOND as f64) as u64;
        self.access(now, 0, is_write, offset, length)
    }

    fn fio(&mut self, words: Vec<&str>, has_times: bool) -> Result<Option<BlockAccess>, &'static str> {
        let (time, words) = match (has_times, words.split_first()) {
            (true, Some((time, words))) => (Some(*time), words),
            _ => (None, words.as_slice()),
        };
        let now = match time {
            Some(time) => {
                let microseconds: u64 = time.parse().map_err(|_| "its time is no number of microseconds")?;
                microseconds.saturating_mul(1000)
            }
            None => self.now,
        };
        match words {
            [_, "add" | "open" | "close"] | [_, "sync" | "datasync" | "trim", ..] => Ok(None),
            ["wait", microseconds] | [_, "wait", microseconds, ..] => {
                let microseconds: u64 = microseconds.parse().map_err(|_| "it waits for no number of microseconds")?;
                self.now = self.now.saturating_add(microseconds.saturating_mul(1000));
                Ok(None)
            }
            [file, operation @ ("read" | "write"), offset, length] => {
                let count = self.devices.len() as u32;
                let device = *self.devices.entry((*file).to_owned()).or_insert(count);
                if time.is_none() {
                    self.now = self.now.saturating_add(self.interval);
                }
                self.access(now, device, *operation == "write", offset, length)
            }
            _ => Err("it has none of the forms that fio's logs have"),
        }
    }

    fn access(
        &mut self,
        now: u64,
        device: u32,
        is_write: bool,
        offset: &str,
        length: &str,
    ) -> Result<Option<BlockAccess>, &'static str> {
        let offset: u64 = offset.parse().map_err(|_| "its offset is no number of bytes")?;
        let length: u64 = length.parse().map_err(|_| "its size is no number of bytes")?;
        if length > u64::from(u32::MAX) || offset > 1 << 60 {
            return Err("its size is above 4 GiB or its offset above 1 EiB");
        }
        let first = *self.first.get_or_insert(now);
        let access = BlockAccess { now: now.saturating_sub(first), device, is_write, offset, length };
        Ok((length > 0).then_some(access))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<BlockAccess>, BlockTraceError> {
        let mut reader = BlockTraceReader::new(1000);
        text.lines().filter_map(|line| reader.line(line).transpose()).collect()
    }

    fn access(now: u64, device: u32, is_write: bool, offset: u64, length: u64) -> BlockAccess {
        BlockAccess { now, device, is_write, offset, length }
    }

    #[test]
    fn a_csv_is_read_with_or_without_names() {
        let expected = vec![access(0, 0, true, 4096, 512), access(1_500_000_000, 0, false, 0, 4096)];
        for head in ["time,op,offset,size\n", "", "# a comment\n\n"] {
            assert_eq!(read(&format!("{head}10.0,W,4096,512\n11.5, Read, 0, 4096, more\n")), Ok(expected.clone()));
        }
    }

    #[test]
    fn logs_of_fio_are_read_in_both_versions() {
        // As fio 3.33 writes it.
        let log = "fio version 3 iolog\n21 /d/f add\n122 /d/f open\n126 /d/f read 61440 4096\n344 /d/f write 774144 4096\n20104 /d/g read 0 512\n20105 /d/f close\n";
        let expected = vec![
            access(0, 0, false, 61440, 4096),
            access(218_000, 0, true, 774_144, 4096),
            access(19_978_000, 1, false, 0, 512),
        ];
        assert_eq!(read(log), Ok(expected));
        let log = "fio version 2 iolog\n/d/f add\n/d/f open\n/d/f read 0 4096\n/d/f write 4096 4096\nwait 5000\n/d/f sync 0 0\n/d/f read 0 4096\n/d/f close\n";
        let expected = vec![
            access(0, 0, false, 0, 4096),
            access(1_000_000, 0, true, 4096, 4096),
            access(7_000_000, 0, false, 0, 4096),
        ];
        assert_eq!(read(log), Ok(expected));
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (text, number) in [
            ("1,R,0", 1),
            ("1,R,0,4096\nx,R,0,4096", 2),
            ("1,X,0,4096", 1),
            ("1,R,-1,4096", 1),
            ("1,R,0,99999999999", 1),
            ("fio version 1 iolog", 1),
            ("fio version 3 iolog\n1 f jump 0 1", 2),
            ("nothing of the kind", 1),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(error.number, number, "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_trace_makes_the_reader_panic(text in "(fio version [23] iolog\n)?([ -~]{0,40}\n){0,5}") {
            let _ = read(&text);
        }
    }
}
