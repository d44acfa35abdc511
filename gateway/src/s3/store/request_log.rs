//! Logs of requests to buckets: gathered in memory, and every now and then stored as objects of another bucket. A gateway that is killed loses
//! what it has gathered since; the logs are for people and bills, not for evidence.

use super::Store;
use super::bucket::Bucket;
use super::data::{Incoming, Piece};
use super::entry::Entry;
use super::object::{BodyFacts, Condition};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use crate::s3::log_record::LogRecord;
use crate::s3::policy::{Effect, Policy, Question};
use basalt_ring::Instant;
use bytes::Bytes;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::{Arc, RwLock};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;
use tokio::sync::mpsc;

/// Who stores logs, as policies name it.
pub const LOGGER: &str = "logging.s3.amazonaws.com";

const SECOND: &[FormatItem<'_>] = format_description!("[year]-[month]-[day]-[hour]-[minute]-[second]");
const DAY: &[FormatItem<'_>] = format_description!("[year]/[month]/[day]");

/// Where a bucket's log goes.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Logging {
    pub target: String,
    pub prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<LogKeys>,
    /// When it was said, or changed.
    #[serde(default)]
    pub modified_ns: u64,
}

/// The form of the keys of a log's objects, behind the prefix.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum LogKeys {
    /// Time and a random number.
    Simple,
    /// Before that: owner, region, bucket, and the day.
    Partitioned,
}

/// The buckets whose requests are logged, as far as this gateway has seen them; known to the threads that speak HTTP, too.
#[derive(Clone, Debug, Default)]
pub struct LoggedBuckets(Arc<RwLock<HashSet<String>>>);

impl LoggedBuckets {
    pub fn has(&self, bucket: &str) -> bool {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()).contains(bucket)
    }

    /// A bucket's record was read.
    pub fn note(&self, bucket: &str, is_logged: bool) {
        if self.has(bucket) == is_logged {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !is_logged {
            known.remove(bucket);
        } else if known.len() < limits::LOGGED_BUCKETS_MAX {
            known.insert(bucket.to_owned());
        }
    }
}

/// Where lines are to go. What goes to the same place, whichever bucket it is about, shares its objects; but keys that name the bucket are of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Destination {
    target: String,
    prefix: String,
    named_source: Option<String>,
}

/// Lines that are not stored yet.
#[derive(Default)]
pub struct GatheredLogs(RefCell<HashMap<Destination, Gathered>>);

struct Gathered {
    since: Instant,
    bytes: usize,
    /// By the index of the bucket that they are about.
    lines: Vec<(usize, String)>,
    /// As they were when their first lines came. One that is removed, or no longer logged, has its last lines stored all the same.
    sources: Vec<Source>,
}

struct Source {
    bucket: Bucket,
    logging: Logging,
}

impl Gathered {
    fn new(since: Instant) -> Gathered {
        Gathered { since, bytes: 0, lines: Vec::new(), sources: Vec::new() }
    }

    fn push(&mut self, bucket: &Bucket, logging: &Logging, line: String) {
        let known = self.sources.iter().position(|known| known.bucket.id == bucket.id);
        let index = known.unwrap_or_else(|| {
            self.sources.push(Source { bucket: bucket.clone(), logging: logging.clone() });
            self.sources.len() - 1
        });
        self.bytes += line.len();
        self.lines.push((index, line));
    }
}

impl Store {
    /// Gathers lines, once those are stored that are due before them. One more than there is room for is left out.
    pub async fn log(self: &Rc<Self>, record: LogRecord) -> Result<()> {
        let Some(bucket) = self.find_bucket(&record.bucket).await? else { return Ok(()) };
        let Some(logging) = bucket.logging.clone() else { return Ok(()) };
        let user = match record.signed() {
            Some(signed) => self.user_by_access_key(&signed.access_key).await?,
            None => None,
        };
        let destination = Destination {
            target: logging.target.clone(),
            prefix: logging.prefix.clone(),
            named_source: (logging.format == Some(LogKeys::Partitioned)).then(|| bucket.id.clone()),
        };
        let now = self.ring.now();
        let old = {
            let mut gathered = self.gathered_logs.0.borrow_mut();
            let is_old =
                gathered.get(&destination).is_some_and(|gathered| now.since(gathered.since) >= self.settings.log_roll);
            if is_old { gathered.remove(&destination) } else { None }
        };
        if let Some(old) = old {
            self.store_log(&destination, old).await;
        }
        let lines = record.lines(&bucket.owner, user.as_ref().map(|user| user.user_id.as_str()));
        let full = {
            let mut gathered = self.gathered_logs.0.borrow_mut();
            let mut room =
                limits::LOGS_BYTES_MAX.saturating_sub(gathered.values().map(|gathered| gathered.bytes).sum());
            let place = gathered.entry(destination.clone()).or_insert_with(|| Gathered::new(self.ring.now()));
            for line in lines {
                if line.len() > room {
                    break;
                }
                room -= line.len();
                place.push(&bucket, &logging, line);
            }
            if place.bytes >= limits::LOG_BYTES_MAX { gathered.remove(&destination) } else { None }
        };
        if let Some(full) = full {
            self.store_log(&destination, full).await;
        }
        Ok(())
    }

