//! CRUSH: which OSDs a placement group goes to, computed from a map of devices, buckets and rules, result for result as Ceph 16.2 does.
//!
//! A [`CrushMap`] is read from [`text`], from its encoding, or made and changed by edits; it always fits together. A [`Mapper`] is the
//! same map laid out for speed: it carries out rules, a million a second on a core. Everything here is pure, and takes maps from anyone.

mod bucket;
mod check;
mod choose;
mod class;
mod dump;
mod edit;
mod edit_error;
mod encoding;
pub mod hash;
pub mod limits;
mod location;
mod logarithm;
mod map;
mod mapper;
mod prepared;
mod rule;
mod rule_edit;
mod straw;
mod tester;
pub mod text;
mod tree;
mod tunables;
mod validate;
mod workspace;

pub use bucket::{Algorithm, Bucket, Item};
pub use check::is_name;
pub use edit::weight_from;
pub use edit_error::EditError;
pub use encoding::DecodeError;
pub use location::Location;
pub use logarithm::{crush_ln, shortfall};
pub use map::{CHOOSE_ARGS_DEFAULT, ChooseArg, ChooseArgs, CrushMap, Device, Slice};
pub use mapper::ITEM_NONE;
pub use prepared::Mapper;
pub use rule::{Choose, Mode, Rule, RuleKind, Step};
pub use straw::lengths as straw_lengths;
pub use tester::{Tally, Tester};
pub use tree::{Tree, TreeLine};
pub use tunables::{PROFILES, Tunables};
pub use validate::Problem;
pub use workspace::Workspace;
