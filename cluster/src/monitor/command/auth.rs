//! `auth ls|get|add|caps|rm|rotate|rm-key`: who is known to the cluster, by which public keys, and what each may do.

use super::{Answer, Outcome, View};
use crate::capability::{Level, MonitorCaps, OsdCaps};
use crate::limits;
use crate::map::{AuthTable, Entity, Map};
use crate::pool_settings::Refusal;
use basalt_net::limits::PUBLIC_KEYS_MAX;
use basalt_net::message::monitor::AuthCommand;
use basalt_net::{EntityName, PublicKey};
use serde_json::{Map as Object, Value, json};

impl View<'_> {
    pub(super) fn auth(&self, command: AuthCommand) -> Outcome {
        match command {
            AuthCommand::Ls => {
                let entities = &self.map.auth.entities;
                let text: Vec<String> = entities.iter().map(lines).collect();
                let dump: Vec<Value> = entities.iter().map(document).collect();
                Answer::shown(text.join("\n"), json!({ "auth_dump": dump }))
            }
            AuthCommand::Get { entity } => {
                let entity = self.entity(&entity)?;
                Answer::shown(lines(entity), json!([document(entity)]))
            }
            AuthCommand::Add { entity, public_key, mon, osd } => self.auth_add(entity, public_key, mon, osd),
            AuthCommand::Caps { entity, mon, osd } => {
                check_caps(&mon, &osd)?;
                self.entity(&entity)?;
                let change = |known: &mut Entity| (known.mon, known.osd) = (mon, osd);
                self.decided(format!("updated caps for {entity}"), |table| {
                    table.get_mut(&entity).map(change);
                })
            }
            AuthCommand::Rm { entity } => {
                if self.map.auth.get(&entity).is_none() {
                    return Answer::said(format!("entity {} does not exist", entity.escape_debug()));
                }
                self.decided(format!("removed {entity}"), |table| table.entities.retain(|known| known.name != entity))
            }
            AuthCommand::Rotate { entity, public_key } => self.auth_rotate(&entity, public_key),
            AuthCommand::RmKey { entity, public_key } => {
                let known = self.entity(&entity)?;
                let shown = PublicKey(public_key);
                if !known.has_key(&shown) {
                    return Answer::said(format!("{entity} has no key {shown}"));
                }
                if known.keys.len() == 1 {
                    let message = format!(
                        "{shown} is the only key of {entity}: give it another with `auth rotate`, or remove it with `auth rm`"
                    );
                    return Err(Refusal::new(libc::EBUSY, message));
                }
                self.decided(format!("{entity} is not known by {shown} any more"), |table| {
                    if let Some(known) = table.get_mut(&entity) {
                        known.keys.retain(|key| *key != public_key);
                    }
                })
            }
        }
    }

    fn auth_add(&self, entity: String, public_key: [u8; 32], mon: String, osd: String) -> Outcome {
        let name = EntityName::new(entity.as_str()).map_err(|error| Refusal::invalid(error.to_string()))?;
        if !matches!(name.kind(), "client" | "osd" | "mon") || (name.kind() == "osd" && name.osd_id().is_none()) {
            let message = format!("{name}: an entity is a client.NAME, an osd.NUMBER or a mon.NAME");
            return Err(Refusal::invalid(message));
        }
        check_caps(&mon, &osd)?;
        let new = Entity { name: entity.clone(), keys: vec![public_key], mon, osd };
        match self.map.auth.get(&entity) {
            Some(known) if *known == new => return Answer::said(format!("{entity} is known already")),
            Some(_) => {
                let message = format!(
                    "entity {entity} exists but key or caps do not match: change it with `auth caps` and `auth rotate`, or remove it first"
                );
                return Err(Refusal::new(libc::EEXIST, message));
            }
            None => {}
        }
        if self.map.auth.entities.len() >= limits::ENTITIES_MAX {
            let most = limits::ENTITIES_MAX;
            return Err(Refusal::new(libc::ENOSPC, format!("{most} entities are known, and no more can be")));
        }
        self.decided(format!("added {entity} with key {}", PublicKey(public_key)), |table| table.insert(new))
    }

    fn auth_rotate(&self, entity: &str, public_key: [u8; 32]) -> Outcome {
        let known = self.entity(entity)?;
        let shown = PublicKey(public_key);
        if known.has_key(&shown) {
            return Answer::said(format!("{entity} is known by {shown} already"));
        }
        if known.keys.len() >= PUBLIC_KEYS_MAX {
            let oldest = known.keys.first().copied().map(PublicKey).map_or(String::new(), |key| key.to_string());
            let message = format!(
                "{entity} has {PUBLIC_KEYS_MAX} keys already: drop the old one first, with `auth rm-key {entity} {oldest}`"
            );
            return Err(Refusal::new(libc::EBUSY, message));
        }
        let older = known.keys.last().copied().map(PublicKey).map_or(String::new(), |key| key.to_string());
        let message = format!(
            "{entity} is known by {shown}, too; once it uses that, drop the old one: auth rm-key {entity} {older}"
        );
        self.decided(message, |table| {
            if let Some(known) = table.get_mut(entity) {
                known.keys.push(public_key);
            }
        })
    }

    fn entity(&self, name: &str) -> Result<&Entity, Refusal> {
        let unknown = || Refusal::new(libc::ENOENT, format!("failed to find {} in keyring", name.escape_debug()));
        self.map.auth.get(name).ok_or_else(unknown)
    }

    /// Refused where nobody would be left who may change the table.
    fn decided(&self, message: String, change: impl FnOnce(&mut AuthTable)) -> Outcome {
        let mut map = self.map.clone();
        change(&mut map.auth);
        if map.auth == self.map.auth {
            return Answer::said(message);
        }
        if has_ruler(self.map) && !has_ruler(&map) {
            let message = "nobody would be left with 'mon allow *', who could give it back: give it to another first";
            return Err(Refusal::new(libc::EBUSY, message));
        }
        map.auth.epoch = self.map.epoch() + 1;
        Answer::decided(message, map)
    }
}

fn has_ruler(map: &Map) -> bool {
    let rules = |entity: &Entity| MonitorCaps::parse(&entity.mon).is_ok_and(|caps| caps.level == Level::Rule);
    map.auth.entities.iter().any(rules)
}

fn check_caps(mon: &str, osd: &str) -> Result<(), Refusal> {
    MonitorCaps::parse(mon).map_err(|problem| Refusal::invalid(format!("mon: {problem}")))?;
    OsdCaps::parse(osd).map_err(|problem| Refusal::invalid(format!("osd: {problem}")))?;
    Ok(())
}

fn document(entity: &Entity) -> Value {
    let keys: Vec<String> = entity.keys.iter().map(|key| PublicKey(*key).to_string()).collect();
    let given = [("mon", &entity.mon), ("osd", &entity.osd)].into_iter().filter(|(_, caps)| !caps.is_empty());
    let caps: Object<String, Value> = given.map(|(of, caps)| (of.to_owned(), json!(caps))).collect();
    json!({ "entity": entity.name, "key": keys.last(), "key_type": "public, x25519", "public_keys": keys, "caps": caps })
}

/// As a keyring shows it, but for the keys: they are public ones.
fn lines(entity: &Entity) -> String {
    let mut text = format!("[{}]", entity.name);
    entity.keys.iter().for_each(|key| text.push_str(&format!("\n\tpublic_key = {}", PublicKey(*key))));
    for (of, caps) in [("mon", &entity.mon), ("osd", &entity.osd)] {
        if !caps.is_empty() {
            text.push_str(&format!("\n\tcaps {of} = \"{caps}\""));
        }
    }
    text
}
