//! What images are there, and what they are. JSON with the keys of `rbd`.

use basalt_cli::Result;
use basalt_cli::output::Output;
use basalt_cli::table::{Align, Table};
use basalt_client::Client;
use basalt_client::image::header::{Header, Snapshot};
use basalt_client::image::limits::OBJECT_BYTES;
use basalt_client::image::{ImageName, manage};
use basalt_cluster::quantity::{format_bytes, format_utc};
use serde_json::{Value, json};

const ORDER: u32 = OBJECT_BYTES.ilog2();
const FEATURES: [&str; 2] = ["layering", "exclusive-lock"];

pub async fn list(client: &Client, pool: &str, long: bool, output: &mut Output) -> Result<()> {
    let headers = manage::list(client, pool).await?;
    if !long {
        let names: Vec<&str> = headers.iter().map(|header| header.name.as_str()).collect();
        return output.show(&json!(names), |_| names.iter().map(|name| format!("{name}\n")).collect());
    }
    let mut rows = Vec::new();
    for header in &headers {
        let (_, holder) = manage::info(client, pool, &header.name).await?;
        rows.push((header, None, holder.is_some()));
        rows.extend(header.snapshots.iter().map(|snapshot| (header, Some(snapshot), false)));
    }
    let document: Vec<Value> =
        rows.iter().map(|(header, snapshot, locked)| long_json(pool, header, *snapshot, *locked)).collect();
    output.show(&json!(document), |_| {
        let mut table = Table::new(&[
            ("NAME", Align::Left),
            ("SIZE", Align::Right),
            ("PARENT", Align::Left),
            ("FMT", Align::Right),
            ("PROT", Align::Left),
            ("LOCK", Align::Left),
        ]);
        for (header, snapshot, locked) in &rows {
            let parent = header.parent.as_ref().filter(|_| snapshot.is_none());
            let parent = parent.map(|parent| format!("{pool}/{}@{}", parent.name, parent.snapshot_name));
            let protected = snapshot.is_some_and(|snapshot| snapshot.protected);
            table.row([
                snapshot.map_or_else(|| header.name.clone(), |snapshot| format!("{}@{}", header.name, snapshot.name)),
                format_bytes(snapshot.map_or(header.size, |snapshot| snapshot.size)),
                parent.unwrap_or_default(),
                "2".into(),
                if protected { "yes".into() } else { String::new() },
                if *locked { "excl".into() } else { String::new() },
            ]);
        }
        table.render()
    })
}

fn long_json(pool: &str, header: &Header, snapshot: Option<&Snapshot>, locked: bool) -> Value {
    let mut entry = json!({ "image": header.name, "id": header.id });
    match snapshot {
        Some(snapshot) => {
            entry["snapshot"] = json!(snapshot.name);
            entry["snapshot_id"] = json!(snapshot.id);
            entry["size"] = json!(snapshot.size);
            entry["format"] = json!(2);
            entry["protected"] = json!(snapshot.protected.to_string());
        }
        None => {
            entry["size"] = json!(header.size);
            if let Some(parent) = &header.parent {
                entry["parent"] = json!({ "pool": pool, "image": parent.name, "snapshot": parent.snapshot_name });
            }
            entry["format"] = json!(2);
            if locked {
                entry["lock_type"] = json!("exclusive");
            }
        }
    }
    entry
}

