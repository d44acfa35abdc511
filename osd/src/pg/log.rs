//! A placement group's log as this OSD keeps it in memory: which versions it holds, whose they are, and what may be trimmed.

use super::request_id::RequestTable;
use crate::limits;
use basalt_net::message::object::RequestId;
use std::collections::VecDeque;

/// The versions that are in the stored log, oldest first.
#[derive(Default)]
pub struct LogWindow {
    entries: VecDeque<(u64, RequestId)>,
}

impl LogWindow {
    /// Versions must rise.
    pub fn push(&mut self, version: u64, request: RequestId) {
        assert!(self.entries.back().is_none_or(|(last, _)| *last < version), "log versions rise");
        self.entries.push_back((version, request));
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes out what need not be kept, a batch at most. Returns the first version to keep and the last that goes, if any goes. An entry
    /// whose client may still ask again holds itself and what is behind it, up to a bound; what is not committed always stays.
    pub fn trim(&mut self, requests: &RequestTable, kept: usize, committed: u64) -> Option<(u64, u64)> {
        if self.entries.len() < kept + limits::LOG_TRIM_BATCH {
            return None;
        }
        let mut last = None;
        for _ in 0..limits::LOG_TRIM_BATCH {
            let Some((version, request)) = self.entries.front().copied().filter(|_| self.entries.len() > 1) else {
                break;
            };
            let may_be_resent = self.entries.len() <= limits::LOG_ENTRIES_MAX && !requests.is_completed(request);
            if may_be_resent || version > committed {
                break;
            }
            requests.trimmed(request);
            self.entries.pop_front();
            last = Some(version);
        }
        let first = self.entries.front().map(|(version, _)| *version)?;
        last.map(|last| (first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::super::request_id::{Applied, Claim};
    use super::*;

    fn write(window: &mut LogWindow, table: &RequestTable, client: u64, sequence: u64, version: u64) -> Option<u64> {
        let request = RequestId { client, sequence };
        let Claim::New(ticket) = table.claim(request, sequence - 1) else { panic!("{request:?} is not new") };
        window.push(version, request);
        table.logged(request);
        ticket.applied(Applied { version, results: Default::default(), data: Vec::new() });
        window.trim(table, limits::LOG_ENTRIES_KEPT, u64::MAX).map(|(first, _)| first)
    }

    #[test]
    fn the_log_keeps_its_length_and_its_newest_entries() {
        let (mut window, table) = (LogWindow::default(), RequestTable::default());
        let mut kept_from = 1;
        for version in 1..=3 * limits::LOG_ENTRIES_KEPT as u64 {
            if let Some(from) = write(&mut window, &table, 1, version, version) {
                assert!(from > kept_from);
                kept_from = from;
            }
            assert!(window.len() < limits::LOG_ENTRIES_KEPT + limits::LOG_TRIM_BATCH);
        }
        assert_eq!(window.len() as u64, 3 * limits::LOG_ENTRIES_KEPT as u64 + 1 - kept_from);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn an_answer_nobody_has_confirmed_is_kept_up_to_a_bound() {
        let (mut window, table) = (LogWindow::default(), RequestTable::default());
        write(&mut window, &table, 99, 1, 1);
        let mut version = 1;
        while window.len() < limits::LOG_ENTRIES_MAX {
            version += 1;
            assert_eq!(write(&mut window, &table, 1, version, version), None);
        }
        assert!(matches!(table.claim(RequestId { client: 99, sequence: 1 }, 0), Claim::Applied(_)));
        version += 1;
        assert!(write(&mut window, &table, 1, version, version).is_some());
        assert!(matches!(table.claim(RequestId { client: 99, sequence: 1 }, 0), Claim::New(_)));
        // From here on it shrinks with every write.
        for _ in 0..limits::LOG_ENTRIES_MAX / limits::LOG_TRIM_BATCH * 2 {
            version += 1;
            write(&mut window, &table, 1, version, version);
        }
        assert!(window.len() < limits::LOG_ENTRIES_KEPT + limits::LOG_TRIM_BATCH);
    }
}
