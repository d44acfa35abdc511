//! Buckets: a record each, and for each user the names of theirs.
//!
//! | object of `s3.meta`  | content                                                        |
//! |----------------------|----------------------------------------------------------------|
//! | `bucket.NAME`        | [`Bucket`], as JSON; it exists while the bucket does            |
//! | `user.UID`           | omap: a bucket's name → when it was made                        |
//! | `dead`               | omap: a removed bucket's id → what is left of it to be removed  |
//!
//! The record comes first and goes first. A gateway that is killed between record and name leaves a bucket that its owner does not see
//! listed, or a listed one that is not there; making or removing it again puts that right.

use super::lock::BucketLock;
use super::request_log::Logging;
use super::reshard::{FormerIndex, Resharding};
use super::shard::{Layout, Shard, hash_of};
use super::user::Quota;
use super::{Store, decode, encode};
use crate::s3::acl::{Acl, Owner};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use basalt_client::ObjectOperations;
use basalt_client::error::{EEXIST, ENOENT, ERANGE};
use s3s::S3ErrorCode;
use s3s::dto::{
    BucketLifecycleConfiguration, CORSConfiguration, ObjectOwnership, ServerSideEncryptionConfiguration,
    WebsiteConfiguration,
};
use serde::{Deserialize, Serialize};

pub const DEAD: &[u8] = b"dead";

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub enum Versioning {
    #[default]
    Never,
    Enabled,
    Suspended,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Bucket {
    pub name: String,
    /// Of this bucket alone, also when another gets its name.
    pub id: String,
    pub owner: String,
    pub owner_name: String,
    pub created_ns: u64,
    /// As it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    pub shards: u32,
    /// Counts how often its index was cut anew.
    pub generation: u32,
    /// The highest generation that was ever begun: no two have one name.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generations: u32,
    /// Its shards have counted what they hold from the beginning.
    #[serde(default)]
    pub is_counted: bool,
    /// Its index is being cut anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resharding: Option<Resharding>,
    /// What its index was before, or would have become, and is still to be removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<FormerIndex>,
    #[serde(default)]
    pub acl: Acl,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    #[serde(default)]
    pub versioning: Versioning,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<CORSConfiguration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<BucketLifecycleConfiguration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website: Option<WebsiteConfiguration>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    #[serde(default)]
    pub quota: Quota,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_access_block: Option<PublicAccessBlock>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_ownership: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<BucketLock>,
    /// What its objects are to be encrypted with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<ServerSideEncryptionConfiguration>,
    /// Where what is asked of it is written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// Nobody counts what they pay; but who asks must say that he would.
    #[serde(default)]
    pub requester_pays: bool,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct PublicAccessBlock {
    pub block_public_acls: bool,
    pub ignore_public_acls: bool,
    pub block_public_policy: bool,
    pub restrict_public_buckets: bool,
}

/// What is left of a bucket that was removed.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Dead {
    pub name: String,
    pub since_ns: u64,
    pub shards: u32,
    pub generation: u32,
    /// What else there is of its index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<FormerIndex>,
}

/// A bucket in its owner's list.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Listed {
    #[serde(skip)]
    pub name: String,
    pub created_ns: u64,
}

impl Bucket {
    /// All in it belongs to its owner, and no ACL counts.
    pub fn has_no_acls(&self) -> bool {
        self.object_ownership.as_deref() == Some(ObjectOwnership::BUCKET_OWNER_ENFORCED)
    }

    pub fn owner(&self) -> Owner {
        Owner { id: self.owner.clone(), name: self.owner_name.clone() }
    }

    pub fn layout(&self) -> Layout {
        Layout { generation: self.generation, shards: self.shards }
    }

    /// The shard that has a key.
    pub fn shard(&self, key: &str) -> Shard {
        self.shard_of_hash(hash_of(key))
    }

