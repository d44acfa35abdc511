//! How an object that is made is to be sealed: as its request says, or else as its bucket does.

use super::customer_key::CustomerKey;
use super::{BY_SERVER, CONTEXT, SERVERS_KEY};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use s3s::S3ErrorCode;
use s3s::dto::{ServerSideEncryption, ServerSideEncryptionConfiguration};

#[derive(Clone, Debug)]
pub enum Wish {
    /// With the client's key.
    Customer(CustomerKey),
    /// With the gateway's.
    Master,
    /// With the key of this id.
    Kms {
        key_id: String,
        /// In base64, as it came; empty: none.
        context: String,
    },
}

fn invalid(problem: &'static str) -> Fault {
    Fault::refuse(S3ErrorCode::InvalidArgument, problem)
}

impl Wish {
    /// `None`: not at all. `is_safe`: a key in the headers can't have been listened to.
    pub fn of(
        headers: &HeaderMap,
        is_safe: bool,
        default: Option<&ServerSideEncryptionConfiguration>,
    ) -> Result<Option<Wish>> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
        let customer_key = CustomerKey::of(headers, is_safe)?;
        let (by_server, key_id) = (text(BY_SERVER), text(SERVERS_KEY));
        let context = text(CONTEXT).map(checked_context).transpose()?;
        if context.is_some() && by_server != Some(ServerSideEncryption::AWS_KMS) {
            return Err(invalid("a context goes with x-amz-server-side-encryption: aws:kms"));
        }
        match (customer_key, by_server) {
            (Some(_), Some(_)) => Err(invalid("either the client has the key, or the server")),
            (Some(key), None) => Ok(Some(Wish::Customer(key))),
            (None, Some(ServerSideEncryption::AES256)) => Ok(Some(Wish::Master)),
            (None, Some(ServerSideEncryption::AWS_KMS)) => {
                let key_id = key_id.filter(|id| !id.is_empty()).ok_or_else(|| invalid("aws:kms needs a key's id"))?;
                Ok(Some(Wish::Kms { key_id: key_id.to_owned(), context: context.unwrap_or_default().to_owned() }))
            }
            (None, Some(_)) => Err(invalid("x-amz-server-side-encryption is AES256 or aws:kms")),
            (None, None) => Ok(default.and_then(Wish::of_bucket)),
        }
    }

    fn of_bucket(configuration: &ServerSideEncryptionConfiguration) -> Option<Wish> {
        let rule = configuration.rules.first()?.apply_server_side_encryption_by_default.as_ref()?;
        match &rule.kms_master_key_id {
            Some(key_id) if rule.sse_algorithm.as_str() == ServerSideEncryption::AWS_KMS => {
                Some(Wish::Kms { key_id: key_id.clone(), context: String::new() })
            }
            _ => Some(Wish::Master),
        }
    }
}

/// A JSON object of strings, in base64.
fn checked_context(given: &str) -> Result<&str> {
    let problem = || invalid("a context of encryption is a JSON object of strings, in base64");
    if given.len() > limits::ENCRYPTION_CONTEXT_BYTES_MAX {
        return Err(invalid("the context of encryption is too long"));
    }
    let bytes = STANDARD.decode(given).map_err(|_| problem())?;
    let pairs: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes).map_err(|_| problem())?;
    if pairs.values().all(serde_json::Value::is_string) { Ok(given) } else { Err(problem()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::dto::{ServerSideEncryptionByDefault, ServerSideEncryptionRule};

    fn bucket(algorithm: &'static str, key: Option<&str>) -> ServerSideEncryptionConfiguration {
        let default = ServerSideEncryptionByDefault {
            kms_master_key_id: key.map(str::to_owned),
            sse_algorithm: ServerSideEncryption::from_static(algorithm),
        };
        let rule = ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(default),
            ..ServerSideEncryptionRule::default()
        };
        ServerSideEncryptionConfiguration { rules: vec![rule] }
    }

    #[test]
    fn a_request_goes_before_its_bucket() {
        let seen = |pairs: &[(&'static str, &str)], default: Option<&ServerSideEncryptionConfiguration>| {
            let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            match Wish::of(&headers, true, default) {
                Ok(None) => "none".to_owned(),
                Ok(Some(Wish::Master)) => "master".into(),
                Ok(Some(Wish::Kms { key_id, context })) => format!("{key_id}/{context}"),
                Ok(Some(Wish::Customer(_))) => "customer".into(),
                Err(_) => "refused".into(),
            }
        };
        let (master, kms) = (bucket("AES256", None), bucket("aws:kms", Some("k1")));
        assert_eq!(seen(&[], None), "none");
        assert_eq!(seen(&[], Some(&master)), "master");
        assert_eq!(seen(&[], Some(&kms)), "k1/");
        assert_eq!(seen(&[(BY_SERVER, "AES256")], Some(&kms)), "master");
        assert_eq!(seen(&[(BY_SERVER, "aws:kms"), (SERVERS_KEY, "k2")], Some(&master)), "k2/");
        assert_eq!(seen(&[(BY_SERVER, "aws:kms")], Some(&kms)), "refused");
        assert_eq!(seen(&[(BY_SERVER, "AES512")], None), "refused");
        let context = STANDARD.encode("{\"a\": \"b\"}");
        let with = |context: &str| {
            seen(&[(BY_SERVER, "aws:kms"), (SERVERS_KEY, "k"), (CONTEXT, context)], None).starts_with("k/")
        };
        assert!(with(&context) && !with("x") && !with(&STANDARD.encode("[1]")) && !with(&STANDARD.encode("{\"a\":1}")));
        assert_eq!(seen(&[(BY_SERVER, "AES256"), (CONTEXT, &context)], None), "refused");
    }
}
