//! Blocks of data that rot on a disk, of one host at a time: as long as every other copy is whole, nobody may notice more of it than
//! what is counted.

use super::workload::BLOCK_BYTES;
use super::{Cluster, SimulatedHost};
use crate::random::Random;
use basalt_client::Client;
use basalt_net::message::object::OsdCommand;
use basalt_ring::sim::Disk;
use std::rc::Rc;
use std::time::Duration;

const SECTOR: u64 = 4096;
/// What is younger may be of the last record in the log, whose damage can't be told from a write that was torn.
const SETTLED_AFTER: Duration = Duration::from_millis(500);

/// Blocks with a client's data: each is written with repetitions of a word, at most two of them in one sector.
fn data_sectors(disk: &Disk) -> Vec<(u64, Vec<u8>)> {
    let image = disk.snapshot();
    let mut found = Vec::new();
    let mut bytes = vec![0; SECTOR as usize];
    for sector in (0..image.size() / SECTOR).filter(|sector| image.may_be_written(sector * SECTOR)) {
        image.read(sector * SECTOR, &mut bytes);
        let words = || bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
        // Most sectors show at their first words that they are not of these, and that is most of what this takes.
        let limit = SECTOR as usize / BLOCK_BYTES + 2;
        let changes = words().zip(words().skip(1)).filter(|(word, next)| word != next).take(limit).count();
        if changes < limit && words().any(|word| word != 0) {
            found.push((sector, bytes.clone()));
        }
    }
    found
}

/// Of two copies both must be there for one to be repaired, so nothing else may be amiss.
pub async fn strike(cluster: &Rc<Cluster>, host: &Rc<SimulatedHost>, random: &mut Random) {
    if !cluster.may_rot(host) {
        return;
    }
    let disk = random.pick(&host.disks).clone();
    let before = data_sectors(&disk);
    if before.is_empty() {
        return;
    }
    cluster.client.ring().sleep(SETTLED_AFTER).await;
    if !cluster.may_rot(host) {
        return;
    }
    let image = disk.snapshot();
    let mut now = vec![0; SECTOR as usize];
    for _ in 0..1 + random.below(4) {
        let (sector, bytes) = random.pick(&before);
        image.read(sector * SECTOR, &mut now);
        if now == *bytes {
            disk.flip(sector * SECTOR + random.below(SECTOR), 1 << random.below(8));
            cluster.note_rotten(host);
            cluster.tell(|| format!("sector {sector} of host {} rots", host.id));
        }
    }
    if cluster.options.size == 2 {
        // While it is written to, an object's copies may be of two versions, and neither be of use for the other.
        for _ in 0..4 {
            if scrub(cluster, host).await.is_ok() {
                return;
            }
        }
        scrub(cluster, host).await.expect("nothing else is amiss");
    }
}

/// Every copy that may have rotted is read and put right.
pub async fn scrub_all(cluster: &Rc<Cluster>) -> Result<(), String> {
    for host in cluster.hosts.iter().filter(|host| cluster.is_rotten(host)) {
        scrub(cluster, host).await?;
    }
    Ok(())
}

async fn scrub(cluster: &Rc<Cluster>, host: &Rc<SimulatedHost>) -> Result<(), String> {
    let ring = cluster.client.ring();
    let client = cluster.connect_on(&ring).await;
    // Passes are told apart by the second in which they ended, and a clock may have been put back to the last one's.
    for _ in 0..2 {
        ring.sleep(Duration::from_millis(1100)).await;
        if let Some(outcome) = pass(cluster, host, &client).await? {
            return outcome;
        }
    }
    Err(format!("the scrub of osd.{} does not end: {:?}", host.id, cluster.osd(host.id).map(|osd| osd.report().scrub)))
}

/// One pass, and what it came to; `None` if none was seen to end.
async fn pass(
    cluster: &Rc<Cluster>,
    host: &Rc<SimulatedHost>,
    client: &Client,
) -> Result<Option<Result<(), String>>, String> {
    let ring = cluster.client.ring();
    let report = || cluster.osd(host.id).map(|osd| osd.report().scrub);
    let before = report().ok_or_else(|| format!("osd.{} is not there", host.id))?;
    let reply = client.osd_command(host.id, OsdCommand::DeepScrub).await.map_err(|error| error.message().to_owned())?;
    assert_eq!(reply.errno, 0, "{}", reply.message);
    for _ in 0..600 {
        ring.sleep(Duration::from_millis(200)).await;
        let now = report().ok_or_else(|| format!("osd.{} went away", host.id))?;
        if !now.is_running && now.finished_unix_s != before.finished_unix_s {
            if now.findings.is_empty() {
                cluster.note_healthy(host);
            }
            // Of a group that has gone elsewhere, the copy that was left behind is nobody's.
            let map = cluster.map();
            let of_group = |line: &&String| {
                let mut groups = map.pgs().filter(|(_, _, group)| group.in_sync.contains(&host.id));
                groups.any(|(pg, ..)| line.starts_with(&format!("object {pg}/")))
            };
            let findings: Vec<&String> = now.findings.iter().filter(of_group).collect();
            let outcome = if findings.is_empty() { Ok(()) } else { Err(format!("osd.{}: {findings:?}", host.id)) };
            return Ok(Some(outcome));
        }
    }
    Ok(None)
}
