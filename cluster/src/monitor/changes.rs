//! Commands that changed something lately, by their ids, and what was answered: a command that is sent again, because its answer
//! was lost with a session or a monitor, is answered and not carried out once more. Kept in the same batch as what the command changed.

use super::core::Action;
use crate::limits;
use basalt_net::message::monitor::{CommandReply, MonitorReply};
use rkyv::rancor;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::VecDeque;

/// In the store's values.
pub(super) const KEY: &str = "changes";

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Change {
    id: u128,
    reply: CommandReply,
}

#[derive(Default)]
pub(super) struct Changes {
    /// The oldest first.
    recent: VecDeque<Change>,
}

impl Changes {
    pub fn decode(bytes: &[u8]) -> Result<Changes, String> {
        let mut aligned = AlignedVec::<16>::with_capacity(bytes.len());
        aligned.extend_from_slice(bytes);
        let recent = rkyv::from_bytes::<Vec<Change>, rancor::Error>(&aligned).map_err(|error| error.to_string())?;
        Ok(Changes { recent: recent.into() })
    }

    fn encode(&self) -> Vec<u8> {
        let recent: Vec<Change> = self.recent.iter().cloned().collect();
        match rkyv::to_bytes::<rancor::Error>(&recent) {
            Ok(bytes) => bytes.to_vec(),
            // Writing owned values to memory has no failure of its own.
            Err(error) => panic!("what was answered can't be archived: {error}"),
        }
    }

    pub fn reply(&self, id: u128) -> Option<CommandReply> {
        self.recent.iter().find(|change| change.id == id).map(|change| change.reply.clone())
    }

    /// Takes note of the command that these actions carry out, if they persist anything: in the same batch.
    pub fn note(&mut self, id: u128, actions: &mut [Action]) {
        let replied = actions.iter().find_map(|action| match action {
            Action::Reply { reply: MonitorReply::Command { reply, .. }, .. } => Some(reply.clone()),
            _ => None,
        });
        let batch = actions.iter_mut().find_map(|action| match action {
            Action::Persist(batch) => Some(batch),
            _ => None,
        });
        let (Some(reply), Some(batch)) = (replied, batch) else { return };
        let fits = |text: &str| text.len() <= limits::CHANGE_REPLY_BYTES_MAX;
        let reply = CommandReply {
            errno: reply.errno,
            message: if fits(&reply.message) { reply.message } else { String::new() },
            json: if fits(&reply.json) { reply.json } else { "null".into() },
        };
        if self.recent.len() >= limits::CHANGES_KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(Change { id, reply });
        batch.values.push((KEY.into(), self.encode()));
    }
}
