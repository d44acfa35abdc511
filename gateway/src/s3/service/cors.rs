//! Which pages from elsewhere a bucket lets in.

use super::Service;
use crate::s3::server::CrossOrigin;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use s3s::S3Result;
use s3s::dto::CORSRule;

/// What a browser is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    origin: String,
    method: String,
    headers: Option<String>,
    exposed: Vec<String>,
    max_age: Option<i32>,
}

impl Allowed {
    pub fn write(&self, headers: &mut HeaderMap, is_preflight: bool) {
        let mut put = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        put("access-control-allow-origin", &self.origin);
        if self.origin != "*" {
            put("vary", "Origin");
        }
        put("access-control-allow-methods", &self.method);
        if let Some(allowed) = self.headers.as_deref().filter(|_| is_preflight) {
            put("access-control-allow-headers", allowed);
        }
        if !self.exposed.is_empty() {
            put("access-control-expose-headers", &self.exposed.join(", "));
        }
        if let Some(seconds) = self.max_age.filter(|_| is_preflight) {
            put("access-control-max-age", &seconds.to_string());
        }
    }
}

impl Service {
    /// What the first rule that fits allows.
    pub async fn cross_origin(&self, bucket: String, asked: CrossOrigin) -> S3Result<Option<Allowed>> {
        if bucket.is_empty() {
            return Ok(None);
        }
        let found = self.bridge.run(move |store| async move { store.find_bucket(&bucket).await }).await;
        let rules = found?.and_then(|bucket| bucket.cors).map(|cors| cors.cors_rules);
        Ok(rules.unwrap_or_default().iter().find_map(|rule| allowed(rule, &asked)))
    }
}

fn allowed(rule: &CORSRule, asked: &CrossOrigin) -> Option<Allowed> {
    if !rule.allowed_methods.contains(&asked.method) {
        return None;
    }
    let origin = rule.allowed_origins.iter().find(|pattern| fits(pattern, &asked.origin))?;
    let names = asked.headers.iter().flat_map(|names| names.split(',')).map(str::trim).filter(|name| !name.is_empty());
    let patterns = rule.allowed_headers.as_deref().unwrap_or_default();
    for name in names {
        let name = name.to_ascii_lowercase();
        if !patterns.iter().any(|pattern| fits(&pattern.to_ascii_lowercase(), &name)) {
            return None;
        }
    }
    Some(Allowed {
        origin: if origin == "*" { "*".into() } else { asked.origin.clone() },
        method: asked.method.clone(),
        headers: asked.headers.clone(),
        exposed: rule.expose_headers.clone().unwrap_or_default(),
        max_age: rule.max_age_seconds,
    })
}

/// One `*` in a pattern stands for anything.
pub fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((front, back)) => {
            text.len() >= front.len() + back.len() && text.starts_with(front) && text.ends_with(back)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_fits_by_origin_method_and_every_header() {
        let rule = CORSRule {
            allowed_headers: Some(vec!["X-Amz-*".into()]),
            allowed_methods: vec!["GET".into()],
            allowed_origins: vec!["https://*.example.net".into()],
            expose_headers: None,
            id: None,
            max_age_seconds: Some(5),
        };
        let asked = |origin: &str, method: &str, headers: Option<&str>| CrossOrigin {
            origin: origin.into(),
            method: method.into(),
            headers: headers.map(str::to_owned),
        };
        assert!(allowed(&rule, &asked("https://a.example.net", "GET", None)).is_some());
        assert!(allowed(&rule, &asked("https://a.example.net", "GET", Some("x-amz-a, X-AMZ-b"))).is_some());
        assert!(allowed(&rule, &asked("https://a.example.net", "GET", Some("x-amz-a, other"))).is_none());
        assert!(allowed(&rule, &asked("https://a.example.net", "PUT", None)).is_none());
        assert!(allowed(&rule, &asked("http://a.example.net", "GET", None)).is_none());
    }
}
