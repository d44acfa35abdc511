//! What a daemon tells of itself over HTTP: figures for Prometheus at `/metrics` and, on a monitor, a page for people.
//!
//! Text is rendered here and not by a global recorder: OSDs count in plain cells of their own core, which a recorder's handles (atomics
//! behind pointers) would slow, and one process may be a monitor, OSDs and gateways at once. Whoever has figures hands over a copy when it
//! is asked; names, labels and units stand in this folder alone. The endpoint is a thread of its own with bounds of its own, so that
//! nobody who talks to it is noticed by clients.

mod endpoint;
mod exposition;
mod gateways;
mod limits;
mod monitor;
mod osds;
mod page;
mod process;

use crate::nbd::NbdFiguresAsker;
use basalt_cluster::monitor::shell::Inquirer;
use basalt_gateway::s3::RequestCounts;
use basalt_osd::figures::FiguresOfHost;
pub use endpoint::Endpoint;
use exposition::Exposition;
pub use limits::NBD_ANSWER_MAX;
use std::sync::Arc;

/// The parts of a process that have figures.
#[derive(Clone, Default)]
pub struct Sources {
    pub monitor: Option<Inquirer>,
    pub osds: Option<FiguresOfHost>,
    pub s3: Option<Arc<RequestCounts>>,
    pub nbd: Option<NbdFiguresAsker>,
}

impl Sources {
    async fn scrape(&self) -> String {
        let mut exposition = Exposition::default();
        process::describe(&mut exposition);
        if let Some(monitor) = &self.monitor {
            process::describe_turned_away(&mut exposition, "mon", monitor.trust());
            monitor::describe(&mut exposition, monitor).await;
        }
        if let Some(osds) = &self.osds {
            process::describe_turned_away(&mut exposition, "osd", osds.trust());
            osds.get().await.iter().for_each(|figures| osds::describe(&mut exposition, figures));
        }
        if let Some(counts) = &self.s3 {
            gateways::describe_s3(&mut exposition, counts);
        }
        if let Some(nbd) = &self.nbd
            && let Some(figures) = nbd.ask().await
        {
            gateways::describe_nbd(&mut exposition, &figures);
        }
        exposition.text()
    }
}
