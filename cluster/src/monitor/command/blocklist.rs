//! `osd blocklist add|rm|ls`: clients whose requests OSDs refuse. A client is known by the number that it drew at its start.

use super::{Answer, Outcome, View};
use crate::limits::FENCED_S;
use crate::pool_settings::Refusal;
use crate::quantity::format_utc;
use serde_json::{Value, json};

impl View<'_> {
    pub(super) fn blocklist_add(&self, client: u64) -> Outcome {
        let now_unix_s = self.now.unix.as_secs();
        let mut map = self.map.clone();
        let refused = |message| Refusal::new(libc::ENOSPC, message);
        map.fence(client, now_unix_s.saturating_add(FENCED_S), now_unix_s).map_err(refused)?;
        let until = format_utc(now_unix_s.saturating_add(FENCED_S));
        let message = format!("blocklisting client {client:016x} until {until} ({FENCED_S} sec)");
        if map.fenced == self.map.fenced { Answer::said(message) } else { Answer::decided(message, map) }
    }

    pub(super) fn blocklist_rm(&self, client: u64) -> Outcome {
        if !self.map.is_fenced(client) {
            return Answer::said(format!("client {client:016x} isn't blocklisted"));
        }
        let mut map = self.map.clone();
        map.fenced.retain(|fenced| fenced.client != client);
        Answer::decided(format!("un-blocklisting client {client:016x}"), map)
    }

    pub(super) fn blocklist_ls(&self) -> Outcome {
        let listed = |fenced: &crate::map::FencedClient| -> Value {
            json!({ "client": format!("{:016x}", fenced.client), "until": format_utc(fenced.until_unix_s) })
        };
        let document: Vec<Value> = self.map.fenced.iter().map(listed).collect();
        let lines = self
            .map
            .fenced
            .iter()
            .map(|fenced| format!("{:016x} {}\n", fenced.client, format_utc(fenced.until_unix_s)));
        let message = format!("{}listed {} entries", lines.collect::<String>(), document.len());
        Answer::shown(message, json!(document))
    }
}
