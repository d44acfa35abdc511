//! Map → text, to the letter as `crushtool -d` prints it.

use crate::crush::bucket::{Algorithm, Bucket};
use crate::crush::limits;
use crate::crush::map::{ChooseArg, CrushMap};
use crate::crush::rule::{Rule, Step};
use std::collections::BTreeSet;
use std::fmt;

/// The map's text.
impl fmt::Display for CrushMap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("# begin crush map\n")?;
        for (name, value, unless) in self.tunables.named() {
            if value != unless {
                writeln!(out, "tunable {name} {value}")?;
            }
        }
        out.write_str("\n# devices\n")?;
        // Devices beyond the last one in a bucket are passed over, as there; but for those that a rule takes, or the text would not be read.
        let count = self.device_count();
        let taken: BTreeSet<i32> = self.rules.values().flat_map(|rule| &rule.steps).filter_map(Step::taken).collect();
        for (id, device) in self.devices.iter().filter(|(id, _)| **id < count || taken.contains(id)) {
            write!(out, "device {id} {}", device.name)?;
            if let Some(class) = self.device_class(*id) {
                write!(out, " class {class}")?;
            }
            if let Some(slice) = device.slice {
                let class = self.class_name(slice.class).unwrap_or_default();
                // Slices may be small, so three digits are not enough. Rounded up, as what is read is rounded down.
                let millionths = (u64::from(slice.weight) * 1_000_000).div_ceil(u64::from(limits::WEIGHT_ONE));
                write!(out, " slice {class} weight {}.{:06}", millionths / 1_000_000, millionths % 1_000_000)?;
            }
            out.write_str("\n")?;
        }
        out.write_str("\n# types\n")?;
        for (id, name) in &self.types {
            writeln!(out, "type {id} {name}")?;
        }
        out.write_str("\n# buckets\n")?;
        let mut done = BTreeSet::new();
        for bucket in self.buckets() {
            self.write_bucket(out, bucket, &mut done)?;
        }
        out.write_str("\n# rules\n")?;
        for (id, rule) in &self.rules {
            self.write_rule(out, *id, rule)?;
        }
        if !self.choose_args.is_empty() {
            out.write_str("\n# choose_args\n")?;
        }
        for (set, args) in &self.choose_args {
            // The set for all, -1, without its sign, as crushtool has it.
            writeln!(out, "choose_args {} {{", *set as u64)?;
            for (id, arg) in args.iter().rev() {
                write_choose_arg(out, *id, arg)?;
            }
            out.write_str("}\n")?;
        }
        out.write_str("\n# end crush map\n")
    }
}

impl CrushMap {
    /// A bucket after those that it holds. Shadows are not shown, but for their ids.
    fn write_bucket(&self, out: &mut fmt::Formatter<'_>, bucket: &Bucket, done: &mut BTreeSet<i32>) -> fmt::Result {
        if !done.insert(bucket.id) {
            return Ok(());
        }
        for item in &bucket.items {
            if let Some(child) = self.buckets.get(&item.id) {
                self.write_bucket(out, child, done)?;
            }
        }
        if bucket.is_shadow() {
            return Ok(());
        }
        const KEEP: &str = "\t\t# do not change unnecessarily\n";
        writeln!(out, "{} {} {{", self.type_shown(bucket.type_id), bucket.name)?;
        write!(out, "\tid {}{KEEP}", bucket.id)?;
        for (class, id) in &bucket.shadows {
            write!(out, "\tid {id} class {}{KEEP}", self.class_name(*class).unwrap_or_default())?;
        }
        writeln!(out, "\t# weight {}", Fixed(bucket.weight()))?;
        write!(out, "\talg {}", bucket.algorithm.name())?;
        let shows_places = matches!(bucket.algorithm, Algorithm::Uniform | Algorithm::Tree);
        match bucket.algorithm {
            Algorithm::Uniform => write!(out, "\t# do not change bucket size ({}) unnecessarily", bucket.items.len())?,
            Algorithm::List => out.write_str("\t# add new items at the end; do not change order unnecessarily")?,
            Algorithm::Tree => out.write_str("\t# do not change pos for existing items unnecessarily")?,
            Algorithm::Straw | Algorithm::Straw2 => {}
        }
        out.write_str("\n\thash 0\t# rjenkins1\n")?;
        for (place, item) in bucket.items.iter().enumerate() {
            write!(out, "\titem {} weight {}", self.item_name(item.id).unwrap_or_default(), Fixed(item.weight))?;
            if shows_places {
                write!(out, " pos {place}")?;
            }
            out.write_str("\n")?;
        }
        out.write_str("}\n")
    }

    fn type_shown(&self, id: u16) -> &str {
        self.type_name(id).unwrap_or_default()
    }

    fn write_rule(&self, out: &mut fmt::Formatter<'_>, id: u32, rule: &Rule) -> fmt::Result {
        writeln!(out, "rule {} {{", rule.name.as_deref().unwrap_or_default())?;
        write!(out, "\tid {id}\n\ttype {}\n", rule.kind.name())?;
        write!(out, "\tmin_size {}\n\tmax_size {}\n", rule.size_min, rule.size_max)?;
        for step in &rule.steps {
            out.write_str("\tstep ")?;
            match step {
                Step::Noop => out.write_str("noop")?,
                Step::Emit => out.write_str("emit")?,
                Step::Take(item) => match self.bucket(*item).and_then(|bucket| bucket.shadow_of) {
                    Some((original, class)) => {
                        let class = self.class_name(class).unwrap_or_default();
                        write!(out, "take {} class {class}", self.item_name(original).unwrap_or_default())?;
                    }
                    None => write!(out, "take {}", self.item_name(*item).unwrap_or_default())?,
                },
                Step::Choose(choose) => {
                    let word = if choose.leaf { "chooseleaf" } else { "choose" };
                    let kind = self.type_shown(choose.type_id);
                    write!(out, "{word} {} {} type {kind}", choose.mode.name(), choose.count)?;
                }
                setting => {
                    if let Some((name, value)) = setting.setting() {
                        write!(out, "{name} {value}")?;
                    }
                }
            }
            out.write_str("\n")?;
        }
        out.write_str("}\n")
    }
}

fn write_choose_arg(out: &mut fmt::Formatter<'_>, bucket: i32, arg: &ChooseArg) -> fmt::Result {
    write!(out, "  {{\n    bucket_id {bucket}\n")?;
    if !arg.weight_sets.is_empty() {
        out.write_str("    weight_set [\n")?;
        for weights in &arg.weight_sets {
            out.write_str("      [ ")?;
            for weight in weights {
                write!(out, "{} ", Fixed(*weight))?;
            }
            out.write_str("]\n")?;
        }
        out.write_str("    ]\n")?;
    }
    if !arg.ids.is_empty() {
        out.write_str("    ids [ ")?;
        for id in &arg.ids {
            write!(out, "{id} ")?;
        }
        out.write_str("]\n")?;
    }
    out.write_str("  }\n")
}

/// 16.16 with three digits, by way of a float, as there. (From 32768 on crushtool prints a negative number, which nothing reads back.)
struct Fixed(u32);

impl fmt::Display for Fixed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.3}", self.0 as f32 / 65536.0)
    }
}
