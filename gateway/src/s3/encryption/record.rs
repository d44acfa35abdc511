//! What an index entry says of how its object is sealed.

use super::customer_key::{self, CustomerKey};
use super::data_key::{Bound, DataKey, Place};
use super::key_file::Keys;
use super::{BY_SERVER, CONTEXT, SERVERS_KEY, Wish};
use crate::s3::fault::{Fault, Result};
use basalt_ring::Ring;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use s3s::S3ErrorCode;
use serde::{Deserialize, Serialize};

/// Who has the key that the data key is wrapped with.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum Mode {
    /// The client: SSE-C.
    #[serde(rename = "c")]
    Customer,
    /// The gateway: SSE-S3.
    #[serde(rename = "s3")]
    Master,
    /// Whoever named it: SSE-KMS.
    #[serde(rename = "kms")]
    Kms,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Customer => "c",
            Mode::Master => "s3",
            Mode::Kms => "kms",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Encryption {
    #[serde(rename = "m")]
    pub mode: Mode,
    /// Of the key that the data key is wrapped with; none where the client has it.
    #[serde(rename = "k", default, skip_serializing_if = "String::is_empty")]
    pub key_id: String,
    #[serde(rename = "c", default, skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// The data key.
    #[serde(rename = "w")]
    pub wrapped: String,
}

impl Encryption {
    /// For a new object, with the key to seal it with.
    pub fn new(wish: &Wish, keys: &Keys, place: Place<'_>, ring: &Ring) -> Result<(Encryption, DataKey)> {
        let (mode, key_id, context, secret) = match wish {
            Wish::Customer(key) => (Mode::Customer, "", "", &key.secret),
            Wish::Master => {
                let (id, secret) = keys.newest_master().ok_or_else(|| {
                    let message = "this gateway has no master key to encrypt with";
                    Fault::refuse(S3ErrorCode::NotImplemented, message)
                })?;
                (Mode::Master, id, "", secret)
            }
            Wish::Kms { key_id, context } => {
                (Mode::Kms, key_id.as_str(), context.as_str(), keys.kms(key_id).ok_or_else(|| no_such_key(key_id))?)
            }
        };
        let key = DataKey::new(ring);
        let wrapped = key.wrap(secret, &Bound { mode, key_id, context, place }, ring);
        Ok((Encryption { mode, key_id: key_id.to_owned(), context: context.to_owned(), wrapped }, key))
    }

    /// The key to open the object with. `given`: the client's, if it brought one.
    pub fn open(&self, keys: &Keys, given: Option<&CustomerKey>, place: Place<'_>) -> Result<DataKey> {
        let secret = match (self.mode, given) {
            (Mode::Customer, Some(key)) => &key.secret,
            (Mode::Customer, None) => {
                let message = "the object is encrypted with a client's key, which the request has to bring";
                return Err(Fault::refuse(S3ErrorCode::InvalidRequest, message));
            }
            (_, Some(_)) => return Err(not_with_clients_key()),
            (Mode::Master, None) => keys.master(&self.key_id).ok_or_else(|| {
                Fault::damaged(
                    format!("the encryption of {}", place.key),
                    format_args!("the gateway's key file has no master key {}", self.key_id),
                )
            })?,
            (Mode::Kms, None) => keys.kms(&self.key_id).ok_or_else(|| no_such_key(&self.key_id))?,
        };
        let bound = Bound { mode: self.mode, key_id: &self.key_id, context: &self.context, place };
        match (DataKey::unwrap(&self.wrapped, secret, &bound)?, self.mode) {
            (Some(key), _) => Ok(key),
            (None, Mode::Customer) => {
                let message = "the object is encrypted with another key than this one";
                Err(Fault::refuse(S3ErrorCode::InvalidArgument, message))
            }
            (None, Mode::Master | Mode::Kms) => Err(Fault::damaged(
                format!("the encryption of {}", place.key),
                format_args!("key {} of the gateway's key file is not the one it was made with", self.key_id),
            )),
        }
    }

    /// What answers say of it. `given`: the client's key that the request brought.
    pub fn write(&self, given: Option<&CustomerKey>, headers: &mut HeaderMap) {
        let mut say = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        match self.mode {
            Mode::Customer => {
                say(customer_key::ALGORITHM, "AES256");
                if let Some(key) = given {
                    say(customer_key::KEY_MD5, &key.md5);
                }
            }
            Mode::Master => say(BY_SERVER, "AES256"),
            Mode::Kms => {
                say(BY_SERVER, "aws:kms");
                say(SERVERS_KEY, &self.key_id);
                if !self.context.is_empty() {
                    say(CONTEXT, &self.context);
                }
            }
        }
    }
}

/// A client's key for what none is needed for.
pub fn not_with_clients_key() -> Fault {
    Fault::refuse(S3ErrorCode::InvalidRequest, "the object is not encrypted with a client's key")
}

/// In the words and with the code that Ceph's gateway has for it.
fn no_such_key(id: &str) -> Fault {
    Fault::refuse(S3ErrorCode::InvalidArgument, format!("Failed to retrieve the actual key, kms-keyid: {id}"))
}
