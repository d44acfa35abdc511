//! `osd set|unset FLAG` and `osd set-nearfull-ratio|set-backfillfull-ratio|set-full-ratio R`: what holds for the cluster as a whole.

use super::{Answer, Outcome, View};
use crate::map::MapFlags;
use crate::pool_settings::Refusal;
use basalt_net::message::monitor::FullLine;

impl View<'_> {
    pub(super) fn osd_set_flag(&self, name: &str, is_set: bool) -> Outcome {
        let Some(flag) = MapFlags::by_name(name) else {
            let known: Vec<&str> = MapFlags::all_names().collect();
            return Err(Refusal::invalid(format!(
                "Invalid command: {} not in {}",
                name.escape_debug(),
                known.join("|")
            )));
        };
        let mut map = self.map.clone();
        map.flags = if is_set { map.flags.with(flag) } else { map.flags.without(flag) };
        let message = format!("{name} is {}", if is_set { "set" } else { "unset" });
        if map.flags == self.map.flags {
            return Answer::said(message);
        }
        Answer::decided(message, map)
    }

    pub(super) fn osd_set_full_ratio(&self, line: FullLine, ratio: f64) -> Outcome {
        let mut map = self.map.clone();
        let (name, place) = match line {
            FullLine::NearFull => ("set-nearfull-ratio", &mut map.full_ratios.nearfull),
            FullLine::BackfillFull => ("set-backfillfull-ratio", &mut map.full_ratios.backfillfull),
            FullLine::Full => ("set-full-ratio", &mut map.full_ratios.full),
        };
        *place = ratio;
        map.full_ratios.check().map_err(Refusal::invalid)?;
        let message = format!("osd {name} {ratio}");
        if map.full_ratios == self.map.full_ratios {
            return Answer::said(message);
        }
        Answer::decided(message, map)
    }
}
