//! The map as JSON, with Ceph's keys: `osd crush dump`, `rule dump`, `show-tunables`.

use super::limits::WEIGHT_ONE;
use super::map::CrushMap;
use super::rule::{Choose, Mode, Rule, Step};
use super::tunables::Tunables;
use serde_json::{Map, Value, json};

impl CrushMap {
    pub fn dump(&self) -> Value {
        json!({
            "devices": self.dump_devices(),
            "types": self.types().map(|(id, name)| json!({"type_id": id, "name": name})).collect::<Vec<_>>(),
            "buckets": self.dump_buckets(),
            "rules": self.dump_rules(),
            "tunables": self.dump_tunables(),
            "choose_args": self.dump_choose_args(),
        })
    }

    /// Every id up to the last device in a bucket, those without a device too.
    fn dump_devices(&self) -> Vec<Value> {
        let device = |id: i32| {
            let name = self.item_name(id).map_or_else(|| format!("device{id}"), str::to_owned);
            let mut device = json!({"id": id, "name": name});
            if let (Some(class), Some(fields)) = (self.device_class(id), device.as_object_mut()) {
                fields.insert("class".into(), class.into());
            }
            if let (Some(slice), Some(fields)) =
                (self.device(id).and_then(|device| device.slice), device.as_object_mut())
            {
                let class = self.class_name(slice.class).unwrap_or_default();
                fields.insert("slice".into(), json!({"class": class, "weight": slice.weight}));
            }
            device
        };
        (0..self.device_count()).map(device).collect()
    }

    fn dump_buckets(&self) -> Vec<Value> {
        let bucket = |bucket: &super::Bucket| {
            let items = bucket.items.iter().enumerate();
            json!({
                "id": bucket.id,
                "name": bucket.name,
                "type_id": bucket.type_id,
                "type_name": self.type_name(bucket.type_id).unwrap_or_default(),
                "weight": bucket.weight(),
                "alg": bucket.algorithm.name(),
                "hash": "rjenkins1",
                "items": items.map(|(pos, item)| json!({"id": item.id, "weight": item.weight, "pos": pos})).collect::<Vec<_>>(),
            })
        };
        self.buckets().map(bucket).collect()
    }

    pub fn dump_rules(&self) -> Vec<Value> {
        self.rules().map(|(id, rule)| self.dump_rule(id, rule)).collect()
    }

    pub fn dump_rule(&self, id: u32, rule: &Rule) -> Value {
        let mut fields = Map::new();
        fields.insert("rule_id".into(), id.into());
        if let Some(name) = &rule.name {
            fields.insert("rule_name".into(), name.as_str().into());
        }
        fields.insert("ruleset".into(), id.into());
        fields.insert("type".into(), rule.kind.number().into());
        fields.insert("min_size".into(), rule.size_min.into());
        fields.insert("max_size".into(), rule.size_max.into());
        fields.insert("steps".into(), rule.steps.iter().map(|step| self.dump_step(step)).collect());
        Value::Object(fields)
    }

    fn dump_step(&self, step: &Step) -> Value {
        match *step {
            Step::Noop => json!({"op": "noop"}),
            Step::Emit => json!({"op": "emit"}),
            Step::Take(item) => {
                json!({"op": "take", "item": item, "item_name": self.item_name(item).unwrap_or_default()})
            }
            Step::Choose(Choose { leaf, mode, count, type_id }) => {
                let op = match (leaf, mode) {
                    (false, Mode::Firstn) => "choose_firstn",
                    (false, Mode::Indep) => "choose_indep",
                    (true, Mode::Firstn) => "chooseleaf_firstn",
                    (true, Mode::Indep) => "chooseleaf_indep",
                };
                json!({"op": op, "num": count, "type": self.type_name(type_id).unwrap_or("osd")})
            }
            setting => match setting.setting() {
                Some((name, value)) => json!({"op": name, "num": value}),
                None => Value::Null,
            },
        }
    }

    /// With what is said of them in words.
    pub fn dump_tunables(&self) -> Value {
        let mut fields: Map<String, Value> =
            self.tunables().named().into_iter().map(|(name, value, _)| (name.to_owned(), value.into())).collect();
        let mut add = |name: &str, value: Value| {
            fields.insert(name.into(), value);
        };
        let profile = self.tunables().profile_name();
        let version = match profile {
            "argonaut" => "argonaut",
            "bobtail" => "bobtail",
            "firefly" => "firefly",
            "hammer" => "hammer",
            _ => "jewel",
        };
        let tunables = self.tunables();
        let old = Tunables::ARGONAUT;
        let flag = |is: bool| Value::from(u8::from(is));
        let any_step = |is: fn(&Step) -> bool| flag(self.rules().any(|(_, rule)| rule.steps.iter().any(is)));
        let is_indep = |step: &Step| {
            matches!(
                step,
                Step::Choose(Choose { mode: Mode::Indep, .. }) | Step::SetChooseTries(_) | Step::SetChooseleafTries(_)
            )
        };
        let tries = |of: &Tunables| (of.choose_local_tries, of.choose_local_fallback_tries, of.choose_total_tries);
        add("profile", profile.into());
        add("optimal_tunables", flag(profile == "jewel"));
        add("legacy_tunables", flag(profile == "argonaut"));
        add("minimum_required_version", version.into());
        add("require_feature_tunables", flag(tries(tunables) != tries(&old)));
        add("require_feature_tunables2", flag(tunables.chooseleaf_descend_once != 0));
        add("has_v2_rules", any_step(is_indep));
        add("require_feature_tunables3", flag(tunables.chooseleaf_vary_r != 0));
        add("has_v3_rules", any_step(|step| matches!(step, Step::SetChooseleafVaryR(_))));
        add("has_v4_buckets", flag(self.buckets().any(|bucket| bucket.algorithm == super::Algorithm::Straw2)));
        add("require_feature_tunables5", flag(tunables.chooseleaf_stable != 0));
        add("has_v5_rules", any_step(|step| matches!(step, Step::SetChooseleafStable(_))));
        Value::Object(fields)
    }

    fn dump_choose_args(&self) -> Value {
        let arg = |(id, arg): (&i32, &super::ChooseArg)| {
            let mut fields = Map::new();
            fields.insert("bucket_id".into(), (*id).into());
            if !arg.weight_sets.is_empty() {
                let weights = |weights: &Vec<u32>| {
                    weights.iter().map(|weight| f64::from(*weight) / f64::from(WEIGHT_ONE)).collect::<Value>()
                };
                fields.insert("weight_set".into(), arg.weight_sets.iter().map(weights).collect());
            }
            if !arg.ids.is_empty() {
                fields.insert("ids".into(), arg.ids.as_slice().into());
            }
            Value::Object(fields)
        };
        let sets = self.choose_args().map(|(set, args)| (set.to_string(), args.iter().rev().map(arg).collect()));
        Value::Object(sets.collect())
    }
}
