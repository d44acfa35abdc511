//! Users and their keys: one omap, so that a user, its key and its address appear and go together.
//!
//! | key in the omap of `users` | value                         |
//! |----------------------------|-------------------------------|
//! | `u` user id                | [`User`], as JSON             |
//! | `a` access key             | user id                       |
//! | `e` address                | user id                       |

use super::{Store, decode, encode};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use basalt_client::error::{EEXIST, EINVAL, ENOENT};
use basalt_client::{Error, ObjectOperations};
use basalt_net::message::object::Operation;
use basalt_ring::Instant;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;

const USERS: &[u8] = b"users";
const ACCESS_KEY_CHARS: usize = 20;
const SECRET_KEY_CHARS: usize = 40;
const MAX_BUCKETS_DEFAULT: i64 = 1000;

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct User {
    pub user_id: String,
    pub display_name: String,
    pub email: String,
    pub suspended: bool,
    /// 0: as many as wanted; negative: none.
    pub max_buckets: i64,
    pub keys: Vec<AccessKey>,
    pub bucket_quota: Quota,
    pub user_quota: Quota,
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct AccessKey {
    pub user: String,
    pub access_key: String,
    pub secret_key: String,
}

/// Negative: no limit.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Quota {
    pub enabled: bool,
    pub check_on_raw: bool,
    /// Bytes.
    pub max_size: i64,
    pub max_size_kb: i64,
    pub max_objects: i64,
}

impl Default for Quota {
    fn default() -> Quota {
        Quota { enabled: false, check_on_raw: false, max_size: -1, max_size_kb: 0, max_objects: -1 }
    }
}

impl Quota {
    pub fn set_max_size(&mut self, bytes: i64) {
        self.max_size = bytes;
        self.max_size_kb = bytes.max(0).div_euclid(1024);
    }
}

/// What a new user is to be.
#[derive(Clone, Debug, Default)]
pub struct NewUser {
    pub user_id: String,
    pub display_name: String,
    pub email: String,
    pub max_buckets: Option<i64>,
    /// Made at random where missing.
    pub access_key: Option<String>,
    pub secret_key: Option<String>,
}

impl User {
    /// As `radosgw-admin` prints it.
    pub fn document(&self) -> Value {
        json!({
            "user_id": self.user_id,
            "display_name": self.display_name,
            "email": self.email,
            "suspended": u8::from(self.suspended),
            "max_buckets": self.max_buckets,
            "subusers": [],
            "keys": self.keys,
            "swift_keys": [],
            "caps": [],
            "op_mask": "read, write, delete",
            "default_placement": "",
            "default_storage_class": "",
            "placement_tags": [],
            "bucket_quota": self.bucket_quota,
            "user_quota": self.user_quota,
            "temp_url_keys": [],
            "type": "rgw",
            "mfa_ids": [],
        })
    }
}

/// Users by access key, for a moment.
#[derive(Default)]
pub struct KnownUsers(RefCell<HashMap<String, (Instant, User)>>);

fn key(kind: u8, name: &str) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(name.as_bytes());
    key
}

fn refused(errno: i32, message: impl Into<String>) -> Fault {
    Fault::Cluster(Error::new(errno, message))
}

