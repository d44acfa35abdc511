//! `osd tree`, `osd df`, `osd dump`.

use super::{list, number, real, signed, text};
use basalt_cli::table::{Align, Table};
use basalt_cluster::quantity::{format_bytes as bytes, format_utc};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;

/// How deep a tree is shown; deeper ones are cut, whatever the document says.
const DEPTH_MAX: u64 = 32;

pub fn tree(document: &Value) -> String {
    let mut table = Table::new(&[
        ("ID", Align::Right),
        ("CLASS", Align::Right),
        ("WEIGHT", Align::Right),
        ("TYPE NAME", Align::Left),
        ("STATUS", Align::Right),
        ("REWEIGHT", Align::Right),
        ("PRI-AFF", Align::Right),
    ]);
    for node in list(document, "/nodes").iter().chain(list(document, "/stray")) {
        let osd = text(node, "/type") == "osd";
        let measure = |path: &str| if osd { format!("{:.5}", real(node, path)) } else { String::new() };
        table.row([
            signed(node, "/id").to_string(),
            text(node, "/device_class").to_owned(),
            weight(node),
            indented_name(node),
            text(node, "/status").to_owned(),
            measure("/reweight"),
            measure("/primary_affinity"),
        ]);
    }
    table.render()
}

/// `osd crush tree`.
pub fn crush_tree(document: &Value) -> String {
    let right = |heading| (heading, Align::Right);
    let mut table = Table::new(&[right("ID"), right("CLASS"), right("WEIGHT"), ("TYPE NAME", Align::Left)]);
    for node in list(document, "/nodes") {
        table.row([
            signed(node, "/id").to_string(),
            text(node, "/device_class").to_owned(),
            weight(node),
            indented_name(node),
        ]);
    }
    table.render()
}

/// With the buckets as well if `tree`.
pub fn df(document: &Value, tree: bool) -> String {
    let right = |heading| (heading, Align::Right);
    let mut columns = vec![
        right("ID"),
        right("CLASS"),
        right("WEIGHT"),
        right("REWEIGHT"),
        right("SIZE"),
        right("RAW USE"),
        right("DATA"),
        right("OMAP"),
        right("META"),
        right("AVAIL"),
        right("%USE"),
        right("VAR"),
        right("PGS"),
        right("STATUS"),
    ];
    if tree {
        columns.push(("TYPE NAME", Align::Left));
    }
    let mut table = Table::new(&columns);
    const SIZES: [&str; 6] = ["kb", "kb_used", "kb_used_data", "kb_used_omap", "kb_used_meta", "kb_avail"];
    let is_osd = |node: &&Value| text(node, "/type") == "osd";
    let all = || list(document, "/nodes").iter().chain(list(document, "/stray"));
    for node in all().filter(|node| tree || is_osd(node)) {
        let of_osds = |shown: String, other: &str| if is_osd(&node) { shown } else { other.to_owned() };
        let mut cells = vec![
            signed(node, "/id").to_string(),
            text(node, "/device_class").to_owned(),
            of_osds(format!("{:.5}", real(node, "/crush_weight")), &weight(node)),
            of_osds(format!("{:.5}", real(node, "/reweight")), "-"),
        ];
        cells.extend(SIZES.map(|key| bytes(number(node, &format!("/{key}")).saturating_mul(1024))));
        cells.extend([
            two_decimals(real(node, "/utilization")),
            two_decimals(real(node, "/var")),
            of_osds(number(node, "/pgs").to_string(), "-"),
            text(node, "/status").to_owned(),
        ]);
        if tree {
            cells.push(indented_name(node));
        }
        table.row(cells);
    }
    let summary = document.get("summary").unwrap_or(&Value::Null);
    let mut total = vec![String::new(), String::new(), String::new(), "TOTAL".to_owned()];
    total.extend(SIZES.map(|key| {
        // One that hangs in two trees is one all the same.
        let mut seen = BTreeSet::new();
        let once = all().filter(is_osd).filter(|node| seen.insert(signed(node, "/id")));
        let sum = once.fold(0u64, |sum, node| sum.saturating_add(number(node, &format!("/{key}"))));
        bytes(sum.saturating_mul(1024))
    }));
    total.push(two_decimals(real(summary, "/average_utilization")));
    total.extend([String::new(), String::new(), String::new()]);
    if tree {
        total.push(String::new());
    }
    table.row(total);
    let [least, most, deviation] = ["/min_var", "/max_var", "/dev"].map(|path| two_decimals(real(summary, path)));
    let amplification = match summary.get("space_amplification").and_then(Value::as_f64) {
        Some(times) => format!("SPACE AMPLIFICATION: {times:.2}\n"),
        None => String::new(),
    };
    format!("{}MIN/MAX VAR: {least}/{most}  STDDEV: {deviation}\n{amplification}", table.render())
}

/// `pools` are the lines of `osd pool ls detail`.
pub fn dump(document: &Value, pools: &str) -> String {
    let mut shown = format!(
        "epoch {}\nfsid {}\ncreated {}\nmodified {}\nflags {}\nfull_ratio {}\nbackfillfull_ratio {}\nnearfull_ratio {}\n{pools}max_osd {}\n",
        number(document, "/epoch"),
        text(document, "/fsid"),
        text(document, "/created"),
        text(document, "/modified"),
        text(document, "/flags"),
        real(document, "/full_ratio"),
        real(document, "/backfillfull_ratio"),
        real(document, "/nearfull_ratio"),
        number(document, "/max_osd"),
    );
    for osd in list(document, "/osds") {
        let word = |path: &str, yes: &'static str, no: &'static str| if number(osd, path) != 0 { yes } else { no };
        let _ = writeln!(
            shown,
            "osd.{} {} {} weight {} {} {} {}",
            number(osd, "/osd"),
            word("/up", "up", "down"),
            word("/in", "in", "out"),
            real(osd, "/weight"),
            text(osd, "/public_addr"),
            text(osd, "/cluster_addr"),
            list(osd, "/state").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        );
    }
    shown
}

