//! Text → map. Whatever is wrong is said with its place and with what would be right.
//!
//! The order is that of `crushtool`: tunables, devices and types; then buckets, each after those that it holds; then rules; then
//! choose_args. Shadow trees are made before the first rule, as rules take them.

use super::token::{Token, Tokens};
use crate::crush::bucket::{Algorithm, Bucket, Item};
use crate::crush::check::{KEYWORDS, is_name};
use crate::crush::limits;
use crate::crush::map::{ChooseArg, CrushMap, Device, Slice};
use crate::crush::rule::{Choose, Mode, Rule, RuleKind, Step};
use crate::crush::tunables::Tunables;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Why a text is not a map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct CompileError {
    /// From 1.
    pub line: u32,
    pub column: u32,
    pub message: String,
}

type Result<T> = std::result::Result<T, CompileError>;

/// Reads a map in text. Tunables that are not given have their oldest values, as ever, so that a text always means the same.
pub fn compile(text: &str) -> Result<CrushMap> {
    if text.len() > limits::TEXT_BYTES_MAX {
        let message = format!("the text has {} bytes, and {} is the most", text.len(), limits::TEXT_BYTES_MAX);
        return Err(CompileError { line: 1, column: 1, message });
    }
    let mut compiler = Compiler {
        tokens: Tokens::new(text),
        map: CrushMap::empty(Tunables::ARGONAUT),
        items: HashMap::new(),
        type_ids: HashMap::new(),
        used_ids: BTreeSet::new(),
        id_holders: HashMap::new(),
        next_id: -1,
        defined_at: HashMap::new(),
        item_count: 0,
    };
    compiler.find_buckets()?;
    compiler.run()?;
    // What no place in the text can be blamed for.
    let (line, column) = compiler.tokens.place();
    compiler.map.check().map_err(|message| CompileError { line, column, message })?;
    Ok(compiler.map)
}

struct Compiler<'a> {
    tokens: Tokens<'a>,
    map: CrushMap,
    /// Devices and buckets so far.
    items: HashMap<&'a str, i32>,
    type_ids: HashMap<&'a str, u16>,
    /// Ids that are written anywhere in the text: not to be given to buckets without one.
    used_ids: BTreeSet<i32>,
    /// Buckets by the ids that they and their shadows were given so far.
    id_holders: HashMap<i32, &'a str>,
    /// No id above this one is free for a bucket without one.
    next_id: i32,
    /// The line of each bucket, for those that are used too early.
    defined_at: HashMap<&'a str, u32>,
    item_count: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Head,
    Buckets,
    Rules,
    ChooseArgs,
}

fn fail<T>(at: Token<'_>, message: impl Into<String>) -> Result<T> {
    Err(CompileError { line: at.line, column: at.column, message: message.into() })
}

impl<'a> Compiler<'a> {
    fn run(&mut self) -> Result<()> {
        let mut part = Part::Head;
        while let Some(word) = self.tokens.next()? {
            let next_part = match word.text {
                "tunable" | "device" | "type" => Part::Head,
                "rule" => Part::Rules,
                "choose_args" => Part::ChooseArgs,
                _ => Part::Buckets,
            };
            if next_part < part {
                return fail(
                    word,
                    match next_part {
                        Part::Head => "tunables, devices and types stand before all buckets and rules",
                        Part::Buckets if part == Part::Rules => "buckets stand before all rules",
                        _ => "choose_args stand at the end, after all buckets and rules",
                    },
                );
            }
            if part == Part::Head && next_part > part {
                self.type_of_devices(word)?;
            }
            if next_part == Part::Rules && part < Part::Rules {
                self.map.build_shadows();
            }
            part = next_part;
            match word.text {
                "tunable" => self.tunable()?,
                "device" => self.device()?,
                "type" => self.bucket_type()?,
                "rule" => self.rule()?,
                "choose_args" => self.choose_args()?,
                _ => self.bucket(word)?,
            }
        }
        if part == Part::Head {
            let (line, column) = self.tokens.place();
            self.type_of_devices(Token { text: "", line, column })?;
        }
        Ok(())
    }

