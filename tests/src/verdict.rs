//! What a store with something wrong beneath it may do: say so, or be right. Never wrong bytes, never less than was acknowledged.

use crate::model::Model;
use basalt_blockstore::{Error, ObjectKey, Store};
use std::fmt;

/// How a store took a fault, the clearest sign of it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It did not open, and said why.
    Refused,
    /// It took itself out of service.
    Fenced,
    /// It answered an error, naming the place, for what was damaged; all else was right.
    Error,
    /// It was right in everything, and fsck named a fault.
    FoundByFsck,
    /// Right in everything: nobody depended on what was damaged.
    Unharmed,
    /// It went back to the state before so many acknowledged transactions. `noticed`: with an error or a fault elsewhere.
    Undone { transactions: usize, noticed: bool },
}

/// How often each verdict was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    pub refused: u64,
    pub fenced: u64,
    pub errors: u64,
    pub found_by_fsck: u64,
    pub unharmed: u64,
    pub undone: u64,
    pub undone_unnoticed: u64,
    /// The most transactions that were undone at once.
    pub undone_most: usize,
}

impl Verdicts {
    pub fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Refused => self.refused += 1,
            Verdict::Fenced => self.fenced += 1,
            Verdict::Error => self.errors += 1,
            Verdict::FoundByFsck => self.found_by_fsck += 1,
            Verdict::Unharmed => self.unharmed += 1,
            Verdict::Undone { transactions, noticed } => {
                self.undone += 1;
                self.undone_unnoticed += u64::from(!noticed);
                self.undone_most = self.undone_most.max(transactions);
            }
        }
    }

    pub fn total(&self) -> u64 {
        self.detected() + self.unharmed + self.undone
    }

    pub fn detected(&self) -> u64 {
        self.refused + self.fenced + self.errors + self.found_by_fsck
    }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdicts { refused, fenced, errors, found_by_fsck, unharmed, undone, undone_unnoticed, undone_most } = self;
        write!(
            formatter,
            "{} runs: {refused} refused, {fenced} fenced, {errors} with EIO, {found_by_fsck} by fsck alone, {unharmed} unharmed, \
             {undone} undone (at most {undone_most}), {undone_unnoticed} of them without a sign",
            self.total()
        )
    }
}

/// An error that a damaged device may cause: it says where.
pub fn names_the_place(error: &Error) -> bool {
    error.to_string().contains("/sim/") && ![2, 28].contains(&error.errno())
}

/// What [`Store::content_digest`] says of these bytes.
fn digest(data: &[u8]) -> u32 {
    data.chunks(4096).fold(0, |digest, block| {
        let mut block = block.to_vec();
        block.resize(4096, 0);
        crc32c::crc32c_append(digest, &crc32c::crc32c(&block).to_le_bytes())
    })
}

/// Asks the store for everything that it may hold by the model. `Ok`: how many questions were answered with an error that names the place;
/// all other answers were the model's. `Err`: what was wrong.
pub async fn compare(store: &Store, model: &Model) -> Result<u64, String> {
    let mut errors = 0;
    let mut check = |outcome: Result<bool, Error>, what: &str, key: &ObjectKey| match outcome {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("wrong {what} of {}", key.name.escape_ascii())),
        Err(error) if names_the_place(&error) => {
            errors += 1;
            Ok(())
        }
        Err(error) => Err(format!("{what} of {}: {error}", key.name.escape_ascii())),
    };
    let mut places: Vec<(u32, u32)> = model.objects.keys().map(|key| (key.pool, key.pg)).collect();
    places.dedup();
    let all = ObjectKey { pool: 0, pg: 0, name: b"all".as_slice().into() };
    check(store.list_pgs().await.map(|found| found == places), "placement groups", &all)?;
    for (pool, pg) in places {
        let listed = store.list(pool, pg, &[], &[], usize::MAX).await;
        let names = model.objects.keys().filter(|key| (key.pool, key.pg) == (pool, pg)).map(|key| &key.name);
        check(
            listed.map(|(found, _)| found.iter().map(Vec::as_slice).eq(names.map(|name| name.as_slice()))),
            "list",
            &all,
        )?;
    }
    for (key, expected) in &model.objects {
        let size = store.stat(key).await.map(|info| info.map(|info| info.size) == Some(expected.data.len() as u64));
        check(size, "size", key)?;
        let data = store.read(key, 0, u64::MAX).await.map(|read| *read.data == *expected.data);
        if data.is_err() {
            // An error for the whole hides what is right of it, or wrong.
            for (number, block) in expected.data.chunks(4096).enumerate() {
                let read = store.read(key, number as u64 * 4096, block.len() as u64).await;
                check(read.map(|read| *read.data == *block), "data", key)?;
            }
        }
        check(data, "data", key)?;
        for verify in [false, true] {
            let found = store.content_digest(key, verify).await;
            let found = found.map(|found| found.map(|(_, digest)| digest) == Some(digest(&expected.data)));
            check(found, "digest", key)?;
        }
        let xattrs = store.list_xattrs(key).await.map(|found| found.into_iter().eq(expected.xattrs.clone()));
        check(xattrs, "xattrs", key)?;
        let omap = store.list_omap(key, &[], &[], usize::MAX).await;
        check(omap.map(|(found, _)| found.into_iter().eq(expected.omap.clone())), "omap", key)?;
    }
    Ok(errors)
}
