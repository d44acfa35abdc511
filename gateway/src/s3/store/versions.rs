//! All versions of a bucket's keys: those in front and those behind, in the order of the keys, the newest of each first.

use super::Store;
use super::bucket::Bucket;
use super::entry::Entry;
use super::index::{decode_entry, entry_key, escaped, unescaped, version_key};
use super::listing::{Merger, common_prefix};
use super::multipart::UploadQuery;
use super::object::Deletion;
use crate::s3::fault::{Fault, Result};
use s3s::S3ErrorCode;

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct VersionQuery {
    pub prefix: String,
    pub delimiter: String,
    pub key_marker: String,
    /// A version of `key_marker`, behind which to begin; empty: behind all of them.
    pub version_marker: String,
    pub max: u32,
}

/// One page of versions.
#[derive(Clone, Debug, Default)]
pub struct VersionPage {
    /// With whether it is its key's newest.
    pub versions: Vec<(String, Entry, bool)>,
    pub common_prefixes: Vec<String>,
    /// Key and version of the last one, if there are more.
    pub next: Option<(String, String)>,
}

impl Store {
    pub async fn list_versions(&self, bucket: &Bucket, query: &VersionQuery) -> Result<VersionPage> {
        let mut page = VersionPage::default();
        if query.max == 0 {
            return Ok(page);
        }
        // Two streams in the same order of keys. Those in front begin at the marker's key itself if some of its versions are still to come.
        let goes_on = !query.version_marker.is_empty();
        let prefix = entry_key(&query.prefix);
        let begin = |name: Vec<u8>, prefix: &[u8]| if name.as_slice() < prefix { Vec::new() } else { name };
        let mut newest_after = entry_key(&query.key_marker);
        if !query.key_marker.is_empty()
            && common_prefix(&query.key_marker, &query.prefix, &query.delimiter) == Some(&query.key_marker)
        {
            newest_after.push(0xff);
        }
        let mut older_prefix = escaped(b'v', &query.prefix);
        older_prefix.truncate(older_prefix.len() - 2);
        let mut older_after = escaped(b'v', &query.key_marker);
        if goes_on {
            match self.find_entry(bucket, &query.key_marker, Some(&query.version_marker)).await? {
                Some(entry) => {
                    // The newest is no older one, but sorts before all of them.
                    older_after = version_key(&query.key_marker, &entry);
                }
                None => {
                    let sort = query.version_marker.get(..16).unwrap_or_default();
                    older_after.extend_from_slice(sort.as_bytes());
                    older_after.extend_from_slice(query.version_marker.as_bytes());
                }
            }
        } else {
            // Behind all versions of this key.
            older_after.pop();
            older_after.push(2);
            if newest_after.last() == Some(&0xff) {
                older_after.truncate(older_after.len() - 2);
                older_after.push(0xff);
            }
        }
        if query.key_marker.is_empty() {
            newest_after.clear();
            older_after.clear();
        }
        let mut newest = Merger::new(self, bucket, prefix.clone(), begin(newest_after, &prefix), query.max + 1);
        let mut older =
            Merger::new(self, bucket, older_prefix.clone(), begin(older_after, &older_prefix), query.max + 1);
        let mut last = (String::new(), String::new());
        loop {
            let front = newest.peek().await?.map(|(name, _)| key_of(name));
            let behind = older.peek().await?.and_then(|(name, _)| unescaped(name)).map(|(key, _)| key);
            // At the same key the one in front comes first.
            let is_front = match (&front, &behind) {
                (None, None) => break,
                (Some(front), Some(behind)) => front <= behind,
                (front, _) => front.is_some(),
            };
            let next = if is_front { newest.next().await? } else { older.next().await? };
            let (Some((_, value)), Some(key)) = (next, if is_front { front } else { behind }) else { break };
            if page.versions.len() + page.common_prefixes.len() >= query.max as usize {
                page.next = Some(last);
                break;
            }
            match common_prefix(&key, &query.prefix, &query.delimiter) {
                Some(common) => {
                    newest.skip(&entry_key(common));
                    let mut hidden = escaped(b'v', common);
                    hidden.truncate(hidden.len() - 2);
                    older.skip(&hidden);
                    last = (common.to_owned(), String::new());
                    page.common_prefixes.push(common.to_owned());
                }
                None => {
                    let entry = decode_entry(&key, &value)?;
                    last = (key.clone(), entry.version.clone());
                    page.versions.push((key, entry, is_front));
                }
            }
        }
        Ok(page)
    }

    /// Deletes every version of every key, and aborts what is being uploaded.
    pub async fn purge(&self, name: &str) -> Result<()> {
        loop {
            // Each time anew: its index may be cut anew meanwhile.
            let bucket = self.bucket(name).await?;
            let query = UploadQuery { max: crate::s3::limits::LIST_KEYS_MAX, ..UploadQuery::default() };
            let page = self.list_uploads(&bucket, &query).await?;
            for (key, upload) in &page.uploads {
                match self.abort_upload(&bucket, key, &upload.id).await {
                    Err(Fault::Refused { code: S3ErrorCode::NoSuchUpload, .. }) | Ok(()) => {}
                    Err(fault) => return Err(fault),
                }
            }
            if page.next.is_none() {
                break;
            }
        }
        loop {
            let bucket = self.bucket(name).await?;
            let query = VersionQuery { max: crate::s3::limits::LIST_KEYS_MAX, ..VersionQuery::default() };
            let page = self.list_versions(&bucket, &query).await?;
            if page.versions.is_empty() {
                return Ok(());
            }
            // Older ones first, so that none becomes the newest only to be deleted next.
            for (key, entry, _) in page.versions.iter().rev() {
                let any = Deletion { may_bypass_governance: true, ..Deletion::default() };
                self.delete_object(&bucket, key, Some(&entry.version), &bucket.owner(), &any).await?;
            }
        }
    }
}

fn key_of(name: &[u8]) -> String {
    String::from_utf8_lossy(name.get(1..).unwrap_or_default()).into_owned()
}