    /// Looks through the text once for where buckets are and which ids they are given.
    fn find_buckets(&mut self) -> Result<()> {
        let mut tokens = self.tokens.clone();
        let mut words: [Option<Token<'a>>; 2] = [None; 2];
        let mut depth = 0u32;
        while let Some(token) = tokens.next()? {
            match (token.text, words) {
                ("{", [Some(kind), Some(name)]) if depth == 0 && kind.text != "choose_args" && kind.text != "rule" => {
                    self.defined_at.entry(name.text).or_insert(name.line);
                    depth += 1;
                }
                ("{" | "[", _) => depth += 1,
                ("}" | "]", _) => depth = depth.saturating_sub(1),
                (number, [_, Some(id)]) if depth == 1 && id.text == "id" => {
                    self.used_ids.extend(number.parse::<i32>().ok().filter(|id| *id < 0));
                }
                _ => {}
            }
            words = [words[1], Some(token)];
        }
        Ok(())
    }

    fn next(&mut self, wanted: &str) -> Result<Token<'a>> {
        match self.tokens.next()? {
            Some(token) => Ok(token),
            None => {
                let (line, column) = self.tokens.place();
                Err(CompileError { line, column, message: format!("the text ends where {wanted} should be") })
            }
        }
    }

    fn expect(&mut self, text: &str) -> Result<Token<'a>> {
        let token = self.next(&format!("'{text}'"))?;
        if token.text == text {
            Ok(token)
        } else {
            fail(token, format!("'{}' stands where '{text}' should be", token.text))
        }
    }

    /// Takes the next token if it is this one.
    fn accept(&mut self, text: &str) -> Result<bool> {
        let is_next = self.tokens.peek()?.is_some_and(|token| token.text == text);
        if is_next {
            self.tokens.next()?;
        }
        Ok(is_next)
    }

    fn name(&mut self, of_what: &str) -> Result<Token<'a>> {
        let token = self.next(&format!("the name of {of_what}"))?;
        if is_name(token.text) {
            return Ok(token);
        }
        fail(
            token,
            format!(
                "'{}' can't be the name of {of_what}: a name is 1 to {} letters, digits, '-', '_' and '.'",
                token.text,
                limits::NAME_BYTES_MAX
            ),
        )
    }

    fn whole<T: TryFrom<i64> + Into<i64> + Copy>(&mut self, what: &str, least: T, most: T) -> Result<(T, Token<'a>)> {
        let token = self.next(what)?;
        let digits = token.text.strip_prefix('-').unwrap_or(token.text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return fail(token, format!("'{}' stands where {what} should be, a whole number", token.text));
        }
        let (least, most): (i64, i64) = (least.into(), most.into());
        let value = token.text.parse().ok().filter(|value| (least..=most).contains(value));
        match value.and_then(|value| T::try_from(value).ok()) {
            Some(value) => Ok((value, token)),
            None => fail(token, format!("{what} is {}, and must be within {least} and {most}", token.text)),
        }
    }

    fn tunable(&mut self) -> Result<()> {
        let name = self.next("the name of a tunable")?;
        if self.map.tunables.named_mut(name.text).is_none() {
            let known: Vec<&str> = Tunables::ARGONAUT.named().iter().map(|(name, ..)| *name).collect();
            return fail(name, format!("there is no tunable '{}': there are {}", name.text, known.join(", ")));
        }
        let (value, _) = self.whole(&format!("tunable {}", name.text), 0, Tunables::bound(name.text))?;
        if let Some(tunable) = self.map.tunables.named_mut(name.text) {
            *tunable = value;
        }
        Ok(())
    }

    fn device(&mut self) -> Result<()> {
        let (id, at) = self.whole("a device's id", 0, limits::DEVICE_COUNT_MAX - 1)?;
        let name = self.name("a device")?;
        if let Some(other) = self.map.devices.get(&id) {
            return fail(at, format!("device {id} is given twice: it is '{}' already", other.name));
        }
        if let Some(other) = self.items.insert(name.text, id) {
            return fail(name, format!("device '{}' is given twice: it is {other} already", name.text));
        }
        let class = if self.accept("class")? {
            let class = self.class()?;
            Some(self.map.class_id_or_new(class.text))
        } else {
            None
        };
        let slice = if self.accept("slice")? {
            let class = self.class()?;
            self.expect("weight")?;
            let weight = self.weight(limits::DEVICE_WEIGHT_MAX)?;
            Some(Slice { class: self.map.class_id_or_new(class.text), weight })
        } else {
            None
        };
        self.map.devices.insert(id, Device { name: name.text.to_owned(), class, slice });
        Ok(())
    }

    fn class(&mut self) -> Result<Token<'a>> {
        let class = self.name("a device class")?;
        if self.map.classes.len() >= limits::CLASS_COUNT_MAX && self.map.class_id(class.text).is_none() {
            return fail(class, format!("there are more than {} device classes", limits::CLASS_COUNT_MAX));
        }
        Ok(class)
    }

    fn bucket_type(&mut self) -> Result<()> {
        let (id, at) = self.whole("a type's id", 0, limits::TYPE_ID_MAX)?;
        let name = self.name("a type")?;
        let id = id as u16;
        if KEYWORDS.contains(&name.text) {
            return fail(
                name,
                format!("'{}' begins something else than a bucket, so no type can be named so", name.text),
            );
        }
        if let Some(other) = self.map.types.get(&id) {
            return fail(at, format!("type {id} is given twice: it is '{other}' already"));
        }
        if let Some(other) = self.type_ids.insert(name.text, id) {
            return fail(name, format!("type '{}' is given twice: it is {other} already", name.text));
        }
        if self.map.types.len() >= limits::TYPE_COUNT_MAX {
            return fail(at, format!("there are more than {} types", limits::TYPE_COUNT_MAX));
        }
        self.map.types.insert(id, name.text.to_owned());
        Ok(())
    }

    /// Old texts leave type 0 out.
    fn type_of_devices(&mut self, at: Token<'a>) -> Result<()> {
        if self.map.types.is_empty() || self.map.types.contains_key(&0) {
            return Ok(());
        }
        if let Some(other) = self.type_ids.insert("osd", 0) {
            return fail(at, format!("type 0, that of devices, is missing, and 'osd' is the name of type {other}"));
        }
        self.map.types.insert(0, "osd".to_owned());
        Ok(())
    }

    fn type_names(&self) -> String {
        let names: Vec<&str> = self.map.types.values().map(String::as_str).collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }

    fn bucket(&mut self, kind: Token<'a>) -> Result<()> {
        let type_id = match self.type_ids.get(kind.text) {
            Some(0) => {
                return fail(kind, format!("type 0, '{}', is that of devices: a bucket needs another", kind.text));
            }
            Some(id) => *id,
            None => {
                return fail(
                    kind,
                    format!(
                        "'{}' begins nothing: it is none of tunable, device, type, rule and choose_args, and no type of buckets (the types are: {})",
                        kind.text,
                        self.type_names()
                    ),
                );
            }
        };
        let name = self.name("a bucket")?;
        if self.items.contains_key(name.text) {
            return fail(name, format!("'{}' is the name of another device or bucket already", name.text));
        }
        self.expect("{")?;
        let mut id = None;
        let mut shadows: BTreeMap<u32, i32> = BTreeMap::new();
        let mut algorithm = None;
        let mut lines = Vec::new();
        loop {
            let word = self.next("'}'")?;
            match word.text {
                "}" => break,
                "id" => {
                    let (number, at) = self.whole("a bucket's id", -limits::BUCKET_COUNT_MAX, -1)?;
                    if let Some(other) = self.id_holders.insert(number, name.text) {
                        return fail(at, format!("id {number} is given to bucket '{other}' already"));
                    }
                    if self.accept("class")? {
                        let class = self.class()?;
                        let class_id = self.map.class_id_or_new(class.text);
                        if shadows.insert(class_id, number).is_some() {
                            return fail(
                                class,
                                format!("bucket '{}' has two ids of class '{}'", name.text, class.text),
                            );
                        }
                    } else if id.replace(number).is_some() {
                        return fail(at, format!("bucket '{}' has two ids", name.text));
                    }
                }
                "alg" => {
                    let chosen = self.next("a bucket's algorithm")?;
                    match Algorithm::from_name(chosen.text) {
                        Some(chosen) => algorithm = Some(chosen),
                        None => {
                            let message = "there are the algorithms straw2, straw, list, tree and uniform";
                            return fail(chosen, format!("'{}' is no algorithm: {message}", chosen.text));
                        }
                    }
                }
                "hash" => {
                    let hash = self.next("a bucket's hash")?;
                    if !["0", "rjenkins1"].contains(&hash.text) {
                        return fail(hash, format!("there is no hash '{}': there is 0, rjenkins1", hash.text));
                    }
                }
                "item" => lines.push(self.item_line(name.text)?),
                other => {
                    return fail(
                        word,
                        format!("'{other}' has no meaning in a bucket: there are id, alg, hash, item and '}}'"),
                    );
                }
            }
        }
        let Some(algorithm) = algorithm else {
            return fail(
                name,
                format!("bucket '{}' has no algorithm: 'alg straw2' is the one for new buckets", name.text),
            );
        };
        let items = self.placed(name, algorithm, &lines)?;
        let id = match id {
            Some(id) => id,
            None => {
                while self.used_ids.contains(&self.next_id) || self.map.buckets.contains_key(&self.next_id) {
                    self.next_id -= 1;
                }
                self.next_id
            }
        };
        self.items.insert(name.text, id);
        let name = name.text.to_owned();
        self.map.buckets.insert(id, Bucket { id, name, type_id, algorithm, items, shadows, shadow_of: None });
        Ok(())
    }

    /// `NAME [weight W] [pos P]`
    fn item_line(&mut self, bucket: &str) -> Result<ItemLine<'a>> {
        let name = self.name("an item")?;
        let Some(id) = self.items.get(name.text).copied() else {
            let message = match self.defined_at.get(name.text) {
                _ if name.text == bucket => format!("bucket '{bucket}' holds itself"),
                Some(line) => {
                    format!(
                        "bucket '{}' is used before it is defined, in line {line}: move its definition above this bucket",
                        name.text
                    )
                }
                None => format!("item '{}' of bucket '{bucket}' is neither a device nor a bucket", name.text),
            };
            return fail(name, message);
        };
        self.item_count += 1;
        if self.item_count > limits::ITEMS_MAX {
            return fail(name, format!("the buckets have more than {} items in all", limits::ITEMS_MAX));
        }
        let mut weight = self.map.buckets.get(&id).map_or(limits::WEIGHT_ONE, Bucket::weight);
        let mut place = None;
        if self.accept("weight")? {
            let most = if id >= 0 { limits::DEVICE_WEIGHT_MAX } else { limits::BUCKET_WEIGHT_MAX };
            weight = self.weight(most)?;
        }
        if self.accept("pos")? {
            place = Some(self.whole("an item's pos", 0, limits::BUCKET_ITEMS_MAX as u32 - 1)?);
        }
        Ok(ItemLine { name, id, weight, place })
    }

    /// As `strtof` and a multiplication make it: a float, then cut.
    fn weight(&mut self, most: u32) -> Result<u32> {
        let token = self.next("a weight")?;
        let is_number = token.text.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
        match token.text.parse::<f32>() {
            Ok(weight) if is_number => {
                let fixed = weight * limits::WEIGHT_ONE as f32;
                if weight.is_sign_negative() || !(0.0..=most as f32).contains(&fixed) || fixed as u64 > u64::from(most)
                {
                    let most = most / limits::WEIGHT_ONE;
                    return fail(token, format!("a weight of {} is not within 0 and {most}", token.text));
                }
                Ok(fixed as u32)
            }
            _ => fail(token, format!("'{}' stands where a weight should be, such as 1.000", token.text)),
        }
    }

    /// The items in their places: those that name one there, the others in order in what is left.
    fn placed(&self, bucket: Token<'a>, algorithm: Algorithm, lines: &[ItemLine<'a>]) -> Result<Vec<Item>> {
        if lines.len() > limits::BUCKET_ITEMS_MAX {
            return fail(bucket, format!("bucket '{}' has more than {} items", bucket.text, limits::BUCKET_ITEMS_MAX));
        }
        let mut places: Vec<Option<&ItemLine<'a>>> = vec![None; lines.len()];
        for line in lines {
            let Some((place, at)) = line.place else { continue };
            match places.get_mut(place as usize) {
                None => return fail(at, format!("pos {place} is beyond the last one, {}", lines.len() - 1)),
                Some(Some(other)) => {
                    return fail(at, format!("pos {place} is that of item '{}' already", other.name.text));
                }
                Some(free) => *free = Some(line),
            }
        }
        let mut others = lines.iter().filter(|line| line.place.is_none());
        let mut items = Vec::with_capacity(lines.len());
        let mut seen = BTreeSet::new();
        let mut sum = 0u64;
        for line in places.into_iter().filter_map(|line| line.or_else(|| others.next())) {
            if !seen.insert(line.id) {
                return fail(line.name, format!("item '{}' stands twice in bucket '{}'", line.name.text, bucket.text));
            }
            sum += u64::from(line.weight);
            if sum > u64::from(limits::BUCKET_WEIGHT_MAX) {
                let most = limits::BUCKET_WEIGHT_MAX / limits::WEIGHT_ONE;
                return fail(line.name, format!("the weights in bucket '{}' add up to more than {most}", bucket.text));
            }
            if let Some(first) = items.first().filter(|first: &&Item| first.weight != line.weight)
                && algorithm == Algorithm::Uniform
            {
                let ratio = |weight: u32| f64::from(weight) / f64::from(limits::WEIGHT_ONE);
                let (one, other) = (ratio(line.weight), ratio(first.weight));
                let message = format!(
                    "item '{}' weighs {one:.3} and another {other:.3}: the items of a uniform bucket all weigh the same",
                    line.name.text
                );
                return fail(line.name, message);
            }
            items.push(Item { id: line.id, weight: line.weight });
        }
        Ok(items)
    }

    fn rule(&mut self) -> Result<()> {
        let word = self.next("a rule's name or '{'")?;
        let name = if word.text == "{" {
            None
        } else {
            if !is_name(word.text) {
                return fail(
                    word,
                    format!(
                        "'{}' can't be the name of a rule: it has other characters than letters, digits, '-', '_' and '.'",
                        word.text
                    ),
                );
            }
            if let Some(other) = self.map.rule_id(word.text) {
                return fail(word, format!("rule '{}' is given twice: it is {other} already", word.text));
            }
            self.expect("{")?;
            Some(word.text.to_owned())
        };
        let shown = name.as_deref().unwrap_or_default();
        let word = self.next("'id'")?;
        if word.text != "id" && word.text != "ruleset" {
            return fail(word, format!("'{}' stands where the rule's 'id' should be", word.text));
        }
        let (id, at) = self.whole("a rule's id", 0, limits::RULE_COUNT_MAX - 1)?;
        if let Some(other) = self.map.rules.get(&id) {
            let other = other.name.as_deref().unwrap_or_default();
            return fail(at, format!("rule {id} is given twice: it is '{other}' already"));
        }
        self.expect("type")?;
        let word = self.next("a rule's type")?;
        let kind = match word.text {
            "replicated" => RuleKind::Replicated,
            "erasure" => RuleKind::Erasure,
            other => return fail(word, format!("rules have type replicated or erasure, not '{other}'")),
        };
        self.expect("min_size")?;
        let (size_min, _) = self.whole("min_size", 0, u8::MAX)?;
        self.expect("max_size")?;
        let (size_max, _) = self.whole("max_size", 0, u8::MAX)?;
        let mut steps = Vec::new();
        loop {
            let word = self.next("'}'")?;
            match word.text {
                "}" if steps.is_empty() => return fail(word, format!("rule '{shown}' has no step")),
                "}" => break,
                "step" if steps.len() < limits::RULE_STEPS_MAX => {
                    let step = self.step(shown)?;
                    steps.push(step);
                }
                "step" => return fail(word, format!("rule '{shown}' has more than {} steps", limits::RULE_STEPS_MAX)),
                other => return fail(word, format!("'{other}' stands where 'step' or '}}' should be")),
            }
        }
        self.map.rules.insert(id, Rule { name, kind, size_min, size_max, steps });
        Ok(())
    }

    fn step(&mut self, rule: &str) -> Result<Step> {
        let word = self.next("a step")?;
        match word.text {
            "noop" => Ok(Step::Noop),
            "emit" => Ok(Step::Emit),
            "take" => self.take(rule),
            "choose" | "chooseleaf" => {
                let how = self.next("firstn or indep")?;
                let mode = match how.text {
                    "firstn" => Mode::Firstn,
                    "indep" => Mode::Indep,
                    other => return fail(how, format!("'{other}' stands where firstn or indep should be")),
                };
                let most = limits::CHOOSE_COUNT_MAX;
                let (count, _) = self.whole("how many to choose", -most, most)?;
                self.expect("type")?;
                let kind = self.name("a type")?;
                let Some(type_id) = self.type_ids.get(kind.text).copied() else {
                    return fail(kind, format!("there is no type '{}': there are {}", kind.text, self.type_names()));
                };
                Ok(Step::Choose(Choose { leaf: word.text == "chooseleaf", mode, count, type_id }))
            }
            setting => {
                let Some(step) = Step::from_setting(setting, 0) else {
                    let known = "take, choose, chooseleaf, emit, set_choose_tries, set_chooseleaf_tries, set_choose_local_tries, \
                                 set_choose_local_fallback_tries, set_chooseleaf_vary_r, set_chooseleaf_stable";
                    return fail(word, format!("there is no step '{setting}': there are {known}"));
                };
                let (value, at) = self.whole(setting, 0, step.bound())?;
                match Step::from_setting(setting, value) {
                    Some(step) => Ok(step),
                    None => fail(at, format!("{setting} can't be {value}")),
                }
            }
        }
    }

    fn take(&mut self, rule: &str) -> Result<Step> {
        let name = self.name("an item")?;
        let Some(id) = self.items.get(name.text).copied() else {
            return fail(name, format!("rule '{rule}' takes '{}', which is neither a device nor a bucket", name.text));
        };
        if !self.accept("class")? {
            return Ok(Step::Take(id));
        }
        let class = self.name("a device class")?;
        let Some(class_id) = self.map.class_id(class.text) else {
            let known: Vec<&str> = self.map.classes.values().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return fail(class, format!("no device has class '{}': there are {known}", class.text));
        };
        match self.map.buckets.get(&id).and_then(|bucket| bucket.shadows.get(&class_id)) {
            Some(shadow) => Ok(Step::Take(*shadow)),
            None => fail(name, format!("'{}' is a device, and only buckets are taken by class", name.text)),
        }
    }

    /// `choose_args SET { { bucket_id ID weight_set [ [ W… ]… ] ids [ ID… ] }… }`
    fn choose_args(&mut self) -> Result<()> {
        let at = self.next("the number of a set of choose_args")?;
        if at.text.is_empty() || !at.text.bytes().all(|byte| byte.is_ascii_digit()) {
            return fail(at, format!("'{}' stands where the number of a set of choose_args should be", at.text));
        }
        // The set for all pools is -1, which crushtool prints as the largest number there is.
        let set = match at.text.parse::<u64>() {
            Ok(number) if number <= i32::MAX as u64 => number as i64,
            Ok(u64::MAX) => crate::crush::map::CHOOSE_ARGS_DEFAULT,
            _ => {
                return fail(at, format!("choose_args {} is not within 0 and {}, nor {}", at.text, i32::MAX, u64::MAX));
            }
        };
        if self.map.choose_args.contains_key(&set) {
            return fail(at, format!("choose_args {} are given twice", at.text));
        }
        if self.map.choose_args.len() >= limits::CHOOSE_ARGS_MAX {
            return fail(at, format!("there are more than {} sets of choose_args", limits::CHOOSE_ARGS_MAX));
        }
        self.expect("{")?;
        let mut args = BTreeMap::new();
        while !self.accept("}")? {
            self.expect("{")?;
            self.expect("bucket_id")?;
            let (id, at) = self.whole("a bucket's id", -limits::BUCKET_COUNT_MAX, -1)?;
            // Of a map without rules: its shadows are not made yet.
            if !self.map.buckets.contains_key(&id) && self.id_holders.contains_key(&id) {
                self.map.build_shadows();
            }
            let Some(size) = self.map.buckets.get(&id).map(|bucket| bucket.items.len()) else {
                return fail(at, format!("there is no bucket {id}"));
            };
            let arg = self.choose_arg(at, size)?;
            if args.insert(id, arg).is_some() {
                return fail(at, format!("bucket {id} is given twice"));
            }
        }
        args.retain(|_, arg| *arg != ChooseArg::default());
        self.map.choose_args.insert(set, args);
        Ok(())
    }

    fn choose_arg(&mut self, at: Token<'a>, size: usize) -> Result<ChooseArg> {
        let mut arg = ChooseArg::default();
        if self.accept("weight_set")? {
            self.expect("[")?;
            while self.accept("[")? {
                let mut weights = Vec::new();
                while !self.accept("]")? {
                    if weights.len() == size {
                        break;
                    }
                    weights.push(self.weight(limits::BUCKET_WEIGHT_MAX)?);
                }
                if weights.len() != size {
                    return fail(
                        at,
                        format!("bucket {} needs exactly {size} weights but got {}", at.text, weights.len()),
                    );
                }
                if weights.len() == size
                    && self.tokens.peek()?.is_some_and(|token| token.text.starts_with(|c: char| c.is_ascii_digit()))
                {
                    return fail(at, format!("bucket {} needs exactly {size} weights but got more", at.text));
                }
                arg.weight_sets.push(weights);
                if arg.weight_sets.len() > limits::WEIGHT_SET_POSITIONS_MAX {
                    return fail(
                        at,
                        format!(
                            "bucket {} has more than {} sets of weights",
                            at.text,
                            limits::WEIGHT_SET_POSITIONS_MAX
                        ),
                    );
                }
            }
            self.expect("]")?;
        }
        if self.accept("ids")? {
            self.expect("[")?;
            while !self.accept("]")? {
                let (id, _) = self.whole("an id", i32::MIN, i32::MAX)?;
                if arg.ids.len() == size {
                    return fail(at, format!("bucket {} needs exactly {size} ids but got more", at.text));
                }
                arg.ids.push(id);
            }
            if arg.ids.len() != size {
                return fail(at, format!("bucket {} needs exactly {size} ids but got {}", at.text, arg.ids.len()));
            }
        }
        self.expect("}")?;
        Ok(arg)
    }
}

/// An item of a bucket as it is written.
struct ItemLine<'a> {
    name: Token<'a>,
    id: i32,
    weight: u32,
    place: Option<(u32, Token<'a>)>,
}
