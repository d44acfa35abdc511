//! `pg …`: placement groups, looked at and scrubbed.

use crate::administration::{ask, say, show, tell};
use crate::arguments::Pg;
use crate::plain;
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result};
use basalt_client::Client;
use basalt_cluster::PgId;
use basalt_net::message::monitor::{AdminCommand, PgSelection};
use basalt_net::message::object::OsdCommand;
use serde_json::{Value, json};

pub async fn run(client: &Client, output: &mut Output, command: Pg) -> Result<()> {
    let which = match command {
        Pg::Stat => return say(client, output, AdminCommand::PgStat).await,
        Pg::Dump => return show(client, output, AdminCommand::PgDump, plain::pg::dump).await,
        Pg::Query { pg } => return say(client, output, AdminCommand::PgQuery { pg }).await,
        Pg::Scrub { pg } => return scrub(client, output, &pg, "scrub", (false, false)).await,
        Pg::DeepScrub { pg } => return scrub(client, output, &pg, "deep-scrub", (true, false)).await,
        Pg::Repair { pg } => return scrub(client, output, &pg, "repair", (true, true)).await,
        Pg::Ls { mut words } => {
            // Ceph takes a pool's number before the states.
            let pool = words.first().is_some_and(|word| word.parse::<u32>().is_ok()).then(|| words.remove(0));
            PgSelection { pool, osd: None, states: words }
        }
        Pg::LsByPool { pool, states } => PgSelection { pool: Some(pool), osd: None, states },
        Pg::LsByOsd { osd, states } => PgSelection { pool: None, osd: Some(osd), states },
    };
    show(client, output, AdminCommand::PgLs { which }, plain::pg::list_of_groups).await
}

/// Tells the group's primary.
async fn scrub(client: &Client, output: &mut Output, pg: &str, verb: &str, (deep, repair): (bool, bool)) -> Result<()> {
    let id: PgId = pg.parse().map_err(Failure::invalid)?;
    let group = ask(client, AdminCommand::PgQuery { pg: pg.to_owned() }).await?.document;
    let acting: Vec<u32> = group.get("acting").and_then(Value::as_array).map_or_else(Vec::new, |osds| {
        osds.iter().filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok()).collect()
    });
    let Some(primary) = acting.first() else {
        return Err(Failure::new(
            libc::EAGAIN,
            format!("pg {id} has no primary now; `basalt pg query {id}` says what it waits for"),
        ));
    };
    tell(client, *primary, OsdCommand::ScrubGroup { pool: id.pool, pg: id.seed, deep, repair }).await?;
    let message = format!("instructing pg {id} on osd.{primary} to {verb}");
    output.show(&json!({ "pgid": id.to_string(), "osds": acting, "message": message }), |_| format!("{message}\n"))
}
