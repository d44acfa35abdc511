//! `user …`: who may use the S3 gateway, as `radosgw-admin` has it.

use crate::arguments::Global;
use crate::connection::with_client;
use basalt_cli::output::{Format, Output};
use basalt_cli::{Failure, Result};
use basalt_gateway::s3::Fault;
use basalt_gateway::s3::store::Store;
use basalt_gateway::s3::store::user::{NewUser, Quota};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;
use std::process::ExitCode;

#[derive(Subcommand, Debug)]
pub enum User {
    /// Makes a user with a pair of keys.
    Create {
        #[arg(long, value_name = "ID")]
        uid: String,
        #[arg(long, value_name = "NAME")]
        display_name: String,
        #[arg(long, default_value = "")]
        email: String,
        /// 0: as many as wanted; -1: none.
        #[arg(long, allow_negative_numbers = true)]
        max_buckets: Option<i64>,
        /// Made at random where missing.
        #[arg(long, value_name = "KEY")]
        access_key: Option<String>,
        #[arg(long, value_name = "KEY", alias = "secret")]
        secret_key: Option<String>,
    },
    /// Shows a user.
    Info(Uid),
    /// Changes a user.
    Modify {
        #[command(flatten)]
        user: Uid,
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        #[arg(long)]
        email: Option<String>,
        #[arg(long, allow_negative_numbers = true)]
        max_buckets: Option<i64>,
    },
    /// Removes a user without buckets.
    Rm(Uid),
    /// Users' ids.
    #[command(visible_alias = "list")]
    Ls,
    /// The user's requests are refused until `enable`.
    Suspend(Uid),
    Enable(Uid),
    /// How much a user, or each of a user's new buckets, may hold; -1: as much as there is.
    #[command(subcommand)]
    Quota(QuotaCommand<Which>),
}

#[derive(Args, Debug)]
pub struct Uid {
    #[arg(long, value_name = "ID")]
    uid: String,
}

#[derive(Subcommand, Debug)]
pub enum QuotaCommand<W: Args> {
    Set {
        #[command(flatten)]
        which: W,
        /// Bytes; 4k, 1M and their like.
        #[arg(long, allow_negative_numbers = true, value_parser = size)]
        max_size: Option<i64>,
        #[arg(long, allow_negative_numbers = true)]
        max_objects: Option<i64>,
    },
    Enable {
        #[command(flatten)]
        which: W,
    },
    Disable {
        #[command(flatten)]
        which: W,
    },
}

type QuotaChange = Box<dyn Fn(&mut Quota)>;

impl<W: Args> QuotaCommand<W> {
    /// Whose quota is changed, and how.
    pub fn change(self) -> (W, QuotaChange) {
        match self {
            QuotaCommand::Set { which, max_size, max_objects } => {
                let set = move |quota: &mut Quota| {
                    if let Some(bytes) = max_size {
                        quota.set_max_size(bytes);
                    }
                    quota.max_objects = max_objects.unwrap_or(quota.max_objects);
                };
                (which, Box::new(set))
            }
            QuotaCommand::Enable { which } => (which, Box::new(|quota| quota.enabled = true)),
            QuotaCommand::Disable { which } => (which, Box::new(|quota| quota.enabled = false)),
        }
    }
}

#[derive(Args, Debug)]
pub struct Which {
    #[arg(long, value_name = "ID")]
    uid: String,
    #[arg(long = "quota-scope", value_enum)]
    scope: Scope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scope {
    User,
    Bucket,
}

/// Negative: no limit.
pub fn size(word: &str) -> std::result::Result<i64, String> {
    match word.parse::<i64>() {
        Ok(bytes) => Ok(bytes),
        Err(_) => i64::try_from(basalt_cluster::quantity::parse_bytes(word)?).map_err(|_| "that is too much".into()),
    }
}

pub fn failure(fault: Fault) -> Failure {
    Failure::new(fault.errno(), fault.to_string())
}

/// What the gateway keeps is JSON by nature: without a wish it is printed for people to read, as Ceph does.
pub fn print(global: &Global, document: &Value) -> Result<()> {
    let mut output = Output::new(global.format);
    let text = match global.format {
        Format::Json => document.to_string(),
        Format::Plain | Format::JsonPretty => pretty(document),
    };
    output.line(&text)?;
    output.finish()
}

fn pretty(document: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    match serde::Serialize::serialize(document, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => document.to_string(),
    }
}

pub fn run(global: &Global, command: User) -> Result<ExitCode> {
    let document = with_client(global, |client| async move {
        let store = Store::open(client).await.map_err(failure)?;
        carry_out(&store, command).await.map_err(failure)
    })?;
    if let Some(document) = document {
        print(global, &document)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn carry_out(store: &Store, command: User) -> std::result::Result<Option<Value>, Fault> {
    let user = match command {
        User::Create { uid, display_name, email, max_buckets, access_key, secret_key } => {
            let new = NewUser { user_id: uid, display_name, email, max_buckets, access_key, secret_key };
            store.create_user(new).await?
        }
        User::Info(Uid { uid }) => store.user(&uid).await?,
        User::Modify { user: Uid { uid }, display_name, email, max_buckets } => {
            store
                .change_user(&uid, |user| {
                    user.display_name = display_name.clone().unwrap_or_else(|| user.display_name.clone());
                    user.email = email.clone().unwrap_or_else(|| user.email.clone());
                    user.max_buckets = max_buckets.unwrap_or(user.max_buckets);
                })
                .await?
        }
        User::Rm(Uid { uid }) => {
            store.remove_user(&uid).await?;
            return Ok(None);
        }
        User::Ls => return Ok(Some(store.user_ids().await?.into())),
        User::Suspend(Uid { uid }) => store.change_user(&uid, |user| user.suspended = true).await?,
        User::Enable(Uid { uid }) => store.change_user(&uid, |user| user.suspended = false).await?,
        User::Quota(command) => {
            let (Which { uid, scope }, change) = command.change();
            let changed = store.change_user(&uid, |user| {
                change(match scope {
                    Scope::User => &mut user.user_quota,
                    Scope::Bucket => &mut user.bucket_quota,
                });
            });
            changed.await?;
            return Ok(None);
        }
    };
    Ok(Some(user.document()))
}
