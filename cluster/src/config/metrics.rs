//! `[metrics]`: where daemons tell Prometheus of themselves, and the monitor shows its page.

use super::ConfigError;
use super::file::Reader;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::{Spanned, Table, Value};

/// An address for each role; one that has none listens nowhere. Several roles of a host share the file, so they can't share an address.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MetricsSection {
    pub monitor: Option<SocketAddr>,
    pub osd: Option<SocketAddr>,
    pub s3: Option<SocketAddr>,
    pub nbd: Option<SocketAddr>,
    /// Each daemon writes there, into a file of its own, at which URL it is to be asked: what port 0 came to.
    pub address_dir: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    monitor: Option<Spanned<String>>,
    osd: Option<Spanned<String>>,
    s3: Option<Spanned<String>>,
    nbd: Option<Spanned<String>>,
    address_dir: Option<PathBuf>,
}

impl Metrics {
    pub(super) fn read(self, reader: &Reader) -> Result<MetricsSection, ConfigError> {
        let address = |role: &str, text: Option<Spanned<String>>| {
            text.map(|text| reader.address(&format!("[metrics] {role}"), &text)).transpose()
        };
        Ok(MetricsSection {
            monitor: address("monitor", self.monitor)?,
            osd: address("osd", self.osd)?,
            s3: address("s3", self.s3)?,
            nbd: address("nbd", self.nbd)?,
            address_dir: self.address_dir.map(|dir| reader.folder.join(dir)),
        })
    }
}

pub(super) fn to_toml(section: &MetricsSection, path: impl Fn(&Path) -> Value) -> Table {
    let mut table = Table::new();
    let roles = [("monitor", section.monitor), ("osd", section.osd), ("s3", section.s3), ("nbd", section.nbd)];
    for (role, address) in roles {
        if let Some(address) = address {
            table.insert(role.into(), Value::String(address.to_string()));
        }
    }
    if let Some(dir) = &section.address_dir {
        table.insert("address_dir".into(), path(dir));
    }
    table
}
