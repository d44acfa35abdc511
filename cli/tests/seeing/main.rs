//! What operators see of a running cluster: metrics, dashboards, health, latencies, slow requests, the monitor's page.

#[path = "../commands/dev_cluster.rs"]
// The other tests use the rest of it.
#[allow(dead_code)]
mod dev_cluster;
mod dist;
mod http;
mod latency;
mod metrics;
mod page;
mod reports;
mod scrape;