    pub fn shard_of_hash(&self, hash: u32) -> Shard {
        Shard::of_hash(&self.name, &self.id, self.layout(), hash)
    }

    pub fn all_shards(&self) -> impl Iterator<Item = Shard> + use<> {
        shards(&self.id, self.generation, self.shards)
    }
}

pub fn shards(id: &str, generation: u32, count: u32) -> impl Iterator<Item = Shard> + use<> {
    let id = id.to_owned();
    (0..count).map(move |shard| Shard::new(&id, generation, shard))
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn record_name(bucket: &str) -> Vec<u8> {
    format!("bucket.{bucket}").into_bytes()
}

fn list_name(uid: &str) -> Vec<u8> {
    format!("user.{uid}").into_bytes()
}

pub fn no_such_bucket(name: &str) -> Fault {
    Fault::refuse(S3ErrorCode::NoSuchBucket, format!("there is no bucket {name}"))
}

impl Store {
    async fn bucket_with_version(&self, name: &str) -> Result<Option<(Bucket, u64)>> {
        let operations = ObjectOperations::new().read(0, basalt_client::limits::TRANSFER_BYTES_MAX);
        match self.meta.execute(&record_name(name), operations).await {
            Ok(outcome) => {
                let bucket: Bucket = decode(&outcome.data(0)?, || format!("the record of bucket {name}"))?;
                self.logged.note(name, bucket.logging.is_some());
                self.layouts.note(&bucket);
                Ok(Some((bucket, outcome.version())))
            }
            Err(error) if error.errno() == ENOENT => {
                self.logged.note(name, false);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    pub async fn find_bucket(&self, name: &str) -> Result<Option<Bucket>> {
        Ok(self.bucket_with_version(name).await?.map(|(bucket, _)| bucket))
    }

    pub async fn bucket(&self, name: &str) -> Result<Bucket> {
        self.find_bucket(name).await?.ok_or_else(|| no_such_bucket(name))
    }

    /// The bucket of this name, and whether it was there before.
    pub async fn create_bucket(&self, bucket: Bucket) -> Result<(Bucket, bool)> {
        let record = self.record_slice(&bucket);
        let operations = ObjectOperations::new().assert_absent().write_full(record);
        let (bucket, existed) = match self.meta.execute(&record_name(&bucket.name), operations).await {
            Ok(_) => (bucket, false),
            Err(error) if error.errno() == EEXIST => (self.bucket(&bucket.name).await?, true),
            Err(error) => return Err(error.into()),
        };
        let listed = Listed { name: bucket.name.clone(), created_ns: bucket.created_ns };
        if !existed || !self.is_listed(&bucket).await? {
            self.meta
                .set_omap(&list_name(&bucket.owner), vec![(bucket.name.clone().into_bytes(), encode(&listed))])
                .await?;
        }
        Ok((bucket, existed))
    }

    async fn is_listed(&self, bucket: &Bucket) -> Result<bool> {
        match self.meta.get_omap(&list_name(&bucket.owner), &[bucket.name.as_bytes()]).await {
            Ok(found) => Ok(!found.is_empty()),
            Err(error) if error.errno() == ENOENT => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the record, lets `change` have it, and writes it back unless somebody else did meanwhile; then again.
    pub async fn change_bucket(&self, name: &str, change: impl Fn(&mut Bucket) -> Result<()>) -> Result<Bucket> {
        for _ in 0..limits::OVERTAKEN_MAX {
            let (mut bucket, version) = self.bucket_with_version(name).await?.ok_or_else(|| no_such_bucket(name))?;
            change(&mut bucket)?;
            let operations = ObjectOperations::new().assert_version(version).write_full(self.record_slice(&bucket));
            match self.meta.execute(&record_name(name), operations).await {
                Ok(_) => {
                    self.logged.note(name, bucket.logging.is_some());
                    self.layouts.note(&bucket);
                    return Ok(bucket);
                }
                Err(error) if error.errno() == ERANGE => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Fault::refuse(S3ErrorCode::OperationAborted, "others change this bucket all the time; try again"))
    }

    /// Removes a bucket without objects, with what was begun in it.
    pub async fn remove_bucket(&self, name: &str) -> Result<()> {
        if let Some(resharding) = self.bucket(name).await?.resharding {
            self.cancel_resharding(name, &resharding.token).await?;
        }
        let Some((bucket, version)) = self.bucket_with_version(name).await? else { return Err(no_such_bucket(name)) };
        let mut closed = Vec::new();
        for shard in bucket.all_shards() {
            match self.close_if_empty(&shard).await {
                Ok(true) => closed.push(shard),
                other => {
                    for shard in closed {
                        self.reopen(&shard).await?;
                    }
                    other?;
                    let message = format!("bucket {name} has objects or versions");
                    return Err(Fault::refuse(S3ErrorCode::BucketNotEmpty, message));
                }
            }
        }
        let dead = Dead {
            name: name.into(),
            since_ns: self.now_ns(),
            shards: bucket.shards,
            generation: bucket.generation,
            former: bucket.former.clone(),
        };
        self.meta.set_omap(DEAD, vec![(bucket.id.clone().into_bytes(), encode(&dead))]).await?;
        let removal = ObjectOperations::new().assert_version(version).remove();
        if let Err(error) = self.meta.execute(&record_name(name), removal).await {
            self.meta.remove_omap(DEAD, &[bucket.id.as_bytes()]).await?;
            for shard in closed {
                self.reopen(&shard).await?;
            }
            if error.errno() == ERANGE {
                return Err(Fault::refuse(S3ErrorCode::OperationAborted, "the bucket is being changed; try again"));
            }
            return Err(error.into());
        }
        self.meta.remove_omap(&list_name(&bucket.owner), &[name.as_bytes()]).await?;
        Ok(())
    }

    /// A user's buckets behind `after` in the order of their names, and whether there are more.
    pub async fn buckets_of(&self, uid: &str, after: &str, max: u32) -> Result<(Vec<Listed>, bool)> {
        let page = self.meta.list_omap(&list_name(uid), after.as_bytes(), b"", max.max(1)).await;
        let (pairs, more) = match page {
            Err(error) if error.errno() == ENOENT => return Ok((Vec::new(), false)),
            page => page?,
        };
        let mut listed = Vec::new();
        for (name, value) in pairs {
            let name = String::from_utf8_lossy(&name).into_owned();
            let found: Listed = decode(&value, || format!("user {uid}'s bucket {name}"))?;
            listed.push(Listed { name, ..found });
        }
        Ok((listed, more))
    }

    /// Whether the user has so many buckets that there can be no more.
    pub async fn has_too_many_buckets(&self, uid: &str, max: i64) -> Result<bool> {
        if max == 0 {
            return Ok(false);
        }
        let (mut count, mut after) = (0_i64, String::new());
        loop {
            let (page, more) = self.buckets_of(uid, &after, limits::LIST_PAGE_MAX).await?;
            count = count.saturating_add(page.len() as i64);
            if count >= max || !more {
                return Ok(count >= max);
            }
            after = page.last().map_or(after, |last| last.name.clone());
        }
    }

    /// All buckets' names.
    pub async fn bucket_names(&self) -> Result<Vec<String>> {
        let mut pager = self.meta.list(b"bucket.");
        let mut names = Vec::new();
        while let Some(name) = pager.next().await? {
            names.push(String::from_utf8_lossy(name.get(b"bucket.".len()..).unwrap_or_default()).into_owned());
        }
        Ok(names)
    }

    fn record_slice(&self, bucket: &Bucket) -> basalt_ring::Slice {
        let bytes = encode(bucket);
        let mut buffer = self.ring.buffer(bytes.len());
        buffer.copy_from_slice(&bytes);
        buffer.freeze()
    }
}
