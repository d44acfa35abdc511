//! `maintenance enter|exit`: what the monitor decides at once, and what there is to wait for around it.

use crate::administration::{Answer, ask, say};
use crate::arguments::maintenance::{Maintenance, Which};
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result};
use basalt_client::Client;
use basalt_cluster::quantity::format_age;
use basalt_net::message::monitor::{AdminCommand, MaintenanceScope, MaintenanceStep};
use serde_json::{Value, json};
use std::time::Duration;

const POLL: Duration = Duration::from_millis(250);
/// Reports come once a second: only then does what is shown belong to the new map.
const REPORTED: Duration = Duration::from_millis(2500);

pub async fn run(client: &Client, output: &mut Output, command: Maintenance) -> Result<()> {
    match command {
        Maintenance::Status => say(client, output, AdminCommand::MaintenanceStatus).await,
        Maintenance::Enter { which, sure, timeout } => enter(client, output, which, sure, timeout).await,
        Maintenance::Exit { which, sure, timeout } => exit(client, output, which, sure, timeout).await,
    }
}

fn scope(which: &Which) -> MaintenanceScope {
    match &which.host {
        Some(host) => MaintenanceScope::Host(host.clone()),
        None => MaintenanceScope::All,
    }
}

async fn step(client: &Client, which: &Which, step: MaintenanceStep) -> Result<Answer> {
    ask(client, AdminCommand::Maintenance { scope: scope(which), step }).await
}

async fn enter(client: &Client, output: &mut Output, which: Which, sure: bool, timeout: Duration) -> Result<()> {
    let entered = step(client, &which, MaintenanceStep::Enter { sure }).await?;
    let waited = match which.all {
        true => wait(client, timeout, clients_stand_still).await,
        // Who insisted knows that some groups will serve nobody.
        false if sure => Ok(Ok(())),
        false => {
            wait(client, timeout, |status, _| left(status, "pgs_inactive", "placement groups serve nobody yet")).await
        }
    };
    if let Err(failure) = flatten(waited, timeout) {
        step(client, &which, MaintenanceStep::Exit).await?;
        return Err(Failure::new(failure.errno(), format!("{}; all is as it was before", failure.message())));
    }
    let (next, back) = match &which.host {
        Some(host) => (
            "stop the daemons of the host (systemctl stop basalt.target) and do what is to be done",
            format!("basalt maintenance exit {host}"),
        ),
        None => (
            "stop the OSDs of all hosts, then the monitors (systemctl stop basalt.target)",
            "basalt maintenance exit --all".to_owned(),
        ),
    };
    let text = format!("{}\nnow {next}; once they run again: {back}", entered.message);
    output.show(&json!({ "message": entered.message, "next": next, "back": back }), |_| format!("{text}\n"))
}

async fn exit(client: &Client, output: &mut Output, which: Which, sure: bool, timeout: Duration) -> Result<()> {
    step(client, &which, MaintenanceStep::ComeUp).await?;
    if !sure {
        let host = which.host.clone();
        let came_up = wait(client, timeout, |status, _| still_down(status, host.as_deref())).await;
        flatten(came_up, timeout).map_err(|failure| {
            let advice = "start their daemons and exit again, or pass --yes-i-really-mean-it to go on without them";
            Failure::new(failure.errno(), format!("{}; still in maintenance: {advice}", failure.message()))
        })?;
    }
    let left_it = step(client, &which, MaintenanceStep::Exit).await?;
    if !sure {
        let clean =
            wait(client, timeout, |status, _| left(status, "pgs_unclean", "placement groups lack copies")).await;
        flatten(clean, timeout).map_err(|failure| {
            let advice = "recovery goes on; `basalt status` shows it";
            Failure::new(failure.errno(), format!("{}, but {}; {advice}", left_it.message, failure.message()))
        })?;
    }
    output.show(&json!({ "message": left_it.message }), |_| format!("{}\n", left_it.message))
}

/// Looks again and again until `what_is_left` has nothing to say; what it said last if that takes too long.
async fn wait(
    client: &Client,
    timeout: Duration,
    what_is_left: impl Fn(&Value, &Value) -> Option<String>,
) -> Result<std::result::Result<(), String>> {
    let begun = client.ring().now();
    loop {
        client.ring().sleep(POLL).await;
        let elapsed = client.ring().now().since(begun);
        let maintenance = ask(client, AdminCommand::MaintenanceStatus).await?.document;
        let status = ask(client, AdminCommand::Status).await?.document;
        match what_is_left(&maintenance, &status) {
            None if elapsed >= REPORTED => return Ok(Ok(())),
            Some(left) if elapsed >= timeout => return Ok(Err(left)),
            _ => {}
        }
    }
}

fn flatten(waited: Result<std::result::Result<(), String>>, timeout: Duration) -> Result<()> {
    waited?.map_err(|left| Failure::new(libc::ETIMEDOUT, format!("after {} {left}", format_age(timeout))))
}

fn left(maintenance: &Value, key: &str, what: &str) -> Option<String> {
    let count = maintenance.get(key).and_then(Value::as_u64).unwrap_or(0);
    (count > 0).then(|| format!("{count} {what}"))
}

/// OSDs of the host, or of all, that are to come up and have not.
fn still_down(maintenance: &Value, host: Option<&str>) -> Option<String> {
    let down = maintenance.get("osds_down").and_then(Value::as_array);
    let is_of_host = |osd: &&Value| host.is_none() || osd.get("host").and_then(Value::as_str) == host;
    let names: Vec<String> = down
        .into_iter()
        .flatten()
        .filter(is_of_host)
        .filter_map(|osd| Some(format!("osd.{}", osd.get("osd")?.as_u64()?)))
        .collect();
    (!names.is_empty()).then(|| format!("{} still down", names.join(", ")))
}

fn clients_stand_still(_: &Value, status: &Value) -> Option<String> {
    let rate = |key: &str| status.pointer(&format!("/pgmap/{key}")).and_then(Value::as_u64).unwrap_or(0);
    let (reads, writes) = (rate("read_op_per_sec"), rate("write_op_per_sec"));
    (reads + writes > 0).then(|| format!("clients still read and write ({reads} and {writes} a second)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hosts_own_osds_are_waited_for() {
        let status = json!({ "osds_down": [{ "osd": 1, "host": "h0" }, { "osd": 4, "host": "h2" }] });
        assert_eq!(still_down(&status, Some("h0")).as_deref(), Some("osd.1 still down"));
        assert_eq!(still_down(&status, Some("h1")), None);
        assert_eq!(still_down(&status, None).as_deref(), Some("osd.1, osd.4 still down"));
    }

    #[test]
    fn a_cluster_is_still_when_nobody_reads_or_writes() {
        let status = |reads: u64| json!({ "pgmap": { "read_op_per_sec": reads, "write_op_per_sec": 0 } });
        assert!(clients_stand_still(&Value::Null, &status(3)).is_some());
        assert_eq!(clients_stand_still(&Value::Null, &status(0)), None);
    }
}
