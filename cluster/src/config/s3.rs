//! `[s3]`: buckets over HTTP.

use super::ConfigError;
use super::file::Reader;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::{Spanned, Table, Value};

/// For `basaltd s3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Section {
    pub listen: SocketAddr,
    /// Buckets are served as `BUCKET.DOMAIN` too.
    pub domains: Vec<String>,
    /// HTTPS; `None`: HTTP.
    pub tls: Option<S3Tls>,
    /// The keys that objects are encrypted with by the server; `None`: it encrypts none.
    pub encryption_keys: Option<PathBuf>,
    /// Keys that clients bring are taken by HTTPS only. Where something in front of the gateway has the certificate, it says no.
    pub sse_c_requires_tls: bool,
    /// A bucket with more objects for each shard of its index gets more shards; 0: never. `None`: the gateway's default.
    pub objects_per_shard: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Tls {
    /// The chain, in PEM.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct S3 {
    listen: Spanned<String>,
    domains: Option<Vec<String>>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    encryption_keys: Option<PathBuf>,
    sse_c_requires_tls: Option<bool>,
    objects_per_shard: Option<u64>,
}

impl S3 {
    pub(super) fn read(self, reader: &Reader) -> Result<S3Section, ConfigError> {
        let join = |path: PathBuf| reader.folder.join(path);
        let tls = match (self.tls_certificate, self.tls_key) {
            (Some(certificate), Some(key)) => Some(S3Tls { certificate: join(certificate), key: join(key) }),
            (None, None) => None,
            _ => return Err(reader.error(&self.listen, "[s3] needs both tls_certificate and tls_key for TLS")),
        };
        Ok(S3Section {
            listen: reader.address("listen", &self.listen)?,
            domains: self.domains.unwrap_or_default(),
            tls,
            encryption_keys: self.encryption_keys.map(join),
            sse_c_requires_tls: self.sse_c_requires_tls.unwrap_or(true),
            objects_per_shard: self.objects_per_shard,
        })
    }
}

pub(super) fn to_toml(section: &S3Section, path: impl Fn(&Path) -> Value) -> Table {
    let mut table = Table::new();
    table.insert("listen".into(), Value::String(section.listen.to_string()));
    if !section.domains.is_empty() {
        let domains = section.domains.iter().map(|domain| Value::String(domain.clone()));
        table.insert("domains".into(), Value::Array(domains.collect()));
    }
    if let Some(tls) = &section.tls {
        table.insert("tls_certificate".into(), path(&tls.certificate));
        table.insert("tls_key".into(), path(&tls.key));
    }
    if let Some(keys) = &section.encryption_keys {
        table.insert("encryption_keys".into(), path(keys));
    }
    if !section.sse_c_requires_tls {
        table.insert("sse_c_requires_tls".into(), Value::Boolean(false));
    }
    // The file was read from TOML, which has no larger numbers.
    if let Some(objects) = section.objects_per_shard.and_then(|objects| i64::try_from(objects).ok()) {
        table.insert("objects_per_shard".into(), Value::Integer(objects));
    }
    table
}
