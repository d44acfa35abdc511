//! S3 and NBD.

use super::exposition::Exposition;
use basalt_gateway::nbd::NbdFigures;
use basalt_gateway::s3::{RequestCounts, STATUSES};

pub fn describe_s3(exposition: &mut Exposition, counts: &RequestCounts) {
    for figures in counts.get() {
        let method = ("method", figures.method);
        for (status, count) in STATUSES.into_iter().zip(figures.statuses).filter(|(_, count)| *count > 0) {
            let help = "Requests by method and the class of the answer's status.";
            exposition.counter("basalt_s3_requests_total", help, &[method, ("status", status)], count);
        }
        let help = "From a request's head to the beginning of the answer.";
        exposition.histogram("basalt_s3_request_seconds", help, &[method], &figures.latencies);
    }
    for (user, statuses) in counts.users() {
        for (status, count) in STATUSES.into_iter().zip(statuses).filter(|(_, count)| *count > 0) {
            let help = "Requests by the user whose signature they had, and the class of the answer's status.";
            exposition.counter("basalt_s3_user_requests_total", help, &[("user", &user), ("status", status)], count);
        }
    }
}

pub fn describe_nbd(exposition: &mut Exposition, figures: &NbdFigures) {
    let help = "Connections that are open.";
    exposition.gauge("basalt_nbd_connections", help, &[], figures.connections as f64);
    for figures in &figures.commands {
        let command = ("command", figures.command);
        let help = "From a request's arrival to its answer.";
        exposition.histogram("basalt_nbd_request_seconds", help, &[command], &figures.latencies);
        let help = "Bytes that requests were about, of those that succeeded.";
        exposition.counter("basalt_nbd_bytes_total", help, &[command], figures.bytes);
        let help = "Requests that were answered with an error.";
        exposition.counter("basalt_nbd_failures_total", help, &[command], figures.failures);
    }
}
