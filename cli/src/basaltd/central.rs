//! Options that a host's daemon reads when it starts, and that the cluster keeps centrally.

use basalt_client::{Client, ClientConfig};
use basalt_cluster::{Config, Map, options};
use basalt_net::{EntityName, Fsid, Key};
use basalt_ring::uring::{self, UringConfig};
use std::time::Duration;

/// A monitor that does not answer by then keeps nobody from starting: the file and the defaults count until the next start.
const ASKED_FOR: Duration = Duration::from_secs(2);

/// The configuration with what the cluster keeps of the options that its file does not give.
pub fn with_options(config: &Config) -> Config {
    let mut config = config.clone();
    if config.osd.as_ref().is_none_or(|section| section.devices.is_empty()) {
        return config;
    }
    let map = match ask(&config) {
        Ok(map) => map,
        Err(problem) => {
            tracing::warn!(problem, "central options can't be read: those that apply at the start are as in the file");
            return config;
        }
    };
    if let Some(section) = &mut config.osd {
        let central = |name: &'static str| {
            let set = map.option(section.devices.first().map_or(0, |device| device.id), name);
            set.map(|(_, value)| value).filter(|_| !section.in_file.contains(name))
        };
        let (busy_poll, max_object_size) = (central(options::BUSY_POLL_US), central(options::MAX_OBJECT_SIZE));
        section.busy_poll = busy_poll.map_or(section.busy_poll, Duration::from_micros);
        section.max_object_size = max_object_size.unwrap_or(section.max_object_size);
    }
    config
}

fn ask(config: &Config) -> Result<Map, String> {
    let name = config.osd.as_ref().and_then(|section| section.devices.first()).map_or(0, |device| device.id);
    let key = Key::load(config.keys.osd.as_ref().unwrap_or(&config.key_file)).map_err(|error| error.to_string())?;
    let (trust, mode) = (config.trust(&key), config.public_mode);
    let client = ClientConfig::new(Fsid(config.fsid.into_bytes()), config.monitors.clone(), key, EntityName::osd(name));
    let client = ClientConfig { trust, mode, connect_timeout: ASKED_FOR, operation_timeout: ASKED_FOR, ..client };
    let ring = UringConfig { entries: 64, cpu: None, registered_bytes: 0, busy_poll: Duration::ZERO };
    let asked = uring::run(ring, |ring| async move {
        let asked = ring.timeout(ASKED_FOR, Client::connect(&ring, client)).await;
        let client = asked.map_err(|_| "no monitor answers".to_owned())?.map_err(|error| error.to_string())?;
        Ok::<Map, String>(client.map().as_ref().clone())
    });
    asked.map_err(|error| error.to_string())?
}
