//! `bucket …` and `gc …`: what S3 users have, as `radosgw-admin` shows it.

use crate::arguments::Global;
use crate::connection::with_client;
use crate::user::{QuotaCommand, failure, print};
use basalt_cli::Result;
use basalt_gateway::s3::Fault;
use basalt_gateway::s3::INDEX_SHARDS_MAX;
use basalt_gateway::s3::store::Store;
use basalt_gateway::s3::store::garbage::Patience;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::rc::Rc;

#[derive(Subcommand, Debug)]
pub enum Bucket {
    /// Names: of all buckets, or of one user's.
    #[command(visible_alias = "list")]
    Ls {
        #[arg(long, value_name = "ID")]
        uid: Option<String>,
    },
    /// What a bucket is and holds.
    Stats {
        #[arg(long, value_name = "NAME")]
        bucket: String,
    },
    /// Removes an empty bucket.
    Rm {
        #[arg(long, value_name = "NAME")]
        bucket: String,
        /// With all that is in it.
        #[arg(long)]
        purge_objects: bool,
    },
    /// Cuts a bucket's index into so many shards, while requests go on.
    ///
    /// Gateways do it by themselves when a bucket has more than 100,000 objects for each shard (objects_per_shard in [s3]).
    Reshard {
        #[arg(long, value_name = "NAME")]
        bucket: String,
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(INDEX_SHARDS_MAX)))]
        num_shards: Option<u32>,
        /// Gives up what is under way instead, or was when whoever did it died; the index stays as it is.
        #[arg(long, conflicts_with = "num_shards", required_unless_present = "num_shards")]
        cancel: bool,
    },
    /// How much one bucket may hold, whatever its owner's buckets may; -1: as much as there is.
    #[command(subcommand)]
    Quota(QuotaCommand<Named>),
}

#[derive(Args, Debug)]
pub struct Named {
    #[arg(long, value_name = "NAME")]
    bucket: String,
}

#[derive(Subcommand, Debug)]
pub enum Gc {
    /// Removes what nobody will ask for any more, if it is old enough.
    Process {
        /// However young it is. Uploads that are under way fail, and are tried again by their clients.
        #[arg(long)]
        include_all: bool,
    },
}

pub fn run(global: &Global, command: Bucket) -> Result<ExitCode> {
    let document = with_client(global, |client| async move {
        let store = Store::open(client).await.map_err(failure)?;
        carry_out(&store, command).await.map_err(failure)
    })?;
    if let Some(document) = document {
        print(global, &document)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Rules of expiration are looked at each hour; this looks at them now.
#[derive(Subcommand, Debug)]
pub enum Lc {
    /// Removes what buckets' rules say is old enough.
    Process,
}

pub fn expire(global: &Global, command: Lc) -> Result<ExitCode> {
    let Lc::Process = command;
    let expired = with_client(global, |client| async move {
        let store = Store::open(client).await.map_err(failure)?;
        store.expire().await.map_err(failure)
    })?;
    print(global, &json!(expired))?;
    Ok(ExitCode::SUCCESS)
}

pub fn collect(global: &Global, command: Gc) -> Result<ExitCode> {
    let Gc::Process { include_all } = command;
    let patience = if include_all { Patience::NONE } else { Patience::default() };
    let collected = with_client(global, |client| async move {
        let store = Store::open(client).await.map_err(failure)?;
        store.collect_garbage(patience).await.map_err(failure)
    })?;
    print(global, &json!(collected))?;
    Ok(ExitCode::SUCCESS)
}

async fn carry_out(store: &Rc<Store>, command: Bucket) -> std::result::Result<Option<Value>, Fault> {
    match command {
        Bucket::Ls { uid: None } => Ok(Some(store.bucket_names().await?.into())),
        Bucket::Ls { uid: Some(uid) } => {
            store.user(&uid).await?;
            let mut names: Vec<String> = Vec::new();
            loop {
                let after = names.last().cloned().unwrap_or_default();
                let (page, more) = store.buckets_of(&uid, &after, PAGE).await?;
                names.extend(page.into_iter().map(|listed| listed.name));
                if !more {
                    return Ok(Some(names.into()));
                }
            }
        }
        Bucket::Reshard { bucket, num_shards: Some(shards), .. } => {
            Ok(Some(json!(store.reshard(&bucket, shards).await?)))
        }
        Bucket::Reshard { bucket, num_shards: None, .. } => {
            if let Some(resharding) = store.bucket(&bucket).await?.resharding {
                store.cancel_resharding(&bucket, &resharding.token).await?;
            }
            Ok(None)
        }
        Bucket::Stats { bucket } => stats(store, &bucket).await.map(Some),
        Bucket::Quota(command) => {
            let (Named { bucket }, change) = command.change();
            store
                .change_bucket(&bucket, |bucket| {
                    change(&mut bucket.quota);
                    Ok(())
                })
                .await?;
            Ok(None)
        }
        Bucket::Rm { bucket, purge_objects } => {
            if purge_objects {
                store.purge(&bucket).await?;
            }
            store.remove_bucket(&bucket).await?;
            Ok(None)
        }
    }
}

/// Buckets asked for at a time.
const PAGE: u32 = 1000;

async fn stats(store: &Store, name: &str) -> std::result::Result<Value, Fault> {
    let bucket = store.bucket(name).await?;
    let (count, bytes) = store.count_objects(&bucket).await?;
    let (garbage_bytes, garbage) = store.garbage_of(&bucket).await?;
    let usage = if count == 0 {
        json!({})
    } else {
        json!({"rgw.main": {
            "size": bytes,
            "size_actual": bytes,
            "size_utilized": bytes,
            "size_kb": bytes.div_ceil(1024),
            "size_kb_actual": bytes.div_ceil(1024),
            "size_kb_utilized": bytes.div_ceil(1024),
            "num_objects": count,
        }})
    };
    let resharding = bucket
        .resharding
        .as_ref()
        .map(|resharding| json!({"new_num_shards": resharding.shards, "start_time": iso(resharding.since_ns)}));
    Ok(json!({
        "bucket": bucket.name,
        "num_shards": bucket.shards,
        "tenant": "",
        "zonegroup": "default",
        "placement_rule": "default-placement",
        "explicit_placement": {"data_pool": "", "data_extra_pool": "", "index_pool": ""},
        "id": bucket.id,
        "marker": bucket.id,
        "index_type": "Normal",
        "owner": bucket.owner,
        "ver": "0#1",
        "master_ver": "0#0",
        "mtime": iso(bucket.created_ns),
        "creation_time": iso(bucket.created_ns),
        "max_marker": "0#",
        "usage": usage,
        "bucket_quota": bucket.quota,
        "resharding": resharding,
        "garbage": {"size": garbage_bytes, "num_records": garbage},
    }))
}

fn iso(ns: u64) -> String {
    let time =
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ns)).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    time.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}
