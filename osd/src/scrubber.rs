//! Reads everything that the store keeps, again and again, so that rot is found while another copy of what rotted may still be had.
//!
//! One pass an interval. The pace is what the operator says, or else 8 MiB/s, or more where that would not be through with the store in
//! the interval: 12 TiB in a week need 28 MiB/s with a quarter to spare. A step waits for a moment without client requests, but not for
//! ever: on an OSD that always has some, a pass goes on at a quarter of its pace at least. One step is under way at a time.
//!
//! On the way, cold objects that lie in many pieces are put into few.
//!
//! How far a pass is, when the last one ended and what it found is kept in the store itself, in an object of a pool that no map has.

use crate::limits;
use crate::osd::Osd;
use crate::pg::repair::{self, Mending};
use crate::settings::Settings;
use basalt_blockstore::limits::BLOCK_BYTES;
use basalt_blockstore::{
    Fragmented, ObjectKey, Placement, Result, ScrubCursor, ScrubFinding, ScrubStep, ScrubSubject, Store,
};
use basalt_cluster::MapFlags;
use basalt_cluster::map::Fullness;
use basalt_net::message::monitor::ScrubReport;
use basalt_ring::Ring;
use basalt_ring::local::Event;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// What a finished or running pass found and could not repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Damage {
    errors: u64,
    /// The first of them, one line each.
    lines: Vec<String>,
}

impl Damage {
    fn add(&mut self, line: String) {
        self.errors += 1;
        if self.lines.len() < limits::SCRUB_LINES_MAX {
            self.lines.push(line);
        }
    }
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Record {
    /// When the last pass ended, or, before the first, when the store was first met.
    finished_unix_s: u64,
    /// Of the last pass that ended.
    standing: Damage,
    /// Where the pass under way is.
    cursor: Option<ScrubCursor>,
    /// An operator wants it: flags do not stop it.
    requested: bool,
    /// Of the pass under way.
    current: Damage,
}

pub struct Scrubber {
    ring: Ring,
    store: Store,
    settings: Rc<Settings>,
    record: RefCell<Record>,
    /// An operator asked for a pass.
    wanted: Cell<bool>,
    asked: Event,
    pass_bytes: Cell<u64>,
    repaired: Cell<u64>,
    bytes_total: Cell<u64>,
    errors_total: Cell<u64>,
}

/// Figures of one pass, for its last line.
#[derive(Default)]
struct Sums {
    objects: u64,
    repaired: u64,
    fragmented: u64,
    rewritten: u64,
}

impl Scrubber {
    pub fn new(ring: Ring, store: Store, settings: Rc<Settings>) -> Scrubber {
        Scrubber {
            ring,
            store,
            settings,
            record: RefCell::default(),
            wanted: Cell::new(false),
            asked: Event::new(),
            pass_bytes: Cell::new(0),
            repaired: Cell::new(0),
            bytes_total: Cell::new(0),
            errors_total: Cell::new(0),
        }
    }

    /// Begins a pass now, from the beginning if one is under way.
    pub fn request(&self) {
        self.wanted.set(true);
        self.asked.notify_all();
    }

    /// Looks again when the next pass is due, and at which pace.
    pub fn look_anew(&self) {
        self.asked.notify_all();
    }

    /// Damage was put right from another OSD's copy.
    pub fn note_repaired(&self) {
        self.repaired.set(self.repaired.get() + 1);
    }

    /// Read since the OSD's start.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total.get()
    }

    /// Found since the OSD's start.
    pub fn errors_total(&self) -> u64 {
        self.errors_total.get()
    }

    /// What the monitor is told.
    pub fn report(&self) -> ScrubReport {
        let record = self.record.borrow();
        let is_new = |line: &&String| !record.standing.lines.contains(line);
        let new: Vec<&String> = record.current.lines.iter().filter(is_new).collect();
        // Of so many that not all have lines, the larger number is right at least.
        let errors = record.current.errors.max(record.standing.errors.saturating_add(new.len() as u64));
        let lines = record.standing.lines.iter().chain(new).take(limits::SCRUB_LINES_MAX);
        ScrubReport {
            errors,
            findings: lines.cloned().collect(),
            repaired: self.repaired.get(),
            is_running: record.cursor.is_some(),
            pass_bytes: self.pass_bytes.get(),
            finished_unix_s: record.finished_unix_s,
        }
    }

