//! Commands that the monitor answers: asked in its words, shown in Ceph's.

use crate::arguments::{Application, Blocklist, Command, Global, Mode, Osd, OsdChoice, Osds, Pool, Tier, TierChange};
use crate::connection::with_client;
use crate::{config, deep_scrub, drain, iostat, maintenance, osd_crush, pg, plain, report, slow_ops, top};
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result};
use basalt_client::Client;
use basalt_net::message::monitor::{AdminCommand, CommandReply, FullLine, MapChange, OsdChange, TierCommand};
use basalt_net::message::object::OsdCommand;
use serde_json::{Value, json};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

/// The monitor's answer to a command that succeeded.
pub struct Answer {
    /// What Ceph prints as plain text, where that is not a table.
    pub message: String,
    pub document: Value,
}

pub fn run(global: &Global, command: Command) -> Result<ExitCode> {
    let mut output = Output::new(global.format);
    with_client(global, async |client| match command {
        Command::Status => show(&client, &mut output, AdminCommand::Status, plain::status::render).await,
        Command::Health { detail } => health(&client, &mut output, detail.is_some()).await,
        Command::Df { detail } => {
            show(&client, &mut output, AdminCommand::Df, |df| plain::space::render(df, detail.is_some())).await
        }
        Command::Versions => show(&client, &mut output, AdminCommand::Versions, plain::pretty).await,
        Command::Top(arguments) => top::run(&client, &mut output, &arguments).await,
        Command::Report { output: to } => report::run(&client, &mut output, &global.config, to.as_deref()).await,
        Command::Iostat(arguments) => iostat::run(&client, &mut output, &arguments).await,
        Command::Osd(command) => osd(&client, &mut output, command).await,
        Command::Pg(command) => pg::run(&client, &mut output, command).await,
        Command::Config(command) => config::run(&client, &mut output, command).await,
        Command::Maintenance(command) => maintenance::run(&client, &mut output, command).await,
        Command::Obj(_)
        | Command::User(_)
        | Command::Bucket(_)
        | Command::Gc(_)
        | Command::Lc(_)
        | Command::Auth(_)
        | Command::Image(_)
        | Command::Crush(_)
        | Command::Tier(_)
        | Command::Bootstrap(_)
        | Command::Host(_)
        | Command::Disk(_)
        | Command::Completion { .. }
        | Command::Man { .. }
        | Command::Bench { .. } => Err(Failure::invalid("this is no command for the monitor")),
    })?;
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

async fn osd(client: &Client, output: &mut Output, command: Osd) -> Result<()> {
    match command {
        Osd::Tree => show(client, output, AdminCommand::OsdTree, plain::osd::tree).await,
        Osd::Df { tree: None } => show(client, output, AdminCommand::OsdDf, |df| plain::osd::df(df, false)).await,
        Osd::Df { tree: Some(_) } => show(client, output, AdminCommand::OsdDfTree, |df| plain::osd::df(df, true)).await,
        Osd::In(osds) => change_osds(client, output, osds, OsdChange::In).await,
        Osd::Out(osds) => change_osds(client, output, osds, OsdChange::Out).await,
        Osd::Down(osds) => change_osds(client, output, osds, OsdChange::Down).await,
        Osd::Destroy(osds) => change_osds(client, output, osds, OsdChange::Destroy).await,
        Osd::Purge(osds) => change_osds(client, output, osds, OsdChange::Purge).await,
        Osd::Reweight { osd, weight, mode } => {
            let osds = Osds { osds: vec![OsdChoice::One(osd)], mode };
            change_osds(client, output, osds, OsdChange::Reweight { weight }).await
        }
        Osd::OkToStop(Osds { osds, .. }) => {
            let osds = chosen(client, &osds).await?;
            say(client, output, AdminCommand::OsdOkToStop { osds }).await
        }
        Osd::SafeToDestroy(Osds { osds, .. }) => {
            let osds = chosen(client, &osds).await?;
            say(client, output, AdminCommand::OsdSafeToDestroy { osds }).await
        }
        Osd::Crush(command) => osd_crush::run(client, output, command).await,
        Osd::Getcrushmap { output: to } => osd_crush::get_map(client, output, to.as_deref()).await,
        Osd::Setcrushmap { file, input, mode } => {
            let file = file.or(input).ok_or_else(|| Failure::invalid("no file is given"))?;
            osd_crush::set_map(client, output, &file, mode).await
        }
        Osd::Perf => show(client, output, AdminCommand::OsdPerf, plain::osd::perf).await,
        Osd::SlowOps { osd } => slow_ops::run(client, output, osd).await,
        Osd::Stat => say(client, output, AdminCommand::OsdStat).await,
        Osd::Ls => say(client, output, AdminCommand::OsdLs).await,
        Osd::Map { pool, name } => say(client, output, AdminCommand::OsdMap { pool, name: name.into_vec() }).await,
        Osd::DeepScrub { osd } => deep_scrub::run(client, output, osd).await,
        Osd::Set { flag } => say(client, output, AdminCommand::OsdSetFlag { flag, is_set: true }).await,
        Osd::Unset { flag } => say(client, output, AdminCommand::OsdSetFlag { flag, is_set: false }).await,
        Osd::SetGroup { flags, hosts } => {
            say(client, output, AdminCommand::OsdSetGroup { flags: vec![flags], hosts, is_set: true }).await
        }
        Osd::UnsetGroup { flags, hosts } => {
            say(client, output, AdminCommand::OsdSetGroup { flags: vec![flags], hosts, is_set: false }).await
        }
        Osd::Blocklist(command) => {
            let command = match command {
                Blocklist::Ls => AdminCommand::BlocklistLs,
                Blocklist::Add { client } => AdminCommand::BlocklistAdd { client },
                Blocklist::Rm { client } => AdminCommand::BlocklistRm { client },
            };
            say(client, output, command).await
        }
        Osd::RequireOsdRelease { release, sure } => {
            say(client, output, AdminCommand::OsdRequireRelease { release, sure }).await
        }
        Osd::SetNearfullRatio { ratio } => say(client, output, set_full_ratio(FullLine::NearFull, ratio)).await,
        Osd::SetBackfillfullRatio { ratio } => say(client, output, set_full_ratio(FullLine::BackfillFull, ratio)).await,
        Osd::SetFullRatio { ratio } => say(client, output, set_full_ratio(FullLine::Full, ratio)).await,
        Osd::Dump => {
            let pools = ask(client, AdminCommand::PoolLs { detail: true }).await?;
            show(client, output, AdminCommand::OsdDump, |dump| plain::osd::dump(dump, &lines(&pools.message))).await
        }
        Osd::Pool(command) => say(client, output, pool(command)?).await,
        Osd::Tier(Tier::Status { pool }) => {
            show(client, output, AdminCommand::TierStatus { pool }, plain::tier::status).await
        }
        Osd::Tier(Tier::Drain { pool, timeout }) => drain::run(client, output, &pool, timeout).await,
        Osd::Tier(Tier::Change(change)) => say(client, output, AdminCommand::Tier(tier_command(change))).await,
    }
}

fn tier_command(change: TierChange) -> TierCommand {
    match change {
        TierChange::Add { base, cache, force_nonempty } => {
            TierCommand::Add { base, cache, even_if_it_holds_objects: force_nonempty }
        }
        TierChange::AddCache { base, cache, size } => TierCommand::AddCache { base, cache, size },
        TierChange::Rm { base, cache } => TierCommand::Rm { base, cache },
        TierChange::CacheMode { cache, mode, sure: _ } => TierCommand::CacheMode { cache, mode },
        TierChange::SetOverlay { base, cache } => TierCommand::SetOverlay { base, cache },
        TierChange::RmOverlay { base } => TierCommand::RmOverlay { base },
    }
}

async fn change_osds(client: &Client, output: &mut Output, osds: Osds, what: OsdChange) -> Result<()> {
    let Osds { osds, mode } = osds;
    let osds = chosen(client, &osds).await?;
    say(client, output, change(MapChange::Osds { osds, what }, mode)).await
}

fn change(change: MapChange, mode: Mode) -> AdminCommand {
    AdminCommand::Change { change, mode: mode.into() }
}

async fn chosen(client: &Client, choices: &[OsdChoice]) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for choice in choices {
        match choice {
            OsdChoice::One(id) => ids.push(*id),
            OsdChoice::All => ids.extend(osds(client).await?),
        }
    }
    Ok(ids)
}

