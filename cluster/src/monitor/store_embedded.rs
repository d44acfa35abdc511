//! The embedded store: one `redb` file, for a cluster with one monitor.
//!
//! A commit is one redb transaction with immediate durability: redb flips to the new root only after everything under it is synced, so
//! a kill at any moment leaves the state before or after the batch, never between.

use super::store::{Batch, MonitorStore, StoreError, Stored};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::fmt::Display;
use std::path::{Path, PathBuf};

const MAPS: TableDefinition<u32, &[u8]> = TableDefinition::new("maps");
const VALUES: TableDefinition<&str, &[u8]> = TableDefinition::new("values");
const FILE_NAME: &str = "monitor.redb";

pub struct EmbeddedStore {
    database: Database,
    path: PathBuf,
}

impl EmbeddedStore {
    /// Opens the store in `folder`, making both if they are missing. Refused while another process has it open.
    pub fn open(folder: &Path) -> Result<EmbeddedStore, StoreError> {
        let path = folder.join(FILE_NAME);
        let failed = |problem: &dyn Display| StoreError::new(&path, problem);
        std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        let database = Database::create(&path).map_err(|error| failed(&error))?;
        // The file's name must survive a power cut as well as its content.
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(&error))?;
        Ok(EmbeddedStore { database, path })
    }

    fn try_load(&self) -> Result<Stored, redb::Error> {
        let transaction = self.database.begin_read()?;
        let mut stored = Stored::default();
        match transaction.open_table(MAPS) {
            Ok(maps) => {
                stored.newest_map = maps.last()?.map(|(epoch, map)| (epoch.value(), map.value().to_vec()));
            }
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(stored),
            Err(error) => return Err(error.into()),
        }
        for entry in transaction.open_table(VALUES)?.iter()? {
            let (key, value) = entry?;
            stored.values.insert(key.value().to_owned(), value.value().to_vec());
        }
        Ok(stored)
    }

    fn try_commit(&self, batch: &Batch) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut maps = transaction.open_table(MAPS)?;
            if let Some((epoch, map)) = &batch.map {
                maps.insert(epoch, map.as_slice())?;
            }
            maps.retain_in(..batch.forget_maps_below, |_, _| false)?;
            let mut values = transaction.open_table(VALUES)?;
            for (key, value) in &batch.values {
                values.insert(key.as_str(), value.as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn try_map(&self, epoch: u32) -> Result<Option<Vec<u8>>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let maps = transaction.open_table(MAPS)?;
        Ok(maps.get(epoch)?.map(|map| map.value().to_vec()))
    }
}

impl MonitorStore for EmbeddedStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        self.try_load().map_err(|error| StoreError::new(&self.path, &error))
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.try_commit(batch).map_err(|error| StoreError::new(&self.path, &error))
    }

    fn map(&mut self, epoch: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.try_map(epoch).map_err(|error| StoreError::new(&self.path, &error))
    }
}
