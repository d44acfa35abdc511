//! `health` and `health detail`.

use super::{list, text};
use serde_json::Value;
use std::fmt::Write;

/// `HEALTH_WARN this; that`, and with `detail` each check with what it concerns.
pub fn render(document: &Value, detail: bool) -> String {
    let document = document.get("health").unwrap_or(document);
    let checks = document.get("checks").and_then(Value::as_object);
    let summaries: Vec<&str> = checks.into_iter().flatten().map(|(_, check)| text(check, "/summary/message")).collect();
    let mut shown = format!("{} {}", text(document, "/status"), summaries.join("; ")).trim_end().to_owned() + "\n";
    if !detail {
        return shown;
    }
    for (code, check) in checks.into_iter().flatten() {
        let mark = if text(check, "/severity") == "HEALTH_ERR" { "ERR" } else { "WRN" };
        let _ = writeln!(shown, "[{mark}] {code}: {}", text(check, "/summary/message"));
        for line in list(check, "/detail") {
            let _ = writeln!(shown, "    {}", text(line, "/message"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_healthy_cluster_needs_one_word() {
        assert_eq!(render(&json!({ "status": "HEALTH_OK", "checks": {} }), true), "HEALTH_OK\n");
    }

    #[test]
    fn detail_names_what_each_check_concerns() {
        let document = json!({ "status": "HEALTH_WARN", "checks": { "POOL_NO_REDUNDANCY": {
            "severity": "HEALTH_WARN", "summary": { "message": "1 pool(s) have no replicas configured", "count": 1 },
            "detail": [{ "message": "pool 'data' has no replicas configured" }], "muted": false,
        } } });
        assert_eq!(render(&document, false), "HEALTH_WARN 1 pool(s) have no replicas configured\n");
        assert_eq!(
            render(&document, true),
            "HEALTH_WARN 1 pool(s) have no replicas configured\n\
             [WRN] POOL_NO_REDUNDANCY: 1 pool(s) have no replicas configured\n    pool 'data' has no replicas configured\n"
        );
    }
}
