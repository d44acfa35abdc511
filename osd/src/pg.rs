//! A placement group on this OSD: its order, its log, and the requests it has seen.

pub mod guard;
pub mod log;
pub mod log_entry;
pub mod placement;
pub mod read;
pub mod request_id;
pub mod write;

use crate::limits;
use crate::refusal::Refusal;
use basalt_blockstore::Store;
use basalt_cluster::PgId;
use basalt_ring::local::Semaphore;
use log::LogWindow;
use log_entry::LogEntry;
use request_id::{Applied, RequestTable};
use std::cell::{Cell, RefCell};

pub struct Pg {
    id: PgId,
    /// Held by whoever loads the group, or gives a version and submits: so the log's order is the store's order.
    order: Semaphore,
    loaded: Cell<bool>,
    /// The last version given.
    version: Cell<u64>,
    log: RefCell<LogWindow>,
    requests: RequestTable,
}

impl Pg {
    pub fn new(id: PgId) -> Pg {
        Pg {
            id,
            order: Semaphore::new(1),
            loaded: Cell::new(false),
            version: Cell::new(0),
            log: RefCell::new(LogWindow::default()),
            requests: RequestTable::default(),
        }
    }

    pub fn requests(&self) -> &RequestTable {
        &self.requests
    }

    /// To be called while holding `order`.
    fn next_version(&self) -> u64 {
        let version = self.version.get() + 1;
        self.version.set(version);
        version
    }

    /// Takes the entry of a version into account; the first version that the log is to keep, if anything is to be trimmed.
    fn note_logged(&self, version: u64, entry: &LogEntry) -> Option<u64> {
        let mut log = self.log.borrow_mut();
        log.push(version, entry.request);
        self.requests.logged(entry.request);
        log.trim(&self.requests)
    }

    /// Reads the log, once: writes need the last version and what was applied. If it fails, the next request tries again.
    pub async fn load(&self, store: &Store) -> Result<(), Refusal> {
        if self.loaded.get() {
            return Ok(());
        }
        let _loading = self.order.acquire(1).await;
        if self.loaded.get() {
            return Ok(());
        }
        let mut entries = Vec::new();
        let mut from = 0;
        loop {
            let step = store.read_log(self.id.pool, self.id.seed, from, limits::LOG_READ_STEP).await?;
            let Some((last, _)) = step.last() else { break };
            from = last.saturating_add(1);
            for (version, bytes) in step {
                let entry = LogEntry::decode(&bytes).map_err(|error| {
                    Refusal::new(libc::EIO, format!("{}: version {version} of its log is damaged: {error}", self.id))
                })?;
                entries.push((version, entry));
            }
        }
        let mut log = self.log.borrow_mut();
        for (version, entry) in entries {
            log.push(version, entry.request);
            self.version.set(version);
            let version = if entry.exists { version } else { 0 };
            self.requests.recover(entry.request, Applied { version, results: entry.results, data: entry.data });
        }
        self.loaded.set(true);
        Ok(())
    }
}
