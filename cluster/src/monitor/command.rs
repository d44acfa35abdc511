//! Administrators' commands: each answered in Ceph's words and with Ceph's keys, from the map and the reports alone.

mod auth;
mod blocklist;
mod change;
mod cluster;
mod config;
mod crush_change;
mod crush_shown;
mod maintenance;
mod movement;
mod osd;
mod osd_change;
mod osd_perf;
mod osd_safety;
mod osd_set;
mod osd_tree;
mod pg;
mod pg_query;
mod pool;
mod pool_list;
mod release;
mod tier;
mod tier_change;

use super::core::{MonitorCore, Now};
use crate::limits;
use crate::map::{Map, Osd, Pool};
use crate::pool_settings::{Refusal, Surroundings};
use basalt_net::message::monitor::{
    AdminCommand, AuthCommand, ChangeMode, CrushChange, CrushQuestion, MaintenanceScope, MapChange, TierCommand,
};
use serde_json::Value;
use std::time::Duration;

/// What a command that was carried out says, and the map it wants.
pub(super) struct Answer {
    /// What Ceph prints as plain text, where that is not a table.
    pub message: String,
    pub json: Value,
    pub map: Option<Map>,
}

type Outcome = Result<Answer, Refusal>;

impl Answer {
    fn shown(message: impl Into<String>, json: Value) -> Outcome {
        Ok(Answer { message: message.into(), json, map: None })
    }

    fn said(message: impl Into<String>) -> Outcome {
        Answer::shown(message, Value::Null)
    }

    fn decided(message: impl Into<String>, map: Map) -> Outcome {
        Ok(Answer { message: message.into(), json: Value::Null, map: Some(map) })
    }
}

pub(super) fn carry_out(core: &MonitorCore, now: Now, command: AdminCommand) -> Outcome {
    check_arguments(&command)?;
    let view = View { core, map: &core.map, now };
    match command {
        AdminCommand::Status => view.status(),
        AdminCommand::HealthDetail => view.health_detail(),
        AdminCommand::Df => view.df(),
        AdminCommand::Versions => view.versions(),
        AdminCommand::OsdTree => view.osd_tree(),
        AdminCommand::OsdDf => view.osd_df(false),
        AdminCommand::OsdDfTree => view.osd_df(true),
        AdminCommand::OsdStat => view.osd_stat(),
        AdminCommand::OsdDump => view.osd_dump(),
        AdminCommand::OsdLs => view.osd_ls(),
        AdminCommand::OsdMap { pool, name } => view.osd_map(&pool, &name),
        AdminCommand::PoolCreate { name, pg_num, rule, size } => view.pool_create(name, pg_num, rule, size),
        AdminCommand::PoolLs { detail } => view.pool_ls(detail),
        AdminCommand::PoolGet { name, variable } => view.pool_get(&name, &variable),
        AdminCommand::PoolSet { name, variable, value } => {
            view.change(MapChange::PoolSet { name, variable, value }, ChangeMode::default())
        }
        AdminCommand::PoolRename { name, to } => view.pool_rename(&name, to),
        AdminCommand::PoolRm { name, again, sure } => view.pool_rm(&name, &again, sure),
        AdminCommand::PoolSetQuota { name, variable, value } => view.pool_set_quota(&name, &variable, &value),
        AdminCommand::PoolGetQuota { name } => view.pool_get_quota(&name),
        AdminCommand::PoolStats { name } => view.pool_stats(name.as_deref()),
        AdminCommand::PoolApplication { name, action, application } => {
            view.pool_application(&name, &action, application)
        }
        AdminCommand::TierStatus { pool } => view.tier_status(pool.as_deref()),
        AdminCommand::Tier(command) => view.tier_change(command),
        AdminCommand::PgStat => view.pg_stat(),
        AdminCommand::PgDump => view.pg_dump(),
        AdminCommand::OsdSetFlag { flag, is_set } => view.osd_set_flag(&flag, is_set),
        AdminCommand::BlocklistAdd { client } => view.blocklist_add(client),
        AdminCommand::BlocklistRm { client } => view.blocklist_rm(client),
        AdminCommand::BlocklistLs => view.blocklist_ls(),
        AdminCommand::OsdSetFullRatio { line, ratio } => view.osd_set_full_ratio(line, ratio),
        AdminCommand::OsdSetGroup { flags, hosts, is_set } => view.osd_set_group(&flags, &hosts, is_set),
        AdminCommand::Maintenance { scope, step } => view.maintenance(&scope, step),
        AdminCommand::MaintenanceStatus => view.maintenance_status(),
        AdminCommand::Change { change, mode } => view.change(change, mode),
        AdminCommand::OsdOkToStop { osds } => view.osd_ok_to_stop(osds),
        AdminCommand::OsdSafeToDestroy { osds } => view.osd_safe_to_destroy(osds),
        AdminCommand::Crush(question) => view.crush(question),
        AdminCommand::PgLs { which } => view.pg_ls(&which),
        AdminCommand::PgQuery { pg } => view.pg_query(&pg),
        AdminCommand::ConfigSet { who, name, value } => view.config_set(&who, &name, &value),
        AdminCommand::ConfigGet { who, name } => view.config_get(&who, name.as_deref()),
        AdminCommand::ConfigRm { who, name } => view.config_rm(&who, &name),
        AdminCommand::ConfigHelp { name } => view.config_help(name.as_deref()),
        AdminCommand::ConfigDump => view.config_dump(),
        AdminCommand::OsdPerf => view.osd_perf(),
        AdminCommand::OsdRequireRelease { release, sure } => view.osd_require_release(&release, sure),
        AdminCommand::Auth(command) => view.auth(command),
    }
}

