//! Random maps, as text: all bucket algorithms, odd and zero weights, empty buckets, classes, slices, holes among ids, choose_args, rules of
//! all kinds, old and new tunables.

use std::fmt::Write;

/// The SplitMix64 generator (Steele, Lea, Flood 2014).
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

struct Made {
    name: String,
    id: i64,
    size: usize,
    algorithm: &'static str,
}

/// A map of this seed, and how many rules it has.
pub fn random_map(seed: u64) -> (String, u32) {
    let mut random = Random(seed);
    let random = &mut random;
    let mut text = String::new();
    tunables(random, &mut text);
    let devices = 1 + random.below(40);
    let classes = ["hdd", "ssd", "nvme"];
    let has_classes = random.chance(2);
    let has_slices = has_classes && random.chance(3);
    for id in 0..devices {
        let class =
            if has_classes && !random.chance(5) { format!(" class {}", random.pick(&classes)) } else { String::new() };
        let slice = if has_slices && random.chance(2) {
            format!(" slice {} weight {:.5}", random.pick(&classes), random.below(400) as f64 / 100.0)
        } else {
            String::new()
        };
        writeln!(text, "device {id} osd.{id}{class}{slice}").unwrap();
    }
    text.push_str("type 0 osd\ntype 1 host\ntype 2 rack\ntype 5 row\ntype 10 root\n");

    let mut used_ids = Vec::new();
    let mut below: Vec<String> = (0..devices).filter(|_| !random.chance(20)).map(|id| format!("osd.{id}")).collect();
    let mut all = Vec::new();
    let levels: &[&str] = match random.below(4) {
        0 => &["host", "root"],
        1 => &["host", "rack", "root"],
        2 => &["host", "rack", "row", "root"],
        _ => &["root"],
    };
    for (level, kind) in levels.iter().enumerate() {
        let is_top = level + 1 == levels.len();
        let count = if is_top { 1 + random.below(2) } else { 1 + random.below(1 + below.len() as u64 / 2) } as usize;
        let mut shares: Vec<Vec<String>> = vec![Vec::new(); count];
        for item in below {
            shares[random.below(count as u64) as usize].push(item);
        }
        below = Vec::new();
        for (number, items) in shares.into_iter().enumerate() {
            let made = bucket(random, &mut text, &format!("{kind}{number}"), kind, level == 0, &items, &mut used_ids);
            below.push(made.name.clone());
            all.push(made);
        }
    }
    let rules = rules(random, &mut text, levels, &all, has_classes.then_some(&classes[..]), devices);
    if random.chance(4) {
        choose_args(random, &mut text, &all);
    }
    (text, rules)
}

fn tunables(random: &mut Random, text: &mut String) {
    if random.chance(3) {
        return;
    }
    let mut tunable = |name: &str, value: u64| writeln!(text, "tunable {name} {value}").unwrap();
    tunable("choose_local_tries", random.pick(&[0, 0, 2]));
    tunable("choose_local_fallback_tries", random.pick(&[0, 0, 0, 5]));
    tunable("choose_total_tries", random.pick(&[50, 19, 3]));
    tunable("chooseleaf_descend_once", random.below(2));
    tunable("chooseleaf_vary_r", random.below(4));
    tunable("chooseleaf_stable", random.below(2));
    tunable("straw_calc_version", random.below(2));
    tunable("allowed_bucket_algs", 54);
}

fn weight(random: &mut Random) -> String {
    match random.below(8) {
        0 => "0.000".into(),
        1 => "1.000".into(),
        2 => format!("{}.{:03}", random.below(99), random.below(1000)),
        3 => "0.001".into(),
        // Large and close to each other: the draws of several items are alike.
        4 => format!("99.{:03}", random.below(1000)),
        _ => format!("{}.{:03}", random.below(10), random.below(1000)),
    }
}

