//! A bucket: a host, a rack, a root; and how it chooses among its items.

use std::collections::BTreeMap;

/// How a bucket chooses. The numbers are Ceph's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// A permutation of items that all weigh the same.
    Uniform = 1,
    /// From the newest item back: good for buckets that only grow.
    List = 2,
    /// Down a binary tree of weights.
    Tree = 3,
    /// The longest of straws that are cut by weight. A change of one weight moves data between other items.
    Straw = 4,
    /// The best of independent exponential draws: a change of one weight moves data to or from that item only.
    Straw2 = 5,
}

impl Algorithm {
    pub const ALL: [Algorithm; 5] =
        [Algorithm::Uniform, Algorithm::List, Algorithm::Tree, Algorithm::Straw, Algorithm::Straw2];

    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Uniform => "uniform",
            Algorithm::List => "list",
            Algorithm::Tree => "tree",
            Algorithm::Straw => "straw",
            Algorithm::Straw2 => "straw2",
        }
    }

    pub fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn from_number(number: u8) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.number() == number)
    }
}

/// A device (`id` ≥ 0) or a bucket (`id` < 0), with its weight here in 16.16 fixed point.
///
/// A bucket's weight as an item is meant to be the sum of what is in it, but a map made by hand may say otherwise, and then this counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub id: i32,
    pub weight: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Negative.
    pub id: i32,
    /// A shadow bucket's is `NAME~CLASS`.
    pub name: String,
    pub type_id: u16,
    pub algorithm: Algorithm,
    pub items: Vec<Item>,
    /// The ids of this bucket's shadows, by class. They are kept while no shadow tree is built, so that it gets the same ids again.
    pub shadows: BTreeMap<u32, i32>,
    /// Of a shadow: the bucket that it is one of, and the class.
    pub shadow_of: Option<(i32, u32)>,
}

impl Bucket {
    /// The sum of its items' weights.
    pub fn weight(&self) -> u32 {
        self.items.iter().fold(0, |sum: u32, item| sum.saturating_add(item.weight))
    }

    pub fn is_shadow(&self) -> bool {
        self.shadow_of.is_some()
    }

    pub fn position(&self, id: i32) -> Option<usize> {
        self.items.iter().position(|item| item.id == id)
    }

    pub fn holds(&self, id: i32) -> bool {
        self.position(id).is_some()
    }
}
