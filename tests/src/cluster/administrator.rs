//! Administrators: they take OSDs out and in, change how much falls to them, mark them down, and set flags. In the end they undo it.

use super::Cluster;
use super::tier::{self, TierCounts};
use crate::random::Random;
use basalt_net::message::monitor::{AdminCommand, ChangeMode, MapChange, OsdChange};
use std::rc::Rc;

const FLAGS: [&str; 7] = ["noout", "norebalance", "norecover", "nobackfill", "nodown", "noup", "pause"];

const MODES: [&str; 5] = ["proxy", "readproxy", "writeback", "none", "readonly"];

pub struct Administrator {
    cluster: Rc<Cluster>,
    undo: Vec<AdminCommand>,
}

impl Administrator {
    pub fn new(cluster: &Rc<Cluster>) -> Administrator {
        Administrator { cluster: cluster.clone(), undo: Vec::new() }
    }

    /// Something about the tier, or the end of what was done to it before.
    pub async fn act_on_tier(&mut self, random: &mut Random) {
        let cluster = self.cluster.clone();
        match random.below(5) {
            0 => {
                cluster.tell(|| "an administrator drains the slices".into());
                tier::drain(&cluster).await;
                cluster.count(TierCounts { drains: 1, ..TierCounts::default() });
            }
            1 => {
                let bytes = (8_u64 << 10) << random.below(7);
                assert!(self.command(tier::set("target_max_bytes", &bytes.to_string())).await);
            }
            2 => {
                let flag = String::from("notieragent");
                self.command(AdminCommand::OsdSetFlag { flag: flag.clone(), is_set: true }).await;
                self.undo.push(AdminCommand::OsdSetFlag { flag, is_set: false });
            }
            _ => {
                // Some are refused while anything is dirty.
                if self.command(tier::set("cache_mode", random.pick::<&str>(&MODES))).await {
                    cluster.count(TierCounts { mode_changes: 1, ..TierCounts::default() });
                    self.undo.push(tier::set("cache_mode", "writeback"));
                }
            }
        }
    }

    /// Something new, or the end of what was done before.
    pub async fn act(&mut self, random: &mut Random) {
        if !self.undo.is_empty() && random.chance(50) {
            return self.undo_all().await;
        }
        let osd = random.below(self.cluster.hosts.len() as u64) as u32;
        // Where each copy has one host, nothing can be moved.
        let has_spare = self.cluster.options.hosts > self.cluster.options.size;
        match random.below(4) {
            0 if has_spare => self.change(osd, OsdChange::Out, Some(OsdChange::In)).await,
            1 if has_spare => {
                let weight = random.below(10) as f64 / 10.0;
                self.change(osd, OsdChange::Reweight { weight }, Some(OsdChange::Reweight { weight: 1.0 })).await;
            }
            2 => self.change(osd, OsdChange::Down, None).await,
            _ => {
                let flag = String::from(*random.pick(&FLAGS));
                self.command(AdminCommand::OsdSetFlag { flag: flag.clone(), is_set: true }).await;
                self.undo.push(AdminCommand::OsdSetFlag { flag, is_set: false });
            }
        }
    }

    pub async fn undo_all(&mut self) {
        for command in std::mem::take(&mut self.undo) {
            assert!(self.command(command).await, "what an administrator did can be undone");
        }
    }

    async fn change(&mut self, osd: u32, what: OsdChange, back: Option<OsdChange>) {
        let command = |what| AdminCommand::Change {
            change: MapChange::Osds { osds: vec![osd], what },
            mode: ChangeMode { dry_run: false, sure: true },
        };
        if self.command(command(what)).await {
            self.undo.extend(back.map(command));
        }
    }

    /// Whether it was done: some of it is refused while too much else is amiss.
    async fn command(&self, command: AdminCommand) -> bool {
        let words = format!("{command:?}");
        let reply = self.cluster.monitor().command(command).await;
        self.cluster.tell(|| format!("{words}: {}", reply.message));
        reply.errno == 0
    }
}
