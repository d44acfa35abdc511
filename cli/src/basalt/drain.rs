//! `osd tier drain`: tells every OSD to flush what is dirty, and waits until nothing is.

use crate::administration::ask;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result};
use basalt_client::Client;
use basalt_cluster::quantity::{format_age, format_bytes};
use basalt_net::message::monitor::AdminCommand;
use basalt_net::message::object::OsdCommand;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::time::Duration;

/// How often the OSDs are asked how far they are.
const POLL: Duration = Duration::from_millis(250);

/// What one OSD has still to flush of the pool.
struct Left {
    osd: u32,
    dirty_bytes: u64,
    dirty_objects: u64,
}

pub async fn run(client: &Client, output: &mut Output, pool_name: &str, timeout: Duration) -> Result<()> {
    let pool = client.pool(pool_name).await?;
    let osds: Vec<u32> = serde_json::from_value(ask(client, AdminCommand::OsdLs).await?.document)
        .map_err(|error| Failure::new(libc::EBADMSG, format!("the monitor's list of OSDs is odd: {error}")))?;
    let begun = client.ring().now();
    let bar = if output.format().shows_progress() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    for osd in &osds {
        tell(client, *osd, OsdCommand::TierDrain { pool: pool.id() }).await?;
    }
    let mut flushed_from = None;
    loop {
        let mut left = Vec::new();
        for osd in &osds {
            let status = tell(client, *osd, OsdCommand::TierStatus).await?;
            left.push(left_of(*osd, pool.id(), &status));
        }
        let dirty: u64 = left.iter().map(|left| left.dirty_bytes).sum();
        let from = *flushed_from.get_or_insert(dirty);
        let elapsed = client.ring().now().since(begun);
        if dirty == 0 {
            bar.finish_and_clear();
            let document = json!({ "pool": pool_name, "dirty_bytes": 0, "seconds": elapsed.as_secs_f64() });
            let seconds = elapsed.as_secs_f64();
            return output.show(&document, |_| {
                format!("pool '{pool_name}' is drained: {} flushed in {seconds:.1} s\n", format_bytes(from))
            });
        }
        bar.set_message(format!("{} left to flush", format_bytes(dirty)));
        bar.tick();
        if elapsed >= timeout {
            bar.finish_and_clear();
            return Err(Failure::new(libc::ETIMEDOUT, what_is_left(pool_name, timeout, from, &left)));
        }
        client.ring().sleep(POLL).await;
    }
}

async fn tell(client: &Client, osd: u32, command: OsdCommand) -> Result<Value> {
    let reply = client.osd_command(osd, command).await?;
    if reply.errno != 0 {
        return Err(Failure::new(reply.errno, reply.message).while_doing(format_args!("osd.{osd}")));
    }
    serde_json::from_str(&reply.json)
        .map_err(|error| Failure::new(libc::EBADMSG, format!("osd.{osd}'s answer is no JSON document: {error}")))
}

fn left_of(osd: u32, pool: u32, status: &Value) -> Left {
    let pools = status.as_array().or_else(|| status.get("pools").and_then(Value::as_array));
    let figure = |key: &str| {
        pools
            .into_iter()
            .flatten()
            .filter(|entry| [entry.get("pool"), entry.get("pool_id")].into_iter().flatten().any(|id| *id == pool))
            .filter_map(|entry| entry.get(key).and_then(Value::as_u64))
            .sum()
    };
    Left { osd, dirty_bytes: figure("dirty_bytes"), dirty_objects: figure("dirty_objects") }
}

fn what_is_left(pool: &str, timeout: Duration, from: u64, left: &[Left]) -> String {
    let dirty: u64 = left.iter().map(|left| left.dirty_bytes).sum();
    let where_it_is: Vec<String> = left
        .iter()
        .filter(|left| left.dirty_bytes > 0)
        .map(|left| format!("osd.{}: {} of {} objects", left.osd, format_bytes(left.dirty_bytes), left.dirty_objects))
        .collect();
    let why = if dirty >= from {
        "clients write as fast as it is flushed, or the base device takes nothing: stop the writers or look at `basalt health detail`"
    } else {
        "the base device needs more time: give a longer --timeout; flushing goes on"
    };
    format!(
        "after {} pool '{pool}' still has {} dirty ({}); {why}",
        format_age(timeout),
        format_bytes(dirty),
        where_it_is.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drained_pool_counts() {
        let status = json!([
            { "pool": 1, "dirty_bytes": 4096, "dirty_objects": 1 },
            { "pool": 2, "dirty_bytes": 8192, "dirty_objects": 2 },
        ]);
        let left = left_of(0, 2, &status);
        assert_eq!((left.dirty_bytes, left.dirty_objects), (8192, 2));
        assert_eq!(left_of(0, 3, &status).dirty_bytes, 0);
    }

    #[test]
    fn what_is_left_is_told_with_its_place_and_the_reason() {
        let left = [Left { osd: 3, dirty_bytes: 1 << 20, dirty_objects: 7 }];
        let slow = what_is_left("data", Duration::from_secs(10), 2 << 20, &left);
        assert_eq!(
            slow,
            "after 10s pool 'data' still has 1 MiB dirty (osd.3: 1 MiB of 7 objects); the base device needs more time: give a longer \
             --timeout; flushing goes on"
        );
        assert!(what_is_left("data", Duration::from_secs(10), 1 << 20, &left).contains("stop the writers"));
    }
}
