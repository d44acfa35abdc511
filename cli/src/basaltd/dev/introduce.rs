//! Makes the cluster's daemons known to it, as its administrator: those of a new cluster, of one that has gained OSDs, and of one from before each had
//! a key of its own.

use super::folder::Configurations;
use crate::devices::on_ring;
use crate::signals::Stop;
use basalt_cli::{Failure, Result};
use basalt_client::{Client, ClientConfig};
use basalt_cluster::config::ClientRole;
use basalt_net::message::monitor::{AdminCommand, AuthCommand};
use basalt_net::{EntityName, Key, PublicKey};

/// One of them, and what it may do.
struct Daemon {
    name: EntityName,
    key: PublicKey,
    mon: &'static str,
    osd: &'static str,
}

/// Returns false if the cluster is to stop before.
pub fn run(configurations: &Configurations, stop: &Stop) -> Result<bool> {
    let daemons = daemons(configurations)?;
    let config = ClientConfig::from_config(&configurations.cluster, ClientRole::Administrator)?;
    on_ring(async |ring| {
        tokio::select! {
            outcome = introduce(Client::connect(&ring, config), &daemons) => outcome.map(|()| true),
            () = stop.wanted() => Ok(false),
        }
    })
}

fn daemons(configurations: &Configurations) -> Result<Vec<Daemon>> {
    let mut daemons = Vec::new();
    for (osd, key_file) in configurations.osd_keys() {
        let key = Key::load(key_file)?.public();
        daemons.push(Daemon { name: EntityName::osd(osd), key, mon: "profile osd", osd: "profile osd" });
    }
    for (role, caps) in [(ClientRole::S3, "profile s3"), (ClientRole::Nbd, "profile nbd")] {
        let (name, key_file) = configurations.cluster.client(role);
        daemons.push(Daemon { name, key: Key::load(key_file)?.public(), mon: caps, osd: caps });
    }
    Ok(daemons)
}

async fn introduce(connecting: impl Future<Output = basalt_client::Result<Client>>, daemons: &[Daemon]) -> Result<()> {
    let client = connecting.await?;
    for Daemon { name, key, mon, osd } in daemons {
        let map = client.map();
        if map.knows(name, key) {
            continue;
        }
        let entity = name.to_string();
        // Its key is gone, and with it whoever had it.
        if map.auth.get(&entity).is_some() {
            command(&client, AuthCommand::Rm { entity: entity.clone() }).await?;
        }
        let (mon, osd) = ((*mon).to_owned(), (*osd).to_owned());
        command(&client, AuthCommand::Add { entity, public_key: key.0, mon, osd }).await?;
    }
    Ok(())
}

async fn command(client: &Client, command: AuthCommand) -> Result<()> {
    let reply = client.command(AdminCommand::Auth(command)).await?;
    if reply.errno != 0 {
        return Err(Failure::new(reply.errno, reply.message));
    }
    Ok(())
}
