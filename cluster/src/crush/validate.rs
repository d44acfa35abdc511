//! What is odd about a map that fits together: it works, but hardly as it was meant.

use super::edit::shown_weight;
use super::map::CrushMap;
use super::rule::{Rule, Step};
use std::fmt;

/// The last digit of a weight in a text: 0.001.
const TEXT_DIGIT: u32 = super::limits::WEIGHT_ONE.div_ceil(1000);

/// Found by [`CrushMap::validate`]; shown as a sentence that says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A bucket counts for more or less in its parent than what is in it; in a uniform one no weight counts.
    WeightDiffers {
        parent: String,
        item: String,
        weight: u32,
        sum: u32,
    },
    RuleTakesNothing {
        rule: String,
    },
    RuleEmitsNothing {
        rule: String,
    },
    /// Nothing of the chosen type is where the rule looks.
    RuleFindsNothing {
        rule: String,
        taken: String,
        type_name: String,
    },
    RuleTakesNoDevices {
        rule: String,
        taken: String,
    },
    DeviceNowhere {
        device: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::WeightDiffers { parent, item, weight, sum } => {
                let (weight, sum) = (shown_weight(*weight), shown_weight(*sum));
                write!(f, "bucket '{item}' weighs {weight:.3} in '{parent}', and what is in it weighs {sum:.3}")
            }
            Problem::RuleTakesNothing { rule } => {
                write!(f, "rule '{rule}' chooses before it takes anything: begin with 'step take'")
            }
            Problem::RuleEmitsNothing { rule } => write!(f, "rule '{rule}' emits nothing: end it with 'step emit'"),
            Problem::RuleFindsNothing { rule, taken, type_name } => {
                write!(f, "rule '{rule}' looks for items of type {type_name} in '{taken}', where there are none")
            }
            Problem::RuleTakesNoDevices { rule, taken } => {
                write!(f, "rule '{rule}' takes '{taken}', where there are no devices with a weight")
            }
            Problem::DeviceNowhere { device } => write!(f, "device '{device}' is in no bucket, so nothing goes there"),
        }
    }
}

impl CrushMap {
    /// Everything that is odd, weights first.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let counts = |bucket: &&super::Bucket| !bucket.is_shadow() && bucket.algorithm != super::Algorithm::Uniform;
        for parent in self.buckets().filter(counts) {
            for item in &parent.items {
                let Some(bucket) = self.bucket(item.id) else { continue };
                // Texts have three digits a weight, and sums are of what was cut.
                let cut = TEXT_DIGIT * (bucket.items.len() as u32 + 1);
                if bucket.weight().abs_diff(item.weight) > cut {
                    let (parent, item_name) = (parent.name.clone(), bucket.name.clone());
                    let (weight, sum) = (item.weight, bucket.weight());
                    problems.push(Problem::WeightDiffers { parent, item: item_name, weight, sum });
                }
            }
        }
        for (id, rule) in self.rules() {
            self.validate_rule(&rule.name.clone().unwrap_or_else(|| id.to_string()), rule, &mut problems);
        }
        let placed: std::collections::BTreeSet<i32> =
            self.buckets().flat_map(|bucket| bucket.items.iter().map(|item| item.id)).collect();
        for (id, device) in self.devices() {
            if !placed.contains(&id) {
                problems.push(Problem::DeviceNowhere { device: device.name.clone() });
            }
        }
        problems
    }

    /// Whether a rule can give a place to data at all: it takes something with devices, finds what it chooses, and emits it.
    pub fn rule_problems(&self, id: u32) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(rule) = self.rule(id) {
            self.validate_rule(&rule.name.clone().unwrap_or_else(|| id.to_string()), rule, &mut problems);
        }
        problems
    }

    fn validate_rule(&self, name: &str, rule: &Rule, problems: &mut Vec<Problem>) {
        let shown = |id: i32| self.item_name(id).unwrap_or_default().to_owned();
        let mut taken = None;
        let mut has_emitted = false;
        for step in &rule.steps {
            match step {
                Step::Take(item) => {
                    taken = Some(*item);
                    if *item < 0 && !self.has_weighty_device(*item) {
                        problems.push(Problem::RuleTakesNoDevices { rule: name.to_owned(), taken: shown(*item) });
                    }
                }
                Step::Choose(choose) => match taken {
                    None => problems.push(Problem::RuleTakesNothing { rule: name.to_owned() }),
                    Some(root) => {
                        let is_of_type = |id: i32| id != root && self.item_type(id) == Some(choose.type_id);
                        if !self.any_below(root, &is_of_type, &mut Default::default()) {
                            problems.push(Problem::RuleFindsNothing {
                                rule: name.to_owned(),
                                taken: shown(root),
                                type_name: self.type_name(choose.type_id).unwrap_or("osd").to_owned(),
                            });
                        }
                    }
                },
                Step::Emit => has_emitted |= taken.take().is_some(),
                _ => {}
            }
        }
        if !has_emitted {
            problems.push(Problem::RuleEmitsNothing { rule: name.to_owned() });
        }
    }

    fn has_weighty_device(&self, root: i32) -> bool {
        let holds_one = |id: i32| {
            self.bucket(id).is_some_and(|bucket| bucket.items.iter().any(|item| item.id >= 0 && item.weight > 0))
        };
        self.any_below(root, &holds_one, &mut Default::default())
    }

    /// Whether something is true of an item or of any below it.
    fn any_below(&self, id: i32, is: &impl Fn(i32) -> bool, seen: &mut std::collections::BTreeSet<i32>) -> bool {
        seen.insert(id)
            && (is(id)
                || self
                    .bucket(id)
                    .is_some_and(|bucket| bucket.items.iter().any(|item| self.any_below(item.id, is, seen))))
    }
}
