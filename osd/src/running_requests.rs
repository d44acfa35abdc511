//! Requests about objects that an OSD works on, and what became of those it has answered: how long each stage took, and which were slow.

use crate::limits;
use crate::request_stage::{Kind, Stage, StageFigures, StageHistograms, StageTimes};
use crate::settings::Settings;
use crate::slow_requests::{SlowRequest, SlowRequests};
use basalt_blockstore::CommitTimes;
use basalt_net::message::object::{ObjectName, ObjectRequest};
use basalt_ring::{Instant, Ring};
use serde_json::{Value, json};
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// Of one OSD, and so of one thread.
pub struct RunningRequests {
    osd: u32,
    ring: Ring,
    settings: Rc<Settings>,
    running: RefCell<Slab<Running>>,
    histograms: [StageHistograms; Kind::ALL.len()],
    slow: SlowRequests,
}

/// What is known of a request while it runs. Its name is cut to what fits without memory of its own.
#[derive(Clone)]
struct Running {
    arrived: Instant,
    client: u64,
    sequence: u64,
    pool: u32,
    pg: u32,
    kind: Kind,
    stage: Stage,
    name: ObjectName,
}

/// Requests that are under way for longer than they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stuck {
    pub requests: u64,
    pub oldest: Duration,
}

impl RunningRequests {
    pub fn new(ring: &Ring, osd: u32, settings: Rc<Settings>) -> Rc<RunningRequests> {
        Rc::new(RunningRequests {
            osd,
            ring: ring.clone(),
            settings,
            running: RefCell::default(),
            histograms: Default::default(),
            slow: SlowRequests::default(),
        })
    }

    /// A request has arrived. It runs until what is returned is dropped.
    pub fn begin(self: &Rc<Self>, request: &ObjectRequest) -> RequestTimes {
        let arrived = self.ring.turn_time();
        let kind = Kind::of(request);
        let name = &request.name;
        let kept = name.get(..name.len().min(limits::RUNNING_NAME_BYTES)).unwrap_or_default();
        let place = self.running.borrow_mut().insert(Running {
            arrived,
            client: request.request.client,
            sequence: request.request.sequence,
            pool: request.pool,
            pg: request.pg,
            kind,
            stage: Stage::Queue,
            name: ObjectName::from_slice(kept),
        });
        RequestTimes { requests: self.clone(), place, kind, last: Cell::new(arrived), times: Cell::default() }
    }

    pub fn figures(&self, kind: Kind) -> StageFigures {
        let [read, write] = &self.histograms;
        match kind {
            Kind::Read => read.get(),
            Kind::Write => write.get(),
        }
    }

    pub fn len(&self) -> usize {
        self.running.borrow().len()
    }

    /// Those that were slow and were answered, since the OSD's start.
    pub fn slow_total(&self) -> u64 {
        self.slow.total()
    }

    /// Those that are under way since so long that something must be wrong.
    pub fn stuck(&self) -> Stuck {
        let now = self.ring.now();
        let limit = self.settings.complaint_time().max(limits::STUCK_REQUEST_AFTER);
        let running = self.running.borrow();
        let ages = running.iter().map(|(_, request)| now.since(request.arrived)).filter(|age| *age >= limit);
        ages.fold(Stuck::default(), |stuck, age| Stuck { requests: stuck.requests + 1, oldest: stuck.oldest.max(age) })
    }

    /// Slow requests: those under way, the oldest first, and the last ones that were answered, the newest first.
    pub fn document(&self) -> Value {
        let now = self.ring.now();
        let running = self.running.borrow();
        let age = |request: &Running| now.since(request.arrived);
        let mut slow: Vec<&Running> = running
            .iter()
            .map(|(_, request)| request)
            .filter(|request| age(request) >= self.settings.complaint_time())
            .collect();
        slow.sort_by_key(|request| request.arrived);
        let count = slow.len();
        let shown: Vec<Value> = slow
            .into_iter()
            .take(limits::SLOW_REQUESTS_KEPT)
            .map(|request| {
                json!({
                    "age_ms": age(request).as_millis() as u64,
                    "op": request.kind.name(),
                    "stage": request.stage.name(),
                    "waits_for": request.stage.waits_for(request.kind),
                    "pool": request.pool,
                    "pg": format!("{}.{:x}", request.pool, request.pg),
                    "object": request.name.escape_ascii().to_string(),
                    "client": format!("{:016x}", request.client),
                    "sequence": request.sequence,
                })
            })
            .collect();
        json!({
            "osd": self.osd,
            "complaint_time_ms": self.settings.complaint_time().as_millis() as u64,
            "num_ops": running.len(),
            "num_slow_running": count,
            "slow_running": shown,
            "num_slow_answered": self.slow.total(),
            "slow_answered": self.slow.documents(),
        })
    }

    fn finish(&self, times: &RequestTimes, object: &[u8], answer: &str) {
        let stages = times.times.get();
        let [read, write] = &self.histograms;
        match times.kind {
            Kind::Read => read.observe(&stages),
            Kind::Write => write.observe(&stages),
        }
        let took = Duration::from_nanos(stages.iter().flatten().sum());
        if took < self.settings.complaint_time() {
            return;
        }
        let Some(running) = self.running.borrow().get(times.place).cloned() else { return };
        let request = SlowRequest {
            answered_unix: Duration::from_nanos(self.ring.unix_time().0),
            client: running.client,
            sequence: running.sequence,
            pool: running.pool,
            pg: running.pg,
            kind: running.kind,
            object: object.escape_ascii().to_string(),
            answer: answer.to_owned(),
            took,
            stages,
        };
        self.slow.note(self.osd, self.ring.now(), request);
    }
}

/// A running request's clock.
pub struct RequestTimes {
    requests: Rc<RunningRequests>,
    place: usize,
    kind: Kind,
    last: Cell<Instant>,
    times: Cell<StageTimes>,
}

impl RequestTimes {
    /// A stage has ended, and the next one begins.
    pub fn ended(&self, stage: Stage, next: Stage) {
        let now = self.requests.ring.turn_time();
        self.add(stage, now);
        self.is_in(next);
    }

    /// The commit on this OSD has ended.
    pub fn committed(&self, commit: CommitTimes) {
        let now = self.requests.ring.turn_time();
        self.add(Stage::Wal, commit.recorded);
        self.add(Stage::Data, commit.written);
        self.add(Stage::Flush, now);
        self.is_in(Stage::Replica);
    }

    /// The reply is on its way. `answer`: the refusal, if it is one.
    pub fn replied(&self, object: &[u8], answer: &str) {
        self.add(Stage::Reply, self.requests.ring.turn_time());
        self.requests.finish(self, object, answer);
    }

    fn add(&self, stage: Stage, now: Instant) {
        let took = now.since(self.last.get());
        self.last.set(self.last.get().max(now));
        let mut times = self.times.get();
        if let Some(time) = times.get_mut(stage as usize) {
            // A write that met damage goes through some of them again.
            *time = Some(time.unwrap_or(0).saturating_add(took.as_nanos() as u64));
        }
        self.times.set(times);
    }

    fn is_in(&self, stage: Stage) {
        if let Some(running) = self.requests.running.borrow_mut().get_mut(self.place) {
            running.stage = stage;
        }
    }
}

impl Drop for RequestTimes {
    fn drop(&mut self) {
        self.requests.running.borrow_mut().try_remove(self.place);
    }
}
