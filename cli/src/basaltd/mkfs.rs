//! `basaltd mkfs`: an empty store on an OSD's devices.

use crate::devices;
use basalt_blockstore::{FormatOptions, Store};
use basalt_cli::output::{Format, Output};
use basalt_cli::{Failure, Result};
use basalt_cluster::Config;
use basalt_cluster::config::OsdDevice;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use uuid::Uuid;

pub fn run(config: &Config, osd: u32, force: bool, format: Format) -> Result<ExitCode> {
    let configured = config.osd.as_ref().map_or(&[][..], |section| &section.devices);
    let device = configured.iter().find(|device| device.id == osd).ok_or_else(|| {
        let ids: Vec<String> = configured.iter().map(|device| format!("osd.{}", device.id)).collect();
        let known = if ids.is_empty() { "no OSD".to_owned() } else { ids.join(", ") };
        Failure::new(
            libc::ENOENT,
            format!(
                "{} describes {known}, but not osd.{osd}: add an [[osd.device]] with id = {osd}",
                config.path.display()
            ),
        )
    })?;
    let store_id = make(config.fsid, device, &device.base, device.hot.as_deref(), force)?;
    let mut output = Output::new(format);
    let store_id = Uuid::from_bytes(store_id);
    output.show(&json!({ "osd": osd, "store_id": store_id.to_string() }), |_| {
        format!("osd.{osd}: empty store {store_id} on {}\n", device.base.display())
    })?;
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the store on these paths, which need not be those that the configuration names. Returns the store's id.
pub fn make(fsid: Uuid, device: &OsdDevice, base: &Path, hot: Option<&Path>, force: bool) -> Result<[u8; 16]> {
    devices::on_ring(async |ring| {
        let mut store_id = [0; 16];
        ring.fill_random(&mut store_id);
        let devices = devices::open(&ring, base, hot, true).await?;
        let options =
            FormatOptions { osd: device.id, store_id, fsid: fsid.into_bytes(), wal_bytes: device.wal_bytes, force };
        Store::format(&ring, &devices, options).await?;
        Ok(store_id)
    })
}
