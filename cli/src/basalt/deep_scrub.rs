//! `osd deep-scrub`: tells OSDs to compare everything they keep with its checksums.

use crate::administration::{osds, tell};
use crate::arguments::OsdChoice;
use basalt_cli::Result;
use basalt_cli::output::Output;
use basalt_client::Client;
use basalt_net::message::object::OsdCommand;
use serde_json::json;

pub async fn run(client: &Client, output: &mut Output, choice: OsdChoice) -> Result<()> {
    let chosen = match choice {
        OsdChoice::All => osds(client).await?,
        OsdChoice::One(osd) => vec![osd],
    };
    for osd in &chosen {
        tell(client, *osd, OsdCommand::DeepScrub).await?;
    }
    let ids: Vec<String> = chosen.iter().map(u32::to_string).collect();
    let message = format!("instructed osd(s) {} to deep-scrub", ids.join(","));
    output.show(&json!({ "osds": chosen, "message": message }), |_| format!("{message}\n"))
}
