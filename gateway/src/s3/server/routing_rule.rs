//! Rules by which a website sends visitors elsewhere: by the key that they ask for, or by what went wrong with it.

use super::signature_v4::uri_encoded;
use hyper::StatusCode;
use s3s::dto::{Protocol, Redirect, RoutingRule};

/// A rule that counts, and what of the key it takes away.
pub struct Route<'a> {
    redirect: &'a Redirect,
    prefix: &'a str,
}

/// The first rule for a key: before it is looked up (`failed` is `None`), or after that went wrong.
pub fn route<'a>(rules: &'a [RoutingRule], key: &str, failed: Option<StatusCode>) -> Option<Route<'a>> {
    rules.iter().find_map(|rule| {
        let condition = rule.condition.as_ref();
        let prefix = condition.and_then(|condition| condition.key_prefix_equals.as_deref()).unwrap_or_default();
        let status = condition.and_then(|condition| condition.http_error_code_returned_equals.as_deref());
        let counts = key.starts_with(prefix) && status == failed.as_ref().map(StatusCode::as_str);
        counts.then_some(Route { redirect: &rule.redirect, prefix })
    })
}

impl Route<'_> {
    pub fn status(&self) -> StatusCode {
        let given = self.redirect.http_redirect_code.as_deref().and_then(|code| code.parse().ok());
        given.unwrap_or(StatusCode::MOVED_PERMANENTLY)
    }

    /// `host`: where the visitor is.
    pub fn location(&self, key: &str, host: &str, is_secure: bool) -> String {
        let same = if is_secure { Protocol::HTTPS } else { Protocol::HTTP };
        let protocol = self.redirect.protocol.as_ref().map_or(same, Protocol::as_str);
        let host = self.redirect.host_name.as_deref().unwrap_or(host);
        let key = match (&self.redirect.replace_key_with, &self.redirect.replace_key_prefix_with) {
            (Some(whole), _) => whole.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", key.strip_prefix(self.prefix).unwrap_or(key)),
            (None, None) => key.to_owned(),
        };
        format!("{protocol}://{host}/{}", uri_encoded(&key, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::dto::Condition;

    fn rule(prefix: Option<&str>, status: Option<&str>, redirect: Redirect) -> RoutingRule {
        let condition = (prefix.is_some() || status.is_some()).then(|| Condition {
            key_prefix_equals: prefix.map(str::to_owned),
            http_error_code_returned_equals: status.map(str::to_owned),
        });
        RoutingRule { condition, redirect }
    }

    #[test]
    fn the_first_rule_that_fits_sends_elsewhere() {
        let to = |key: Option<&str>, prefix: Option<&str>| Redirect {
            replace_key_with: key.map(str::to_owned),
            replace_key_prefix_with: prefix.map(str::to_owned),
            ..Redirect::default()
        };
        let elsewhere = Redirect {
            host_name: Some("example.net".into()),
            protocol: Some(Protocol::from_static(Protocol::HTTPS)),
            http_redirect_code: Some("302".into()),
            ..Redirect::default()
        };
        let rules = [
            rule(Some("docs/"), None, to(None, Some("documents/"))),
            rule(Some("old/"), Some("404"), to(Some("gone.html"), None)),
            rule(None, Some("404"), elsewhere),
        ];
        let seen = |key: &str, failed: Option<StatusCode>| {
            let route = route(&rules, key, failed)?;
            Some((route.status().as_u16(), route.location(key, "here:80", false)))
        };
        assert_eq!(seen("docs/a b", None), Some((301, "http://here:80/documents/a%20b".into())));
        assert_eq!(seen("old/x", None), None);
        assert_eq!(seen("old/x", Some(StatusCode::NOT_FOUND)), Some((301, "http://here:80/gone.html".into())));
        assert_eq!(seen("x", Some(StatusCode::NOT_FOUND)), Some((302, "https://example.net/x".into())));
        assert_eq!(seen("x", Some(StatusCode::FORBIDDEN)), None);
        assert_eq!(seen("docs/x", Some(StatusCode::FORBIDDEN)), None);
    }

    #[test]
    fn a_rule_without_a_condition_is_for_all_keys() {
        let rules = [rule(None, None, Redirect { host_name: Some("h".into()), ..Redirect::default() })];
        assert_eq!(route(&rules, "k", None).map(|route| route.location("k", "x", true)), Some("https://h/k".into()));
        assert!(route(&rules, "k", Some(StatusCode::NOT_FOUND)).is_none());
    }
}