    /// For ever.
    pub async fn store_logs_again_and_again(self: &Rc<Self>) {
        loop {
            self.ring.sleep(self.settings.log_roll / 4).await;
            self.store_logs(self.settings.log_roll).await;
        }
    }

    /// Those that are older than `age`.
    pub async fn store_logs(self: &Rc<Self>, age: std::time::Duration) {
        let now = self.ring.now();
        let due: Vec<(Destination, Gathered)> = {
            let mut gathered = self.gathered_logs.0.borrow_mut();
            gathered.extract_if(|_, gathered| now.since(gathered.since) >= age).collect()
        };
        for (destination, gathered) in due {
            self.store_log(&destination, gathered).await;
        }
    }

    async fn store_log(self: &Rc<Self>, destination: &Destination, gathered: Gathered) {
        if let Err(fault) = self.try_to_store_log(destination, gathered).await {
            tracing::warn!(%fault, target = destination.target, "a log of requests could not be stored");
        }
    }

    async fn try_to_store_log(self: &Rc<Self>, destination: &Destination, gathered: Gathered) -> Result<()> {
        let Gathered { lines, sources, .. } = gathered;
        let target = self.bucket(&destination.target).await?;
        let mut allowed = Vec::new();
        for Source { bucket, logging } in &sources {
            let checked = check_target(bucket, &target, logging);
            if let Err(fault) = &checked {
                tracing::warn!(%fault, bucket = bucket.name, "the log of a bucket's requests could not be stored");
            }
            allowed.push(checked.is_ok());
        }
        let kept = lines.into_iter().filter(|(source, _)| allowed.get(*source) == Some(&true));
        let text: String = kept.map(|(_, line)| line).collect();
        let Some(first) = sources.first().filter(|_| !text.is_empty()) else { return Ok(()) };
        let now = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.now_ns()));
        let now = now.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let key = log_key(&first.bucket, &first.logging, now, self.ring.random_u64());
        let draft = Entry {
            owner: target.owner.clone(),
            owner_name: target.owner_name.clone(),
            headers: [("content-type".to_owned(), "text/plain".to_owned())].into(),
            ..Entry::default()
        };
        let (pieces, incoming) = mpsc::channel(2);
        let etag: String = Md5::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = Some(text.len() as u64);
        for piece in [Piece::Data(Bytes::from(text)), Piece::End(BodyFacts { etag, checksum: None })] {
            // There is room for both.
            let _ = pieces.try_send(piece);
        }
        let incoming = Incoming { pieces: incoming, expected, key: None };
        self.put_object(&target, &key, draft, &Condition::default(), incoming).await?;
        Ok(())
    }
}

fn log_key(source: &Bucket, logging: &Logging, now: OffsetDateTime, random: u64) -> String {
    let prefix = &logging.prefix;
    let second = now.format(SECOND).unwrap_or_default();
    let place = if logging.format == Some(LogKeys::Partitioned) {
        let day = now.format(DAY).unwrap_or_default();
        format!("{}/{}/{}/{day}/", source.owner, source.location.as_deref().unwrap_or("default"), source.name)
    } else {
        String::new()
    };
    format!("{prefix}{place}{second}-{random:016X}")
}

