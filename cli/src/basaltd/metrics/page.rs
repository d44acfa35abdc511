//! The monitor's page: one static file, and the document that it shows. What was, it knows since this monitor leads.

use super::limits;
use basalt_cluster::monitor::shell::{Inquirer, Question};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

pub const PAGE: &str = include_str!("page.html");
/// The page has all it needs in itself, and asks nobody but this daemon.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub struct Page {
    monitor: Inquirer,
    /// The oldest first.
    history: RefCell<VecDeque<Value>>,
}

impl Page {
    pub fn new(monitor: Inquirer) -> Page {
        Page { monitor, history: RefCell::default() }
    }

    /// Looks again and again, for ever.
    pub async fn keep_history(&self) {
        loop {
            self.look().await;
            tokio::time::sleep(limits::HISTORY_INTERVAL).await;
        }
    }

    async fn look(&self) {
        let documents = self.documents().await;
        let mut history = self.history.borrow_mut();
        match documents {
            Some((status, tiers)) => {
                if history.len() >= limits::HISTORY_MAX {
                    history.pop_front();
                }
                history.push_back(moment(&status, &tiers));
            }
            // What was before another one led has a gap that nobody would see.
            None if !self.monitor.leads() => history.clear(),
            None => {}
        }
    }

    async fn documents(&self) -> Option<(Value, Value)> {
        Some((self.monitor.ask(Question::Status).await?, self.monitor.ask(Question::TierStatus).await?))
    }

    /// `None`: another monitor leads, or this one is too busy.
    pub async fn document(&self) -> Option<Value> {
        let (status, tiers) = self.documents().await?;
        let history: Vec<Value> = self.history.borrow().iter().cloned().collect();
        Some(json!({ "status": status, "tiers": tiers, "history": history }))
    }
}

/// What is kept of one look.
fn moment(status: &Value, tiers: &Value) -> Value {
    let number = |document: &Value, path: &str| document.pointer(path).and_then(Value::as_f64).unwrap_or(0.0);
    let tiers = tiers.as_array().into_iter().flatten().take(limits::HISTORY_POOLS_MAX);
    let pools: Map<String, Value> = tiers
        .map(|tier| {
            let (hot, target) = (number(tier, "/hot_bytes"), number(tier, "/target_bytes"));
            let fill = if target == 0.0 { 0.0 } else { hot / target };
            let name = tier.get("pool_name").and_then(Value::as_str).unwrap_or_default();
            (name.to_owned(), json!({ "fill": fill, "dirty": number(tier, "/dirty_ratio") }))
        })
        .collect();
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    json!({ "unix_s": unix_s, "pools": pools, "objects_left": number(status, "/progress/objects_left") })
}