    /// Until the OSD stops.
    pub async fn run(&self, osd: &Osd) {
        match self.load().await {
            Ok(Some(record)) => *self.record.borrow_mut() = record,
            Ok(None) => self.meet(osd).await,
            Err(error) => tracing::warn!(osd = osd.id(), %error, "what the last scrub found can't be read"),
        }
        while !osd.is_stopping() {
            let asked = self.asked.wait();
            if self.wanted.take() {
                self.begin(true);
            } else if self.record.borrow().cursor.is_none() && self.until_due().is_zero() {
                self.begin(false);
            }
            if self.record.borrow().cursor.is_none() {
                let pause = self.until_due().clamp(limits::SCRUB_LOOK_MIN, limits::SCRUB_LOOK_MAX);
                osd.pause_until(pause, asked).await;
                continue;
            }
            self.pass(osd).await;
        }
    }

    /// Notes the day on which a store is first seen, as nothing in it is older. Not at once: many a store is made and gone in a minute.
    async fn meet(&self, osd: &Osd) {
        self.record.borrow_mut().finished_unix_s = self.unix_s();
        osd.pause_until(limits::SCRUB_SAVE_INTERVAL, self.asked.wait()).await;
        if !osd.is_stopping() && !self.wanted.get() {
            self.save(osd).await;
        }
    }

    fn begin(&self, requested: bool) {
        let mut record = self.record.borrow_mut();
        record.cursor = Some(ScrubCursor::default());
        record.requested = requested;
        record.current = Damage::default();
        self.pass_bytes.set(0);
        tracing::info!(osd = self.store.osd(), requested, "scrub begins");
    }

    fn until_due(&self) -> Duration {
        let due_unix_s = self.record.borrow().finished_unix_s.saturating_add(self.settings.scrub().interval.as_secs());
        Duration::from_secs(due_unix_s.saturating_sub(self.unix_s()))
    }

    fn unix_s(&self) -> u64 {
        self.ring.unix_time().0 / 1_000_000_000
    }

    /// Bytes a second.
    pub fn pace(&self) -> u64 {
        let usage = self.store.usage();
        let within = (self.settings.scrub().interval.as_secs() / 4 * 3).max(1);
        let needed = usage.base_used.saturating_add(usage.hot_used) / within;
        self.settings.scrub().bytes_per_second.unwrap_or(needed.max(limits::SCRUB_BYTES_PER_SECOND_DEFAULT))
    }

    /// From where the record says to the end of the pass, a request for another, or the OSD's stop.
    async fn pass(&self, osd: &Osd) {
        let mut sums = Sums::default();
        let mut failures = 0;
        let mut saved = self.ring.now();
        let mut due = self.ring.now();
        while !osd.is_stopping() && !self.wanted.get() {
            let Some(cursor) = self.record.borrow().cursor.clone() else { return };
            if self.is_held(osd) {
                osd.pause_until(limits::SCRUB_LOOK_MIN, self.asked.wait()).await;
                due = self.ring.now();
                continue;
            }
            osd.quiet_moment(limits::SCRUB_YIELD_MAX).await;
            let pace = self.pace();
            let bytes_max = (pace / limits::SCRUB_STEPS_PER_SECOND)
                .clamp(limits::SCRUB_STEP_BYTES_MIN, limits::SCRUB_STEP_BYTES_MAX);
            match self.store.scrub_step(cursor, bytes_max).await {
                Ok(step) => {
                    failures = 0;
                    // Objects without blocks of their own cost something as well.
                    let read = step.bytes.max(step.objects * BLOCK_BYTES);
                    let bytes = read + self.rewrite(osd, &step.fragmented, &mut sums).await;
                    due = due.max(self.ring.now()) + Duration::from_secs_f64(bytes as f64 / pace as f64);
                    let mut step = step;
                    mend(osd, &mut step).await;
                    if self.take(osd.id(), step, &mut sums) {
                        return self.finish(osd, &sums).await;
                    }
                }
                Err(error) if failures < limits::SCRUB_FAILURES_MAX => {
                    tracing::debug!(osd = osd.id(), %error, "a step of the scrub failed and is tried again");
                    failures += 1;
                    due = self.ring.now() + limits::SCRUB_LOOK_MIN;
                }
                Err(error) => {
                    // What it can't get past is damage as well, and the rest of the store is looked at with the next pass.
                    self.damaged(osd.id(), format!("scrub can't go on: {error}"));
                    return self.finish(osd, &sums).await;
                }
            }
            if self.ring.now().since(saved) >= limits::SCRUB_SAVE_INTERVAL {
                self.save(osd).await;
                saved = self.ring.now();
            }
            osd.pause_until(due.since(self.ring.now()), self.asked.wait()).await;
        }
        if osd.is_stopping() {
            self.save(osd).await;
        }
    }

