//! `osd tier drain`: tells every OSD to empty its hot slice of a pool, and waits until it is done.

use crate::administration::{ask, osds, tell};
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
/// Several intervals of the OSDs' reports.
const REPORTED_WITHIN: Duration = Duration::from_secs(5);

/// What one OSD still has of the pool in its hot slice.
struct Left {
    osd: u32,
    dirty_bytes: u64,
    clean_bytes: u64,
    /// The OSD's own words for what it waits for.
    reason: String,
}

pub async fn run(client: &Client, output: &mut Output, pool_name: &str, timeout: Duration) -> Result<()> {
    let status = ask(client, AdminCommand::TierStatus { pool: Some(pool_name.into()) }).await?.document;
    // What a cache pool caches is another one's.
    let pool_name = status.pointer("/0/cached_pool").and_then(Value::as_str).unwrap_or(pool_name);
    let pool = client.pool(pool_name).await?;
    let osds = osds(client).await?;
    let begun = client.ring().now();
    let bar = if output.format().shows_progress() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    for osd in &osds {
        tell(client, *osd, OsdCommand::TierDrain { pool: pool.id() }).await?;
    }
    let mut dirty_at_first = None;
    loop {
        let mut left = Vec::new();
        for osd in &osds {
            let status = tell(client, *osd, OsdCommand::TierStatus).await?;
            left.push(left_of(*osd, pool.id(), &status));
        }
        let dirty: u64 = left.iter().map(|left| left.dirty_bytes).sum();
        let hot = left.iter().map(|left| left.clean_bytes).sum::<u64>().saturating_add(dirty);
        let dirty_at_first = *dirty_at_first.get_or_insert(dirty);
        let elapsed = client.ring().now().since(begun);
        if hot == 0 {
            wait_for_monitor(client, pool_name).await?;
            bar.finish_and_clear();
            let seconds = elapsed.as_secs_f64();
            let document = json!({ "pool": pool_name, "dirty_bytes": 0, "hot_bytes": 0, "seconds": seconds });
            return output.show(&document, |_| format!("pool '{pool_name}' is drained, after {seconds:.1} s\n"));
        }
        bar.set_message(format!("{} left, {} of it dirty", format_bytes(hot), format_bytes(dirty)));
        bar.tick();
        if elapsed >= timeout {
            bar.finish_and_clear();
            return Err(Failure::new(libc::ETIMEDOUT, what_is_left(pool_name, timeout, dirty_at_first, &left)));
        }
        client.ring().sleep(POLL).await;
    }
}

/// The monitor hears of it with the OSDs' next reports. Whoever looks at `osd tier status` after a drain is to see a drained tier.
async fn wait_for_monitor(client: &Client, pool: &str) -> Result<()> {
    let begun = client.ring().now();
    while client.ring().now().since(begun) < REPORTED_WITHIN {
        let status = ask(client, AdminCommand::TierStatus { pool: Some(pool.into()) }).await?.document;
        // Somebody who writes again makes it hot again, and that is no reason to wait for long.
        if status.pointer("/0/hot_bytes").and_then(Value::as_u64).unwrap_or(0) == 0 {
            break;
        }
        client.ring().sleep(POLL).await;
    }
    Ok(())
}

/// From one OSD's tier figures, an entry a pool by the pool's number.
fn left_of(osd: u32, pool: u32, status: &Value) -> Left {
    let drain = status.pointer(&format!("/{pool}/drain")).unwrap_or(&Value::Null);
    let figure = |key: &str| drain.get(key).and_then(Value::as_u64).unwrap_or(0);
    Left {
        osd,
        dirty_bytes: figure("dirty_bytes"),
        clean_bytes: figure("clean_bytes"),
        reason: drain.get("reason").and_then(Value::as_str).unwrap_or("").to_owned(),
    }
}

fn what_is_left(pool: &str, timeout: Duration, dirty_at_first: u64, left: &[Left]) -> String {
    let dirty: u64 = left.iter().map(|left| left.dirty_bytes).sum();
    let clean: u64 = left.iter().map(|left| left.clean_bytes).sum();
    let waiting = left.iter().filter(|left| left.dirty_bytes.saturating_add(left.clean_bytes) > 0);
    let reasons: Vec<String> = waiting.map(|left| format!("osd.{}: {}", left.osd, left.reason)).collect();
    let advice = if dirty > 0 && dirty >= dirty_at_first {
        "it does not get less: look at `basalt health detail`, and at who writes"
    } else {
        "draining goes on; ask again, or with a longer --timeout"
    };
    format!(
        "after {} pool '{pool}' still has {} dirty and {} clean in the hot tier ({}); {advice}",
        format_age(timeout),
        format_bytes(dirty),
        format_bytes(clean),
        reasons.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drained_pool_counts() {
        let status = json!({
            "1": { "drain": { "dirty_bytes": 4096, "clean_bytes": 1, "reason": "" } },
            "2": { "drain": { "dirty_bytes": 8192, "clean_bytes": 0, "reason": "2 objects wait to be flushed" } },
            "3": { "drain": null },
        });
        let left = left_of(0, 2, &status);
        assert_eq!(
            (left.dirty_bytes, left.clean_bytes, left.reason.as_str()),
            (8192, 0, "2 objects wait to be flushed")
        );
        assert_eq!(left_of(0, 3, &status).dirty_bytes, 0);
        assert_eq!(left_of(0, 4, &status).dirty_bytes, 0);
    }

    #[test]
    fn what_is_left_is_told_with_its_place_and_the_reason() {
        let left =
            [Left { osd: 3, dirty_bytes: 1 << 20, clean_bytes: 0, reason: "7 objects wait to be flushed".into() }];
        assert_eq!(
            what_is_left("data", Duration::from_secs(10), 2 << 20, &left),
            "after 10s pool 'data' still has 1 MiB dirty and 0 B clean in the hot tier (osd.3: 7 objects wait to be flushed); \
             draining goes on; ask again, or with a longer --timeout"
        );
        assert!(what_is_left("data", Duration::from_secs(10), 1 << 20, &left).contains("it does not get less"));
    }
}
