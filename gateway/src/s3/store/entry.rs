//! What the index says of one version of one object: all there is to know but its bytes, and where those are.
//!
//! It is JSON, with names for what is rarely there: entries of many ages live side by side, and new fields must not need new code to read old
//! entries.

use super::lock::Lock;
use crate::s3::acl::Acl;
use crate::s3::encryption::{Encryption, plain_bytes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const NULL_VERSION: &str = "null";

#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Entry {
    /// `null`, or 32 characters that sort with the newest first.
    #[serde(rename = "v")]
    pub version: String,
    #[serde(rename = "dm", default, skip_serializing_if = "is_false")]
    pub is_delete_marker: bool,
    #[serde(rename = "s")]
    pub size: u64,
    /// Without quotes.
    #[serde(rename = "e")]
    pub etag: String,
    /// Nanoseconds since 1970.
    #[serde(rename = "t")]
    pub modified_ns: u64,
    #[serde(rename = "o")]
    pub owner: String,
    /// As it was when the object was made.
    #[serde(rename = "on", default, skip_serializing_if = "String::is_empty")]
    pub owner_name: String,
    #[serde(rename = "a", default, skip_serializing_if = "Acl::is_empty")]
    pub acl: Acl,
    /// `content-type` and its like, by their names in lower case.
    #[serde(rename = "h", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// `x-amz-meta-`, without that.
    #[serde(rename = "m", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    #[serde(rename = "g", default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<StoredChecksum>,
    /// Base64, of the algorithm of `checksum`; empty where they are not known, or too many to be kept.
    #[serde(rename = "pc", default, skip_serializing_if = "Vec::is_empty", with = "super::part_checksums")]
    pub part_checksums: Vec<String>,
    #[serde(rename = "l", default, skip_serializing_if = "Lock::is_empty")]
    pub lock: Lock,
    /// How the bytes are sealed, if they are.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// The bytes, in order.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Run>,
    /// How many parts it was uploaded in; 0: in one piece.
    #[serde(rename = "p", default, skip_serializing_if = "is_zero")]
    pub parts: u32,
}

/// Consecutive parts of one size. Part `number` of `tag` is the data objects `TAG.NUMBER.STRIPE`.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Run {
    #[serde(rename = "t")]
    pub tag: String,
    /// Of the first part.
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    pub number: u32,
    #[serde(rename = "c")]
    pub count: u32,
    /// Bytes in each, as they are stored: where the object is sealed, more than it has.
    #[serde(rename = "s")]
    pub size: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct StoredChecksum {
    /// As S3 writes it: `CRC32`, `SHA256`.
    #[serde(rename = "a")]
    pub algorithm: String,
    /// Base64; of parts' checksums with `-N` behind it.
    #[serde(rename = "v")]
    pub value: String,
    #[serde(rename = "f", default)]
    pub is_of_whole: bool,
}

impl Entry {
    pub fn has_null_version(&self) -> bool {
        self.version == NULL_VERSION
    }

    /// Sorts versions of one key with the newest first.
    pub fn sort(&self) -> u64 {
        u64::MAX - self.modified_ns
    }

    /// The parts with their sizes, in order.
    pub fn part_sizes(&self) -> impl Iterator<Item = u64> {
        let plain = |stored| if self.encryption.is_some() { plain_bytes(stored) } else { stored };
        self.runs.iter().flat_map(move |run| std::iter::repeat_n(plain(run.size), run.count as usize))
    }
}

/// Adds a part behind others.
pub fn push_part(runs: &mut Vec<Run>, tag: &str, number: u32, size: u64) {
    if size == 0 {
        return;
    }
    if let Some(last) = runs.last_mut()
        && last.tag == tag
        && last.size == size
        && last.number.checked_add(last.count) == Some(number)
    {
        last.count += 1;
        return;
    }
    runs.push(Run { tag: tag.into(), number, count: 1, size });
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_of_one_upload_take_one_run() {
        let mut runs = Vec::new();
        for number in 1..=9_999 {
            push_part(&mut runs, "a", number, 5 << 20);
        }
        push_part(&mut runs, "a", 10_000, 7);
        push_part(&mut runs, "b", 10_001, 7);
        assert_eq!(runs.len(), 3);
        assert_eq!(runs.iter().map(|run| run.count).sum::<u32>(), 10_001);
    }
}
