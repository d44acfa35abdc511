//! What an OSD's metrics are made of: a copy of its plain counters, made on its core when somebody asks, and handed over by message.

use crate::core_loop::Order;
use crate::limits;
use crate::osd::Osd;
use crate::request_stage::{Kind, StageFigures};
use basalt_blockstore::{CommitFigures, DataCacheFigures, Memory, Written};
use basalt_net::Trust;
use basalt_net::message::monitor::OsdReport;
use basalt_ring::mailbox;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

#[derive(Clone, Debug)]
pub struct OsdFigures {
    pub osd: u32,
    /// As the monitor gets it: sizes, pools, scrub.
    pub report: OsdReport,
    /// By kind, in the order of [`Kind::ALL`].
    pub requests: [(Kind, StageFigures); Kind::ALL.len()],
    pub requests_running: u64,
    pub slow_requests: u64,
    pub duplicates: u64,
    pub io_errors: u64,
    pub sessions: u64,
    /// Of the pools in the report.
    pub pool_names: BTreeMap<u32, String>,
    pub commits: CommitFigures,
    pub written: Written,
    pub data_cache: DataCacheFigures,
    pub memory: Memory,
    pub scrub_bytes: u64,
    pub scrub_errors: u64,
}

impl OsdFigures {
    /// A pool that is being removed has only its number left.
    pub fn pool_name(&self, pool: u32) -> String {
        self.pool_names.get(&pool).cloned().unwrap_or_else(|| pool.to_string())
    }
}

impl Osd {
    pub fn figures(&self) -> OsdFigures {
        let report = self.report();
        let (store, counters) = (self.store(), self.counters());
        OsdFigures {
            osd: self.id(),
            requests: Kind::ALL.map(|kind| (kind, self.requests().figures(kind))),
            requests_running: self.requests().len() as u64,
            slow_requests: self.requests().slow_total(),
            duplicates: counters.duplicates(),
            io_errors: counters.failures(),
            sessions: self.sessions().len() as u64,
            pool_names: self
                .map()
                .map_or_else(BTreeMap::new, |map| map.pools.iter().map(|pool| (pool.id, pool.name.clone())).collect()),
            commits: store.commits(),
            written: store.written(),
            data_cache: store.data_cache(),
            memory: store.memory(),
            scrub_bytes: self.scrubber().bytes_total(),
            scrub_errors: self.scrubber().errors_total(),
            report,
        }
    }
}

/// Asks the cores of a host. Cheap to clone.
#[derive(Clone)]
pub struct FiguresOfHost {
    cores: Vec<mailbox::Sender<Order>>,
    trust: Trust,
}

impl FiguresOfHost {
    pub(crate) fn new(cores: Vec<mailbox::Sender<Order>>, trust: Trust) -> FiguresOfHost {
        FiguresOfHost { cores, trust }
    }

    /// By what the host judges who connects, and counts whom it does not let in.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Of the OSDs that are open, by number. A core that is too busy to answer in time is left out. Under a tokio runtime with time.
    pub async fn get(&self) -> Vec<OsdFigures> {
        let mut waiting = Vec::new();
        for core in &self.cores {
            let (answer, answered) = oneshot::channel();
            if core.try_send(Order::Figures(answer)).is_ok() {
                waiting.push(answered);
            }
        }
        let deadline = tokio::time::Instant::now() + limits::FIGURES_WAIT_MAX;
        let mut figures = Vec::new();
        for answered in waiting {
            if let Ok(Ok(of_core)) = tokio::time::timeout_at(deadline, answered).await {
                figures.extend(of_core);
            }
        }
        figures.sort_by_key(|figures: &OsdFigures| figures.osd);
        figures
    }
}
