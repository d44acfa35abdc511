//! `config set|get|rm|dump|help`: the settings of the cluster as a whole, and what daemons are set to centrally.

use super::{Answer, Outcome, View};
use crate::limits;
use crate::map::Who;
use crate::options::{self, OPTIONS, OptionInfo, Sort};
use crate::pool_settings::Refusal;
use serde_json::{Map as Object, Value, json};

fn known(name: &str) -> Result<&'static OptionInfo, Refusal> {
    options::by_name(name).ok_or_else(|| {
        let known: Vec<&str> = OPTIONS.iter().map(|option| option.name).collect();
        let name = name.escape_debug();
        Refusal::new(libc::ENOENT, format!("unrecognized config option '{name}': there are {}", known.join(", ")))
    })
}

/// Whose options are meant. `mon` has none but settings of the cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Monitors,
    Daemons(Who),
}

fn whose(word: &str) -> Result<Whose, Refusal> {
    let osd = |word: &str| word.strip_prefix("osd.")?.parse().ok().filter(|id| *id < limits::OSD_COUNT_MAX);
    Ok(match word {
        "global" => Whose::Daemons(Who::Global),
        "mon" => Whose::Monitors,
        "osd" => Whose::Daemons(Who::Osds),
        word => match osd(word) {
            Some(id) => Whose::Daemons(Who::Osd(id)),
            None => {
                let word = word.escape_debug();
                return Err(Refusal::invalid(format!("'{word}' has no options: global, mon, osd and osd.N have")));
            }
        },
    })
}

/// For whom a daemon's option is set; `None`: it is a setting of the cluster, which has one value for all.
fn holder(option: &OptionInfo, who: &str) -> Result<Option<Who>, Refusal> {
    let name = option.name;
    match (option.sort, whose(who)?) {
        (Sort::Cluster, Whose::Daemons(Who::Osd(_))) => {
            Err(Refusal::invalid(format!("{name} is the whole cluster's, and not {who}'s own: say global")))
        }
        (Sort::Cluster, _) => Ok(None),
        (_, Whose::Monitors) => Err(Refusal::invalid(format!("{name} is an option of OSDs: say osd, osd.N or global"))),
        (Sort::HostAtStart, Whose::Daemons(Who::Osd(_))) => Err(Refusal::invalid(format!(
            "{name} is one for all OSDs of a host: say osd, or give it in the [osd] section of the host's file"
        ))),
        (_, Whose::Daemons(who)) => Ok(Some(who)),
    }
}

/// Whether somebody goes by an option, also one that can't be set for him alone.
fn applies_to(option: &OptionInfo, who: &str) -> Result<(), Refusal> {
    match (option.sort, whose(who)?) {
        (Sort::HostAtStart, Whose::Daemons(Who::Osd(_))) => Ok(()),
        _ => holder(option, who).map(drop),
    }
}

fn at_start(option: &OptionInfo) -> &'static str {
    if option.applies_at_once() { "" } else { "; daemons read it when they start" }
}

