//! `report`: what somebody who is to find a fault asks for first, in one document.

use crate::administration::{ask, osds};
use crate::slow_ops::of_one;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result};
use basalt_client::Client;
use basalt_net::message::monitor::{AdminCommand, CrushQuestion};
use basalt_net::message::object::OsdCommand;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// OSDs that are asked themselves; of more, what the monitor knows must do.
const OSDS_ASKED_MAX: usize = 256;

pub async fn run(client: &Client, output: &mut Output, config: &Path, to: Option<&Path>) -> Result<()> {
    let mut report = Map::new();
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    report.insert("made_unix_s".into(), json!(unix_s));
    report.insert("made_by".into(), json!(format!("basalt {}", env!("CARGO_PKG_VERSION"))));
    report.insert("configuration".into(), configuration(config));
    for (name, command) in [
        ("status", AdminCommand::Status),
        ("health", AdminCommand::HealthDetail),
        ("versions", AdminCommand::Versions),
        ("df", AdminCommand::Df),
        ("settings", AdminCommand::ConfigDump),
        ("osd_map", AdminCommand::OsdDump),
        ("osd_tree", AdminCommand::OsdTree),
        ("osd_df", AdminCommand::OsdDf),
        ("osd_perf", AdminCommand::OsdPerf),
        ("pools", AdminCommand::PoolLs { detail: true }),
        ("tiers", AdminCommand::TierStatus { pool: None }),
        ("crush_map", AdminCommand::Crush(CrushQuestion::Dump)),
        ("pg_map", AdminCommand::PgDump),
        ("blocklist", AdminCommand::BlocklistLs),
    ] {
        // What can't be had, a map that is too large for one answer, say, is no reason to do without the rest.
        let part = ask(client, command).await;
        report
            .insert(name.into(), part.map_or_else(|failure| json!({ "error": failure.message() }), |had| had.document));
    }
    let known = osds(client).await.unwrap_or_default();
    for (name, command) in [
        ("slow_ops", OsdCommand::SlowRequests),
        ("sessions", OsdCommand::Sessions),
        ("stores", OsdCommand::StoreStatus),
    ] {
        let mut answers = Vec::new();
        for osd in known.iter().take(OSDS_ASKED_MAX) {
            answers.push(of_one(client, *osd, command.clone()).await);
        }
        report.insert(name.into(), Value::Array(answers));
    }
    let document = Value::Object(report);
    match to {
        None => output.json(&document),
        Some(path) => {
            let text = serde_json::to_string_pretty(&document).unwrap_or_default() + "\n";
            std::fs::write(path, text).map_err(|error| Failure::file(path, &error))?;
            let message = format!("the report is in {}", path.display());
            output.show(&json!({ "file": path.display().to_string(), "message": message }), |_| format!("{message}\n"))
        }
    }
}

/// The file, with everything that may be a secret left out. Keys are in files of their own, of which only the names are in it.
fn configuration(path: &Path) -> Value {
    let shown = std::fs::read_to_string(path)
        .map_err(|error| error.to_string())
        .and_then(|text| text.parse::<toml::Table>().map_err(|error| error.message().to_owned()))
        .and_then(|table| serde_json::to_value(table).map_err(|error| error.to_string()));
    match shown {
        Ok(mut document) => {
            leave_out_secrets(&mut document);
            document
        }
        Err(problem) => json!({ "error": problem }),
    }
}

fn leave_out_secrets(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                let is_secret = ["secret", "password", "passphrase", "token"].iter().any(|word| name.contains(word));
                // A key in the file itself is one that nobody knows yet; key_file and tls_key name files.
                if is_secret || name == "key" {
                    *value = json!("(left out)");
                } else {
                    leave_out_secrets(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(leave_out_secrets),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_left_out_wherever_it_stands() {
        let mut document = json!({
            "key_file": "key", "key": "abc", "s3": { "kms_token": "abc", "tls_key": "x.pem" }, "list": [{ "password": "abc" }],
        });
        leave_out_secrets(&mut document);
        assert!(!document.to_string().contains("abc"), "{document}");
        assert_eq!((&document["key_file"], &document["s3"]["tls_key"]), (&json!("key"), &json!("x.pem")));
    }
}