    /// Puts cold objects that lie in many pieces into few, while there is room to spare. Returns the bytes moved, read and written.
    async fn rewrite(&self, osd: &Osd, fragmented: &[Fragmented], sums: &mut Sums) -> u64 {
        let mut bytes = 0;
        for Fragmented { object, .. } in fragmented {
            if osd.is_stopping() || osd.capacity().fullness() >= Fullness::BackfillFull {
                break;
            }
            osd.quiet_moment(limits::SCRUB_YIELD_MAX).await;
            match self.store.rewrite(object).await {
                Ok(rewritten) if rewritten.blocks > 0 => {
                    bytes += 2 * rewritten.blocks * BLOCK_BYTES;
                    sums.rewritten += 1;
                }
                Ok(_) => {}
                // It is as it was; the next pass comes to it again.
                Err(error) => tracing::debug!(osd = osd.id(), %error, "an object in many pieces is left as it is"),
            }
        }
        bytes
    }

    /// Whether the pass has to wait: for an operator's flag, or because the store is out of service.
    fn is_held(&self, osd: &Osd) -> bool {
        let flags = osd.map().map_or_else(MapFlags::default, |map| map.flags);
        let forbidden = flags.contains(MapFlags::NOSCRUB) || flags.contains(MapFlags::NODEEP_SCRUB);
        self.store.fenced().is_some() || forbidden && !self.record.borrow().requested
    }

    /// Notes what a step did; whether it was the last.
    fn take(&self, osd: u32, step: ScrubStep, sums: &mut Sums) -> bool {
        self.bytes_total.set(self.bytes_total.get() + step.bytes);
        self.pass_bytes.set(self.pass_bytes.get() + step.bytes);
        sums.objects += step.objects;
        sums.fragmented += step.fragmented.len() as u64;
        for finding in &step.findings {
            if finding.repaired {
                tracing::warn!(osd, "scrub: {finding}");
                self.repaired.set(self.repaired.get() + 1);
                sums.repaired += 1;
            } else {
                self.damaged(osd, shortened(finding));
            }
        }
        self.record.borrow_mut().cursor = step.next.clone();
        step.next.is_none()
    }

    fn damaged(&self, osd: u32, line: String) {
        tracing::error!(osd, "scrub: {line}");
        self.errors_total.set(self.errors_total.get() + 1);
        self.record.borrow_mut().current.add(line);
    }

    async fn finish(&self, osd: &Osd, sums: &Sums) {
        let errors = {
            let mut record = self.record.borrow_mut();
            record.cursor = None;
            record.requested = false;
            record.finished_unix_s = self.unix_s();
            record.standing = std::mem::take(&mut record.current);
            record.standing.errors
        };
        let Sums { objects, repaired, fragmented, rewritten } = *sums;
        let bytes = self.pass_bytes.get();
        tracing::info!(osd = osd.id(), bytes, objects, errors, repaired, fragmented, rewritten, "scrub ends");
        self.save(osd).await;
    }

    async fn load(&self) -> Result<Option<Record>> {
        let key = record_key();
        if self.store.stat(&key).await?.is_none() {
            return Ok(None);
        }
        let value = self.store.get_xattr(&key, RECORD_XATTR).await?;
        Ok(value.as_deref().and_then(Record::decode))
    }

    async fn save(&self, osd: &Osd) {
        let record = self.record.borrow().encode();
        // A full store has none to keep it in; then a restart begins anew, which is no harm.
        if let Err(error) = self.put(record).await {
            tracing::debug!(osd = osd.id(), %error, "how far the scrub is can't be kept");
        }
    }