fn bucket(
    random: &mut Random,
    text: &mut String,
    name: &str,
    kind: &str,
    holds_devices: bool,
    items: &[String],
    used_ids: &mut Vec<i64>,
) -> Made {
    let algorithm = random.pick(&["straw2", "straw2", "straw2", "straw", "list", "tree", "uniform"]);
    let mut id = -1 - random.below(100) as i64;
    while used_ids.contains(&id) {
        id -= 1;
    }
    used_ids.push(id);
    let shared = weight(random);
    let all_alike = algorithm == "uniform" || random.chance(3);
    writeln!(text, "{kind} {name} {{\n id {id}\n alg {algorithm}\n hash 0").unwrap();
    for item in items {
        let own = if all_alike { shared.clone() } else { weight(random) };
        // Buckets may also count as what is in them.
        match random.chance(3) && !holds_devices && algorithm != "uniform" {
            true => writeln!(text, " item {item}").unwrap(),
            false => writeln!(text, " item {item} weight {own}").unwrap(),
        }
    }
    text.push_str("}\n");
    Made { name: name.to_owned(), id, size: items.len(), algorithm }
}

fn rules(
    random: &mut Random,
    text: &mut String,
    levels: &[&str],
    buckets: &[Made],
    classes: Option<&[&str]>,
    devices: u64,
) -> u32 {
    let count = 1 + random.below(4) as u32;
    for rule in 0..count {
        let kind = random.pick(&["replicated", "erasure"]);
        writeln!(text, "rule r{rule} {{\n id {rule}\n type {kind}\n min_size 1\n max_size 10").unwrap();
        let settings = [
            ("set_choose_tries", 30),
            ("set_chooseleaf_tries", 5),
            ("set_choose_local_tries", 3),
            ("set_choose_local_fallback_tries", 3),
            ("set_chooseleaf_vary_r", 3),
            ("set_chooseleaf_stable", 2),
        ];
        for (setting, bound) in settings {
            if random.chance(5) {
                writeln!(text, " step {setting} {}", random.below(bound)).unwrap();
            }
        }
        for _ in 0..1 + random.below(2) {
            let root = &buckets
                [if random.chance(3) { random.below(buckets.len() as u64) as usize } else { buckets.len() - 1 }];
            match random.below(6) {
                0 => writeln!(text, " step take osd.{}", random.below(devices)).unwrap(),
                1..=2 if classes.is_some() => {
                    // A class that no device has is refused; the first device's may be any.
                    writeln!(text, " step take {} class {}", root.name, random.pick(classes.unwrap())).unwrap();
                }
                _ => writeln!(text, " step take {}", root.name).unwrap(),
            }
            let kinds: Vec<&str> = levels.iter().copied().chain(["osd"]).collect();
            for _ in 0..1 + random.below(2) {
                let word = random.pick(&["choose", "chooseleaf", "chooseleaf"]);
                let mode = random.pick(&["firstn", "indep"]);
                let count = random.below(6) as i64 - 1;
                writeln!(text, " step {word} {mode} {count} type {}", random.pick(&kinds)).unwrap();
            }
            text.push_str(" step emit\n");
        }
        text.push_str("}\n");
    }
    count
}

fn choose_args(random: &mut Random, text: &mut String, buckets: &[Made]) {
    writeln!(text, "choose_args {} {{", random.pick(&["0", "3", "18446744073709551615"])).unwrap();
    for bucket in buckets.iter().filter(|bucket| bucket.algorithm == "straw2") {
        if random.chance(2) {
            continue;
        }
        writeln!(text, " {{ bucket_id {}", bucket.id).unwrap();
        if !random.chance(4) {
            text.push_str("  weight_set [\n");
            for _ in 0..1 + random.below(3) {
                let weights: Vec<String> = (0..bucket.size).map(|_| weight(random)).collect();
                writeln!(text, "   [ {} ]", weights.join(" ")).unwrap();
            }
            text.push_str("  ]\n");
        }
        if random.chance(3) {
            let ids: Vec<String> = (0..bucket.size).map(|_| (random.below(2000) as i64 - 1000).to_string()).collect();
            writeln!(text, "  ids [ {} ]", ids.join(" ")).unwrap();
        }
        text.push_str(" }\n");
    }
    text.push_str("}\n");
}
