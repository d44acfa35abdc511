//! What must be true when everything works again: each object is linearizable, and its copies are the same.

use super::workload::History;
use super::{Cluster, workload};
use crate::linearizable;
use basalt_blockstore::{ObjectKey, Store};
use basalt_cluster::{Map, PgId};
use std::rc::Rc;
use std::time::Duration;

/// Waits until every group is where it belongs and serves. `Err` says what did not come to rest in time.
pub async fn wait_until_clean(cluster: &Rc<Cluster>, limit: Duration) -> Result<(), String> {
    let ring = cluster.client.ring();
    let began = ring.now();
    loop {
        let unclean = unclean(cluster);
        let Some(problem) = unclean else { return Ok(()) };
        if ring.now().since(began) > limit {
            return Err(format!("not clean {limit:?} after the last fault: {problem}"));
        }
        ring.sleep(Duration::from_millis(200)).await;
    }
}

/// What scenarios end with: the cluster comes to rest by itself, and what it holds is right.
pub async fn at_rest(cluster: &Rc<Cluster>, history: &History) -> Result<(), String> {
    wait_until_clean(cluster, Duration::from_secs(120)).await?;
    judge(cluster, history).await
}

fn unclean(cluster: &Cluster) -> Option<String> {
    let map = cluster.map();
    if let Some(osd) = map.osds.iter().find(|osd| !osd.is_up) {
        return Some(format!("osd.{} is down", osd.id));
    }
    for (pg, pool, group) in map.pgs() {
        if group.in_sync.len() < pool.size as usize {
            let words = waits(cluster, &map, pg);
            return Some(format!("{pg} has in-sync set {:?}, primary {:?}; {words}", group.in_sync, group.primary));
        }
        let primary = group.primary?;
        let report = cluster.osd(primary).map(|osd| osd.report());
        let Some(report) = report else { return Some(format!("osd.{primary} is not there")) };
        if report.epoch < group.changed_epoch {
            return Some(format!("osd.{primary} has not heard of epoch {}", group.changed_epoch));
        }
        if let Some(group) = report.groups.iter().find(|group| (group.pool, group.pg) == (pg.pool, pg.seed)) {
            return Some(format!("{pg}: {group:?}"));
        }
    }
    None
}

fn waits(cluster: &Cluster, map: &Map, pg: PgId) -> String {
    let primary = map.pg(pg).and_then(|group| group.primary);
    let report = primary.and_then(|primary| cluster.osd(primary)).map(|osd| osd.report());
    let group =
        report.and_then(|report| report.groups.into_iter().find(|group| (group.pool, group.pg) == (pg.pool, pg.seed)));
    format!("{group:?}")
}

/// Every OSD stores the groups that it has in sync, and after a while no others.
pub async fn nothing_is_left_over(cluster: &Rc<Cluster>) -> Result<(), String> {
    let ring = cluster.client.ring();
    let began = ring.now();
    loop {
        let Some(problem) = leftover(cluster).await? else { return Ok(()) };
        if ring.now().since(began) > Duration::from_secs(60) {
            return Err(problem);
        }
        ring.sleep(Duration::from_secs(1)).await;
    }
}

async fn leftover(cluster: &Cluster) -> Result<Option<String>, String> {
    let map = cluster.map();
    for host in &cluster.hosts {
        let Some(osd) = cluster.osd(host.id) else {
            // Under nodown, one that restarts is not down in between, and in no group nobody misses it.
            return Ok(Some(format!("osd.{} is not there", host.id)));
        };
        let stored = osd.store().list_pgs().await.map_err(|error| error.to_string())?;
        for (pool, seed) in stored {
            if map.pg(PgId { pool, seed }).is_some_and(|group| !group.in_sync.contains(&host.id)) {
                return Ok(Some(format!("osd.{} still has a copy of {pool}.{seed:x}, which is others' now", host.id)));
            }
        }
    }
    Ok(None)
}

/// Everything that must hold at rest.
pub async fn judge(cluster: &Rc<Cluster>, history: &History) -> Result<(), String> {
    workload::read_all(cluster, history).await;
    for (name, events) in history.borrow().iter() {
        linearizable::check(events).map_err(|problem| {
            let pg =
                cluster.map().pool_by_name(super::POOL).and_then(|pool| cluster.map().pg_of(pool.id, name.as_bytes()));
            cluster.tell(|| format!("all of {name} in {pg:?}:"));
            events.iter().for_each(|event| cluster.tell(|| format!("{event:?}")));
            format!("{name}: {problem}")
        })?;
    }
    replicas_agree(cluster, history).await
}

/// An object's version, data, xattrs and omap on one OSD.
type Copy = Option<(u64, Vec<u8>, Pairs, Pairs)>;
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Every copy of every object, read from the stores themselves.
async fn replicas_agree(cluster: &Rc<Cluster>, history: &History) -> Result<(), String> {
    let map = cluster.map();
    let names: Vec<String> = history.borrow().keys().cloned().collect();
    for name in names {
        let pool = map.pool_by_name(super::POOL).ok_or("the pool is gone")?;
        let pg = map.pg_of(pool.id, name.as_bytes()).ok_or("no group")?;
        let group = map.pg(pg).ok_or("no group")?;
        let key = ObjectKey { pool: pg.pool, pg: pg.seed, name: name.clone().into_bytes().into() };
        let mut first: Option<(u32, Copy)> = None;
        for member in &group.in_sync {
            let osd = cluster.osd(*member).ok_or_else(|| format!("osd.{member} is not there"))?;
            let copy = copy(osd.store(), &key).await.map_err(|error| format!("{name} on osd.{member}: {error}"))?;
            match &first {
                None => first = Some((*member, copy)),
                Some((other, seen)) if *seen != copy => {
                    let shown = |copy: &Copy| {
                        copy.as_ref().map(|(version, bytes, xattrs, omap)| {
                            let attributes = workload::attributes(xattrs, omap);
                            (*version >> 40, *version & 0xff_ffff, workload::values(bytes), attributes)
                        })
                    };
                    return Err(format!(
                        "{name} in {pg} differs: osd.{other} has {:?}, osd.{member} has {:?}",
                        shown(seen),
                        shown(&copy)
                    ));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

async fn copy(store: &Store, key: &ObjectKey) -> basalt_blockstore::Result<Copy> {
    let Some(info) = store.stat(key).await? else { return Ok(None) };
    let read = store.read(key, 0, info.size).await?;
    let xattrs = store.list_xattrs(key).await?;
    let (omap, _) = store.list_omap(key, &[], &[], 100).await?;
    Ok(Some((info.version, read.data.to_vec(), xattrs, omap)))
}
