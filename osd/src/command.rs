//! What an administrator asks of one OSD directly.

use crate::group_scrubber::is_primary;
use crate::osd::Osd;
use crate::pg::scrub::Scope;
use crate::refusal::Refusal;
use basalt_cluster::PgId;
use basalt_net::message::object::{OsdCommand, OsdCommandReply, OsdCommandRequest};

pub async fn answer(osd: &Osd, request: &OsdCommandRequest) -> OsdCommandReply {
    let (errno, message, json) = match &request.command {
        OsdCommand::TierDrain { pool } => drain(osd, *pool),
        OsdCommand::TierStatus => (0, String::new(), osd.tier().status()),
        OsdCommand::DeepScrub => {
            osd.scrubber().request();
            (0, String::new(), serde_json::Value::Null)
        }
        OsdCommand::ScrubGroup { pool, pg, deep, repair } => {
            let scope = Scope { is_deep: *deep || *repair, settles: *repair };
            scrub_group(osd, PgId { pool: *pool, seed: *pg }, scope).await
        }
        OsdCommand::StoreStatus => (0, String::new(), store_status(osd)),
        OsdCommand::Settings => (0, String::new(), osd.settings().document(osd.map().as_deref())),
        OsdCommand::SlowRequests => (0, String::new(), osd.requests().document()),
        OsdCommand::Sessions => {
            (0, String::new(), serde_json::json!({ "osd": osd.id(), "sessions": osd.sessions().documents() }))
        }
    };
    OsdCommandReply { request: request.request, errno, message, json: json.to_string() }
}

pub fn refused(request: &OsdCommandRequest, refusal: &Refusal) -> OsdCommandReply {
    let message = refusal.message.clone();
    OsdCommandReply { request: request.request, errno: refusal.errno, message, json: "null".into() }
}

fn drain(osd: &Osd, pool: u32) -> (i32, String, serde_json::Value) {
    let name = osd.map().and_then(|map| map.pool(pool).map(|pool| pool.name.clone()));
    match name {
        None => (
            libc::ENOENT,
            format!("osd.{} knows no pool {pool} in epoch {}", osd.id(), osd.epoch()),
            serde_json::Value::Null,
        ),
        Some(name) if osd.tier().is_pinned(pool) => {
            let message = format!(
                "pool '{name}' is at home on the hot slice of osd.{}: there is nowhere to drain it to; give it a rule that takes another class instead",
                osd.id()
            );
            (libc::EINVAL, message, serde_json::Value::Null)
        }
        Some(_) => {
            osd.tier().drain(pool);
            let status = osd.tier().status().get(pool.to_string()).cloned();
            (0, String::new(), status.unwrap_or(serde_json::Value::Null))
        }
    }
}

async fn scrub_group(osd: &Osd, pg: PgId, scope: Scope) -> (i32, String, serde_json::Value) {
    if !is_primary(osd, pg) {
        let message = format!("osd.{} is not the primary of {pg} in epoch {}", osd.id(), osd.epoch());
        return (libc::ENOENT, message, serde_json::Value::Null);
    }
    osd.group_scrubber().request(osd, pg, scope).await;
    (0, String::new(), serde_json::Value::Null)
}

fn store_status(osd: &Osd) -> serde_json::Value {
    let (usage, written) = (osd.store().usage(), osd.store().written());
    serde_json::json!({
        "osd": osd.id(),
        "epoch": osd.epoch(),
        "base_total_bytes": usage.base_total,
        "base_used_bytes": usage.base_used,
        "base_free_bytes": usage.base_free,
        "hot_total_bytes": usage.hot_total,
        "hot_used_bytes": usage.hot_used,
        "hot_free_bytes": usage.hot_free,
        "flushed_bytes": written.flushed,
        "flush_writes": written.flushes,
        "checksum_errors": usage.checksum_errors,
        "sessions": osd.sessions().len(),
        "fault": osd.store().fenced().unwrap_or_default(),
    })
}