fn set(pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Operation {
    Operation::SetOmap { pairs }
}

impl Store {
    async fn users_value(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        match self.meta.get_omap(USERS, &[&key]).await {
            Ok(pairs) => Ok(pairs.into_iter().next().map(|(_, value)| value)),
            Err(error) if error.errno() == ENOENT => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn user_with_bytes(&self, uid: &str) -> Result<Option<(User, Vec<u8>)>> {
        let Some(bytes) = self.users_value(key(b'u', uid)).await? else { return Ok(None) };
        Ok(Some((decode(&bytes, || format!("user {uid}"))?, bytes)))
    }

    pub async fn find_user(&self, uid: &str) -> Result<Option<User>> {
        Ok(self.user_with_bytes(uid).await?.map(|(user, _)| user))
    }

    /// As `radosgw-admin` refuses it.
    pub async fn user(&self, uid: &str) -> Result<User> {
        self.find_user(uid).await?.ok_or_else(no_such_user)
    }

    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>> {
        let Some(uid) = self.users_value(key(b'e', &email.to_lowercase())).await? else { return Ok(None) };
        self.find_user(&String::from_utf8_lossy(&uid)).await
    }

    /// Who has this access key. What it says may be as old as [`limits::USER_KNOWN_FOR`].
    pub async fn user_by_access_key(&self, access_key: &str) -> Result<Option<User>> {
        let now = self.ring.now();
        if let Some((since, user)) = self.known_users.0.borrow().get(access_key)
            && now.since(*since) < limits::USER_KNOWN_FOR
        {
            return Ok(Some(user.clone()));
        }
        let Some(uid) = self.users_value(key(b'a', access_key)).await? else { return Ok(None) };
        let Some(user) = self.find_user(&String::from_utf8_lossy(&uid)).await? else { return Ok(None) };
        let mut known = self.known_users.0.borrow_mut();
        if known.len() >= limits::USERS_KNOWN_MAX {
            known.clear();
        }
        known.insert(access_key.into(), (now, user.clone()));
        Ok(Some(user))
    }

    pub async fn create_user(&self, new: NewUser) -> Result<User> {
        if new.user_id.is_empty() || new.user_id.contains(['\0', '$', '/', ' ']) {
            let message = "could not create user: unable to parse parameters, user: an id has at least one character, and no space, / or $";
            return Err(refused(EINVAL, message));
        }
        let exists = || {
            refused(EEXIST, format!("could not create user: unable to parse parameters, user: {} exists", new.user_id))
        };
        if self.find_user(&new.user_id).await?.is_some() {
            return Err(exists());
        }
        let access_key = new.access_key.clone().unwrap_or_else(|| self.random_key(ACCESS_KEY_CHARS, ACCESS_ALPHABET));
        let secret_key = new.secret_key.clone().unwrap_or_else(|| self.random_key(SECRET_KEY_CHARS, SECRET_ALPHABET));
        let user = User {
            user_id: new.user_id.clone(),
            display_name: new.display_name.clone(),
            email: new.email.clone(),
            suspended: false,
            max_buckets: new.max_buckets.unwrap_or(MAX_BUCKETS_DEFAULT),
            keys: vec![AccessKey { user: new.user_id.clone(), access_key: access_key.clone(), secret_key }],
            bucket_quota: Quota::default(),
            user_quota: Quota::default(),
        };
        let mut links = vec![key(b'a', &access_key)];
        if !new.email.is_empty() {
            links.push(key(b'e', &new.email.to_lowercase()));
        }
        let mut operations =
            ObjectOperations::new().operation(Operation::AssertOmap { key: key(b'u', &new.user_id), value: None });
        let mut pairs = vec![(key(b'u', &new.user_id), encode(&user))];
        for link in links {
            operations = operations.operation(Operation::AssertOmap { key: link.clone(), value: None });
            pairs.push((link, new.user_id.clone().into_bytes()));
        }
        match self.meta.execute(USERS, operations.operation(set(pairs))).await.map_err(Fault::from) {
            Ok(_) => Ok(user),
            Err(fault) if fault.is_overtaken() => {
                if self.users_value(key(b'a', &access_key)).await?.is_some() {
                    return Err(refused(
                        EEXIST,
                        format!("could not create user: unable to create user, existing access key: {access_key}"),
                    ));
                }
                if self.find_user(&new.user_id).await?.is_some() {
                    return Err(exists());
                }
                Err(refused(
                    EEXIST,
                    format!(
                        "could not create user: unable to create user, email: {} is the email address of an existing user",
                        new.email
                    ),
                ))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Reads the user, lets `change` have it, and writes it back unless somebody else did meanwhile; then again.
    pub async fn change_user(&self, uid: &str, change: impl Fn(&mut User)) -> Result<User> {
        for _ in 0..limits::OVERTAKEN_MAX {
            let (mut user, before) = self.user_with_bytes(uid).await?.ok_or_else(no_such_user)?;
            let old = user.clone();
            change(&mut user);
            let mut operations = ObjectOperations::new()
                .operation(Operation::AssertOmap { key: key(b'u', uid), value: Some(before) })
                .operation(set(vec![(key(b'u', uid), encode(&user))]));
            if old.email != user.email {
                if !user.email.is_empty() {
                    let link = key(b'e', &user.email.to_lowercase());
                    operations = operations
                        .operation(Operation::AssertOmap { key: link.clone(), value: None })
                        .operation(set(vec![(link, uid.as_bytes().to_vec())]));
                }
                if !old.email.is_empty() {
                    operations = operations
                        .operation(Operation::RemoveOmap { keys: vec![key(b'e', &old.email.to_lowercase())] });
                }
            }
            match self.meta.execute(USERS, operations).await.map_err(Fault::from) {
                Ok(_) => return Ok(user),
                Err(fault) if fault.is_overtaken() => {}
                Err(fault) => return Err(fault),
            }
        }
        Err(refused(basalt_client::error::EAGAIN, format!("user {uid} is being changed by others all the time")))
    }

    /// The user must have no buckets.
    pub async fn remove_user(&self, uid: &str) -> Result<()> {
        let (user, before) = self
            .user_with_bytes(uid)
            .await?
            .ok_or_else(|| refused(ENOENT, "could not remove user: unable to remove user, user does not exist"))?;
        if !self.buckets_of(uid, "", 1).await?.0.is_empty() {
            return Err(refused(
                EEXIST,
                "could not remove user: unable to remove user, must specify purge data to remove user with buckets",
            ));
        }
        let mut keys = vec![key(b'u', uid)];
        keys.extend(user.keys.iter().map(|held| key(b'a', &held.access_key)));
        if !user.email.is_empty() {
            keys.push(key(b'e', &user.email.to_lowercase()));
        }
        let operations = ObjectOperations::new()
            .operation(Operation::AssertOmap { key: key(b'u', uid), value: Some(before) })
            .operation(Operation::RemoveOmap { keys });
        self.meta.execute(USERS, operations).await?;
        Ok(())
    }

    pub async fn user_ids(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        let mut after = Vec::new();
        loop {
            let (pairs, more) = match self.meta.list_omap(USERS, &after, b"u", limits::LIST_PAGE_MAX).await {
                Err(error) if error.errno() == ENOENT => return Ok(ids),
                page => page?,
            };
            for (key, _) in pairs {
                ids.push(String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned());
                after = key;
            }
            if !more {
                return Ok(ids);
            }
        }
    }

    fn random_key(&self, chars: usize, alphabet: &[u8]) -> String {
        let letter = || alphabet.get(self.ring.random_u64() as usize % alphabet.len()).copied().unwrap_or(b'0');
        (0..chars).map(|_| char::from(letter())).collect()
    }
}

const ACCESS_ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const SECRET_ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn no_such_user() -> Fault {
    refused(EINVAL, "could not fetch user info: no user info saved")
}
