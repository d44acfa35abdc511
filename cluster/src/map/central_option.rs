//! Options of daemons that the cluster keeps, and for whom each is set.

use super::Map;
use crate::limits;
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// Whom an option is set for, from all to one; the nearest wins.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Global,
    /// All OSDs.
    Osds,
    Osd(u32),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Global => f.write_str("global"),
            Who::Osds => f.write_str("osd"),
            Who::Osd(id) => write!(f, "osd.{id}"),
        }
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CentralOption {
    pub who: Who,
    /// One that this program does not know is another version's, and is left as it is.
    pub name: String,
    /// Bytes, milliseconds or microseconds, as [`crate::options`] says of it.
    pub value: u64,
}

impl Map {
    /// What is set of an option for an OSD, and for whom: for itself, for all OSDs, or for everyone.
    pub fn option(&self, osd: u32, name: &str) -> Option<(Who, u64)> {
        [Who::Osd(osd), Who::Osds, Who::Global].into_iter().find_map(|who| Some((who, self.option_of(who, name)?)))
    }

    /// What is set for exactly these.
    pub fn option_of(&self, who: Who, name: &str) -> Option<u64> {
        let place = self.option_place(who, name).ok()?;
        self.options.get(place).map(|option| option.value)
    }

    /// Sets an option, or with `None` takes it back.
    pub fn set_option(&mut self, who: Who, name: &str, value: Option<u64>) {
        match (self.option_place(who, name), value) {
            (Ok(place), Some(value)) => {
                if let Some(option) = self.options.get_mut(place) {
                    option.value = value;
                }
            }
            (Ok(place), None) => drop(self.options.remove(place)),
            (Err(place), Some(value)) => {
                self.options.insert(place, CentralOption { who, name: name.to_owned(), value });
            }
            (Err(_), None) => {}
        }
    }

    fn option_place(&self, who: Who, name: &str) -> Result<usize, usize> {
        self.options.binary_search_by(|option| (option.who, option.name.as_str()).cmp(&(who, name)))
    }

    pub(super) fn check_options(&self) -> Result<(), String> {
        let is_short = |option: &CentralOption| option.name.len() <= limits::OPTION_NAME_BYTES_MAX;
        if self.options.len() > limits::CENTRAL_OPTIONS_MAX
            || !self.options.is_sorted_by(|a, b| (a.who, &a.name) < (b.who, &b.name))
            || !self.options.iter().all(is_short)
        {
            return Err("its options of daemons are too many, too long, or not in ascending order".into());
        }
        Ok(())
    }
}
