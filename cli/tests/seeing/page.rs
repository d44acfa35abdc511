//! The monitor's page, as a browser shows it.

use crate::dev_cluster::{DevCluster, noise};
use crate::http::{address, get};
use std::process::Command;
use std::time::{Duration, Instant};

/// The document after its scripts have run for some seconds.
fn in_chromium(url: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let shown = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=12000"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--dump-dom", url])
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    String::from_utf8(shown.stdout).unwrap()
}

/// The text of the element with this id.
fn element<'a>(page: &'a str, id: &str) -> &'a str {
    let from = page.split_once(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}: {page}")).1;
    let body = from.split_once('>').unwrap().1;
    body.split_once("</").unwrap().0
}

#[test]
fn a_browser_shows_health_capacity_tiers_and_recovery_of_a_running_cluster() {
    let cluster = DevCluster::start_with(&["--base", "1G", "--hot", "256M"]);
    cluster.must(&["osd", "pool", "create", "<b>bold", "4"]);
    for number in 0..8 {
        assert_eq!(cluster.put(format!("object-{number}"), &noise(number, 1 << 20)).status, 0);
    }
    let address = address(&cluster.dir(), "dev");
    // Two looks at least, that there is a line.
    let begun = Instant::now();
    loop {
        let document: serde_json::Value = serde_json::from_str(&get(&address, "/status.json").body).unwrap();
        let history = document["history"].as_array().unwrap();
        if history.len() >= 2 && history.last().unwrap()["pools"]["data"]["dirty"].as_f64().unwrap() > 0.0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{document}");
        std::thread::sleep(Duration::from_millis(300));
    }
    let page = in_chromium(&format!("http://{address}/"));
    assert_eq!(element(&page, "health"), "HEALTH_WARN");
    assert!(page.contains("<li>POOL_NO_REDUNDANCY: 2 pool(s) have no replicas configured</li>"), "{page}");
    assert!(element(&page, "services").starts_with("1 OSDs: 1 up, 1 in; epoch "), "{page}");
    assert!(
        element(&page, "capacity").contains(" used of ") && element(&page, "capacity").contains("8 objects, 8.0 MiB"),
        "{page}"
    );
    assert!(element(&page, "groups").contains("active+clean"), "{page}");
    assert_eq!(element(&page, "recovery"), "Nothing is to be recovered.");
    assert_eq!(element(&page, "stale"), "");
    assert!(page.contains("data-series=\"data\""), "{page}");
    assert!(element(&page, "span").contains(" looks in "), "{page}");
    // A pool's name is text, whatever it looks like.
    assert!(page.contains("<td>&lt;b&gt;bold</td>") && !page.contains("<b>bold"), "{page}");
}

#[test]
fn the_page_asks_nobody_else_and_is_nobody_elses_frame() {
    let cluster = DevCluster::start();
    let address = address(&cluster.dir(), "dev");
    let page = get(&address, "/");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert!(page.head.contains("frame-ancestors 'none'") && page.head.contains("x-content-type-options: nosniff"));
    assert!(!page.body.contains("https://") && !page.body.contains(" src="), "it fetches something from elsewhere");
    assert_eq!(get(&address, "/status.json?x=1").status, 200);
    assert_eq!(get(&address, "/page.html").status, 404);
}