/// An OSD's is its own, a bucket's that of what is in it.
fn weight(node: &Value) -> String {
    let key = if node.get("crush_weight").is_some() { "/crush_weight" } else { "/weight" };
    match real(node, key) {
        0.0 => "0".to_owned(),
        weight => format!("{weight:.5}"),
    }
}

/// `root default`, `    host vm`, `        osd.0`.
fn indented_name(node: &Value) -> String {
    let name = text(node, "/name");
    let indent = "    ".repeat(number(node, "/depth").min(DEPTH_MAX) as usize);
    match text(node, "/type") {
        "osd" => format!("{indent}{name}"),
        kind => format!("{indent}{kind} {name}"),
    }
}

fn two_decimals(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.2}") }
}

/// As Ceph prints it.
pub fn perf(document: &Value) -> String {
    let right = |heading| (heading, Align::Right);
    let mut table = Table::new(&[right("osd"), right("commit_latency(ms)"), right("apply_latency(ms)")]);
    for info in list(document, "/osdstats/osd_perf_infos") {
        table.row([
            number(info, "/id").to_string(),
            number(info, "/perf_stats/commit_latency_ms").to_string(),
            number(info, "/perf_stats/apply_latency_ms").to_string(),
        ]);
    }
    table.render()
}

pub fn slow_ops(document: &Value) -> String {
    let mut shown = String::new();
    for osd in list(document, "/osds") {
        let id = number(osd, "/osd");
        if let Some(error) = osd.get("error").and_then(Value::as_str) {
            shown.push_str(&format!("osd.{id}: {error}\n"));
            continue;
        }
        shown.push_str(&format!(
            "osd.{id}: {} requests under way, {} of them for longer than {} ms; {} slow ones answered since its start\n",
            number(osd, "/num_ops"),
            number(osd, "/num_slow_running"),
            number(osd, "/complaint_time_ms"),
            number(osd, "/num_slow_answered"),
        ));
        for request in list(osd, "/slow_running") {
            shown.push_str(&format!(
                "  for {} ms, waiting for {}: {}\n",
                number(request, "/age_ms"),
                text(request, "/waits_for"),
                request_words(request)
            ));
        }
        for request in list(osd, "/slow_answered") {
            let stages = request.get("stages_ms").and_then(Value::as_object).into_iter().flatten();
            let stages: Vec<String> =
                stages.map(|(stage, ms)| format!("{stage} {:.1}", ms.as_f64().unwrap_or(0.0))).collect();
            shown.push_str(&format!(
                "  {} took {:.1} ms, most of it {} ({}): {}\n",
                format_utc(number(request, "/answered_unix_ms") / 1000),
                real(request, "/took_ms"),
                text(request, "/slow_stage"),
                stages.join(", "),
                request_words(request)
            ));
        }
    }
    shown
}

fn request_words(request: &Value) -> String {
    format!(
        "{} of '{}' in pg {}, client {}",
        text(request, "/op"),
        text(request, "/object"),
        text(request, "/pg"),
        text(request, "/client")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn small_tree() -> Value {
        json!({ "nodes": [
            { "id": -1, "name": "default", "type": "root", "weight": 1, "depth": 0, "children": [-3, -2] },
            { "id": -2, "name": "h", "type": "host", "weight": 0, "depth": 1, "children": [] },
            { "id": -3, "name": "vm", "type": "host", "weight": 1, "depth": 1, "children": [0] },
            { "id": 0, "name": "osd.0", "type": "osd", "crush_weight": 1, "depth": 2, "status": "up", "reweight": 1, "primary_affinity": 1 },
        ], "stray": [] })
    }

    #[test]
    fn a_tree_has_the_columns_of_ceph() {
        let expected = "\
ID  CLASS  WEIGHT   TYPE NAME      STATUS  REWEIGHT  PRI-AFF
-1         1.00000  root default
-2               0      host h
-3         1.00000      host vm
 0         1.00000          osd.0      up   1.00000  1.00000
";
        assert_eq!(tree(&small_tree()), expected);
    }

    #[test]
    fn a_tree_of_space_has_its_buckets_where_the_flat_one_has_none() {
        let mut document = small_tree();
        document["nodes"][3]["kb"] = json!(1024);
        let tree = df(&document, true);
        assert!(tree.contains("TYPE NAME") && tree.contains("        osd.0") && tree.contains("    host vm"), "{tree}");
        let flat = df(&document, false);
        assert!(!flat.contains("host") && !flat.contains("TYPE NAME"), "{flat}");
        for shown in [&tree, &flat] {
            assert!(shown.lines().any(|line| line.contains("TOTAL  1 MiB")), "{shown}");
        }
    }

    #[test]
    fn a_tree_deeper_than_any_is_cut() {
        let node = json!({ "id": -1, "name": "a", "type": "root", "depth": u64::MAX });
        assert!(tree(&json!({ "nodes": [node] })).len() < 1000);
    }
}
