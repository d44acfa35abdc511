//! `config set|get|dump`: the settings of the cluster as a whole, by their names, with units as people write them.

use super::{Answer, Outcome, View};
use crate::map::ClusterSettings;
use crate::pool_settings::Refusal;
use crate::quantity::{parse_bytes, parse_duration};
use serde_json::{Value, json};

enum Field<'a> {
    Milliseconds(&'a mut u64),
    Bytes(&'a mut u64),
    Count(&'a mut u32),
    Times(&'a mut f64),
}

const NAMES: [&str; 8] = [
    "mon_osd_down_out_interval",
    "mon_osd_min_down_reporters",
    "osd_heartbeat_grace",
    "osd_heartbeat_interval",
    "osd_max_backfills",
    "osd_recovery_bytes_per_second",
    "osd_recovery_client_slowdown_max",
    "osd_recovery_max_active",
];

fn field<'a>(settings: &'a mut ClusterSettings, name: &str) -> Result<Field<'a>, Refusal> {
    Ok(match name {
        "mon_osd_down_out_interval" => Field::Milliseconds(&mut settings.mon_osd_down_out_interval_ms),
        "mon_osd_min_down_reporters" => Field::Count(&mut settings.mon_osd_min_down_reporters),
        "osd_heartbeat_grace" => Field::Milliseconds(&mut settings.osd_heartbeat_grace_ms),
        "osd_heartbeat_interval" => Field::Milliseconds(&mut settings.osd_heartbeat_interval_ms),
        "osd_max_backfills" => Field::Count(&mut settings.osd_max_backfills),
        "osd_recovery_bytes_per_second" => Field::Bytes(&mut settings.osd_recovery_bytes_per_second),
        "osd_recovery_client_slowdown_max" => Field::Times(&mut settings.osd_recovery_client_slowdown_max),
        "osd_recovery_max_active" => Field::Count(&mut settings.osd_recovery_max_active),
        _ => {
            let known = NAMES.join(", ");
            let name = name.escape_debug();
            return Err(Refusal::new(libc::ENOENT, format!("unrecognized config option '{name}': there are {known}")));
        }
    })
}

impl Field<'_> {
    /// Times in seconds.
    fn value(&self) -> Value {
        match self {
            Field::Milliseconds(ms) if ms.is_multiple_of(1000) => json!(**ms / 1000),
            Field::Milliseconds(ms) => json!(**ms as f64 / 1000.0),
            Field::Bytes(bytes) => json!(**bytes),
            Field::Count(count) => json!(**count),
            Field::Times(times) => json!(**times),
        }
    }

    fn set(self, name: &str, text: &str) -> Result<(), Refusal> {
        let wrong = |problem: String| {
            Refusal::invalid(format!("error parsing value '{}' of {name}: {problem}", text.escape_debug()))
        };
        match self {
            Field::Milliseconds(ms) => {
                let time = parse_duration(text).map_err(wrong)?;
                *ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            }
            Field::Bytes(bytes) => *bytes = parse_bytes(text).map_err(wrong)?,
            Field::Count(count) => *count = text.parse().map_err(|_| wrong("expected a whole number".into()))?,
            Field::Times(times) => {
                let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                *times = number.ok_or_else(|| wrong("expected a number".into()))?;
            }
        }
        Ok(())
    }
}

fn value_of(mut settings: ClusterSettings, name: &str) -> Result<Value, Refusal> {
    Ok(field(&mut settings, name)?.value())
}

impl View<'_> {
    pub(super) fn config_set(&self, name: &str, value: &str) -> Outcome {
        let mut map = self.map.clone();
        field(&mut map.settings, name)?.set(name, value)?;
        map.settings.check().map_err(Refusal::invalid)?;
        let message = format!("set {name} to {}", value_of(map.settings, name)?);
        if map.settings == self.map.settings {
            return Answer::said(message);
        }
        Answer::decided(message, map)
    }

    pub(super) fn config_get(&self, name: &str) -> Outcome {
        let value = value_of(self.map.settings, name)?;
        Answer::shown(value.to_string(), json!({ name: value }))
    }

    pub(super) fn config_dump(&self) -> Outcome {
        let mut options = Vec::new();
        for name in NAMES {
            let value = value_of(self.map.settings, name)?;
            let default = value_of(ClusterSettings::default(), name)?;
            options.push(json!({
                "section": "global",
                "name": name,
                "value": value.to_string(),
                "default": default.to_string(),
                "level": "advanced",
                "can_update_at_runtime": true,
                "mask": "",
            }));
        }
        Answer::shown("", Value::Array(options))
    }
}
