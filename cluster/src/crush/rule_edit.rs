//! Rules made and removed by commands.

use super::check::is_name;
use super::edit_error::{EditError, listed};
use super::limits;
use super::map::CrushMap;
use super::rule::{Choose, Mode, Rule, RuleKind, Step};

type Result<T> = std::result::Result<T, EditError>;

/// Tries of a rule that keeps places, where a hole would be a missing shard.
const INDEP_LEAF_TRIES: u32 = 5;
const INDEP_TRIES: u32 = 100;

impl CrushMap {
    /// A rule for replicas: each under another item of the type `failure_domain` below `root`, on devices of one class if one is given.
    /// With [`Mode::Indep`], one that keeps places. Returns its number.
    pub fn create_replicated_rule(
        &mut self,
        name: &str,
        root: &str,
        failure_domain: &str,
        class: Option<&str>,
        mode: Mode,
    ) -> Result<u32> {
        self.create_rule(name, root, failure_domain, class, mode, RuleKind::Replicated)
    }

    /// As `osd crush rule create-simple` and `create-erasure` make them, too.
    pub fn create_rule(
        &mut self,
        name: &str,
        root: &str,
        failure_domain: &str,
        class: Option<&str>,
        mode: Mode,
        kind: RuleKind,
    ) -> Result<u32> {
        self.edited(|map| {
            if !is_name(name) {
                return Err(EditError::Name(name.to_owned()));
            }
            if map.rule_id(name).is_some() {
                return Err(EditError::RuleExists(name.to_owned()));
            }
            let id = (0..limits::RULE_COUNT_MAX).find(|id| !map.rules.contains_key(id)).ok_or(EditError::RulesFull)?;
            let root_id = map.item_id(root).ok_or_else(|| EditError::NoSuchItem(root.to_owned()))?;
            let type_id = map.type_id(failure_domain).ok_or_else(|| EditError::no_such_type(map, failure_domain))?;
            let taken = match class {
                None => root_id,
                Some(class) => map.shadow(root, root_id, class)?,
            };
            let mut steps = Vec::new();
            if mode == Mode::Indep {
                steps.extend([Step::SetChooseleafTries(INDEP_LEAF_TRIES), Step::SetChooseTries(INDEP_TRIES)]);
            }
            let choose = Choose { leaf: type_id != 0, mode, count: 0, type_id };
            steps.extend([Step::Take(taken), Step::Choose(choose), Step::Emit]);
            let (size_min, size_max) = match mode {
                Mode::Firstn => (1, 10),
                Mode::Indep => (3, 20),
            };
            map.rules.insert(id, Rule { name: Some(name.to_owned()), kind, size_min, size_max, steps });
            Ok(id)
        })
    }

    fn shadow(&self, root: &str, root_id: i32, class: &str) -> Result<i32> {
        let Some(class_id) = self.class_id(class) else {
            let known = listed(self.classes().map(|(_, name)| name));
            return Err(EditError::NoSuchClass { name: class.to_owned(), known });
        };
        let bucket = self.buckets.get(&root_id).ok_or_else(|| EditError::NotABucket(root.to_owned()))?;
        let shadow = bucket.shadows.get(&class_id).filter(|shadow| self.buckets.contains_key(shadow));
        shadow.copied().ok_or_else(|| EditError::NothingOfClass { root: root.to_owned(), class: class.to_owned() })
    }

    /// Whether a pool still uses the rule is for the caller to know.
    pub fn remove_rule(&mut self, name: &str) -> Result<()> {
        self.edited(|map| {
            let id = map.known_rule(name)?;
            map.rules.remove(&id);
            map.rebuild_shadows();
            Ok(())
        })
    }

    pub fn rename_rule(&mut self, from: &str, to: &str) -> Result<()> {
        self.edited(|map| {
            let id = map.known_rule(from)?;
            if !is_name(to) {
                return Err(EditError::Name(to.to_owned()));
            }
            if map.rule_id(to).is_some() {
                return Err(EditError::RuleExists(to.to_owned()));
            }
            if let Some(rule) = map.rules.get_mut(&id) {
                rule.name = Some(to.to_owned());
            }
            Ok(())
        })
    }

    fn known_rule(&self, name: &str) -> Result<u32> {
        let known = || listed(self.rules().filter_map(|(_, rule)| rule.name.as_deref()));
        self.rule_id(name).ok_or_else(|| EditError::NoSuchRule { name: name.to_owned(), known: known() })
    }

    /// Refuses an item that a rule takes, by itself or in a class.
    pub(super) fn check_not_taken(&self, id: i32, name: &str) -> Result<()> {
        let is_it = |taken: &i32| {
            *taken == id || self.bucket(*taken).and_then(|bucket| bucket.shadow_of).is_some_and(|(of, _)| of == id)
        };
        let takes =
            |rule: &&(u32, &Rule)| rule.1.steps.iter().any(|step| matches!(step, Step::Take(taken) if is_it(taken)));
        let rules: Vec<(u32, &Rule)> = self.rules().collect();
        let rules: Vec<String> = rules
            .iter()
            .filter(takes)
            .map(|(id, rule)| format!("'{}'", rule.name.as_ref().unwrap_or(&id.to_string())))
            .collect();
        if rules.is_empty() { Ok(()) } else { Err(EditError::InUse { name: name.to_owned(), rules: rules.join(", ") }) }
    }
}
