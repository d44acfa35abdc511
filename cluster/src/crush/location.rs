//! Where an item hangs, as people say it: `root=default rack=r1 host=h1`.

use super::check::is_name;
use super::edit_error::EditError;
use super::map::CrushMap;
use std::collections::BTreeMap;

/// Buckets by their types, each the parent of the one before. Only the lowest that exists counts: what hangs above it stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location(pub(super) BTreeMap<u16, String>);

impl Location {
    /// From words `type=name`, in any order.
    pub fn parse<'a>(map: &CrushMap, words: impl IntoIterator<Item = &'a str>) -> Result<Location, EditError> {
        let mut location = BTreeMap::new();
        for word in words {
            let Some((kind, name)) = word.split_once('=') else {
                return Err(EditError::LocationWord(word.to_owned()));
            };
            let type_id = match map.type_id(kind) {
                Some(0) | None => return Err(EditError::no_such_type(map, kind)),
                Some(type_id) => type_id,
            };
            if !is_name(name) {
                return Err(EditError::Name(name.to_owned()));
            }
            if location.insert(type_id, name.to_owned()).is_some() {
                return Err(EditError::LocationTwice(kind.to_owned()));
            }
        }
        if location.is_empty() { Err(EditError::LocationEmpty) } else { Ok(Location(location)) }
    }
}