/// Refuses a bucket that logs must not be, or may not be, stored in: who owns it lets that happen by its policy.
pub fn check_target(source: &Bucket, target: &Bucket, logging: &Logging) -> Result<()> {
    let invalid = |problem: &'static str| Err(Fault::refuse(s3s::S3ErrorCode::InvalidArgument, problem));
    if source.id == target.id {
        return invalid("the log of a bucket's requests is stored in another bucket");
    }
    if target.logging.is_some() {
        return invalid("a bucket whose requests are logged can't hold logs");
    }
    if target.encryption.is_some() {
        return invalid("a bucket that is encrypted can't hold logs");
    }
    if target.requester_pays {
        return invalid("a bucket whose requesters pay can't hold logs");
    }
    let resource = format!("{}/{}", target.name, logging.prefix);
    let values = |key: &str| match key {
        "aws:sourcearn" => vec![format!("arn:aws:s3:::{}", source.name)],
        "aws:sourceaccount" => vec![source.owner.clone()],
        _ => Vec::new(),
    };
    let question =
        Question { action: "s3:PutObject", resource: &resource, user: None, service: Some(LOGGER), values: &values };
    let effect = match &target.policy {
        Some(text) => Policy::parse(text, &target.name)?.judge(&question),
        None => Effect::Pass,
    };
    if effect == Effect::Allow {
        return Ok(());
    }
    let message = format!("the policy of bucket {} does not let {LOGGER} put objects below the prefix", target.name);
    Err(Fault::refuse(s3s::S3ErrorCode::AccessDenied, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(name: &str, more: &str) -> Bucket {
        let record = format!(
            r#"{{"name": "{name}", "id": "id-{name}", "owner": "ann", "owner_name": "Ann", "created_ns": 0, "shards": 1, "generation": 0{more}}}"#
        );
        serde_json::from_str(&record).unwrap()
    }

    fn logging(format: Option<LogKeys>) -> Logging {
        Logging { target: "logs".into(), prefix: "from-b/".into(), format, modified_ns: 0 }
    }

    #[test]
    fn keys_of_logs_sort_by_time() {
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let source = bucket("b", "");
        let key = |format| log_key(&source, &logging(format), now, 0xabc);
        assert_eq!(key(None), "from-b/2023-11-14-22-13-20-0000000000000ABC");
        assert_eq!(key(Some(LogKeys::Simple)), key(None));
        assert_eq!(
            key(Some(LogKeys::Partitioned)),
            "from-b/ann/default/b/2023/11/14/2023-11-14-22-13-20-0000000000000ABC"
        );
    }

    #[test]
    fn logs_go_where_a_policy_lets_them_only() {
        let policy = |effect: &str, resource: &str, source: &str| {
            let text = format!(
                r#"{{"Statement": [{{"Effect": "{effect}", "Principal": {{"Service": "{LOGGER}"}}, "Action": "s3:PutObject",
                "Resource": "arn:aws:s3:::{resource}", "Condition": {{"ArnLike": {{"aws:SourceArn": "arn:aws:s3:::{source}"}},
                "StringEquals": {{"aws:SourceAccount": "ann"}}}}}}]}}"#
            );
            format!(r#", "policy": {}"#, serde_json::to_string(&text).unwrap())
        };
        let allowed = |target: &Bucket| check_target(&bucket("b", ""), target, &logging(None)).is_ok();
        assert!(allowed(&bucket("logs", &policy("Allow", "logs/from-b/*", "b"))));
        assert!(allowed(&bucket("logs", &policy("Allow", "logs/*", "*"))));
        assert!(!allowed(&bucket("logs", "")));
        assert!(!allowed(&bucket("logs", &policy("Deny", "logs/*", "b"))));
        assert!(!allowed(&bucket("logs", &policy("Allow", "logs/other/*", "b"))));
        assert!(!allowed(&bucket("logs", &policy("Allow", "logs/*", "c"))));
        assert!(!allowed(&bucket("b", &policy("Allow", "b/*", "b"))));
        let logged = format!("{}{}", policy("Allow", "logs/*", "b"), r#", "logging": {"target": "x", "prefix": ""}"#);
        assert!(!allowed(&bucket("logs", &logged)));
    }

    #[test]
    fn what_is_not_known_of_a_bucket_is_that_it_is_not_logged() {
        let known = LoggedBuckets::default();
        assert!(!known.has("b"));
        known.note("b", true);
        assert!(known.clone().has("b"));
        known.note("b", false);
        assert!(!known.has("b"));
    }
}
