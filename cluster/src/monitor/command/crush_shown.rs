//! `osd crush dump|ls|rule ls|rule dump|class ls|show-tunables` and `osd getcrushmap`: the CRUSH map as it is.

use super::crush_change::refusal;
use super::{Answer, Outcome, View};
use crate::crush::{CrushMap, EditError};
use basalt_net::message::monitor::CrushQuestion;
use serde_json::{Value, json};

impl View<'_> {
    pub(super) fn crush(&self, question: CrushQuestion) -> Outcome {
        let crush = self.map.crush_map();
        match question {
            CrushQuestion::Tree { shadows } => self.crush_tree(shadows),
            CrushQuestion::Dump => pretty(crush.dump()),
            CrushQuestion::Map => {
                let text = crush.to_string();
                Answer::shown(text.clone(), json!({ "epoch": self.map.epoch(), "crushmap": text }))
            }
            CrushQuestion::Ls { bucket } => {
                let missing = || refusal(EditError::NoSuchItem(bucket.clone()));
                let id = crush.item_id(&bucket).ok_or_else(missing)?;
                let items = match crush.bucket(id) {
                    Some(found) => found.items.iter().filter_map(|item| crush.item_name(item.id)).collect(),
                    None => vec![bucket.as_str()],
                };
                Answer::shown(items.join("\n"), json!(items))
            }
            CrushQuestion::RuleLs => {
                let names = rule_names(&crush);
                Answer::shown(names.join("\n"), json!(names))
            }
            CrushQuestion::RuleDump { name: None } => pretty(Value::Array(crush.dump_rules())),
            CrushQuestion::RuleDump { name: Some(name) } => {
                let found = crush.rule_id(&name).and_then(|id| Some((id, crush.rule(id)?)));
                let known = rule_names(&crush).join(", ");
                let (id, rule) = found.ok_or_else(|| refusal(EditError::NoSuchRule { name, known }))?;
                pretty(crush.dump_rule(id, rule))
            }
            CrushQuestion::ClassLs => {
                let classes: Vec<&str> = crush.classes().map(|(_, name)| name).collect();
                pretty(json!(classes))
            }
            CrushQuestion::ClassLsOsd { class } => {
                let of_class = crush.devices().filter(|(id, _)| crush.device_class(*id) == Some(&class));
                let ids: Vec<i32> = of_class.map(|(id, _)| id).collect();
                let lines: Vec<String> = ids.iter().map(i32::to_string).collect();
                Answer::shown(lines.join("\n"), json!(ids))
            }
            CrushQuestion::Tunables => pretty(crush.dump_tunables()),
        }
    }
}

/// What Ceph prints as JSON to people too.
fn pretty(document: Value) -> Outcome {
    Answer::shown(format!("{document:#}"), document)
}

pub(super) fn rule_names(crush: &CrushMap) -> Vec<String> {
    crush.rules().map(|(id, rule)| rule.name.clone().unwrap_or_else(|| id.to_string())).collect()
}
