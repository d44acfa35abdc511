//! The last requests that took too long, with the stage that did, and their lines in the log.

use crate::limits;
use crate::request_stage::{Kind, Stage, StageTimes, slowest};
use basalt_ring::Instant;
use serde_json::{Map, Value, json};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

pub struct SlowRequest {
    /// Since 1970.
    pub answered_unix: Duration,
    pub client: u64,
    pub sequence: u64,
    pub pool: u32,
    pub pg: u32,
    pub kind: Kind,
    /// Escaped.
    pub object: String,
    /// Empty, or why it was refused.
    pub answer: String,
    pub took: Duration,
    pub stages: StageTimes,
}

impl SlowRequest {
    fn document(&self) -> Value {
        let stages: Map<String, Value> = Stage::ALL
            .into_iter()
            .zip(&self.stages)
            .filter_map(|(stage, ns)| Some((stage.name().to_owned(), json!((*ns)? as f64 / 1e6))))
            .collect();
        json!({
            "answered_unix_ms": self.answered_unix.as_millis() as u64,
            "took_ms": self.took.as_secs_f64() * 1e3,
            "op": self.kind.name(),
            "slow_stage": slowest(&self.stages).map(Stage::name),
            "stages_ms": stages,
            "pool": self.pool,
            "pg": format!("{}.{:x}", self.pool, self.pg),
            "object": self.object,
            "client": format!("{:016x}", self.client),
            "sequence": self.sequence,
            "refused": self.answer,
        })
    }
}

#[derive(Default)]
pub struct SlowRequests {
    total: Cell<u64>,
    /// The newest last.
    kept: RefCell<VecDeque<SlowRequest>>,
    second: Cell<u64>,
    logged: Cell<u32>,
    unlogged: Cell<u64>,
}

impl SlowRequests {
    pub fn total(&self) -> u64 {
        self.total.get()
    }

    pub fn documents(&self) -> Vec<Value> {
        self.kept.borrow().iter().rev().map(SlowRequest::document).collect()
    }

    pub fn note(&self, osd: u32, now: Instant, request: SlowRequest) {
        self.total.set(self.total.get() + 1);
        self.log(osd, now, &request);
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= limits::SLOW_REQUESTS_KEPT {
            kept.pop_front();
        }
        kept.push_back(request);
    }

    /// An OSD that is overwhelmed has thousands of them a second, and is not helped by as many lines.
    fn log(&self, osd: u32, now: Instant, request: &SlowRequest) {
        let second = now.0 / 1_000_000_000;
        if self.second.replace(second) != second {
            self.logged.set(0);
            let unlogged = self.unlogged.replace(0);
            if unlogged > 0 {
                tracing::warn!(osd, unlogged, "more requests were slow; `basalt osd slow-ops` shows the last of all");
            }
        }
        if self.logged.get() >= limits::SLOW_REQUESTS_LOGGED_PER_SECOND {
            self.unlogged.set(self.unlogged.get() + 1);
            return;
        }
        self.logged.set(self.logged.get() + 1);
        let stages: Vec<String> = Stage::ALL
            .into_iter()
            .zip(&request.stages)
            .filter_map(|(stage, ns)| Some(format!("{} {:.1}", stage.name(), (*ns)? as f64 / 1e6)))
            .collect();
        tracing::warn!(
            osd,
            op = request.kind.name(),
            pool = request.pool,
            pg = request.pg,
            object = request.object,
            client = format_args!("{:016x}", request.client),
            took_ms = request.took.as_millis() as u64,
            slow_stage = slowest(&request.stages).map(Stage::name),
            stages_ms = stages.join(", "),
            "slow request"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(sequence: u64) -> SlowRequest {
        let mut stages = StageTimes::default();
        stages[Stage::Replica as usize] = Some(2_000_000_000);
        SlowRequest {
            answered_unix: Duration::from_secs(9),
            client: 7,
            sequence,
            pool: 1,
            pg: 10,
            kind: Kind::Write,
            object: "a".into(),
            answer: String::new(),
            took: Duration::from_secs(2),
            stages,
        }
    }

    #[test]
    fn the_newest_are_kept_and_all_are_counted() {
        let log = SlowRequests::default();
        let many = limits::SLOW_REQUESTS_KEPT as u64 + 5;
        (0..many).for_each(|sequence| log.note(0, Instant(0), slow(sequence)));
        assert_eq!(log.total(), many);
        let shown = log.documents();
        assert_eq!(shown.len(), limits::SLOW_REQUESTS_KEPT);
        assert_eq!(shown[0]["sequence"], many - 1);
        assert_eq!((&shown[0]["slow_stage"], &shown[0]["pg"]), (&json!("replica"), &json!("1.a")));
        assert_eq!(shown[0]["stages_ms"], json!({ "replica": 2000.0 }));
    }

    #[test]
    fn a_flood_of_them_is_a_few_lines_a_second() {
        let log = SlowRequests::default();
        (0..1000).for_each(|sequence| log.note(0, Instant(0), slow(sequence)));
        assert_eq!(log.logged.get(), limits::SLOW_REQUESTS_LOGGED_PER_SECOND);
        assert_eq!(log.unlogged.get(), 1000 - u64::from(limits::SLOW_REQUESTS_LOGGED_PER_SECOND));
        log.note(0, Instant(1_000_000_000), slow(0));
        assert_eq!((log.logged.get(), log.unlogged.get()), (1, 0));
    }
}