/// Objects that are still to be brought to OSDs that are up.
pub(super) fn objects_left(core: &MonitorCore, now: Now) -> f64 {
    let view = View { core, map: &core.map, now };
    view.map.pools.iter().map(|pool| view.objects_left(pool)).sum()
}

/// Pools that leave their hot tiers, and their dirty bytes.
pub(super) fn leaving(core: &MonitorCore, now: Now) -> Vec<(u32, u64)> {
    View { core, map: &core.map, now }.leaving()
}

/// Everything a command sees.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub core: &'a MonitorCore,
    pub map: &'a Map,
    pub now: Now,
}

impl View<'_> {
    fn pool(&self, name: &str) -> Result<&Pool, Refusal> {
        self.map
            .pool_by_name(name)
            .ok_or_else(|| Refusal::new(libc::ENOENT, format!("unrecognized pool '{}'", name.escape_debug())))
    }

    fn known_osd(&self, id: u32) -> Result<&Osd, Refusal> {
        let known = self.map.osd(id).filter(|osd| osd.exists);
        known.ok_or_else(|| Refusal::new(libc::ENOENT, format!("osd.{id} does not exist")))
    }

    fn surroundings(&self, pool: Option<u32>) -> Surroundings {
        Surroundings {
            osds_existing: self.map.osds.iter().filter(|osd| osd.exists).count() as u32,
            has_hot_slices: self.map.has_hot_slices(),
            is_pinned: pool.and_then(|id| self.map.pool(id)).is_some_and(|pool| pool.is_pinned(&self.map.crush_map())),
            dirty_bytes: pool.map_or(0, |pool| self.dirty_bytes(pool)),
            rules: self
                .map
                .crush_map()
                .rules()
                .map(|(id, rule)| (id, rule.name.clone().unwrap_or_else(|| id.to_string())))
                .collect(),
        }
    }

    /// What a pool's cache mode decides on: its own dirty bytes, and those of the pool that it is the overlay of.
    fn dirty_bytes(&self, pool: u32) -> u64 {
        let of = |pool: u32| self.core.reports.of_pool(self.now.monotonic, pool).sum.dirty_bytes;
        let Some(known) = self.map.pool(pool) else { return 0 };
        let covers = |base: &u32| self.map.pool(*base).is_some_and(|base| base.tiering.overlay == Some(pool));
        let own = if known.is_pinned(&self.map.crush_map()) { 0 } else { of(pool) };
        own.saturating_add(known.tiering.tier_of.filter(covers).map_or(0, of))
    }

    /// How long ago a moment of the wall clock was.
    fn age(&self, unix_s: u64) -> Duration {
        self.now.unix.saturating_sub(Duration::from_secs(unix_s))
    }
}

