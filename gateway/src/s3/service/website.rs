//! What buckets' owners want of their websites.

use super::Service;
use crate::s3::access::Asked;
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use hyper::StatusCode;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

fn no_website() -> Fault {
    Fault::custom("NoSuchWebsiteConfiguration", "the bucket is no website")
}

impl Service {
    /// Of a bucket that is one.
    pub async fn website(&self, bucket: String) -> S3Result<WebsiteConfiguration> {
        let found = self.bridge.run(move |store| async move { store.bucket(&bucket).await }).await?;
        Ok(found.website.ok_or_else(no_website)?)
    }

    pub(super) async fn get_bucket_website(
        &self,
        request: S3Request<GetBucketWebsiteInput>,
    ) -> Result<S3Response<GetBucketWebsiteOutput>> {
        let bucket = self.owned(Asked::of(&request), request.input.bucket, "s3:GetBucketWebsite").await?;
        let WebsiteConfiguration { error_document, index_document, redirect_all_requests_to, routing_rules } =
            bucket.website.ok_or_else(no_website)?;
        let output = GetBucketWebsiteOutput { error_document, index_document, redirect_all_requests_to, routing_rules };
        Ok(S3Response::new(output))
    }

    pub(super) async fn put_bucket_website(
        &self,
        request: S3Request<PutBucketWebsiteInput>,
    ) -> Result<S3Response<PutBucketWebsiteOutput>> {
        let asked = Asked::of(&request);
        let PutBucketWebsiteInput { bucket, website_configuration: wanted, .. } = request.input;
        check(&wanted)?;
        self.change_owned(asked, bucket, "s3:PutBucketWebsite", move |bucket| {
            bucket.website = Some(wanted.clone());
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketWebsiteOutput::default()))
    }

    pub(super) async fn delete_bucket_website(
        &self,
        request: S3Request<DeleteBucketWebsiteInput>,
    ) -> Result<S3Response<DeleteBucketWebsiteOutput>> {
        self.change_owned(Asked::of(&request), request.input.bucket, "s3:DeleteBucketWebsite", |bucket| {
            bucket.website = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(DeleteBucketWebsiteOutput::default(), StatusCode::NO_CONTENT))
    }
}

fn check(wanted: &WebsiteConfiguration) -> Result<()> {
    let invalid = |problem: &'static str| Err(Fault::refuse(S3ErrorCode::InvalidArgument, problem));
    let rules = wanted.routing_rules.as_deref().unwrap_or_default();
    if rules.len() > limits::ROUTING_RULES_MAX {
        return invalid("a website has too many routing rules");
    }
    rules.iter().try_for_each(check_rule)?;
    match (&wanted.index_document, &wanted.redirect_all_requests_to) {
        (None, Some(to)) if wanted.error_document.is_none() => {
            let is_host = !to.host_name.is_empty() && !to.host_name.contains(['/', ' ', '\r', '\n']);
            let is_known = to
                .protocol
                .as_ref()
                .is_none_or(|protocol| matches!(protocol.as_str(), Protocol::HTTP | Protocol::HTTPS));
            if is_host && is_known { Ok(()) } else { invalid("requests are sent to a host, by http or https") }
        }
        (Some(index), None) if !index.suffix.is_empty() && !index.suffix.contains('/') => Ok(()),
        (Some(_), None) => invalid("an index's suffix is a name without /"),
        _ => invalid("a website has an index, or is somewhere else altogether"),
    }
}

fn check_rule(rule: &RoutingRule) -> Result<()> {
    let invalid = |problem: &'static str| Err(Fault::refuse(S3ErrorCode::InvalidArgument, problem));
    let is_status = |code: &str, classes: &[u8]| {
        let class = code.bytes().next();
        code.len() == 3 && code.parse::<u16>().is_ok() && class.is_some_and(|class| classes.contains(&class))
    };
    if let Some(condition) = &rule.condition {
        match (&condition.http_error_code_returned_equals, &condition.key_prefix_equals) {
            (None, None) => return invalid("a rule's condition names a prefix or an error"),
            (Some(code), _) if !is_status(code, b"45") => return invalid("a rule's error is a status from 400 on"),
            _ => {}
        }
    }
    let Redirect { host_name, http_redirect_code, protocol, replace_key_prefix_with, replace_key_with } =
        &rule.redirect;
    if replace_key_prefix_with.is_some() && replace_key_with.is_some() {
        return invalid("a rule replaces a key, or its prefix");
    }
    let is_host = |host: &String| !host.is_empty() && !host.contains(['/', ' ', '\r', '\n']);
    let is_known = |protocol: &Protocol| matches!(protocol.as_str(), Protocol::HTTP | Protocol::HTTPS);
    if !host_name.as_ref().is_none_or(is_host) || !protocol.as_ref().is_none_or(is_known) {
        return invalid("requests are sent to a host, by http or https");
    }
    if http_redirect_code.as_deref().is_some_and(|code| !is_status(code, b"3")) {
        return invalid("a redirection's status is from 301 to 399");
    }
    let changes_key = replace_key_prefix_with.is_some() || replace_key_with.is_some();
    let changes_place = host_name.is_some() || protocol.is_some();
    if !changes_key && !changes_place {
        return invalid("a rule sends requests elsewhere");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_website_has_an_index_or_is_elsewhere() {
        let index = |suffix: &str| Some(IndexDocument { suffix: suffix.into() });
        let site = |index_document| WebsiteConfiguration { index_document, ..WebsiteConfiguration::default() };
        assert!(check(&site(index("index.html"))).is_ok());
        assert!(check(&site(index("a/b"))).is_err() && check(&site(index(""))).is_err() && check(&site(None)).is_err());
        let elsewhere = |host: &str| WebsiteConfiguration {
            redirect_all_requests_to: Some(RedirectAllRequestsTo { host_name: host.into(), protocol: None }),
            ..WebsiteConfiguration::default()
        };
        assert!(check(&elsewhere("example.net")).is_ok() && check(&elsewhere("example.net/x")).is_err());
    }

    #[test]
    fn a_rule_that_leads_nowhere_is_refused() {
        let to = |key: Option<&str>, prefix: Option<&str>, code: Option<&str>| Redirect {
            replace_key_with: key.map(str::to_owned),
            replace_key_prefix_with: prefix.map(str::to_owned),
            http_redirect_code: code.map(str::to_owned),
            ..Redirect::default()
        };
        let is_good = |redirect: Redirect, status: Option<&str>| {
            let condition = status.map(|status| Condition {
                http_error_code_returned_equals: Some(status.into()),
                key_prefix_equals: None,
            });
            check_rule(&RoutingRule { condition, redirect }).is_ok()
        };
        assert!(is_good(to(Some("k"), None, Some("307")), Some("404")) && is_good(to(None, Some(""), None), None));
        assert!(!is_good(to(None, None, Some("302")), None) && !is_good(to(Some("k"), Some("p"), None), None));
        assert!(!is_good(to(Some("k"), None, Some("200")), None) && !is_good(to(Some("k"), None, None), Some("2xx")));
        let host = Redirect { host_name: Some("a/b".into()), ..Redirect::default() };
        assert!(!is_good(host, None));
    }
}
