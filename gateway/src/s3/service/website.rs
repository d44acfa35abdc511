//! What buckets' owners want of their websites.

use super::Service;
use crate::s3::access::Asked;
use crate::s3::fault::{Fault, Result};
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
    if wanted.routing_rules.as_ref().is_some_and(|rules| !rules.is_empty()) {
        return Err(Fault::refuse(S3ErrorCode::NotImplemented, "routing rules are not supported"));
    }
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
}