fn set_full_ratio(line: FullLine, ratio: f64) -> AdminCommand {
    AdminCommand::OsdSetFullRatio { line, ratio }
}

fn pool(command: Pool) -> Result<AdminCommand> {
    Ok(match command {
        Pool::Create { name, pg_num, pgp_num, rule, size } => {
            if pgp_num.is_some() && pgp_num != pg_num {
                return Err(Failure::invalid("pgp_num differs from pg_num: give the number of placement groups once"));
            }
            AdminCommand::PoolCreate { name, pg_num, rule, size }
        }
        Pool::Ls { detail } => AdminCommand::PoolLs { detail: detail.is_some() },
        Pool::Get { name, variable } => AdminCommand::PoolGet { name, variable },
        Pool::Set { name, variable, value, mode } => change(MapChange::PoolSet { name, variable, value }, mode),
        Pool::Rm { name, again, sure } => AdminCommand::PoolRm { name, again: again.unwrap_or_default(), sure },
        Pool::Rename { name, to } => AdminCommand::PoolRename { name, to },
        Pool::SetQuota { name, variable, value } => AdminCommand::PoolSetQuota { name, variable, value },
        Pool::GetQuota { name } => AdminCommand::PoolGetQuota { name },
        Pool::Stats { name } => AdminCommand::PoolStats { name },
        Pool::Application(command) => {
            let (name, action, application) = match command {
                Application::Enable { pool, application } => (pool, "enable", application),
                Application::Disable { pool, application } => (pool, "disable", application),
                Application::Get { pool } => (pool, "get", String::new()),
            };
            AdminCommand::PoolApplication { name, action: action.into(), application }
        }
    })
}