/// An OSD's words, such that they can't look like others'.
pub(super) fn one_line(words: &str) -> String {
    words.chars().filter(|character| !character.is_control()).take(limits::REPORTED_CHARS_MAX).collect()
}

/// A command's words are somebody's input: none is longer than a screen, and there are not too many. A CRUSH map is as long as it is.
fn check_arguments(command: &AdminCommand) -> Result<(), Refusal> {
    let (count, longest) =
        words_of(command).fold((0usize, 0usize), |(count, longest), word| (count + 1, longest.max(word)));
    if longest > limits::ARGUMENT_BYTES_MAX {
        return Err(Refusal::new(
            libc::E2BIG,
            format!("an argument has {longest} bytes; at most {} are taken", limits::ARGUMENT_BYTES_MAX),
        ));
    }
    if count > limits::ARGUMENTS_MAX {
        return Err(Refusal::new(
            libc::E2BIG,
            format!("there are {count} arguments; at most {} are taken", limits::ARGUMENTS_MAX),
        ));
    }
    Ok(())
}

/// How long each of a command's words is; a number counts as a word.
fn words_of(command: &AdminCommand) -> impl Iterator<Item = usize> {
    let optional = |word: &Option<String>| word.as_ref().map_or(0, String::len);
    let lengths: Vec<usize> = match command {
        AdminCommand::OsdMap { pool, name } => vec![pool.len(), name.len()],
        AdminCommand::PoolCreate { name, rule, .. } => vec![name.len(), optional(rule)],
        AdminCommand::PoolGet { name, variable } => vec![name.len(), variable.len()],
        AdminCommand::PoolSet { name, variable, value }
        | AdminCommand::PoolSetQuota { name, variable, value }
        | AdminCommand::Change { change: MapChange::PoolSet { name, variable, value }, .. } => {
            vec![name.len(), variable.len(), value.len()]
        }
        AdminCommand::PoolRename { name, to } => vec![name.len(), to.len()],
        AdminCommand::PoolRm { name, again, .. } => vec![name.len(), again.len()],
        AdminCommand::PoolGetQuota { name }
        | AdminCommand::OsdSetFlag { flag: name, .. }
        | AdminCommand::OsdRequireRelease { release: name, .. }
        | AdminCommand::PgQuery { pg: name } => vec![name.len()],
        AdminCommand::Auth(command) => match command {
            AuthCommand::Ls => Vec::new(),
            AuthCommand::Get { entity }
            | AuthCommand::Rm { entity }
            | AuthCommand::Rotate { entity, .. }
            | AuthCommand::RmKey { entity, .. } => vec![entity.len()],
            AuthCommand::Add { entity, mon, osd, .. } | AuthCommand::Caps { entity, mon, osd } => {
                vec![entity.len(), mon.len(), osd.len()]
            }
        },
        AdminCommand::Tier(command) => match command {
            TierCommand::Add { base, cache, .. }
            | TierCommand::Rm { base, cache }
            | TierCommand::SetOverlay { base, cache } => vec![base.len(), cache.len()],
            TierCommand::AddCache { base, cache, size } => vec![base.len(), cache.len(), size.len()],
            TierCommand::CacheMode { cache, mode } => vec![cache.len(), mode.len()],
            TierCommand::RmOverlay { base } => vec![base.len()],
        },
        AdminCommand::PoolStats { name: pool } | AdminCommand::TierStatus { pool } => vec![optional(pool)],
        AdminCommand::PoolApplication { name, action, application } => {
            vec![name.len(), action.len(), application.len()]
        }
        AdminCommand::ConfigSet { who, name, value } => vec![who.len(), name.len(), value.len()],
        AdminCommand::ConfigGet { who, name } => vec![who.len(), optional(name)],
        AdminCommand::ConfigRm { who, name } => vec![who.len(), name.len()],
        AdminCommand::ConfigHelp { name } => vec![optional(name)],
        AdminCommand::OsdSetGroup { flags, hosts, .. } => flags.iter().chain(hosts).map(String::len).collect(),
        AdminCommand::Maintenance { scope: MaintenanceScope::Host(host), .. } => vec![host.len()],
        AdminCommand::PgLs { which } => which.states.iter().map(String::len).chain([optional(&which.pool)]).collect(),
        AdminCommand::Crush(question) => vec![match question {
            CrushQuestion::Ls { bucket: name } | CrushQuestion::ClassLsOsd { class: name } => name.len(),
            CrushQuestion::RuleDump { name } => optional(name),
            _ => 0,
        }],
        AdminCommand::OsdOkToStop { osds }
        | AdminCommand::OsdSafeToDestroy { osds }
        | AdminCommand::Change { change: MapChange::Osds { osds, .. }, .. } => vec![0; osds.len()],
        AdminCommand::Change { change: MapChange::Crush(change), .. } => words_of_edit(change),
        AdminCommand::Change { change: MapChange::CrushMap { .. }, .. }
        | AdminCommand::Status
        | AdminCommand::HealthDetail
        | AdminCommand::Df
        | AdminCommand::Versions
        | AdminCommand::OsdTree
        | AdminCommand::OsdDf
        | AdminCommand::OsdDfTree
        | AdminCommand::OsdStat
        | AdminCommand::OsdDump
        | AdminCommand::OsdLs
        | AdminCommand::PoolLs { .. }
        | AdminCommand::PgStat
        | AdminCommand::PgDump
        | AdminCommand::ConfigDump
        | AdminCommand::Maintenance { scope: MaintenanceScope::All, .. }
        | AdminCommand::MaintenanceStatus
        | AdminCommand::OsdPerf
        | AdminCommand::BlocklistAdd { .. }
        | AdminCommand::BlocklistRm { .. }
        | AdminCommand::BlocklistLs
        | AdminCommand::OsdSetFullRatio { .. } => Vec::new(),
    };
    lengths.into_iter()
}