impl View<'_> {
    pub(super) fn config_set(&self, who: &str, name: &str, text: &str) -> Outcome {
        let option = known(name)?;
        let holder = holder(option, who)?;
        let value = option.parse(text).map_err(|problem| {
            Refusal::invalid(format!("error parsing value '{}' of {name}: {problem}", text.escape_debug()))
        })?;
        option.check(value).map_err(Refusal::invalid)?;
        let mut map = self.map.clone();
        let shown = option.shown(value);
        let message = match holder {
            None => {
                map.settings.set(name, value);
                map.settings.check().map_err(Refusal::invalid)?;
                format!("set {name} to {shown}")
            }
            Some(holder) => {
                map.set_option(holder, name, Some(value as u64));
                if map.options.len() > limits::CENTRAL_OPTIONS_MAX {
                    let most = limits::CENTRAL_OPTIONS_MAX;
                    return Err(Refusal::new(libc::E2BIG, format!("{most} options are set, and no more can be")));
                }
                format!("set {name} of {holder} to {shown}{}", at_start(option))
            }
        };
        if map == *self.map {
            return Answer::said(message);
        }
        Answer::decided(message, map)
    }

    pub(super) fn config_rm(&self, who: &str, name: &str) -> Outcome {
        let option = known(name)?;
        let mut map = self.map.clone();
        let message = match holder(option, who)? {
            None => {
                map.settings.set(name, option.default);
                map.settings.check().map_err(Refusal::invalid)?;
                format!("{name} is {} again, its default", option.shown(option.default))
            }
            Some(holder) => {
                map.set_option(holder, name, None);
                format!("{name} of {holder} is no longer set{}", at_start(option))
            }
        };
        if map == *self.map {
            return Answer::said(message);
        }
        Answer::decided(message, map)
    }

    /// One option, or all of them, as they are for somebody by the map; what a host's file says, only its daemon knows.
    pub(super) fn config_get(&self, who: &str, name: Option<&str>) -> Outcome {
        let whose = whose(who)?;
        if let Some(name) = name {
            let option = known(name)?;
            applies_to(option, who)?;
            let (value, _) = self.central(option, whose);
            return Answer::shown(value.to_string(), json!({ name: value }));
        }
        let is_of = |option: &&OptionInfo| applies_to(option, who).is_ok();
        let options: Vec<Value> = OPTIONS
            .iter()
            .filter(is_of)
            .map(|option| {
                let (value, source) = self.central(option, whose);
                json!({ "name": option.name, "value": value, "source": source })
            })
            .collect();
        Answer::shown("", Value::Array(options))
    }

    /// What an option is, and by whom it is so.
    fn central(&self, option: &OptionInfo, whose: Whose) -> (Value, String) {
        if option.sort == Sort::Cluster {
            let value = self.map.settings.get(option.name).unwrap_or(option.default);
            let source = if value == option.default { "default" } else { "global" };
            return (option.shown(value), source.into());
        }
        let set = match whose {
            Whose::Daemons(Who::Osd(id)) => self.map.option(id, option.name),
            Whose::Daemons(Who::Osds) => {
                let of = |who| Some((who, self.map.option_of(who, option.name)?));
                of(Who::Osds).or_else(|| of(Who::Global))
            }
            Whose::Daemons(Who::Global) | Whose::Monitors => {
                self.map.option_of(Who::Global, option.name).map(|value| (Who::Global, value))
            }
        };
        match set {
            Some((who, value)) => (option.shown(value as f64), who.to_string()),
            None => (option.shown(option.default), "default".into()),
        }
    }

    /// All settings of the cluster, and what is set for daemons.
    pub(super) fn config_dump(&self) -> Outcome {
        let shown = |section: String, option: &OptionInfo, value: f64| {
            json!({
                "section": section,
                "name": option.name,
                "value": option.shown(value).to_string(),
                "default": option.shown(option.default).to_string(),
                "level": "advanced",
                "can_update_at_runtime": option.applies_at_once(),
                "mask": "",
            })
        };
        let of_cluster = OPTIONS
            .iter()
            .filter_map(|option| Some(shown("global".into(), option, self.map.settings.get(option.name)?)));
        let of_daemons = self
            .map
            .options
            .iter()
            .filter_map(|set| Some(shown(set.who.to_string(), options::by_name(&set.name)?, set.value as f64)));
        Answer::shown("", of_cluster.chain(of_daemons).collect())
    }

    pub(super) fn config_help(&self, name: Option<&str>) -> Outcome {
        match name {
            Some(name) => {
                let option = known(name)?;
                Answer::shown(help_text(option), help_document(option))
            }
            None => {
                let lines: Vec<String> =
                    OPTIONS.iter().map(|option| format!("{} - {}", option.name, option.help)).collect();
                Answer::shown(lines.join("\n"), OPTIONS.iter().map(help_document).collect())
            }
        }
    }
}

fn applies(option: &OptionInfo) -> &'static str {
    match option.sort {
        Sort::Cluster => "at once, to the whole cluster",
        Sort::OsdAtOnce => "at once, unless the host's file gives it",
        Sort::HostAtStart => "after a restart of the host's daemon, unless the host's file gives it",
    }
}

fn help_text(option: &OptionInfo) -> String {
    let unit = match option.unit() {
        "" => String::new(),
        unit => format!(", {unit}"),
    };
    let zero = option.zero.map_or(String::new(), |meaning| format!(", 0: {meaning}"));
    let (least, most, default) = (option.shown(option.least), option.shown(option.most), option.shown(option.default));
    format!(
        "{} - {}\n  ({}{unit}) default: {default}, least: {least}, most: {most}{zero}\n  applies {}",
        option.name,
        option.help,
        option.type_name(),
        applies(option)
    )
}

fn help_document(option: &OptionInfo) -> Value {
    let mut document = Object::new();
    document.insert("name".into(), json!(option.name));
    document.insert("type".into(), json!(option.type_name()));
    document.insert("unit".into(), json!(option.unit()));
    document.insert("desc".into(), json!(option.help));
    document.insert("default".into(), option.shown(option.default));
    document.insert("min".into(), option.shown(option.least));
    document.insert("max".into(), option.shown(option.most));
    document.insert("zero".into(), json!(option.zero));
    document.insert("can_update_at_runtime".into(), json!(option.applies_at_once()));
    document.insert("applies".into(), json!(applies(option)));
    Value::Object(document)
}
