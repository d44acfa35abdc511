//! What the gateway keeps in the cluster: `docs/S3.md` has the layout. Everything here runs on the ring's thread.

pub mod bucket;
pub mod count;
pub mod data;
pub mod entry;
pub mod garbage;
pub mod index;
pub mod lifecycle;
pub mod listing;
pub mod lock;
pub mod move_index;
pub mod multipart;
pub mod object;
pub mod part_checksums;
pub mod pools;
pub mod quota;
pub mod request_log;
pub mod reshard;
pub mod sealed;
pub mod shard;
pub mod user;
pub mod versions;

use super::encryption::Keyring;
use super::fault::{Fault, Result};
use super::limits;
use basalt_client::{Client, Pool};
use basalt_ring::Ring;
use request_log::{GatheredLogs, LoggedBuckets};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shard::KnownLayouts;
use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use user::KnownUsers;

/// The three pools, and what is remembered of them.
pub struct Store {
    pub ring: Ring,
    pub client: Client,
    /// Users and buckets.
    pub meta: Pool,
    /// Each bucket's keys.
    pub index: Pool,
    /// Objects' bytes.
    pub data: Pool,
    pub known_users: KnownUsers,
    pub known_owners: quota::KnownOwners,
    pub known_usage: quota::KnownUsage,
    /// Uploads and reads of this process that garbage collection must not get in the way of.
    pub reading: garbage::Reading,
    pub settings: StoreSettings,
    /// Of which buckets what is asked of them is logged.
    pub logged: LoggedBuckets,
    pub gathered_logs: GatheredLogs,
    /// What the server encrypts with.
    pub keyring: Keyring,
    pub layouts: KnownLayouts,
    /// Which of a shard's counts is taken next.
    pub slots: Cell<u64>,
}

/// What a gateway's configuration says of how it stores.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// How long a day is to rules of expiration.
    pub day: Duration,
    /// The file of the keys that the server encrypts with; `None`: there are none.
    pub key_file: Option<PathBuf>,
    /// Keys that clients bring are taken by HTTPS only.
    pub customer_keys_need_tls: bool,
    /// Logs of requests are stored when they are so old.
    pub log_roll: Duration,
    /// A bucket with more objects than this for each of its shards gets more shards; `None`: buckets keep the shards that they have.
    pub objects_per_shard: Option<u64>,
}

impl Default for StoreSettings {
    fn default() -> StoreSettings {
        StoreSettings {
            day: limits::DAY,
            key_file: None,
            customer_keys_need_tls: true,
            log_roll: limits::LOG_ROLL,
            objects_per_shard: Some(limits::OBJECTS_PER_SHARD),
        }
    }
}

impl Store {
    /// Makes the pools that are missing.
    pub async fn open(client: Client) -> Result<Rc<Store>> {
        Store::open_with(client, StoreSettings::default()).await
    }

    pub async fn open_with(client: Client, settings: StoreSettings) -> Result<Rc<Store>> {
        pools::make_missing(&client).await?;
        let first_slot = client.ring().random_u64();
        Ok(Rc::new(Store {
            ring: client.ring().clone(),
            meta: client.pool(pools::META).await?,
            index: client.pool(pools::INDEX).await?,
            data: client.pool(pools::DATA).await?,
            client,
            known_users: KnownUsers::default(),
            known_owners: quota::KnownOwners::default(),
            known_usage: quota::KnownUsage::default(),
            reading: garbage::Reading::default(),
            logged: LoggedBuckets::default(),
            gathered_logs: GatheredLogs::default(),
            keyring: Keyring::new(settings.key_file.clone()),
            layouts: KnownLayouts::default(),
            // Several gateways should not go side by side.
            slots: Cell::new(first_slot),
            settings,
        }))
    }

    pub fn now_ns(&self) -> u64 {
        self.ring.unix_time().0
    }

    /// 32 hexadecimal digits that nobody else has.
    pub fn tag(&self) -> String {
        format!("{:016x}{:016x}", self.ring.random_u64(), self.ring.random_u64())
    }
}

pub fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|error| unreachable!("records have string keys only: {error}"))
}

pub fn decode<T: DeserializeOwned>(bytes: &[u8], what: impl FnOnce() -> String) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Fault::damaged(what(), error))
}
