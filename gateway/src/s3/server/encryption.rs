//! Headers that ask for encryption: those that make no sense are refused before anybody is asked whether the request is allowed, as by Ceph's
//! gateway.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::{HeaderMap, Method};
use md5::{Digest, Md5};
use s3s::{S3Error, S3ErrorCode};

const BY_SERVER: &str = "x-amz-server-side-encryption";
const SERVERS_KEY: &str = "x-amz-server-side-encryption-aws-kms-key-id";
const CLIENTS_ALGORITHM: &str = "x-amz-server-side-encryption-customer-algorithm";
const CLIENTS_KEY: &str = "x-amz-server-side-encryption-customer-key";
const CLIENTS_KEY_MD5: &str = "x-amz-server-side-encryption-customer-key-md5";

const SOURCE_KEY: &str = "x-amz-copy-source-server-side-encryption-customer-key";

/// Keeps keys out of every log, the library's included.
pub fn hide_keys(headers: &mut HeaderMap) {
    for name in [CLIENTS_KEY, SOURCE_KEY] {
        if let Some(value) = headers.get_mut(name) {
            value.set_sensitive(true);
        }
    }
}

pub fn refuse_nonsense(method: &Method, headers: &HeaderMap) -> Option<S3Error> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let refused = |problem: &'static str| Some(S3Error::with_message(S3ErrorCode::InvalidArgument, problem));
    let by_server = text(BY_SERVER);
    let has_servers_key = headers.contains_key(SERVERS_KEY);
    let of_client = [CLIENTS_ALGORITHM, CLIENTS_KEY, CLIENTS_KEY_MD5].map(text);
    let by_client = of_client.iter().any(Option::is_some);
    if matches!(*method, Method::GET | Method::HEAD) {
        if by_server.is_some() || has_servers_key {
            return refused("how an object is encrypted is said when it is stored, not when it is read");
        }
        // Which key an object wants is known where it is looked up.
        return None;
    }
    if by_client && (by_server.is_some() || has_servers_key) {
        return refused("either the client has the key, or the server");
    }
    match by_server {
        None if has_servers_key => {
            return refused("a key of the server goes with x-amz-server-side-encryption: aws:kms");
        }
        Some("AES256") if has_servers_key => return refused("AES256 goes without a key's id"),
        Some("aws:kms") if !has_servers_key => return refused("aws:kms needs a key's id"),
        // Whether what is no algorithm is allowed at all is said first, by who knows the policy.
        _ => {}
    }
    match of_client {
        [None, None, None] => None,
        [Some("AES256"), Some(key), Some(md5)] => {
            let is_right = STANDARD.decode(key).is_ok_and(|key| STANDARD.encode(Md5::digest(&key)) == md5);
            if is_right { None } else { refused("the key is not the one that the MD5 is of") }
        }
        [algorithm, ..] if algorithm.is_some_and(|algorithm| algorithm != "AES256") => {
            // Whether it is allowed at all is said first, by who knows the policy.
            None
        }
        _ => refused("a client's key comes with its algorithm and its MD5"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_shown() {
        let mut headers = HeaderMap::new();
        headers.insert(CLIENTS_KEY, "c2VjcmV0".parse().unwrap());
        assert!(format!("{headers:?}").contains("c2VjcmV0"));
        hide_keys(&mut headers);
        assert!(!format!("{headers:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn only_what_makes_sense_is_asked_for() {
        let key = STANDARD.encode([7_u8; 32]);
        let md5 = STANDARD.encode(Md5::digest([7_u8; 32]));
        let check = |method: Method, pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            refuse_nonsense(&method, &headers).is_none()
        };
        assert!(check(Method::PUT, &[]) && check(Method::PUT, &[(BY_SERVER, "AES256")]));
        assert!(check(Method::PUT, &[(BY_SERVER, "aws:kms"), (SERVERS_KEY, "k")]));
        assert!(!check(Method::PUT, &[(BY_SERVER, "aws:kms")]));
        assert!(!check(Method::PUT, &[(BY_SERVER, "AES256"), (SERVERS_KEY, "k")]));
        let client = [(CLIENTS_ALGORITHM, "AES256"), (CLIENTS_KEY, key.as_str()), (CLIENTS_KEY_MD5, md5.as_str())];
        assert!(check(Method::PUT, &client));
        assert!(!check(Method::PUT, &client[..2]) && !check(Method::PUT, &client[1..]));
        assert!(!check(Method::PUT, &[client[0], client[1], (CLIENTS_KEY_MD5, "AAAA")]));
        assert!(!check(Method::PUT, &[client[0], client[1], client[2], (BY_SERVER, "AES256")]));
        assert!(!check(Method::GET, &[(BY_SERVER, "AES256")]) && check(Method::HEAD, &client));
    }
}
