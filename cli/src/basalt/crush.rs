//! `basalt crush …`: maps in files, with no cluster: compiled, decompiled, tried out. A map is read in either form, text or encoded.

use crate::arguments::{Crush, CrushTest, Global, MapObject};
use basalt_cli::output::Output;
use basalt_cli::{Failure, Result, name_text};
use basalt_cluster::crush::{self, CrushMap, ITEM_NONE, RuleKind, Tally, Tester, Workspace, hash};
use basalt_cluster::{PgId, object_hash};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

pub fn run(global: &Global, command: Crush) -> Result<ExitCode> {
    let mut output = Output::new(global.format);
    match command {
        Crush::Compile { file, output: to } => compile(&file, to.as_deref(), &mut output)?,
        Crush::Decompile { file, output: to } => decompile(&file, to.as_deref(), &mut output)?,
        Crush::Test(test) => try_out(&test, &mut output)?,
        Crush::MapObject(object) => map_object(&object, &mut output)?,
    }
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// A file's map; `-` is stdin.
pub fn read_map(file: &Path) -> Result<CrushMap> {
    let bytes_max = crush::limits::ENCODED_BYTES_MAX as u64;
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(bytes_max + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(bytes_max + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::file(file, &error))?;
    let in_file = |what: String| Failure::invalid(format!("{}: {what}", file.display()));
    if CrushMap::is_encoded(&bytes) {
        return CrushMap::decode(&bytes).map_err(|error| in_file(error.to_string()));
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| in_file("this is neither a crush map in text nor one that `crush compile` made".into()))?;
    crush::text::compile(text).map_err(|error| in_file(error.to_string()))
}

/// `-` is stdout.
pub fn write(to: &Path, bytes: &[u8], output: &mut Output) -> Result<()> {
    if to == Path::new("-") {
        return output.bytes(bytes);
    }
    std::fs::write(to, bytes).map_err(|error| Failure::file(to, &error))
}

fn compile(file: &Path, to: Option<&Path>, output: &mut Output) -> Result<()> {
    let map = read_map(file)?;
    if let Some(to) = to {
        let mut bytes = Vec::new();
        map.encode(&mut bytes);
        write(to, &bytes, output)?;
        if to == Path::new("-") {
            return Ok(());
        }
    }
    let warnings: Vec<String> = map.validate().iter().map(ToString::to_string).collect();
    let buckets = map.buckets().filter(|bucket| !bucket.is_shadow()).count();
    let document = json!({
        "devices": map.devices().count(),
        "buckets": buckets,
        "rules": map.rules().count(),
        "warnings": warnings,
    });
    output.show(&document, |document| {
        let count = |key: &str| document.get(key).cloned().unwrap_or_default();
        let mut text =
            format!("{} devices, {} buckets, {} rules\n", count("devices"), count("buckets"), count("rules"));
        text.extend(warnings.iter().map(|warning| format!("warning: {warning}\n")));
        text
    })
}

fn decompile(file: &Path, to: Option<&Path>, output: &mut Output) -> Result<()> {
    let map = read_map(file)?;
    match to {
        Some(to) => write(to, map.to_string().as_bytes(), output),
        None => output.show(&map.dump(), |_| map.to_string()),
    }
}

/// The rule of a number or a name.
fn rule_of(map: &CrushMap, rule: &str) -> Result<u32> {
    let by_number = rule.parse().ok().filter(|id| map.rule(*id).is_some());
    by_number.or_else(|| map.rule_id(rule)).ok_or_else(|| {
        let known: Vec<String> =
            map.rules().map(|(id, rule)| format!("{id} {}", rule.name.as_deref().unwrap_or_default())).collect();
        Failure::new(libc::ENOENT, format!("there is no rule '{rule}' in the map: there are {}", known.join(", ")))
    })
}

/// Pairs of a device and the share of what falls to it that it takes.
fn reweights(words: &[String]) -> Result<BTreeMap<i32, u32>> {
    let mut reweights = BTreeMap::new();
    let (pairs, _) = words.as_chunks::<2>();
    for [device, weight] in pairs {
        let id = device.strip_prefix("osd.").unwrap_or(device).parse().ok().filter(|id| *id >= 0);
        let id = id.ok_or_else(|| {
            Failure::invalid(format!("--weight: '{device}' is no device: one is named as 0 or osd.0"))
        })?;
        let share = weight.parse::<f32>().ok().filter(|share| *share >= 0.0);
        let share = share.ok_or_else(|| {
            Failure::invalid(format!(
                "--weight: '{weight}' is no share of what falls to a device: it is within 0 and 1"
            ))
        })?;
        reweights.insert(id, (share.min(1.0) * crush::limits::WEIGHT_ONE as f32) as u32);
    }
    Ok(reweights)
}

fn shown(osds: &[i32]) -> String {
    let osds: Vec<String> = osds.iter().map(i32::to_string).collect();
    format!("[{}]", osds.join(","))
}

fn try_out(test: &CrushTest, output: &mut Output) -> Result<()> {
    let map = read_map(&test.file)?;
    let rule = rule_of(&map, &test.rule)?;
    if test.max_x < test.min_x {
        return Err(Failure::invalid(format!("--max-x {} is below --min-x {}", test.max_x, test.min_x)));
    }
    let count = test.num_rep as usize;
    let tester = Tester::new(&map, rule, count, &reweights(&test.weight)?);
    let shows_others = test.show_statistics || test.show_utilization || test.show_bad_mappings;
    let shows_mappings = test.show_mappings || !shows_others;
    let is_json = output.format().is_json();
    let mut mappings: Vec<Value> = Vec::new();
    if is_json && test.max_x - test.min_x >= MAPPINGS_OF_A_DOCUMENT_MAX {
        return Err(Failure::invalid(format!("{MAPPINGS_OF_A_DOCUMENT_MAX} inputs are the most for a JSON document")));
    }
    let name = map.rule(rule).and_then(|rule| rule.name.clone()).unwrap_or_default();
    if test.show_statistics && !is_json {
        let inputs = format!("x = {}..{}, numrep = {count}..{count}", test.min_x, test.max_x);
        output.line(&format!("rule {rule} ({name}), {inputs}"))?;
    }
    let tally = tester.run(test.min_x..=test.max_x, |x, osds, is_bad| -> Result<()> {
        if is_json {
            mappings.push(json!({ "x": x, "osds": osds, "bad": is_bad }));
            return Ok(());
        }
        if shows_mappings {
            output.line(&format!("CRUSH rule {rule} x {x} {}", shown(osds)))?;
        }
        if is_bad && test.show_bad_mappings {
            output.line(&format!("bad mapping rule {rule} x {x} num_rep {count} result {}", shown(osds)))?;
        }
        Ok(())
    })?;
    if is_json {
        let by_size: BTreeMap<String, u64> =
            tally.by_size.iter().map(|(size, times)| (size.to_string(), *times)).collect();
        return output.json(&json!({
            "rule": rule,
            "rule_name": name,
            "num_rep": count,
            "mappings": mappings,
            "inputs": tally.inputs,
            "bad_mappings": tally.bad,
            "result_sizes": by_size,
            "devices": tally.by_device.iter().enumerate().map(|(id, stored)| json!({
                "id": id,
                "stored": stored,
                "expected": tester.expected(&tally, id),
            })).collect::<Vec<_>>(),
        }));
    }
    show_tally(test, &format!("rule {rule} ({name}) num_rep {count}"), &tester, &tally, output)
}

/// A document is put together in memory.
const MAPPINGS_OF_A_DOCUMENT_MAX: u32 = 1 << 20;

fn show_tally(test: &CrushTest, rule: &str, tester: &Tester, tally: &Tally, output: &mut Output) -> Result<()> {
    if test.show_statistics {
        for (size, times) in &tally.by_size {
            output.line(&format!("{rule} result size == {size}:\t{times}/{}", tally.inputs))?;
        }
    }
    if test.show_utilization {
        for (id, stored) in tally.by_device.iter().enumerate() {
            let expected = tester.expected(tally, id);
            if !test.show_statistics {
                output.line(&format!("  device {id}:\t{stored}"))?;
            } else if *stored > 0 && expected > 0.0 {
                output.line(&format!("  device {id}:\t\t stored : {stored}\t expected : {expected:.2}"))?;
            }
        }
    }
    Ok(())
}

fn map_object(object: &MapObject, output: &mut Output) -> Result<()> {
    let map = read_map(&object.file)?;
    let rule = rule_of(&map, &object.rule)?;
    let name = object.name.as_bytes();
    let seed = object_hash::stable_modulo(object_hash::rjenkins(object_hash::placed_by(name)), object.pg_num);
    let pg = PgId { pool: object.pool_id, seed };
    let reweights = vec![crush::limits::WEIGHT_ONE; map.device_count().max(0) as usize];
    let mut osds = Vec::new();
    let x = hash::placement_seed(object.pool_id, seed, object.pg_num);
    let mapper = map.mapper_of_pool(object.pool_id.into());
    mapper.do_rule(rule, x, object.size as usize, &reweights, &mut Workspace::new(), &mut osds);
    // Replicas are all alike, so those that are missing leave no holes.
    if map.rule(rule).is_some_and(|rule| rule.kind == RuleKind::Replicated) {
        osds.retain(|osd| *osd != ITEM_NONE);
    }
    if output.format().is_json() {
        return output.json(&json!({ "objname": name_text::json(name), "pgid": pg.to_string(), "osds": osds }));
    }
    output.bytes(name)?;
    output.line(&format!(" -> {pg} -> {}", shown(&osds)))
}
