//! How many requests of which kind came, how they ended, and how long it took until their answers began.

use crate::s3::limits;
use basalt_ring::local::{Latencies, LatencyHistogram};
use hyper::{Method, StatusCode};
use std::array;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What is not one of these is the last.
pub const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "other"];
/// By the first digit.
pub const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Shared by the threads that speak HTTP, which hold it for some instructions a request.
#[derive(Default)]
pub struct RequestCounts {
    methods: Mutex<[OfMethod; METHODS.len()]>,
    users: Mutex<HashMap<String, [u64; STATUSES.len()]>>,
}

/// Who asks without a signature.
pub const NOBODY: &str = "anonymous";
/// All users beyond those that are counted one by one.
pub const OTHERS: &str = "others";

#[derive(Default)]
struct OfMethod {
    statuses: [u64; STATUSES.len()],
    latencies: LatencyHistogram,
}

/// Of one method.
#[derive(Clone, Debug)]
pub struct MethodFigures {
    pub method: &'static str,
    pub statuses: [u64; STATUSES.len()],
    pub latencies: Latencies,
}

impl RequestCounts {
    pub fn note(&self, method: &Method, status: StatusCode, took: Duration) {
        let place = METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1);
        let mut methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of_method) = methods.get_mut(place) else { return };
        count(&mut of_method.statuses, status);
        of_method.latencies.observe(took);
    }

    /// Of a request whose sender is known, or was nobody in particular.
    pub fn note_user(&self, user: Option<&str>, status: StatusCode) {
        let user = user.unwrap_or(NOBODY);
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = users.len() < limits::USERS_COUNTED_MAX || users.contains_key(user);
        count(users.entry(if has_room { user } else { OTHERS }.to_owned()).or_default(), status);
    }

    /// By user, in the order of their names.
    pub fn users(&self) -> Vec<(String, [u64; STATUSES.len()])> {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let mut users: Vec<_> = users.iter().map(|(user, statuses)| (user.clone(), *statuses)).collect();
        users.sort();
        users
    }

    /// Of the methods that were asked for.
    pub fn get(&self) -> Vec<MethodFigures> {
        let methods = self.methods.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = METHODS.into_iter().zip(methods.iter()).map(|(method, of_method)| MethodFigures {
            method,
            statuses: array::from_fn(|index| of_method.statuses.get(index).copied().unwrap_or(0)),
            latencies: of_method.latencies.get(),
        });
        figures.filter(|figures| figures.latencies.count() > 0).collect()
    }
}

fn count(statuses: &mut [u64; STATUSES.len()], status: StatusCode) {
    if let Some(count) = statuses.get_mut(usize::from(status.as_u16() / 100).saturating_sub(1)) {
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_method_and_status_and_odd_methods_together() {
        let counts = RequestCounts::default();
        counts.note(&Method::GET, StatusCode::OK, Duration::from_millis(1));
        counts.note(&Method::GET, StatusCode::NOT_FOUND, Duration::from_millis(1));
        counts.note(&Method::from_bytes(b"BREW").unwrap(), StatusCode::NOT_IMPLEMENTED, Duration::ZERO);
        let seen = counts.get();
        assert_eq!(seen.iter().map(|figures| figures.method).collect::<Vec<_>>(), ["GET", "other"]);
        assert_eq!((seen[0].statuses, seen[0].latencies.count()), ([0, 1, 0, 1, 0], 2));
        assert_eq!(seen[1].statuses, [0, 0, 0, 0, 1]);
    }

    #[test]
    fn requests_are_counted_by_user_and_users_beyond_the_bound_together() {
        let counts = RequestCounts::default();
        counts.note_user(Some("ann"), StatusCode::OK);
        counts.note_user(Some("ann"), StatusCode::FORBIDDEN);
        counts.note_user(None, StatusCode::OK);
        assert_eq!(counts.users(), [("ann".into(), [0, 1, 0, 1, 0]), (NOBODY.into(), [0, 1, 0, 0, 0])]);
        for number in 0..limits::USERS_COUNTED_MAX {
            counts.note_user(Some(&format!("user {number}")), StatusCode::OK);
        }
        counts.note_user(Some("ann"), StatusCode::OK);
        let users: HashMap<_, _> = counts.users().into_iter().collect();
        assert_eq!((users.len(), users["ann"][1], users[OTHERS][1]), (limits::USERS_COUNTED_MAX + 1, 2, 2));
    }
}