pub async fn info(client: &Client, name: &ImageName, output: &mut Output) -> Result<()> {
    let (header, holder) = manage::info(client, &name.pool, &name.image).await?;
    let snapshot = name.snapshot.as_deref().map(|snapshot| header.snapshot(snapshot)).transpose()?;
    let size = snapshot.map_or(header.size, |snapshot| snapshot.size);
    let mut document = json!({
        "name": header.name,
        "id": header.id,
        "size": size,
        "objects": size.div_ceil(OBJECT_BYTES),
        "order": ORDER,
        "object_size": OBJECT_BYTES,
        "snapshot_count": header.snapshots.len(),
        "block_name_prefix": format!("image_data.{}", header.family),
        "format": 2,
        "features": FEATURES,
        "op_features": [],
        "flags": [],
        "create_timestamp": format_utc(header.created_unix_s),
    });
    if let Some(snapshot) = snapshot {
        document["protected"] = json!(snapshot.protected.to_string());
    }
    if let Some(parent) = &header.parent {
        let overlap = header.over_parent().map_or(0, |layer| layer.visible);
        document["parent"] = json!({
            "pool": name.pool,
            "pool_namespace": "",
            "image": parent.name,
            "id": parent.image,
            "snapshot": parent.snapshot_name,
            "trash": false,
            "overlap": overlap,
        });
    }
    if let Some(holder) = &holder {
        document["lock"] = json!({ "type": "exclusive", "holder": holder.name, "client": holder.client });
    }
    output.show(&document, |_| {
        let mut lines = vec![
            format!("image '{}':", header.name),
            format!("\tsize {} in {} objects", format_bytes(size), size.div_ceil(OBJECT_BYTES)),
            format!("\torder {ORDER} ({} objects)", format_bytes(OBJECT_BYTES)),
            format!("\tsnapshot_count: {}", header.snapshots.len()),
            format!("\tid: {}", header.id),
            format!("\tblock_name_prefix: image_data.{}", header.family),
            "\tformat: 2".into(),
            format!("\tfeatures: {}", FEATURES.join(", ")),
            "\top_features: ".into(),
            "\tflags: ".into(),
            format!("\tcreate_timestamp: {}", format_utc(header.created_unix_s)),
        ];
        if let Some(snapshot) = snapshot {
            lines.push(format!("\tprotected: {}", if snapshot.protected { "True" } else { "False" }));
        }
        if let Some(parent) = &header.parent {
            lines.push(format!("\tparent: {}/{}@{}", name.pool, parent.name, parent.snapshot_name));
            lines.push(format!("\toverlap: {}", format_bytes(header.over_parent().map_or(0, |layer| layer.visible))));
        }
        if let Some(holder) = &holder {
            lines.push(format!("\tlocked by: {}, client {}", holder.name, holder.client));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    })
}

pub async fn snapshots(client: &Client, name: &ImageName, output: &mut Output) -> Result<()> {
    let (header, _) = manage::info(client, &name.pool, &name.image).await?;
    let document: Vec<Value> = header
        .snapshots
        .iter()
        .map(|snapshot| {
            json!({
                "id": snapshot.id,
                "name": snapshot.name,
                "size": snapshot.size,
                "protected": snapshot.protected.to_string(),
                "timestamp": format_utc(snapshot.created_unix_s),
            })
        })
        .collect();
    output.show(&json!(document), |_| {
        let mut table = Table::new(&[
            ("SNAPID", Align::Right),
            ("NAME", Align::Left),
            ("SIZE", Align::Right),
            ("PROTECTED", Align::Left),
            ("TIMESTAMP", Align::Left),
        ]);
        for snapshot in &header.snapshots {
            table.row([
                snapshot.id.to_string(),
                snapshot.name.clone(),
                format_bytes(snapshot.size),
                if snapshot.protected { "yes".into() } else { String::new() },
                format_utc(snapshot.created_unix_s),
            ]);
        }
        table.render()
    })
}

pub async fn children(client: &Client, name: &ImageName, output: &mut Output) -> Result<()> {
    let (header, _) = manage::info(client, &name.pool, &name.image).await?;
    let snapshots: Vec<&Snapshot> = match &name.snapshot {
        Some(snapshot) => vec![header.snapshot(snapshot)?],
        None => header.snapshots.iter().collect(),
    };
    let names: Vec<&str> =
        snapshots.iter().flat_map(|snapshot| &snapshot.children).map(|child| child.name.as_str()).collect();
    let document: Vec<Value> =
        names.iter().map(|child| json!({ "pool": name.pool, "pool_namespace": "", "image": child })).collect();
    output.show(&json!(document), |_| names.iter().map(|child| format!("{}/{child}\n", name.pool)).collect())
}
