//! `osd slow-ops`: which requests are slow, and what they wait for, as the OSDs themselves tell it.

use crate::administration::{osds, tell};
use crate::arguments::OsdChoice;
use crate::plain;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result};
use basalt_client::Client;
use basalt_net::message::object::OsdCommand;
use serde_json::{Value, json};

pub async fn run(client: &Client, output: &mut Output, choice: OsdChoice) -> Result<()> {
    let mut documents = Vec::new();
    match choice {
        OsdChoice::One(osd) => documents.push(tell(client, osd, OsdCommand::SlowRequests).await?),
        // One that is down has nothing under way.
        OsdChoice::All => {
            for osd in osds(client).await? {
                documents.push(of_one(client, osd, OsdCommand::SlowRequests).await);
            }
        }
    }
    output.show(&json!({ "osds": documents }), plain::osd::slow_ops)
}

/// What an OSD says; of one that can't be asked, why.
pub async fn of_one(client: &Client, osd: u32, command: OsdCommand) -> Value {
    let is_up = client.map().osd(osd).is_some_and(|known| known.is_up);
    let answer =
        if is_up { tell(client, osd, command).await } else { Err(Failure::new(libc::EHOSTDOWN, "it is down")) };
    answer.unwrap_or_else(|failure| json!({ "osd": osd, "error": failure.message() }))
}
