//! Keys of a bucket in their order: each shard lists its own in order; here they are merged, and what a delimiter hides is skipped.

use super::Store;
use super::bucket::Bucket;
use super::entry::Entry;
use super::index::{decode_entry, entry_key};
use super::shard::Shard;
use crate::s3::fault::Result;
use crate::s3::limits;
use basalt_client::{Pair, Pairs};
use basalt_ring::local::join_all;
use std::collections::VecDeque;

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub prefix: String,
    /// What is between the prefix and the first of these is shown once, as a common prefix. Empty: nothing is.
    pub delimiter: String,
    /// Begins behind this key, or behind all keys with this common prefix.
    pub after: String,
    pub max: u32,
}

/// One page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub entries: Vec<(String, Entry)>,
    pub common_prefixes: Vec<String>,
    /// Where the next page begins, if there is one: the last key or common prefix of this one.
    pub next: Option<String>,
}

/// Merges what omaps of several shards say under one kind of keys.
pub struct Merger<'a> {
    store: &'a Store,
    cursors: Vec<Cursor>,
    prefix: Vec<u8>,
    page_max: u32,
}

struct Cursor {
    shard: Shard,
    pairs: VecDeque<Pair>,
    after: Vec<u8>,
    has_more: bool,
}

impl<'a> Merger<'a> {
    /// All that begins with `prefix` and is behind `after`. `expected`: how many will be asked for.
    pub fn new(store: &'a Store, bucket: &Bucket, prefix: Vec<u8>, after: Vec<u8>, expected: u32) -> Merger<'a> {
        let cursor = |shard| Cursor { shard, pairs: VecDeque::new(), after: after.clone(), has_more: true };
        let cursors: Vec<Cursor> = bucket.all_shards().map(cursor).collect();
        // Keys are spread evenly; a little more than the share spares most shards a second question.
        let share = expected / cursors.len().max(1) as u32;
        let page_max = (share + share / 4 + 8).min(limits::LIST_PAGE_MAX);
        Merger { store, cursors, prefix, page_max }
    }

    async fn fill(&mut self) -> Result<()> {
        loop {
            let mut asked = Vec::new();
            for (index, cursor) in self.cursors.iter().enumerate() {
                if cursor.pairs.is_empty() && cursor.has_more {
                    let (store, shard, after) = (self.store, cursor.shard.clone(), cursor.after.clone());
                    let (prefix, max) = (&self.prefix, self.page_max);
                    asked.push(async move { (index, store.shard_page(&shard, &after, prefix, max).await) });
                }
            }
            if asked.is_empty() {
                return Ok(());
            }
            for (index, page) in join_all(asked).await {
                let (pairs, more): (Pairs, bool) = page?;
                let Some(cursor) = self.cursors.get_mut(index) else { continue };
                if let Some((last, _)) = pairs.last() {
                    cursor.after.clone_from(last);
                }
                cursor.has_more = more;
                cursor.pairs = pairs.into();
            }
        }
    }

    /// The shard whose turn it is.
    async fn turn(&mut self) -> Result<Option<&mut Cursor>> {
        self.fill().await?;
        let heads = self.cursors.iter_mut().filter(|cursor| !cursor.pairs.is_empty());
        Ok(heads
            .min_by(|one, other| one.pairs.front().map(|pair| &pair.0).cmp(&other.pairs.front().map(|pair| &pair.0))))
    }

    pub async fn peek(&mut self) -> Result<Option<&Pair>> {
        Ok(self.turn().await?.and_then(|cursor| cursor.pairs.front()))
    }

    pub async fn next(&mut self) -> Result<Option<Pair>> {
        Ok(self.turn().await?.and_then(|cursor| cursor.pairs.pop_front()))
    }

    /// Goes on behind everything that begins with `prefix`, without looking at it.
    pub fn skip(&mut self, prefix: &[u8]) {
        let behind = behind(prefix);
        for cursor in &mut self.cursors {
            while cursor.pairs.front().is_some_and(|(name, _)| *name < behind) {
                cursor.pairs.pop_front();
            }
            if cursor.pairs.is_empty() && cursor.after < behind {
                cursor.after.clone_from(&behind);
            }
        }
    }
}

/// Sorts behind all that begins with `prefix`: keys are UTF-8, which has no byte `ff`.
fn behind(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[0xff]].concat()
}

/// The part of `key` that a delimiter leaves to be seen, if it hides anything.
pub fn common_prefix<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = key.get(prefix.len()..)?;
    let end = prefix.len() + rest.find(delimiter)? + delimiter.len();
    key.get(..end)
}

impl Store {
    /// Newest versions only, and none that are delete markers.
    pub async fn list_objects(&self, bucket: &Bucket, query: &Query) -> Result<Page> {
        let mut page = Page::default();
        if query.max == 0 {
            return Ok(page);
        }
        let prefix = entry_key(&query.prefix);
        let is_behind_common = common_prefix(&query.after, &query.prefix, &query.delimiter) == Some(&query.after);
        let after = match query.after.as_str() {
            "" => Vec::new(),
            after if is_behind_common && after.starts_with(&query.prefix) => behind(&entry_key(after)),
            after => entry_key(after),
        };
        // A marker before the prefix is as good as none.
        let after = if after < prefix { Vec::new() } else { after };
        let mut merger = Merger::new(self, bucket, prefix, after, query.max + 1);
        let mut last = String::new();
        while let Some((name, value)) = merger.next().await? {
            let key = String::from_utf8_lossy(name.get(1..).unwrap_or_default()).into_owned();
            let entry = decode_entry(&key, &value)?;
            if entry.is_delete_marker {
                continue;
            }
            if page.entries.len() + page.common_prefixes.len() >= query.max as usize {
                page.next = Some(last);
                break;
            }
            match common_prefix(&key, &query.prefix, &query.delimiter) {
                Some(common) => {
                    merger.skip(&entry_key(common));
                    last = common.to_owned();
                    page.common_prefixes.push(common.to_owned());
                }
                None => {
                    last.clone_from(&key);
                    page.entries.push((key, entry));
                }
            }
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_prefix_ends_with_the_first_delimiter_behind_the_prefix() {
        for (key, prefix, delimiter, expected) in [
            ("a/b/c", "", "/", Some("a/")),
            ("a/b/c", "a/", "/", Some("a/b/")),
            ("a/b/c", "a", "/", Some("a/")),
            ("a/b", "a/", "/", None),
            ("a/b", "", "", None),
            ("foo_bar_x", "foo", "bar", Some("foo_bar")),
            ("é/ü", "", "/", Some("é/")),
        ] {
            assert_eq!(common_prefix(key, prefix, delimiter), expected, "{key} {prefix} {delimiter}");
        }
    }

    #[test]
    fn behind_a_prefix_is_behind_all_its_keys() {
        assert!(behind(b"ka/") > entry_key("a/\u{10ffff}"));
        assert!(behind(b"ka/") < entry_key("a0"));
    }
}
