//! `versions`, and `osd require-osd-release NAME`: who runs what, and from which release on daemons are let in.

use super::{Answer, Outcome, View};
use crate::limits;
use crate::map::Osd;
use crate::pool_settings::Refusal;
use basalt_net::features::RELEASES;
use basalt_net::{Features, Release, Software};
use serde_json::{Map as Object, Value, json};
use std::collections::BTreeMap;

impl View<'_> {
    pub(super) fn versions(&self) -> Outcome {
        let mut osds: BTreeMap<String, usize> = BTreeMap::new();
        for osd in self.up() {
            *osds.entry(self.runs(osd.id)).or_default() += 1;
        }
        let monitor = self.core.software.to_string();
        let mut overall = osds.clone();
        *overall.entry(monitor.clone()).or_default() += 1;
        Answer::shown("", json!({ "mon": { monitor: 1 }, "osd": counts(osds), "overall": counts(overall) }))
    }

    /// What an OSD runs, in words.
    pub(super) fn runs(&self, osd: u32) -> String {
        self.core.software_of(osd).map_or_else(|| "unknown".into(), Software::to_string)
    }

    pub(super) fn osd_require_release(&self, name: &str, sure: bool) -> Outcome {
        let release = Release::by_name(name).ok_or_else(|| {
            let known: Vec<&str> = RELEASES.iter().map(|release| release.name).collect();
            Refusal::invalid(format!("{} is no release; there are {}", name.escape_debug(), known.join(", ")))
        })?;
        let required = self.map.required_features;
        if !release.features.contains(required) {
            let message = format!(
                "require_osd_release is {}, and is not lowered: what is in the map since then could not be read",
                required.release()
            );
            return Err(Refusal::new(libc::EPERM, message));
        }
        if required == release.features {
            return Answer::said(format!("require_osd_release is {name} already"));
        }
        let lacking = self.who_lacks(release.features, sure);
        if !lacking.is_empty() {
            let shown: Vec<String> = lacking.iter().take(limits::LACKING_SHOWN_MAX).cloned().collect();
            let more = lacking.len() - shown.len();
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            let message = format!("not everybody can do what {name} can: {}{more}", shown.join("; "));
            return Err(Refusal::new(libc::EPERM, message));
        }
        let mut map = self.map.clone();
        map.required_features = release.features;
        Answer::decided(format!("require_osd_release is {name}"), map)
    }

    /// A line for each who must have these features and has not; `sure`: clients are let go.
    fn who_lacks(&self, features: Features, sure: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let own = features.without(self.core.software.features);
        if !own.is_none() {
            lines.push(format!("this monitor runs {} and lacks {own}", self.core.software));
        }
        for osd in self.up() {
            match self.core.software_of(osd.id) {
                None => lines.push(format!("osd.{} has not told this monitor yet what it runs", osd.id)),
                Some(software) => lines.extend(lacks(osd, software, features)),
            }
        }
        let clients = if sure { BTreeMap::new() } else { self.core.clients_lacking(features) };
        lines.extend(clients.into_iter().map(|(name, software)| {
            format!("{name} has a session and runs {software}: upgrade it, or --yes-i-really-mean-it and it is cut off")
        }));
        lines
    }

    fn up(&self) -> impl Iterator<Item = &Osd> {
        self.map.osds.iter().filter(|osd| osd.exists && osd.is_up)
    }

    /// OSDs that can do less than this monitor, a line each.
    pub(in crate::monitor) fn older_osds(&self) -> Vec<String> {
        let of_osd = |osd: &Osd| lacks(osd, self.core.software_of(osd.id)?, self.core.software.features);
        self.up().filter_map(of_osd).collect()
    }

    /// The release that all OSDs run, if it is not yet required of them.
    pub(in crate::monitor) fn release_to_require(&self) -> Option<&'static str> {
        let missing = self.core.software.features.without(self.map.required_features);
        let has_all = |osd: &Osd| self.core.software_of(osd.id).is_some_and(|it| it.features.contains(missing));
        let everybody = self.up().next().is_some() && self.up().all(has_all);
        (everybody && !missing.is_none()).then(|| self.core.software.features.release())
    }
}

fn lacks(osd: &Osd, software: &Software, features: Features) -> Option<String> {
    let lacking = features.without(software.features);
    (!lacking.is_none()).then(|| format!("osd.{} of host {} runs {software} and lacks {lacking}", osd.id, osd.host))
}

fn counts(by_version: BTreeMap<String, usize>) -> Value {
    Value::Object(by_version.into_iter().map(|(version, count)| (version, json!(count))).collect::<Object<_, _>>())
}
