//! A block store on sparse files in a folder, for measurements of the store alone: no daemon, no network, the real ring.

use basalt_blockstore::{Devices, FormatOptions, OpenOptions, Store};
use basalt_ring::{Device, DeviceOptions, Ring};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

const RELEASE_MAX: Duration = Duration::from_secs(5);

/// Why a measurement ended early.
pub type Failure = Box<dyn std::error::Error>;

/// Files of one store. They stay when this is dropped: see [`ScratchStore::remove`].
#[derive(Clone, Debug)]
pub struct ScratchStore {
    base: PathBuf,
    base_bytes: u64,
    hot: Option<(PathBuf, u64)>,
}

impl ScratchStore {
    /// `hot_bytes` 0: a store without a hot device.
    pub fn new(folder: &Path, base_bytes: u64, hot_bytes: u64) -> ScratchStore {
        let hot = (hot_bytes > 0).then(|| (folder.join("hot"), hot_bytes));
        ScratchStore { base: folder.join("base"), base_bytes, hot }
    }

    pub async fn devices(&self, ring: &Ring) -> Result<Devices, Failure> {
        let options = |bytes| DeviceOptions {
            write: true,
            exclusive: true,
            create_size: Some(bytes),
            ..DeviceOptions::default()
        };
        let base = open(ring, &self.base, options(self.base_bytes)).await?;
        let hot = match &self.hot {
            Some((path, bytes)) => Some(open(ring, path, options(*bytes)).await?),
            None => None,
        };
        Ok(Devices { base, hot })
    }

    /// Makes the files anew and a store on them.
    pub async fn format(&self, ring: &Ring) -> Result<(), Failure> {
        self.remove()?;
        let devices = self.devices(ring).await?;
        let mut store_id = [0; 16];
        ring.fill_random(&mut store_id);
        let options = FormatOptions { osd: 0, store_id, fsid: [0; 16], wal_bytes: None, force: true };
        Ok(Store::format(ring, &devices, options).await?)
    }

    pub async fn open(&self, ring: &Ring, options: OpenOptions) -> Result<Store, Failure> {
        Ok(Store::open(ring, self.devices(ring).await?, options).await?)
    }

    pub fn remove(&self) -> Result<(), Failure> {
        for path in std::iter::once(&self.base).chain(self.hot.as_ref().map(|(path, _)| path)) {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The kernel lets go of the files of a killed process a moment after the process is gone.
async fn open(ring: &Ring, path: &Path, options: DeviceOptions) -> std::io::Result<Device> {
    let deadline = ring.now() + RELEASE_MAX;
    loop {
        match ring.open_device(path, options.clone()).await {
            Err(error) if error.kind() == ErrorKind::ResourceBusy && ring.now() < deadline => {
                ring.sleep(Duration::from_millis(1)).await;
            }
            opened => return opened,
        }
    }
}
