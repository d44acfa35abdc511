//! `osd tree`, `osd df`, `osd dump`.

use super::{list, number, real, signed, text};
use basalt_cli::table::{Align, Table};
use basalt_cluster::quantity::format_bytes as bytes;
use serde_json::Value;
use std::fmt::Write;

/// How deep a tree is followed; deeper ones are cut, whatever the document says.
const DEPTH_MAX: usize = 32;

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
    let nodes = list(document, "/nodes");
    for node in nodes.iter().chain(list(document, "/stray")) {
        let osd = text(node, "/type") == "osd";
        let measure = |path: &str| if osd { format!("{:.5}", real(node, path)) } else { String::new() };
        table.row([
            signed(node, "/id").to_string(),
            text(node, "/device_class").to_owned(),
            match weight(nodes, node, DEPTH_MAX) {
                0.0 => "0".to_owned(),
                weight => format!("{weight:.5}"),
            },
            indented_name(nodes, node),
            text(node, "/status").to_owned(),
            measure("/reweight"),
            measure("/primary_affinity"),
        ]);
    }
    table.render()
}

pub fn df(document: &Value) -> String {
    let right = |heading| (heading, Align::Right);
    let mut table = Table::new(&[
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
    ]);
    const SIZES: [&str; 6] = ["kb", "kb_used", "kb_used_data", "kb_used_omap", "kb_used_meta", "kb_avail"];
    for node in list(document, "/nodes").iter().filter(|node| text(node, "/type") == "osd") {
        let mut cells = vec![
            signed(node, "/id").to_string(),
            text(node, "/device_class").to_owned(),
            format!("{:.5}", real(node, "/crush_weight")),
            format!("{:.5}", real(node, "/reweight")),
        ];
        cells.extend(SIZES.map(|key| bytes(number(node, &format!("/{key}")).saturating_mul(1024))));
        cells.extend([
            two_decimals(real(node, "/utilization")),
            two_decimals(real(node, "/var")),
            number(node, "/pgs").to_string(),
            text(node, "/status").to_owned(),
        ]);
        table.row(cells);
    }
    let summary = document.get("summary").unwrap_or(&Value::Null);
    let mut total = vec![String::new(), String::new(), String::new(), "TOTAL".to_owned()];
    total.extend(SIZES.map(|key| {
        let sum = list(document, "/nodes")
            .iter()
            .fold(0u64, |sum, node| sum.saturating_add(number(node, &format!("/{key}"))));
        bytes(sum.saturating_mul(1024))
    }));
    total.push(two_decimals(real(summary, "/average_utilization")));
    total.extend([String::new(), String::new(), String::new()]);
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

/// A bucket's weight is that of all OSDs below it.
fn weight(nodes: &[Value], node: &Value, depth: usize) -> f64 {
    if let Some(weight) = node.get("crush_weight").and_then(Value::as_f64) {
        return weight;
    }
    let Some(depth) = depth.checked_sub(1) else { return 0.0 };
    let children = list(node, "/children").iter().filter_map(Value::as_i64);
    children
        .filter_map(|id| nodes.iter().find(|node| signed(node, "/id") == id))
        .map(|child| weight(nodes, child, depth))
        .sum()
}

/// `root default`, `    host vm`, `        osd.0`.
fn indented_name(nodes: &[Value], node: &Value) -> String {
    let mut depth = 0;
    let mut id = signed(node, "/id");
    while let Some(parent) =
        nodes.iter().find(|parent| list(parent, "/children").iter().any(|child| child.as_i64() == Some(id)))
    {
        depth += 1;
        id = signed(parent, "/id");
        if depth == DEPTH_MAX {
            break;
        }
    }
    let name = text(node, "/name");
    let indent = "    ".repeat(depth);
    match text(node, "/type") {
        "osd" => format!("{indent}{name}"),
        kind => format!("{indent}{kind} {name}"),
    }
}

fn two_decimals(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn small_tree() -> Value {
        json!({ "nodes": [
            { "id": -1, "name": "default", "type": "root", "children": [-3, -2] },
            { "id": -2, "name": "h", "type": "host", "children": [] },
            { "id": -3, "name": "vm", "type": "host", "children": [0] },
            { "id": 0, "name": "osd.0", "type": "osd", "crush_weight": 1, "status": "up", "reweight": 1, "primary_affinity": 1 },
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
    fn a_tree_that_bites_its_tail_is_cut() {
        let document = json!({ "nodes": [{ "id": -1, "name": "a", "type": "root", "children": [-1] }] });
        assert!(tree(&document).contains("root a"));
    }
}