fn words_of_edit(change: &CrushChange) -> Vec<usize> {
    match change {
        CrushChange::AddBucket { name, type_name, place } => {
            place.iter().map(String::len).chain([name.len(), type_name.len()]).collect()
        }
        CrushChange::Move { name, place } => place.iter().map(String::len).chain([name.len()]).collect(),
        CrushChange::Set { place, .. } => place.iter().map(String::len).collect(),
        CrushChange::Reweight { name, .. }
        | CrushChange::ReweightSubtree { name, .. }
        | CrushChange::Rm { name }
        | CrushChange::RuleRm { name }
        | CrushChange::Tunables { profile: name }
        | CrushChange::SetTunable { name, .. } => vec![name.len()],
        CrushChange::RenameBucket { from, to }
        | CrushChange::RuleRename { from, to }
        | CrushChange::ClassRename { from, to } => vec![from.len(), to.len()],
        CrushChange::RuleCreateReplicated { name, root, failure_domain, class } => {
            vec![name.len(), root.len(), failure_domain.len(), class.as_ref().map_or(0, String::len)]
        }
        CrushChange::RuleCreateSimple { name, root, failure_domain, mode } => {
            vec![name.len(), root.len(), failure_domain.len(), mode.len()]
        }
        CrushChange::SetDeviceClass { class, osds } => osds.iter().map(|_| 0).chain([class.len()]).collect(),
        CrushChange::RmDeviceClass { osds } => vec![0; osds.len()],
        CrushChange::ReweightAll | CrushChange::SetAllStrawBucketsToStraw2 => Vec::new(),
    }
}
