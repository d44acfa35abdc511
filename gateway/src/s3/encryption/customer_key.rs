//! Keys that clients bring with their requests (SSE-C).

use super::{KEY_BYTES, Secret};
use crate::s3::fault::{Fault, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use md5::{Digest, Md5};
use s3s::S3ErrorCode;

pub const ALGORITHM: &str = "x-amz-server-side-encryption-customer-algorithm";
pub const KEY: &str = "x-amz-server-side-encryption-customer-key";
pub const KEY_MD5: &str = "x-amz-server-side-encryption-customer-key-md5";
const SOURCE_ALGORITHM: &str = "x-amz-copy-source-server-side-encryption-customer-algorithm";
const SOURCE_KEY: &str = "x-amz-copy-source-server-side-encryption-customer-key";
const SOURCE_KEY_MD5: &str = "x-amz-copy-source-server-side-encryption-customer-key-md5";

/// A key, and its MD5 as answers repeat it.
#[derive(Clone, Debug)]
pub struct CustomerKey {
    pub secret: Secret,
    pub md5: String,
}

fn invalid(problem: &'static str) -> Fault {
    Fault::refuse(S3ErrorCode::InvalidArgument, problem)
}

impl CustomerKey {
    /// For the object that is read or made. `is_safe`: nobody can have listened.
    pub fn of(headers: &HeaderMap, is_safe: bool) -> Result<Option<CustomerKey>> {
        CustomerKey::named(headers, [ALGORITHM, KEY, KEY_MD5], is_safe)
    }

    /// For the object that a copy is made of.
    pub fn of_source(headers: &HeaderMap, is_safe: bool) -> Result<Option<CustomerKey>> {
        CustomerKey::named(headers, [SOURCE_ALGORITHM, SOURCE_KEY, SOURCE_KEY_MD5], is_safe)
    }

    fn named(headers: &HeaderMap, names: [&'static str; 3], is_safe: bool) -> Result<Option<CustomerKey>> {
        let texts = names.map(|name| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim()));
        let [algorithm, key, md5] = texts;
        if texts.iter().all(Option::is_none) {
            return Ok(None);
        }
        match algorithm {
            Some("AES256") => {}
            Some(_) => {
                let message = "the algorithm for a client's key is AES256";
                return Err(Fault::refuse(S3ErrorCode::InvalidEncryptionAlgorithmError, message));
            }
            None => return Err(invalid("a client's key comes with its algorithm, AES256")),
        }
        if !is_safe {
            let message = "a client's key is taken by HTTPS only";
            return Err(Fault::refuse(S3ErrorCode::InvalidRequest, message));
        }
        let key = key.ok_or_else(|| invalid("the client's key is missing"))?;
        let key = STANDARD.decode(key).map_err(|_| invalid("the client's key is no base64"))?;
        let bytes = <[u8; KEY_BYTES]>::try_from(key.as_slice());
        let bytes = bytes.map_err(|_| invalid("the client's key has other than 32 bytes"))?;
        let md5 = md5.ok_or_else(|| invalid("the MD5 of the client's key is missing"))?;
        if STANDARD.encode(Md5::digest(bytes)) != md5 {
            return Err(invalid("the client's key is not the one that the MD5 is of"));
        }
        Ok(Some(CustomerKey { secret: Secret::new(bytes), md5: md5.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_with_its_algorithm_and_its_md5_and_not_in_the_clear() {
        let key = STANDARD.encode([7; 32]);
        let md5 = STANDARD.encode(Md5::digest([7; 32]));
        let short = STANDARD.encode([7; 16]);
        let short_md5 = STANDARD.encode(Md5::digest([7; 16]));
        let parse = |is_safe: bool, pairs: [(&'static str, &str); 3]| {
            let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
            let headers = given.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            CustomerKey::of(&headers, is_safe).map(|found| found.map(|key| key.md5)).map_err(|fault| match fault {
                Fault::Refused { code, .. } => code.as_str().to_owned(),
                other => other.to_string(),
            })
        };
        let all = |algorithm, key, md5| [(ALGORITHM, algorithm), (KEY, key), (KEY_MD5, md5)];
        assert_eq!(parse(true, all("", "", "")), Ok(None));
        assert_eq!(parse(true, all("AES256", &key, &md5)), Ok(Some(md5.clone())));
        for (algorithm, key, given, code) in [
            ("AES192", key.as_str(), md5.as_str(), "InvalidEncryptionAlgorithmError"),
            ("", &key, &md5, "InvalidArgument"),
            ("AES256", "", &md5, "InvalidArgument"),
            ("AES256", &key, "", "InvalidArgument"),
            ("AES256", "no base64!", &md5, "InvalidArgument"),
            ("AES256", &short, &short_md5, "InvalidArgument"),
            ("AES256", &key, &short_md5, "InvalidArgument"),
        ] {
            assert_eq!(parse(true, all(algorithm, key, given)), Err(code.into()), "{algorithm} {key} {given}");
        }
        assert_eq!(parse(false, all("AES256", &key, &md5)), Err("InvalidRequest".into()));
        let source = [(SOURCE_ALGORITHM, "AES256"), (SOURCE_KEY, &key), (SOURCE_KEY_MD5, &md5)];
        assert_eq!(parse(true, source), Ok(None));
    }
}