    async fn put(&self, record: Vec<u8>) -> Result<()> {
        let key = record_key();
        let mut transaction = self.store.begin(std::slice::from_ref(&key)).await;
        transaction.touch(&key);
        transaction.set_xattr(&key, RECORD_XATTR, &record);
        let now_ns = self.ring.unix_time().0;
        let mut prepared = transaction.prepare(Placement::Base).await?;
        prepared.set_version(now_ns, now_ns);
        prepared.submit().await?.durable().await
    }
}

const RECORD_XATTR: &[u8] = b"record";

/// Puts right from other copies what a step found and the store itself could not.
async fn mend(osd: &Osd, step: &mut ScrubStep) {
    let mut mended = Vec::new();
    for finding in step.findings.iter().filter(|finding| !finding.repaired) {
        if let ScrubSubject::Object { object, offset } = &finding.subject
            && object.pool != limits::OWN_POOL
            && repair::mend(osd, object, *offset..offset + 1).await == Mending::Done
        {
            tracing::warn!(osd = osd.id(), "scrub: {finding}");
            mended.push(finding.clone());
        }
    }
    step.findings.retain(|finding| !mended.contains(finding));
}

fn record_key() -> ObjectKey {
    ObjectKey { pool: limits::OWN_POOL, pg: 0, name: b"scrub".as_slice().into() }
}

/// A name may be of thousands of bytes, and there may be many such lines.
fn shortened(finding: &ScrubFinding) -> String {
    let line = finding.to_string();
    let length = line.chars().count();
    if length <= limits::SCRUB_LINE_CHARS_MAX {
        return line;
    }
    let head: String = line.chars().take(limits::SCRUB_LINE_CHARS_MAX / 2).collect();
    let tail: String = line.chars().skip(length - limits::SCRUB_LINE_CHARS_MAX / 2).collect();
    format!("{head}…{tail}")
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let damage = |damage: &Damage| json!({ "errors": damage.errors, "lines": damage.lines });
        let document = json!({
            "finished_unix_s": self.finished_unix_s,
            "standing": damage(&self.standing),
            "cursor": self.cursor.as_ref().map(ScrubCursor::encode),
            "requested": self.requested,
            "current": damage(&self.current),
        });
        document.to_string().into_bytes()
    }

    /// `None`: this is no record.
    fn decode(bytes: &[u8]) -> Option<Record> {
        let document: Value = serde_json::from_slice(bytes).ok()?;
        let damage = |key: &str| {
            let lines = document.get(key)?.get("lines")?.as_array()?.iter().take(limits::SCRUB_LINES_MAX);
            Some(Damage {
                errors: document.get(key)?.get("errors")?.as_u64()?,
                lines: lines.filter_map(Value::as_str).map(str::to_owned).collect(),
            })
        };
        let cursor: Option<Vec<u8>> = serde_json::from_value(document.get("cursor")?.clone()).ok()?;
        Some(Record {
            finished_unix_s: document.get("finished_unix_s")?.as_u64()?,
            standing: damage("standing")?,
            // A cursor of another version: the pass begins anew.
            cursor: cursor.map(|bytes| ScrubCursor::decode(&bytes).unwrap_or_default()),
            requested: document.get("requested")?.as_bool()?,
            current: damage("current")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_it_was_kept() {
        let mut record = Record { finished_unix_s: 7, requested: true, ..Record::default() };
        record.standing.add("object 1.2/ä at byte 0".into());
        for cursor in [None, Some(ScrubCursor::default())] {
            record.cursor = cursor;
            assert_eq!(Record::decode(&record.encode()), Some(record.clone()));
        }
        assert_eq!(Record::decode(b"{}"), None);
        assert_eq!(Record::decode(b"\xff"), None);
    }

    #[test]
    fn the_largest_record_fits_an_xattr() {
        let mut record = Record::default();
        for _ in 0..limits::SCRUB_LINES_MAX + 1 {
            // What JSON makes the most of.
            record.standing.add("\u{1}".repeat(limits::SCRUB_LINE_CHARS_MAX + 1));
            record.current.add("\u{1}".repeat(limits::SCRUB_LINE_CHARS_MAX + 1));
        }
        assert_eq!(record.standing.errors, limits::SCRUB_LINES_MAX as u64 + 1);
        assert!(record.encode().len() + 8192 <= basalt_blockstore::limits::XATTR_VALUE_BYTES_MAX);
    }
}