/// Asks the monitor; a refusal is a failure with the monitor's words.
pub async fn ask(client: &Client, command: AdminCommand) -> Result<Answer> {
    let CommandReply { errno, message, json } = client.command(command).await?;
    if errno != 0 {
        return Err(Failure::new(errno, message));
    }
    let document = serde_json::from_str(&json)
        .map_err(|error| Failure::new(libc::EBADMSG, format!("the monitor's answer is no JSON document: {error}")))?;
    Ok(Answer { message, document })
}

/// The ids of all OSDs.
pub async fn osds(client: &Client) -> Result<Vec<u32>> {
    serde_json::from_value(ask(client, AdminCommand::OsdLs).await?.document)
        .map_err(|error| Failure::new(libc::EBADMSG, format!("the monitor's list of OSDs is odd: {error}")))
}

/// Asks one OSD itself; a refusal is a failure with its words.
pub async fn tell(client: &Client, osd: u32, command: OsdCommand) -> Result<Value> {
    let reply = client.osd_command(osd, command).await?;
    if reply.errno != 0 {
        return Err(Failure::new(reply.errno, reply.message).while_doing(format_args!("osd.{osd}")));
    }
    serde_json::from_str(&reply.json)
        .map_err(|error| Failure::new(libc::EBADMSG, format!("osd.{osd}'s answer is no JSON document: {error}")))
}

/// For answers that are tables to people.
pub async fn show(
    client: &Client,
    output: &mut Output,
    command: AdminCommand,
    plain: impl FnOnce(&Value) -> String,
) -> Result<()> {
    let answer = ask(client, command).await?;
    output.show(&answer.document, plain)
}

/// For answers that the monitor words itself. Without a document of their own they are one with the message, so that scripts always
/// get a document.
pub async fn say(client: &Client, output: &mut Output, command: AdminCommand) -> Result<()> {
    let answer = ask(client, command).await?;
    let document = match answer.document {
        Value::Null => json!({ "message": answer.message }),
        document => document,
    };
    output.show(&document, |_| lines(&answer.message))
}

async fn health(client: &Client, output: &mut Output, detail: bool) -> Result<()> {
    let mut answer = ask(client, AdminCommand::HealthDetail).await?;
    if !detail {
        answer.message.truncate(answer.message.find('\n').unwrap_or(answer.message.len()));
        let checks = answer.document.get_mut("checks").and_then(Value::as_object_mut);
        for check in checks.into_iter().flat_map(|checks| checks.iter_mut()) {
            if let Some(check) = check.1.as_object_mut() {
                for key in ["detail", "cause", "remedy", "chapter"] {
                    check.shift_remove(key);
                }
            }
        }
    }
    output.show(&answer.document, |_| lines(&answer.message))
}

/// The message with its last line ended; nothing for an empty one.
fn lines(message: &str) -> String {
    match message {
        "" => String::new(),
        message if message.ends_with('\n') => message.to_owned(),
        message => format!("{message}\n"),
    }
}
