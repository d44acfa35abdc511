//! `osd crush …`, `osd getcrushmap` and `osd setcrushmap`: the cluster's own CRUSH map.

use crate::administration::{ask, say, show};
use crate::arguments::Mode;
use crate::arguments::osd_crush::{Class, OsdCrush, Rule};
use crate::crush::{read_map, write};
use crate::plain;
use basalt_cli::Result;
use basalt_cli::output::Output;
use basalt_client::Client;
use basalt_net::message::monitor::{AdminCommand, CrushChange, CrushQuestion, MapChange};
use serde_json::json;
use std::path::Path;

pub async fn run(client: &Client, output: &mut Output, command: OsdCrush) -> Result<()> {
    let look = |question| AdminCommand::Crush(question);
    let command = match command {
        OsdCrush::Tree { show_shadow } => {
            let tree = look(CrushQuestion::Tree { shadows: show_shadow });
            return show(client, output, tree, plain::osd::crush_tree).await;
        }
        OsdCrush::Dump => look(CrushQuestion::Dump),
        OsdCrush::Ls { bucket } => look(CrushQuestion::Ls { bucket }),
        OsdCrush::ShowTunables => look(CrushQuestion::Tunables),
        OsdCrush::Rule(Rule::Ls) => look(CrushQuestion::RuleLs),
        OsdCrush::Rule(Rule::Dump { name }) => look(CrushQuestion::RuleDump { name }),
        OsdCrush::Class(Class::Ls) => look(CrushQuestion::ClassLs),
        OsdCrush::Class(Class::LsOsd { class }) => look(CrushQuestion::ClassLsOsd { class }),
        other => {
            let (change, mode) = change(other);
            AdminCommand::Change { change: MapChange::Crush(change), mode: mode.into() }
        }
    };
    say(client, output, command).await
}

/// Commands that only look are none.
fn change(command: OsdCrush) -> (CrushChange, Mode) {
    let by_default = Mode::default();
    match command {
        OsdCrush::AddBucket { name, type_name, place, mode } => {
            (CrushChange::AddBucket { name, type_name, place }, mode)
        }
        OsdCrush::Move { name, to, mode } => (CrushChange::Move { name, place: to.place }, mode),
        OsdCrush::Set(placed) => {
            let (osd, weight, place) = (placed.osd, placed.weight, placed.to.place);
            (CrushChange::Set { osd, weight, place, is_new: false }, placed.mode)
        }
        OsdCrush::Add(placed) => {
            let (osd, weight, place) = (placed.osd, placed.weight, placed.to.place);
            (CrushChange::Set { osd, weight, place, is_new: true }, placed.mode)
        }
        OsdCrush::Reweight(of) => (CrushChange::Reweight { name: of.name, weight: of.weight }, of.mode),
        OsdCrush::ReweightSubtree(of) => (CrushChange::ReweightSubtree { name: of.name, weight: of.weight }, of.mode),
        OsdCrush::Rm { name, mode } => (CrushChange::Rm { name }, mode),
        OsdCrush::RenameBucket { from, to } => (CrushChange::RenameBucket { from, to }, by_default),
        OsdCrush::Rule(Rule::CreateReplicated { name, root, failure_domain, class }) => {
            (CrushChange::RuleCreateReplicated { name, root, failure_domain, class }, by_default)
        }
        OsdCrush::Rule(Rule::CreateSimple { name, root, failure_domain, mode }) => {
            (CrushChange::RuleCreateSimple { name, root, failure_domain, mode }, by_default)
        }
        OsdCrush::Rule(Rule::Rm { name }) => (CrushChange::RuleRm { name }, by_default),
        OsdCrush::Rule(Rule::Rename { from, to }) => (CrushChange::RuleRename { from, to }, by_default),
        OsdCrush::Class(Class::Rename { from, to }) => (CrushChange::ClassRename { from, to }, by_default),
        OsdCrush::SetDeviceClass { class, osds, mode } => (CrushChange::SetDeviceClass { class, osds }, mode),
        OsdCrush::RmDeviceClass { osds, mode } => (CrushChange::RmDeviceClass { osds }, mode),
        OsdCrush::Tunables { profile, mode } => (CrushChange::Tunables { profile }, mode),
        OsdCrush::SetTunable { name, value, mode } => (CrushChange::SetTunable { name, value }, mode),
        OsdCrush::SetAllStrawBucketsToStraw2 { mode } => (CrushChange::SetAllStrawBucketsToStraw2, mode),
        OsdCrush::ReweightAll { mode } => (CrushChange::ReweightAll, mode),
        OsdCrush::Tree { .. }
        | OsdCrush::Dump
        | OsdCrush::Ls { .. }
        | OsdCrush::ShowTunables
        | OsdCrush::Rule(Rule::Ls | Rule::Dump { .. })
        | OsdCrush::Class(Class::Ls | Class::LsOsd { .. }) => unreachable!("{command:?} changes nothing"),
    }
}

/// As text, to a file or to stdout.
pub async fn get_map(client: &Client, output: &mut Output, to: Option<&Path>) -> Result<()> {
    let answer = ask(client, AdminCommand::Crush(CrushQuestion::Map)).await?;
    match to {
        Some(to) if to != Path::new("-") => {
            write(to, answer.message.as_bytes(), output)?;
            let document = json!({ "epoch": answer.document.get("epoch"), "file": to.display().to_string() });
            output.show(&document, |_| String::new())
        }
        _ => output.show(&answer.document, |_| answer.message.clone()),
    }
}

/// The file is checked here first, so that what is wrong is named by its line.
pub async fn set_map(client: &Client, output: &mut Output, file: &Path, mode: Mode) -> Result<()> {
    let mut map = Vec::new();
    read_map(file)?.encode(&mut map);
    say(client, output, AdminCommand::Change { change: MapChange::CrushMap { map }, mode: mode.into() }).await
}
