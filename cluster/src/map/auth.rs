//! Who is known to the cluster: for each entity its public keys and its capabilities. Nothing in it is secret, so every map carries it, and
//! every OSD can judge every client by itself.

use super::Map;
use crate::capability::{MonitorCaps, OsdCaps};
use crate::limits;
use basalt_net::limits::PUBLIC_KEYS_MAX;
use basalt_net::{EntityName, PublicKey, Roster, Trust};
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
pub struct AuthTable {
    /// Of the map that changed it last; 0 for an empty table.
    pub epoch: u32,
    /// In ascending order of `name`.
    pub entities: Vec<Entity>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Entity {
    pub name: String,
    /// One, or two while it is rotated; the older one first.
    pub keys: Vec<[u8; 32]>,
    /// Capabilities in words; empty for none. What was taken in can be read.
    pub mon: String,
    pub osd: String,
}

impl Entity {
    pub fn has_key(&self, key: &PublicKey) -> bool {
        self.keys.contains(&key.0)
    }
}

impl AuthTable {
    pub fn get(&self, name: &str) -> Option<&Entity> {
        let place = self.entities.binary_search_by(|entity| entity.name.as_str().cmp(name));
        place.ok().and_then(|place| self.entities.get(place))
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Entity> {
        let place = self.entities.binary_search_by(|entity| entity.name.as_str().cmp(name));
        place.ok().and_then(|place| self.entities.get_mut(place))
    }

    /// Takes in an entity whose name is not there yet.
    pub fn insert(&mut self, entity: Entity) {
        let place = self.entities.partition_point(|known| known.name < entity.name);
        self.entities.insert(place, entity);
    }

    /// What everything that reads a map relies on.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.entities.len() > limits::ENTITIES_MAX || !self.entities.is_sorted_by(|a, b| a.name < b.name) {
            return Err("its entities are too many or not in ascending order".into());
        }
        for entity in &self.entities {
            let name = entity.name.escape_debug();
            if EntityName::new(entity.name.as_str()).is_err() {
                return Err(format!("'{name}' is no entity's name"));
            }
            if entity.keys.is_empty() || entity.keys.len() > PUBLIC_KEYS_MAX {
                return Err(format!("{name} has {} keys; it has one or two", entity.keys.len()));
            }
            MonitorCaps::parse(&entity.mon).and(OsdCaps::parse(&entity.osd).map(|_| MonitorCaps::default()))?;
        }
        Ok(())
    }

    fn roster(&self) -> Roster {
        let known = self.entities.iter().filter_map(|entity| {
            let name = EntityName::new(entity.name.as_str()).ok()?;
            Some((name, entity.keys.iter().copied().map(PublicKey).collect()))
        });
        Roster { epoch: self.epoch, keys: known.collect() }
    }
}

impl Map {
    /// Handshakes judge by this map's table, and by what it requires, from now on.
    pub fn teach(&self, trust: &Trust) {
        trust.require(self.required_features);
        trust.learn(self.auth.epoch, || self.auth.roster());
    }

    /// Whether a session that began with this key may go on.
    pub fn knows(&self, name: &EntityName, key: &PublicKey) -> bool {
        self.auth.get(name.as_str()).is_some_and(|entity| entity.has_key(key))
    }
}
