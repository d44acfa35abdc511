//! What the library leaves out of signatures of version 2: how old one may be, and that some clients sign `/bucket/` where they ask for
//! `/bucket`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{AUTHORIZATION, DATE};
use hyper::{HeaderMap, Method, Request, Uri};
use s3s::auth::S3Auth;
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::{S3Error, S3ErrorCode};
use sha1::Sha1;
use std::collections::BTreeMap;
use time::{Duration, OffsetDateTime};

const SKEW_MAX: Duration = Duration::minutes(15);

/// Parameters that are signed, in their order.
const SIGNED: [&str; 35] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Key and signature of a request's header, if that is of version 2.
fn credentials(headers: &HeaderMap) -> Option<(&str, &str)> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("AWS ")?.split_once(':')
}

/// Refuses a request that was signed too long ago, or will be.
pub fn refuse_stale(headers: &HeaderMap) -> Option<S3Error> {
    credentials(headers)?;
    let date = text(headers, "x-amz-date").or_else(|| headers.get(DATE)?.to_str().ok());
    // Before 1970 there was no S3: that is no date.
    let signed = date.and_then(parse_date).filter(|signed| signed.unix_timestamp() >= 0);
    let Some(signed) = signed else {
        return Some(S3Error::with_message(
            S3ErrorCode::AccessDenied,
            "a signed request has a valid Date or x-amz-date",
        ));
    };
    if (OffsetDateTime::now_utc() - signed).abs() > SKEW_MAX {
        let message = "the request was signed too long ago, or by a clock that is wrong";
        return Some(S3Error::with_message(S3ErrorCode::RequestTimeTooSkewed, message));
    }
    None
}

fn parse_date(date: &str) -> Option<OffsetDateTime> {
    let as_http = Timestamp::parse(TimestampFormat::HttpDate, date).ok().map(OffsetDateTime::from);
    as_http.or_else(|| OffsetDateTime::parse(date, &time::format_description::well_known::Rfc2822).ok())
}

/// Asks for `/bucket/` instead of `/bucket` if that is what was signed.
pub async fn with_signed_slash<B>(mut request: Request<B>, keys: &impl S3Auth) -> Request<B> {
    if let Some(uri) = signed_with_slash(request.method(), request.uri(), request.headers(), keys).await {
        *request.uri_mut() = uri;
    }
    request
}

async fn signed_with_slash(method: &Method, uri: &Uri, headers: &HeaderMap, keys: &impl S3Auth) -> Option<Uri> {
    let (access_key, signature) = credentials(headers)?;
    let path = uri.path();
    let is_bucket = path.len() > 1 && !path.get(1..)?.contains('/');
    if !is_bucket {
        return None;
    }
    let secret = keys.get_secret_key(access_key).await.ok()?;
    let signed = format!("{path}/");
    let to_sign = string_to_sign(method, &signed, uri.query(), headers);
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(to_sign.as_bytes());
    mac.verify_slice(&STANDARD.decode(signature).ok()?).ok()?;
    match uri.query() {
        Some(query) => format!("{signed}?{query}").parse().ok(),
        None => signed.parse().ok(),
    }
}

fn string_to_sign(method: &Method, path: &str, query: Option<&str>, headers: &HeaderMap) -> String {
    let date = match text(headers, "x-amz-date") {
        Some(_) => "",
        None => text(headers, "date").unwrap_or_default(),
    };
    let (md5, kind) =
        (text(headers, "content-md5").unwrap_or_default(), text(headers, "content-type").unwrap_or_default());
    let mut ours: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in headers {
        if name.as_str().starts_with("x-amz-") {
            ours.entry(name.as_str()).or_default().push(value.to_str().unwrap_or_default().trim());
        }
    }
    let ours: String = ours.iter().map(|(name, values)| format!("{name}:{}\n", values.join(","))).collect();
    let pairs = crate::s3::access::query_pairs(query.unwrap_or_default());
    let signed = SIGNED.iter().filter_map(|name| {
        let (_, value) = pairs.iter().find(|(given, _)| given == name)?;
        Some(if value.is_empty() { (*name).to_owned() } else { format!("{name}={value}") })
    });
    let signed: Vec<String> = signed.collect();
    let query = if signed.is_empty() { String::new() } else { format!("?{}", signed.join("&")) };
    format!("{method}\n{md5}\n{kind}\n{date}\n{ours}{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_as_amazon_documents_it() {
        let mut headers = HeaderMap::new();
        headers.insert("date", "Tue, 27 Mar 2007 19:44:46 +0000".parse().unwrap());
        headers.insert("x-amz-meta-b", "2".parse().unwrap());
        headers.append("x-amz-meta-a", "1".parse().unwrap());
        headers.append("x-amz-meta-a", "3".parse().unwrap());
        assert_eq!(
            string_to_sign(&Method::GET, "/bucket/", Some("prefix=a&acl"), &headers),
            "GET\n\n\nTue, 27 Mar 2007 19:44:46 +0000\nx-amz-meta-a:1,3\nx-amz-meta-b:2\n/bucket/?acl"
        );
        assert!(SIGNED.is_sorted());
    }

    #[test]
    fn old_signatures_are_refused() {
        let mut headers = HeaderMap::new();
        assert!(refuse_stale(&headers).is_none());
        headers.insert(AUTHORIZATION, "AWS key:signature".parse().unwrap());
        assert_eq!(refuse_stale(&headers).unwrap().code(), &S3ErrorCode::AccessDenied);
        headers.insert(DATE, "Tue, 27 Mar 2007 19:44:46 GMT".parse().unwrap());
        assert_eq!(refuse_stale(&headers).unwrap().code(), &S3ErrorCode::RequestTimeTooSkewed);
    }
}
