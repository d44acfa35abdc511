//! Why a map was not changed.

use super::limits;
use super::map::CrushMap;

/// Nothing was changed. Messages say what was wrong and what would be right.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EditError {
    #[error("'{}' can't be a name: one is made of 1 to {max} letters, digits, '-', '_' and '.'", .0.escape_debug(), max = limits::NAME_BYTES_MAX)]
    Name(String),
    #[error("'{}' is no place: places are given as type=name, such as root=default host=h1", .0.escape_debug())]
    LocationWord(String),
    #[error("no place is given: give one as type=name, such as root=default host=h1")]
    LocationEmpty,
    #[error("the place names two buckets of type {0}: an item hangs in one")]
    LocationTwice(String),
    #[error("there is no type of buckets '{}': there are {known}", .name.escape_debug())]
    NoSuchType { name: String, known: String },
    #[error("item '{}' does not exist in the crush map", .0.escape_debug())]
    NoSuchItem(String),
    #[error("bucket '{0}' already exists")]
    BucketExists(String),
    #[error("'{name}' is already the name of {what}")]
    NameTaken { name: String, what: String },
    #[error("'{0}' is a device, and this is done to buckets only")]
    NotABucket(String),
    #[error("'{0}' is a bucket, and this is done to devices only")]
    NotADevice(String),
    #[error("'{0}' is the shadow of a bucket in a device class, which follows that bucket and can't be changed itself")]
    Shadow(String),
    #[error("'{name}' is a {is}, and the place says that it is a {said}")]
    WrongType { name: String, is: String, said: String },
    #[error("'{inner}' is in '{outer}', so '{outer}' can't go into '{inner}'")]
    Loop { outer: String, inner: String },
    #[error("'{item}' is in '{bucket}' already, further down")]
    AlreadyBelow { item: String, bucket: String },
    #[error("a {lower} can't hold a {higher}: a place is of a higher type than what goes there")]
    Upside { lower: String, higher: String },
    #[error("a weight of {weight} is not within 0 and {most}")]
    Weight { weight: f64, most: u32 },
    #[error("'{bucket}' is uniform, and its items weigh {has}: '{item}' would weigh {weight}")]
    Uniform { bucket: String, has: f64, item: String, weight: f64 },
    #[error("bucket '{name}' is not empty: it has {count} items, '{first}' among them; move or remove them first")]
    NotEmpty { name: String, count: usize, first: String },
    #[error("'{name}' is taken by rule {rules}: remove the rule first, or let it take another")]
    InUse { name: String, rules: String },
    #[error(
        "osd.{id} has already bound to class '{class}', can not reset class to '{wanted}'; remove its old class first"
    )]
    ClassBound { id: i32, class: String, wanted: String },
    #[error("device class '{}' does not exist: there are {known}", .name.escape_debug())]
    NoSuchClass { name: String, known: String },
    #[error("root '{root}' has no devices with class '{class}'")]
    NothingOfClass { root: String, class: String },
    #[error("'{}' is no mode of a rule: there are firstn, indep", .0.escape_debug())]
    NoSuchMode(String),
    #[error("rule '{0}' already exists")]
    RuleExists(String),
    #[error("rule '{}' does not exist: there are {known}", .name.escape_debug())]
    NoSuchRule { name: String, known: String },
    #[error("there is no free number for a rule: {max} is the most there can be", max = limits::RULE_COUNT_MAX)]
    RulesFull,
    #[error("there is no tunable '{}': there are {known}", .name.escape_debug())]
    NoSuchTunable { name: String, known: String },
    #[error("tunable {name} can't be {value}: {most} is the most")]
    Tunable { name: String, value: u32, most: u32 },
    #[error("there are no tunables of the profile '{}': there are {known}", .name.escape_debug())]
    NoSuchProfile { name: String, known: String },
    #[error("the crush map would not be right any more: {0}")]
    Contradiction(String),
}

impl EditError {
    /// The error number that a command ends with, positive.
    pub fn errno(&self) -> i32 {
        match self {
            EditError::NoSuchItem(_) | EditError::NoSuchRule { .. } | EditError::NoSuchClass { .. } => libc::ENOENT,
            EditError::BucketExists(_) | EditError::NameTaken { .. } | EditError::RuleExists(_) => libc::EEXIST,
            EditError::NotEmpty { .. } => libc::ENOTEMPTY,
            EditError::InUse { .. } | EditError::ClassBound { .. } => libc::EBUSY,
            EditError::Loop { .. } => libc::ELOOP,
            EditError::NotABucket(_) => libc::ENOTDIR,
            EditError::RulesFull => libc::ENOSPC,
            _ => libc::EINVAL,
        }
    }

    pub(super) fn no_such_type(map: &CrushMap, name: &str) -> EditError {
        let known = map.types().filter(|(id, _)| *id != 0).map(|(_, name)| name);
        EditError::NoSuchType { name: name.to_owned(), known: listed(known) }
    }
}

/// Names one after the other, or that there are none.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
