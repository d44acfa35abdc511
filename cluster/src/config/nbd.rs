//! `[nbd]`: images as NBD exports.

use super::ConfigError;
use super::file::Reader;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::{Spanned, Table, Value};

/// For `basaltd nbd`. It listens at one place at least.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NbdSection {
    pub listen: Vec<SocketAddr>,
    /// Unix sockets.
    pub sockets: Vec<PathBuf>,
    /// Those whose images are served; all if there are none.
    pub pools: Vec<String>,
    pub read_only: bool,
    pub tls: Option<NbdTls>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NbdTls {
    /// PEM.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Clients must present a certificate that one of these has signed. PEM.
    pub client_authorities: Option<PathBuf>,
    /// Whoever comes without TLS is refused.
    pub required: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nbd {
    listen: Option<Vec<Spanned<String>>>,
    socket: Option<Vec<PathBuf>>,
    pools: Option<Vec<String>>,
    read_only: Option<bool>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_client_authorities: Option<PathBuf>,
    tls_required: Option<bool>,
}

impl Nbd {
    pub(super) fn read(section: Spanned<Nbd>, reader: &Reader) -> Result<NbdSection, ConfigError> {
        let at = Spanned::new(section.span(), ());
        let section = section.into_inner();
        let listen = section.listen.unwrap_or_default();
        let listen: Vec<SocketAddr> =
            listen.iter().map(|text| reader.address("listen", text)).collect::<Result<_, _>>()?;
        let sockets: Vec<PathBuf> =
            section.socket.unwrap_or_default().into_iter().map(|path| reader.folder.join(path)).collect();
        if listen.is_empty() && sockets.is_empty() {
            return Err(reader.error(
                &at,
                "[nbd] listens nowhere; give socket = [\"/run/basalt/nbd.sock\"] or listen = [\"127.0.0.1:10809\"]",
            ));
        }
        let join = |path: PathBuf| reader.folder.join(path);
        let required = section.tls_required.unwrap_or(false);
        let tls = match (section.tls_certificate, section.tls_key) {
            (Some(certificate), Some(key)) => Some(NbdTls {
                certificate: join(certificate),
                key: join(key),
                client_authorities: section.tls_client_authorities.map(join),
                required,
            }),
            (None, None) if !required && section.tls_client_authorities.is_none() => None,
            _ => return Err(reader.error(&at, "[nbd] needs both tls_certificate and tls_key for TLS")),
        };
        Ok(NbdSection {
            listen,
            sockets,
            pools: section.pools.unwrap_or_default(),
            read_only: section.read_only.unwrap_or(false),
            tls,
        })
    }
}

pub(super) fn to_toml(section: &NbdSection, path: impl Fn(&Path) -> Value) -> Table {
    let mut table = Table::new();
    if !section.listen.is_empty() {
        let addresses = section.listen.iter().map(|address| Value::String(address.to_string()));
        table.insert("listen".into(), Value::Array(addresses.collect()));
    }
    if !section.sockets.is_empty() {
        table.insert("socket".into(), Value::Array(section.sockets.iter().map(|socket| path(socket)).collect()));
    }
    if !section.pools.is_empty() {
        let pools = section.pools.iter().map(|pool| Value::String(pool.clone()));
        table.insert("pools".into(), Value::Array(pools.collect()));
    }
    if section.read_only {
        table.insert("read_only".into(), Value::Boolean(true));
    }
    if let Some(tls) = &section.tls {
        table.insert("tls_certificate".into(), path(&tls.certificate));
        table.insert("tls_key".into(), path(&tls.key));
        if let Some(authorities) = &tls.client_authorities {
            table.insert("tls_client_authorities".into(), path(authorities));
        }
        table.insert("tls_required".into(), Value::Boolean(tls.required));
    }
    table
}
