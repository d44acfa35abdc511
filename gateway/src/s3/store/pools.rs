//! The pools that the gateway lives in, made when they are missing.

use crate::s3::fault::{Fault, Result};
use basalt_client::error::EEXIST;
use basalt_client::{Client, Error};
use basalt_cluster::crush::Step;
use basalt_net::message::monitor::AdminCommand;

pub const META: &str = "s3.meta";
pub const INDEX: &str = "s3.index";
pub const DATA: &str = "s3.data";
/// Small values, in few groups.
const SMALL_PG_NUM: u32 = 8;

pub async fn make_missing(client: &Client) -> Result<()> {
    let fast = fast_rule(client);
    for (name, pg_num, rule) in
        [(META, Some(SMALL_PG_NUM), &fast), (INDEX, Some(SMALL_PG_NUM), &fast), (DATA, None, &None)]
    {
        if client.map().pool_by_name(name).is_some() {
            continue;
        }
        let command = AdminCommand::PoolCreate { name: name.into(), pg_num, rule: rule.clone(), size: None };
        let reply = client.command(command).await?;
        if reply.errno != 0 && reply.errno != EEXIST {
            return Err(Fault::Cluster(Error::new(reply.errno, format!("making pool {name}: {}", reply.message))));
        }
    }
    Ok(())
}

/// A rule that takes SSDs only, if the cluster has one: what is small and asked for with each request belongs there.
fn fast_rule(client: &Client) -> Option<String> {
    let crush = client.map().crush_map();
    let takes_ssd = |step: &Step| matches!(step, Step::Take(item) if crush.item_name(*item).is_some_and(|name| name.ends_with("~ssd")));
    crush.rules().find(|(_, rule)| rule.steps.iter().any(takes_ssd)).and_then(|(_, rule)| rule.name.clone())
}
