//! Checks a store that is not in use, as it would be after replay, without writing anything: superblocks, log, every index node, every
//! entry, allocation against reachability, references of shared blocks, the pools' figures, and with `deep` every data block.
//! With `repair` the allocation maps are made anew from what the index refers to, and nothing else is touched.
//!
//! Memory: a bit a block of the devices, 24 bytes an object, and some more for each object on the hot device.

mod reached;
mod repair;
mod walk;

use crate::error::Result;
use crate::replay::{self, Maps};
use crate::store::Devices;
use crate::superblock;
use basalt_ring::{Device, Ring};
use std::fmt;
use walk::Walk;

/// Faults listed in a report at most; the rest are only counted.
pub const FAULTS_LISTED_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug, Default)]
pub struct FsckOptions {
    /// Read and verify all data, too.
    pub deep: bool,
    /// Free what is leaked, and make the allocation maps anew. Done only if nothing else is wrong with the store's structure.
    pub repair: bool,
}

/// Something that is not as it must be. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A copy of the superblock; the store opens with the others.
    SuperblockCopy,
    /// The store cannot be opened.
    Unusable,
    IndexNode,
    IndexEntry,
    /// Used by two that do not share it, or outside of the device.
    DoubleUse,
    /// The counted references of shared blocks are not what refers to them.
    References,
    /// Used by nobody and not free. Repairable.
    Leak,
    /// An allocation map is damaged, or calls free what is used. Repairable.
    AllocationMap,
    Figures,
    Data,
}

impl FaultKind {
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::SuperblockCopy => "superblock-copy",
            FaultKind::Unusable => "unusable",
            FaultKind::IndexNode => "index-node",
            FaultKind::IndexEntry => "index-entry",
            FaultKind::DoubleUse => "double-use",
            FaultKind::References => "references",
            FaultKind::Leak => "leak",
            FaultKind::AllocationMap => "allocation-map",
            FaultKind::Figures => "figures",
            FaultKind::Data => "data",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub faults: Vec<Fault>,
    /// Faults beyond [`FAULTS_LISTED_MAX`].
    pub unlisted: u64,
    /// What `repair` did away with.
    pub repaired: Vec<Fault>,
    /// Why `repair` did nothing, if it did not.
    pub not_repaired: Option<String>,
    pub osd: Option<u32>,
    pub objects: u64,
    pub data_bytes: u64,
    pub index_nodes: u64,
    pub index_entries: u64,
    pub replayed_transactions: u64,
    /// Data blocks whose checksums were compared (`deep`).
    pub data_blocks_verified: u64,
    pub base_used_bytes: u64,
    pub hot_used_bytes: u64,
}

/// Checks the store. An error only if a device could not be asked at all; whatever is wrong with the store is a fault.
pub async fn check(ring: &Ring, devices: &Devices, options: FsckOptions) -> Result<Report> {
    let mut walk = match look(ring, devices, options.deep).await? {
        Ok(walk) => walk,
        Err(report) => return Ok(report),
    };
    if !options.repair || walk.report.is_clean() {
        return Ok(walk.report);
    }
    if let Some(fault) = walk.report.faults.iter().find(|fault| !fault.kind.allows_repair()) {
        let why =
            format!("nothing was repaired, since more than the allocation maps is damaged ({})", fault.kind.name());
        walk.report.not_repaired = Some(why);
        return Ok(walk.report);
    }
    let before = std::mem::take(&mut walk.report.faults);
    repair::repair(walk).await?;
    // What it says after the repair is what counts.
    let mut report = match look(ring, devices, options.deep).await? {
        Ok(walk) => walk.report,
        Err(report) => report,
    };
    report.repaired = before.into_iter().filter(|fault| !report.faults.contains(fault)).collect();
    Ok(report)
}

/// Walks through the store; `Err` is the report on one that cannot be opened.
async fn look<'a>(ring: &'a Ring, devices: &'a Devices, deep: bool) -> Result<Result<Walk<'a>, Report>> {
    let mut report = Report::default();
    for device in [Some(&devices.base), devices.hot.as_ref()].into_iter().flatten() {
        check_superblocks(ring, device, &mut report).await?;
    }
    // The whole index passes through memory once; it is not kept.
    let cache_bytes = 64 << 20;
    let opened = match replay::open(ring, devices, cache_bytes, Maps::Believed).await {
        Ok(opened) => opened,
        Err(error) => match replay::open(ring, devices, cache_bytes, Maps::Ignored).await {
            // It was the maps alone.
            Ok(opened) => {
                report.fault(FaultKind::AllocationMap, error.to_string());
                opened
            }
            Err(_) => {
                report.fault(FaultKind::Unusable, error.to_string());
                return Ok(Err(report));
            }
        },
    };
    report.osd = Some(opened.superblock.osd);
    report.replayed_transactions = opened.replayed;
    let mut walk = Walk::new(ring, devices, opened, report, deep);
    walk.run().await;
    Ok(Ok(walk))
}

impl FaultKind {
    /// Whether the allocation maps may be made anew although there is such a fault: what refers to what is known all the same.
    fn allows_repair(self) -> bool {
        match self {
            FaultKind::SuperblockCopy | FaultKind::Leak | FaultKind::AllocationMap | FaultKind::Data => true,
            FaultKind::Unusable
            | FaultKind::IndexNode
            | FaultKind::IndexEntry
            | FaultKind::DoubleUse
            | FaultKind::References
            | FaultKind::Figures => false,
        }
    }
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty() && self.unlisted == 0
    }

    fn fault(&mut self, kind: FaultKind, message: String) {
        if self.faults.len() < FAULTS_LISTED_MAX {
            self.faults.push(Fault { kind, message });
        } else {
            self.unlisted += 1;
        }
    }
}

async fn check_superblocks(ring: &Ring, device: &Device, report: &mut Report) -> Result<()> {
    let copies = superblock::read(ring, device).await?;
    if copies.newest.is_some() {
        for (copy, _) in copies.current().into_iter().enumerate().filter(|(_, current)| !current) {
            let message = format!(
                "copy {copy} on {} is damaged or old; the store writes it anew when it is opened, or at its next checkpoint",
                device.path().display()
            );
            report.fault(FaultKind::SuperblockCopy, message);
        }
    }
    Ok(())
}
