//! From being named a group's primary to serving it: the lease of the one before runs out, the log is read, and every member of the
//! in-sync set that is up is brought to the same state. Then members come and go with the map, for as long as the reign lasts.

use super::Pg;
use super::leadership::{Leadership, Phase};
use super::member::Member;
use super::recovery;
use crate::limits;
use crate::osd::Osd;
use crate::sabotage::{Sabotage, sabotaged};
use basalt_cluster::{Map, MapFlags, PlacementGroup, Pool};
use basalt_ring::local::select;
use std::pin::pin;
use std::rc::Rc;

pub async fn lead(osd: Rc<Osd>, pg: Rc<Pg>, leadership: Rc<Leadership>) {
    loop {
        let change = leadership.change();
        let wait = osd.leases().wait(&leadership.fence, osd.ring().now());
        if leadership.phase() == Phase::Ended || osd.is_stopping() {
            return;
        }
        if wait.is_zero() || sabotaged(Sabotage::SkipFence) {
            break;
        }
        leadership.waits_for.replace("the lease of the primary before to run out".into());
        let nap = osd.ring().sleep(wait.min(limits::FENCE_LOOK_INTERVAL));
        select(pin!(change), pin!(nap)).await;
    }
    pg.follower().take_over(0, leadership.reign().reign).await;
    while let Err(refusal) = leadership.load(osd.store()).await {
        leadership.waits_for.replace(format!("its log on this OSD to be readable: {}", refusal.message));
        tracing::error!(osd = osd.id(), pg = %pg.id(), "can't be led: {refusal}");
        osd.pause(limits::PEER_RETRY_MAX).await;
        if leadership.phase() == Phase::Ended || osd.is_stopping() {
            return;
        }
    }
    loop {
        let change = leadership.change();
        let map_change = osd.map_change();
        if leadership.phase() == Phase::Ended || osd.is_stopping() {
            return;
        }
        if let Some(map) = osd.map()
            && let (Some(pool), Some(group)) = (map.pool(leadership.pg().pool), map.pg(leadership.pg()))
        {
            gather(&osd, &leadership, &map, pool, group);
        }
        select(pin!(change), pin!(map_change)).await;
    }
}

/// Fits members and phase to the map.
fn gather(osd: &Rc<Osd>, leadership: &Rc<Leadership>, map: &Map, pool: &Pool, group: &PlacementGroup) {
    let is_up = |id: u32| map.osd(id).is_some_and(|osd| osd.exists && osd.is_up);
    let set = || group.in_sync.iter().copied().filter(|id| *id != osd.id());
    let is_whole = sabotaged(Sabotage::ServeWithoutTheSet)
        || group.in_sync.iter().all(|id| is_up(*id)) && group.in_sync.len() >= pool.min_size as usize;
    // Before anyone is let go of: without the members that are down, nothing must count as committed.
    if !is_whole && leadership.phase() == Phase::Active {
        leadership.set_phase(Phase::Peered);
    }
    leadership.lacks_members.set(group.in_sync.len() < pool.size as usize);
    let belongs = belongs(osd, map, pool, group);
    let wanted = if may_be_filled(map, pool, group) { belongs.as_slice() } else { &[] };
    let is_of_this_life =
        |member: &Member| map.osd(member.osd).is_some_and(|known| known.up_since_epoch == member.up_since_epoch);
    for member in leadership.members() {
        let lives = is_up(member.osd) && is_of_this_life(&member);
        let in_set = group.in_sync.contains(&member.osd);
        // Who was said to be ready stays until the monitor has decided: it may be taken in at any moment for as long as it belongs here.
        let is_said_to_be_ready = member.is_required.get() && belongs.contains(&member.osd);
        let stays = in_set || is_said_to_be_ready || wanted.contains(&member.osd);
        if in_set && is_up(member.osd) && !lives {
            // It takes its own place below: in between nothing may be committed without it.
            continue;
        } else if !lives || !stays {
            leadership.remove_member(member.osd);
        } else if in_set {
            member.is_required.set(true);
        }
    }
    for id in set().filter(|id| is_up(*id)).chain(wanted.iter().copied()) {
        if leadership.member(id).is_none_or(|member| !is_of_this_life(&member))
            && let Some(known) = map.osd(id)
        {
            let is_required = group.in_sync.contains(&id);
            let member = Rc::new(Member::new(id, known.up_since_epoch, is_required, leadership.committed()));
            leadership.add_member(member.clone());
            osd.ring().spawn(recovery::keep_in_sync(osd.clone(), leadership.clone(), member));
        }
    }
    let behind: Vec<u32> =
        set().filter(|id| is_up(*id) && leadership.member(*id).is_none_or(|member| !member.was_live())).collect();
    let agree = behind.is_empty();
    let phase = match leadership.phase() {
        Phase::Ended => Phase::Ended,
        Phase::Active if is_whole => Phase::Active,
        _ if agree && is_whole => Phase::Active,
        _ if agree => Phase::Peered,
        _ => Phase::Peering,
    };
    let waits_for = match phase {
        Phase::Active | Phase::Ended => String::new(),
        Phase::Peering => format!("{} to be brought to the same state", names(&behind)),
        Phase::Peered => {
            let down: Vec<u32> = set().filter(|id| !is_up(*id)).collect();
            let alive = group.in_sync.len() - down.len();
            format!(
                "{} of the {} copies that a write needs: {} may come back, or another OSD be filled",
                pool.min_size as usize - alive.min(pool.min_size as usize),
                pool.min_size,
                if down.is_empty() { "nobody".into() } else { names(&down) }
            )
        }
    };
    leadership.waits_for.replace(waits_for);
    leadership.set_phase(phase);
    leadership.advance();
}

/// Who belongs to the group, is up and not in its set.
fn belongs(osd: &Osd, map: &Map, pool: &Pool, group: &PlacementGroup) -> Vec<u32> {
    let seed = pool.pgs.iter().position(|other| std::ptr::eq(other, group)).unwrap_or_default() as u32;
    let mut belongs = osd.placer(map).choose(pool, seed);
    belongs.retain(|id| {
        let is_up = map.osd(*id).is_some_and(|osd| osd.exists && osd.is_up);
        is_up && !group.in_sync.contains(id)
    });
    belongs
}

/// Whether members that are not in the set are filled now.
fn may_be_filled(map: &Map, pool: &Pool, group: &PlacementGroup) -> bool {
    let is_degraded = group.in_sync.len() < pool.size as usize;
    !map.flags.contains(MapFlags::NORECOVER) && (is_degraded || !map.flags.contains(MapFlags::NOREBALANCE))
}

fn names(osds: &[u32]) -> String {
    let names: Vec<String> = osds.iter().map(|id| format!("osd.{id}")).collect();
    names.join(", ")
}
