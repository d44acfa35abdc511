//! Settings of the cluster as a whole, as `config set` knows them: how soon it reacts, and how hard it recovers.

use crate::options::OPTIONS;
use rkyv::{Archive, Deserialize, Serialize};

/// Times in milliseconds. Changed by `basalt config set`, and in force everywhere with the map that brings them.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct ClusterSettings {
    /// An OSD that is down for so long is marked out, and what it held is made anew elsewhere. 0: never.
    pub mon_osd_down_out_interval_ms: u64,
    /// So many hosts must miss an OSD before it is marked down, or all others if there are fewer.
    pub mon_osd_min_down_reporters: u32,
    pub osd_heartbeat_interval_ms: u64,
    /// An OSD that answers no heartbeat for so long is reported.
    pub osd_heartbeat_grace_ms: u64,
    /// Objects that one OSD recovers at a time, as their primary.
    pub osd_recovery_max_active: u32,
    /// Placement groups that one OSD backfills at a time.
    pub osd_max_backfills: u32,
    /// Bytes a second that one OSD sends to recover and backfill. 0: as much as clients leave.
    pub osd_recovery_bytes_per_second: u64,
    /// Recovery slows down when it makes clients' 99th percentile of latency more than so many times what it was.
    pub osd_recovery_client_slowdown_max: f64,
}

impl Default for ClusterSettings {
    fn default() -> ClusterSettings {
        ClusterSettings {
            mon_osd_down_out_interval_ms: 600_000,
            mon_osd_min_down_reporters: 2,
            osd_heartbeat_interval_ms: 500,
            osd_heartbeat_grace_ms: 6_000,
            osd_recovery_max_active: 8,
            osd_max_backfills: 2,
            osd_recovery_bytes_per_second: 0,
            osd_recovery_client_slowdown_max: 2.0,
        }
    }
}

impl ClusterSettings {
    /// By its name in [`OPTIONS`], in the unit that is kept. `None`: it is no setting of the cluster.
    pub fn get(&self, name: &str) -> Option<f64> {
        Some(match name {
            "mon_osd_down_out_interval" => self.mon_osd_down_out_interval_ms as f64,
            "mon_osd_min_down_reporters" => f64::from(self.mon_osd_min_down_reporters),
            "osd_heartbeat_grace" => self.osd_heartbeat_grace_ms as f64,
            "osd_heartbeat_interval" => self.osd_heartbeat_interval_ms as f64,
            "osd_max_backfills" => f64::from(self.osd_max_backfills),
            "osd_recovery_bytes_per_second" => self.osd_recovery_bytes_per_second as f64,
            "osd_recovery_client_slowdown_max" => self.osd_recovery_client_slowdown_max,
            "osd_recovery_max_active" => f64::from(self.osd_recovery_max_active),
            _ => return None,
        })
    }

    /// As [`ClusterSettings::get`]; a name that is no setting of the cluster changes nothing.
    pub fn set(&mut self, name: &str, value: f64) {
        match name {
            "mon_osd_down_out_interval" => self.mon_osd_down_out_interval_ms = value as u64,
            "mon_osd_min_down_reporters" => self.mon_osd_min_down_reporters = value as u32,
            "osd_heartbeat_grace" => self.osd_heartbeat_grace_ms = value as u64,
            "osd_heartbeat_interval" => self.osd_heartbeat_interval_ms = value as u64,
            "osd_max_backfills" => self.osd_max_backfills = value as u32,
            "osd_recovery_bytes_per_second" => self.osd_recovery_bytes_per_second = value as u64,
            "osd_recovery_client_slowdown_max" => self.osd_recovery_client_slowdown_max = value,
            "osd_recovery_max_active" => self.osd_recovery_max_active = value as u32,
            _ => {}
        }
    }

    /// What is wrong with these settings, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        for option in &OPTIONS {
            if let Some(value) = self.get(option.name) {
                option.check(value)?;
            }
        }
        if self.osd_heartbeat_grace_ms < 3 * self.osd_heartbeat_interval_ms {
            return Err(format!(
                "osd_heartbeat_grace {} ms is less than three times osd_heartbeat_interval, {} ms: one lost heartbeat would mark an OSD down",
                self.osd_heartbeat_grace_ms, self.osd_heartbeat_interval_ms
            ));
        }
        Ok(())
    }

    /// How long a member's answer to a heartbeat lets the primary serve reads: two heartbeats may get lost, and the member that
    /// would take over has long stopped granting when the primary is marked down.
    pub fn lease_ms(&self) -> u64 {
        self.osd_heartbeat_grace_ms / 2
    }
}
