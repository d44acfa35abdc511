//! `osd pool create|get|set|rename|rm|set-quota|get-quota|application`.

use super::change::Proposal;
use super::{Answer, Outcome, View};
use crate::limits;
use crate::map::{CacheMode, Map, Pool};
use crate::placement::Placer;
use crate::pool_settings::{self, Refusal};
use crate::quantity::{format_bytes, format_count};
use serde_json::{Map as Object, Value, json};

impl View<'_> {
    pub(super) fn pool_create(
        &self,
        name: String,
        pg_num: Option<u32>,
        rule: Option<String>,
        size: Option<u32>,
    ) -> Outcome {
        Pool::check_name(&name).map_err(Refusal::invalid)?;
        if self.map.pool_by_name(&name).is_some() {
            return Answer::said(format!("pool '{name}' already exists"));
        }
        let around = self.surroundings(None);
        let crush_rule = match rule {
            Some(rule) => around.rule_id(&rule)?,
            None => around.rules.first().map_or(0, |(id, _)| *id),
        };
        let size = i64::from(size.unwrap_or_else(|| {
            // As many copies as are safe, as far as there are places for them.
            Placer::new(self.map).places(crush_rule, limits::POOL_SIZE_DEFAULT).max(1)
        }));
        let size = pool_settings::check_size(size, &around)?;
        let pg_num = self.check_pg_num(pg_num.unwrap_or(limits::PG_NUM_DEFAULT))?;
        if self.map.pools.len() >= limits::POOL_COUNT_MAX {
            return Err(Refusal::new(libc::ENOSPC, format!("there are {} pools already", limits::POOL_COUNT_MAX)));
        }
        let id = self.map.pool_id_max.checked_add(1);
        let id = id.ok_or_else(|| Refusal::new(libc::ENOSPC, "the cluster has used up all pool ids"))?;
        let epoch = self.map.epoch + 1;
        let mut map = self.map.clone();
        map.pool_id_max = id;
        let mut pool = Pool { crush_rule, ..Pool::new(id, name.clone(), size, pg_num, epoch) };
        // What is at home on the hot slices is not cached there as well.
        if self.map.has_hot_slices() && !pool.is_pinned(&self.map.crush_map()) {
            pool.tier.cache_mode = CacheMode::Writeback;
        }
        map.pools.push(pool);
        Answer::decided(format!("pool '{name}' created"), map)
    }

    fn check_pg_num(&self, pg_num: u32) -> Result<u32, Refusal> {
        if pg_num == 0 || pg_num > limits::PG_NUM_MAX {
            let most = limits::PG_NUM_MAX;
            return Err(Refusal::new(
                libc::ERANGE,
                format!("'pg_num' must be greater than 0 and less than or equal to {most}"),
            ));
        }
        let already: u64 = self.map.pools.iter().map(|pool| u64::from(pool.pg_num)).sum();
        if already + u64::from(pg_num) > limits::PG_COUNT_MAX {
            return Err(Refusal::new(
                libc::ERANGE,
                format!(
                    "pg_num {pg_num} would mean {} placement groups in all, more than the {} a cluster can have",
                    already + u64::from(pg_num),
                    limits::PG_COUNT_MAX
                ),
            ));
        }
        Ok(pg_num)
    }

    /// A copy of the map with one pool changed.
    fn with_pool(&self, id: u32, change: impl FnOnce(&mut Pool) -> Result<(), Refusal>) -> Result<Map, Refusal> {
        let mut map = self.map.clone();
        map.pool_mut(id).map_or(Ok(()), change)?;
        Ok(map)
    }

    pub(super) fn pool_get(&self, name: &str, variable: &str) -> Outcome {
        let pool = self.pool(name)?;
        let variables: Vec<&str> = if variable == "all" { pool_settings::VARIABLES.to_vec() } else { vec![variable] };
        let around = self.surroundings(None);
        let mut document = Object::new();
        document.insert("pool".into(), json!(pool.name));
        document.insert("pool_id".into(), json!(pool.id));
        let mut lines = Vec::new();
        for variable in variables {
            let value = pool_settings::get(pool, &around, variable)?;
            lines.push(format!("{variable}: {}", pool_settings::as_text(&value)));
            document.insert(variable.into(), value);
        }
        Answer::shown(lines.join("\n"), Value::Object(document))
    }

    pub(super) fn propose_pool(&self, name: &str, variable: &str, value: &str) -> Result<Proposal, Refusal> {
        let pool = self.pool(name)?;
        let around = self.surroundings(Some(pool.id));
        let map = self.with_pool(pool.id, |changed| pool_settings::set(changed, &around, variable, value))?;
        let mut message = format!("set pool {} {variable} to {value}", pool.id);
        if variable == "cache_mode" {
            message.push_str(&around.drain_note(pool.tier.cache_mode, value));
        }
        if map == *self.map {
            return Ok(Proposal::nothing(message));
        }
        // More copies than there are places for are made as far as they can be: nothing is worse than before.
        Ok(Proposal { may_be_short: variable == "size", ..Proposal::new(message, map) })
    }

    pub(super) fn pool_rename(&self, name: &str, to: String) -> Outcome {
        let pool = self.pool(name)?;
        Pool::check_name(&to).map_err(Refusal::invalid)?;
        if self.map.pool_by_name(&to).is_some() {
            return Err(Refusal::new(libc::EEXIST, format!("pool '{to}' already exists")));
        }
        let message = format!("pool '{name}' renamed to '{to}'");
        let map = self.with_pool(pool.id, |pool| {
            pool.name = to;
            Ok(())
        })?;
        Answer::decided(message, map)
    }

    pub(super) fn pool_rm(&self, name: &str, again: &str, sure: bool) -> Outcome {
        let Some(pool) = self.map.pool_by_name(name) else {
            return Answer::said(format!("pool '{}' does not exist", name.escape_debug()));
        };
        if name != again || !sure {
            return Err(Refusal::new(
                libc::EPERM,
                format!(
                    "WARNING: this will *PERMANENTLY DESTROY* all data stored in pool {name}.  If you are *ABSOLUTELY CERTAIN* \
                     that is what you want, pass the pool name *twice*, followed by --yes-i-really-really-mean-it."
                ),
            ));
        }
        if pool.flags.nodelete {
            return Err(Refusal::new(
                libc::EPERM,
                "pool deletion is disabled; you must unset nodelete flag for the pool first",
            ));
        }
        self.check_no_tiers(pool)?;
        let mut map = self.map.clone();
        map.pools.retain(|other| other.id != pool.id);
        Answer::decided(format!("pool '{name}' removed"), map)
    }

    pub(super) fn pool_set_quota(&self, name: &str, variable: &str, value: &str) -> Outcome {
        let pool = self.pool(name)?;
        let mut parsed = 0;
        let map = self.with_pool(pool.id, |pool| {
            parsed = pool_settings::set_quota(&mut pool.quota, variable, value)?;
            Ok(())
        })?;
        Answer::decided(format!("set-quota {variable} = {parsed} for pool {name}"), map)
    }

    pub(super) fn pool_get_quota(&self, name: &str) -> Outcome {
        let pool = self.pool(name)?;
        let stored = self.stored(pool);
        let objects = match pool.quota.objects_max {
            0 => "N/A".into(),
            most => format!("{} objects  (current num objects: {} objects)", format_count(most), stored.objects),
        };
        let bytes = match pool.quota.bytes_max {
            0 => "N/A".into(),
            most => format!("{}  (current num bytes: {} bytes)", format_bytes(most), stored.data_bytes),
        };
        let message = format!("quotas for pool '{name}':\n  max objects: {objects}\n  max bytes  : {bytes}");
        let document = json!({
            "pool_name": pool.name,
            "pool_id": pool.id,
            "quota_max_objects": pool.quota.objects_max,
            "current_num_objects": stored.objects,
            "quota_max_bytes": pool.quota.bytes_max,
            "current_num_bytes": stored.data_bytes,
        });
        Answer::shown(message, document)
    }

    pub(super) fn pool_application(&self, name: &str, action: &str, application: String) -> Outcome {
        let pool = self.pool(name)?;
        match action {
            "get" => {
                let applications: Object<String, Value> =
                    pool.applications.iter().map(|name| (name.clone(), json!({}))).collect();
                let document = Value::Object(applications);
                Answer::shown(format!("{document:#}"), document)
            }
            "enable" => {
                let valid = !application.is_empty()
                    && application.len() <= limits::APPLICATION_NAME_BYTES_MAX
                    && !application.chars().any(|character| character.is_control() || character.is_whitespace());
                if !valid {
                    return Err(Refusal::invalid(format!(
                        "an application's name has 1 to {} bytes and no blanks",
                        limits::APPLICATION_NAME_BYTES_MAX
                    )));
                }
                let message = format!("enabled application '{application}' on pool '{name}'");
                if pool.applications.contains(&application) {
                    return Answer::said(message);
                }
                if pool.applications.len() >= limits::APPLICATIONS_PER_POOL_MAX {
                    return Err(Refusal::invalid(format!(
                        "too many enabled applications on pool '{name}'; max {}",
                        limits::APPLICATIONS_PER_POOL_MAX
                    )));
                }
                let map = self.with_pool(pool.id, |pool| {
                    pool.applications.push(application);
                    pool.applications.sort();
                    Ok(())
                })?;
                Answer::decided(message, map)
            }
            "disable" => {
                let message = format!("disable application '{application}' on pool '{name}'");
                if !pool.applications.contains(&application) {
                    return Answer::said(message);
                }
                let map = self.with_pool(pool.id, |pool| {
                    pool.applications.retain(|other| *other != application);
                    Ok(())
                })?;
                Answer::decided(message, map)
            }
            _ => Err(Refusal::invalid(format!("Invalid command: {action} not in enable|disable|get"))),
        }
    }
}
