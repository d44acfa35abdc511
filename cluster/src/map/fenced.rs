//! Clients that are fenced off: OSDs refuse whatever they send. As Ceph's blocklist, by the number that a client drew at its start.

use super::Map;
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct FencedClient {
    pub client: u64,
    /// From then on it may be forgotten. Long after anything that it sent can arrive.
    pub until_unix_s: u64,
}

impl Map {
    pub fn is_fenced(&self, client: u64) -> bool {
        self.fenced.binary_search_by_key(&client, |fenced| fenced.client).is_ok()
    }

    /// Fences a client off, and forgets those whose time is over. Refused where too many are fenced.
    pub fn fence(&mut self, client: u64, until_unix_s: u64, now_unix_s: u64) -> Result<(), String> {
        self.fenced.retain(|fenced| fenced.until_unix_s > now_unix_s || fenced.client == client);
        match self.fenced.binary_search_by_key(&client, |fenced| fenced.client) {
            Ok(index) => {
                if let Some(fenced) = self.fenced.get_mut(index) {
                    fenced.until_unix_s = fenced.until_unix_s.max(until_unix_s);
                }
            }
            Err(_) if self.fenced.len() >= crate::limits::FENCED_CLIENTS_MAX => {
                let most = crate::limits::FENCED_CLIENTS_MAX;
                return Err(format!(
                    "{most} clients are fenced off, and no more can be: `osd blocklist rm` those that are long gone"
                ));
            }
            Err(index) => self.fenced.insert(index, FencedClient { client, until_unix_s }),
        }
        Ok(())
    }
}
