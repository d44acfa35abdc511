//! Administrators' commands: each answered in Ceph's words and with Ceph's keys, from the map and the reports alone.

mod cluster;
mod osd;
mod osd_set;
mod pg;
mod pool;
mod pool_list;
mod tier;

use super::core::{MonitorCore, Now};
use crate::limits;
use crate::map::{Map, Pool};
use crate::pool_settings::{Refusal, Surroundings};
use basalt_net::message::monitor::AdminCommand;
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
        AdminCommand::OsdDf => view.osd_df(),
        AdminCommand::OsdStat => view.osd_stat(),
        AdminCommand::OsdDump => view.osd_dump(),
        AdminCommand::OsdLs => view.osd_ls(),
        AdminCommand::OsdMap { pool, name } => view.osd_map(&pool, &name),
        AdminCommand::PoolCreate { name, pg_num, rule, size } => view.pool_create(name, pg_num, rule, size),
        AdminCommand::PoolLs { detail } => view.pool_ls(detail),
        AdminCommand::PoolGet { name, variable } => view.pool_get(&name, &variable),
        AdminCommand::PoolSet { name, variable, value } => view.pool_set(&name, &variable, &value),
        AdminCommand::PoolRename { name, to } => view.pool_rename(&name, to),
        AdminCommand::PoolRm { name, again, sure } => view.pool_rm(&name, &again, sure),
        AdminCommand::PoolSetQuota { name, variable, value } => view.pool_set_quota(&name, &variable, &value),
        AdminCommand::PoolGetQuota { name } => view.pool_get_quota(&name),
        AdminCommand::PoolStats { name } => view.pool_stats(name.as_deref()),
        AdminCommand::PoolApplication { name, action, application } => {
            view.pool_application(&name, &action, application)
        }
        AdminCommand::TierStatus { pool } => view.tier_status(pool.as_deref()),
        AdminCommand::PgStat => view.pg_stat(),
        AdminCommand::PgDump => view.pg_dump(),
        AdminCommand::OsdSetFlag { flag, is_set } => view.osd_set_flag(&flag, is_set),
        AdminCommand::OsdSetFullRatio { line, ratio } => view.osd_set_full_ratio(line, ratio),
    }
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

    fn surroundings(&self, pool: Option<u32>) -> Surroundings {
        Surroundings {
            osds_existing: self.map.osds.iter().filter(|osd| osd.exists).count() as u32,
            has_hot_slices: self.map.has_hot_slices(),
            dirty_bytes: pool.map_or(0, |pool| self.core.reports.of_pool(self.now.monotonic, pool).sum.dirty_bytes),
        }
    }

    /// How long ago a moment of the wall clock was.
    fn age(&self, unix_s: u64) -> Duration {
        self.now.unix.saturating_sub(Duration::from_secs(unix_s))
    }
}

/// A command's words are somebody's input: none is longer than a screen.
fn check_arguments(command: &AdminCommand) -> Result<(), Refusal> {
    let lengths: Vec<usize> = match command {
        AdminCommand::OsdMap { pool, name } => vec![pool.len(), name.len()],
        AdminCommand::PoolCreate { name, rule, .. } => vec![name.len(), rule.as_ref().map_or(0, String::len)],
        AdminCommand::PoolGet { name, variable } => vec![name.len(), variable.len()],
        AdminCommand::PoolSet { name, variable, value } | AdminCommand::PoolSetQuota { name, variable, value } => {
            vec![name.len(), variable.len(), value.len()]
        }
        AdminCommand::PoolRename { name, to } => vec![name.len(), to.len()],
        AdminCommand::PoolRm { name, again, .. } => vec![name.len(), again.len()],
        AdminCommand::PoolGetQuota { name } | AdminCommand::OsdSetFlag { flag: name, .. } => vec![name.len()],
        AdminCommand::PoolStats { name: pool } | AdminCommand::TierStatus { pool } => {
            vec![pool.as_ref().map_or(0, String::len)]
        }
        AdminCommand::PoolApplication { name, action, application } => {
            vec![name.len(), action.len(), application.len()]
        }
        AdminCommand::Status
        | AdminCommand::HealthDetail
        | AdminCommand::Df
        | AdminCommand::Versions
        | AdminCommand::OsdTree
        | AdminCommand::OsdDf
        | AdminCommand::OsdStat
        | AdminCommand::OsdDump
        | AdminCommand::OsdLs
        | AdminCommand::PoolLs { .. }
        | AdminCommand::PgStat
        | AdminCommand::PgDump
        | AdminCommand::OsdSetFullRatio { .. } => Vec::new(),
    };
    match lengths.into_iter().find(|length| *length > limits::ARGUMENT_BYTES_MAX) {
        None => Ok(()),
        Some(length) => Err(Refusal::new(
            libc::E2BIG,
            format!("an argument has {length} bytes; at most {} are taken", limits::ARGUMENT_BYTES_MAX),
        )),
    }
}
