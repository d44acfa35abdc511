//! A rule: the steps from a root to the OSDs of a placement group.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    Replicated = 1,
    Erasure = 3,
}

impl RuleKind {
    pub fn name(self) -> &'static str {
        match self {
            RuleKind::Replicated => "replicated",
            RuleKind::Erasure => "erasure",
        }
    }

    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn from_number(number: u8) -> Option<RuleKind> {
        [RuleKind::Replicated, RuleKind::Erasure].into_iter().find(|kind| kind.number() == number)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Text maps may leave it out.
    pub name: Option<String>,
    pub kind: RuleKind,
    pub size_min: u8,
    pub size_max: u8,
    pub steps: Vec<Step>,
}

/// Whether the places of a mapping keep their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Whoever is missing, the rest move up: for replicas, which are all alike.
    Firstn,
    /// Whoever is missing leaves a hole: for shards, each of which is another.
    Indep,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Firstn => "firstn",
            Mode::Indep => "indep",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Noop,
    /// Begins at an item; with a class, at the shadow bucket.
    Take(i32),
    Choose(Choose),
    Emit,
    SetChooseTries(u32),
    SetChooseleafTries(u32),
    SetChooseLocalTries(u32),
    SetChooseLocalFallbackTries(u32),
    SetChooseleafVaryR(u32),
    SetChooseleafStable(u32),
}

/// `choose` and `chooseleaf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choose {
    /// Whether to go on to one device below each item of the type.
    pub leaf: bool,
    pub mode: Mode,
    /// How many; 0 as many as are asked for, less than 0 so many fewer.
    pub count: i32,
    pub type_id: u16,
}

impl Step {
    /// What a `take` step begins at.
    pub fn taken(&self) -> Option<i32> {
        match self {
            Step::Take(item) => Some(*item),
            _ => None,
        }
    }

    /// A `set_…` step's name and number.
    pub fn setting(&self) -> Option<(&'static str, u32)> {
        Some(match *self {
            Step::SetChooseTries(value) => ("set_choose_tries", value),
            Step::SetChooseleafTries(value) => ("set_chooseleaf_tries", value),
            Step::SetChooseLocalTries(value) => ("set_choose_local_tries", value),
            Step::SetChooseLocalFallbackTries(value) => ("set_choose_local_fallback_tries", value),
            Step::SetChooseleafVaryR(value) => ("set_chooseleaf_vary_r", value),
            Step::SetChooseleafStable(value) => ("set_chooseleaf_stable", value),
            Step::Noop | Step::Take(_) | Step::Choose(_) | Step::Emit => return None,
        })
    }

    pub fn from_setting(name: &str, value: u32) -> Option<Step> {
        Some(match name {
            "set_choose_tries" => Step::SetChooseTries(value),
            "set_chooseleaf_tries" => Step::SetChooseleafTries(value),
            "set_choose_local_tries" => Step::SetChooseLocalTries(value),
            "set_choose_local_fallback_tries" => Step::SetChooseLocalFallbackTries(value),
            "set_chooseleaf_vary_r" => Step::SetChooseleafVaryR(value),
            "set_chooseleaf_stable" => Step::SetChooseleafStable(value),
            _ => return None,
        })
    }

    /// The largest number that a setting may have.
    pub fn bound(&self) -> u32 {
        use super::limits;
        match self {
            Step::SetChooseleafVaryR(_) => limits::VARY_R_MAX,
            Step::SetChooseleafStable(_) => 1,
            _ => limits::TRIES_MAX,
        }
    }
}
