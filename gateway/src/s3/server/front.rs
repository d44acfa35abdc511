//! What surrounds each request: refusal of what is not supported, cross-origin headers, an id, and a line in the log.

use super::lingering_body::LingeringBody;
use super::{SideBody, encryption, form, signature_v2, signature_v4};
use crate::s3::access::{Findings, Origin, query_pairs};
use crate::s3::log_record::{LogRecord, key_of};
use crate::s3::service::{Deletions, Document, Service};
use crate::s3::{limits, service};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, LOCATION, TRANSFER_ENCODING,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, S3Error, S3ErrorCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Semaphore;

/// Headers that ask for what this gateway does not do. To go on without would be to lie.
const NOT_IMPLEMENTED: [&str; 2] = ["x-amz-mfa", "x-amz-write-offset-bytes"];

/// What a query may name without giving it a value, beside what begins with `x-amz-`. A request that would change anything and names something
/// else is of a kind that came after this gateway; without its name it would be a plain one, which deletes or replaces what it is about.
const SUBRESOURCES: [&str; 37] = [
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "id",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
    "x-id",
];
/// Those that read as well, and would otherwise be listings.
const NOT_HERE: [&str; 6] =
    ["abac", "annotation", "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "metadataTable"];

const COPY_SOURCE: &str = "x-amz-copy-source";
/// A week.
const PRESIGNED_SECONDS_MAX: u32 = 604_800;

/// Put beside an answer: the user whom it is for, or nobody in particular.
#[derive(Clone)]
pub struct AskedBy(pub Option<String>);

pub struct Front {
    s3: S3Service,
    service: Service,
    hosts: service::Hosts,
    forms: Arc<Semaphore>,
    requests: AtomicU64,
    /// Tells this process's requests from others'.
    life: u64,
}

impl Front {
    pub fn new(service: Service, domains: &[String]) -> Front {
        let mut builder = S3ServiceBuilder::new(service.clone());
        builder.set_auth(service.clone());
        builder.set_access(service::OpenAccess);
        let mut config = S3Config::default();
        config.xml_max_body_size = limits::DOCUMENT_BYTES_MAX;
        config.post_object_max_file_size = limits::FORM_STAND_IN_BYTES_MAX as u64;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        if !domains.is_empty() {
            builder.set_host(service::Hosts::new(domains));
        }
        let life =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        Front {
            s3: builder.build(),
            service,
            hosts: service::Hosts::new(domains),
            forms: Arc::new(Semaphore::new(limits::FORMS_MAX)),
            requests: AtomicU64::new(0),
            life,
        }
    }

    pub async fn answer(&self, request: Request<Incoming>, origin: Origin) -> Response<Body> {
        let begun = Instant::now();
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let id = format!("tx{number:016x}-{:016x}", self.life);
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let bucket = self.bucket_of(&request);
        let cross_origin = CrossOrigin::of(&request);
        let findings = Findings::default();
        let expects = request.headers().contains_key(EXPECT);
        let has_body = !request.body().is_end_stream();
        // Whether it is to be logged is known when the bucket's record has been read.
        let record = self.log_record(&request, &bucket, origin);
        let mut response = if method == Method::OPTIONS {
            self.preflight(bucket.clone(), request.headers()).await
        } else {
            let mut response = self.serve(request, origin, &findings).await.unwrap_or_else(told);
            if let Some(cross_origin) = cross_origin {
                self.allow_cross_origin(bucket.clone(), &cross_origin, &mut response).await;
            }
            response
        };
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert("x-amz-request-id", value);
        }
        response.headers_mut().insert(hyper::header::SERVER, HeaderValue::from_static("basalt"));
        let status = response.status();
        let deletions = response.extensions_mut().remove::<Deletions>();
        if self.service.logs(&bucket) {
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            let length = header("content-length").and_then(|length| length.parse().ok());
            let version = header("x-amz-version-id").map(str::to_owned);
            let error_code = if status.is_success() { None } else { error_code(&mut response).await };
            let record = LogRecord {
                request_id: id.clone(),
                status: status.as_u16(),
                error_code,
                bytes_sent: length.or(response.body().size_hint().exact()),
                took: begun.elapsed(),
                version,
                needed_acl: findings.needed_acl(),
                deletions: deletions.map(|Deletions(deletions)| deletions).unwrap_or_default(),
                ..record
            };
            self.service.log(record).await;
        }
        if let Some(user) = findings.user() {
            response.extensions_mut().insert(AskedBy(user.map(str::to_owned)));
        }
        if expects && !(has_body && status.is_success()) {
            // A client that was refused before it sent its body may leave it out: what it sends next is no body, whatever was announced. And one
            // that waits for a 100 although it has nothing to send gets none; botocore then takes the answer to its next request on the same
            // connection for headers.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if status.is_client_error() || status.is_server_error() {
            response = with_details(response, &id, &bucket, method == Method::HEAD).await;
        }
        let micros = begun.elapsed().as_micros() as u64;
        tracing::info!(
            target: "s3_access",
            id,
            from = %origin.address,
            %method,
            path = uri.path(),
            query = uri.query().map(without_secrets),
            status = status.as_u16(),
            micros,
        );
        response
    }

    /// What is known of a request before it is answered.
    fn log_record<B>(&self, request: &Request<B>, bucket: &str, origin: Origin) -> LogRecord {
        let is_by_host = host_of(request).is_some_and(|host| self.hosts.bucket(host).is_some());
        LogRecord {
            bucket: bucket.to_owned(),
            key: key_of(request.uri(), is_by_host),
            begun: time::OffsetDateTime::now_utc(),
            address: origin.address,
            request_id: String::new(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            is_secure: origin.is_secure,
            status: 0,
            error_code: None,
            bytes_sent: None,
            took: std::time::Duration::ZERO,
            version: None,
            needed_acl: false,
            deletions: Vec::new(),
        }
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    /// By its host, or by its path.
    fn bucket_of<B>(&self, request: &Request<B>) -> String {
        let by_host = host_of(request).and_then(|host| self.hosts.bucket(host));
        let by_path = || request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default();
        by_host.unwrap_or_else(by_path).to_owned()
    }

    /// Whether a request's body is an object's bytes, or a form with them, and no document.
    fn carries_object<B>(&self, request: &Request<B>) -> bool {
        const DOCUMENTS: [&str; 6] = ["acl", "tagging", "retention", "legal-hold", "restore", "select"];
        let path = request.uri().path().trim_matches('/');
        let is_by_host = host_of(request).is_some_and(|host| self.hosts.bucket(host).is_some());
        let names_object = if is_by_host { !path.is_empty() } else { path.contains('/') };
        let pairs = query_pairs(request.uri().query().unwrap_or_default());
        let has = |wanted: &str| pairs.iter().any(|(name, _)| name == wanted);
        match *request.method() {
            Method::PUT => names_object && !DOCUMENTS.iter().any(|name| has(name)),
            Method::POST => form::is_form(request),
            _ => true,
        }
    }

    async fn serve(
        &self,
        mut request: Request<Incoming>,
        origin: Origin,
        findings: &Findings,
    ) -> Result<Response<Body>, S3Error> {
        encryption::hide_keys(request.headers_mut());
        if let Some(site) = host_of(&request).and_then(|host| self.hosts.site(host)) {
            return Ok(self.visit(&site, &request, origin).await);
        }
        let carries_object = self.carries_object(&request);
        if let Some(error) = refusal(&request, carries_object) {
            return Err(error);
        }
        if let Some(error) = signature_v2::refuse_stale(request.headers()) {
            return Err(error);
        }
        let request = signature_v2::with_signed_slash(request, &self.service).await;
        let request = signature_v4::with_known_region(request, &self.service).await;
        let expects = request.headers().contains_key(EXPECT);
        let mut request = request.map(|body| LingeringBody::of(body, expects));
        request.extensions_mut().insert(origin);
        request.extensions_mut().insert(findings.clone());
        let is_form = form::is_form(&request);
        if is_of_unknown_length(&request) {
            if carries_object {
                request = beside(request);
            } else {
                let _document = self.forms.acquire().await.ok();
                request = in_time(with_known_length(request)).await?;
            }
        }
        if is_form {
            request = in_time(form::look(request, &self.forms)).await?;
        }
        let is_of_attributes = is_of_attributes(&request);
        let response = self.call(request).await;
        if is_form {
            return Ok(with_quoted_etag(response));
        }
        if is_of_attributes && response.status().is_success() {
            return Ok(with_bare_etag(response).await);
        }
        Ok(response)
    }

    /// What the library, and behind it the service, makes of a request.
    pub(super) async fn call(&self, request: Request<Body>) -> Response<Body> {
        match self.s3.call(request).await {
            Ok(mut response) => match response.extensions_mut().remove::<Document>() {
                Some(Document(document)) => {
                    response.headers_mut().remove(CONTENT_LENGTH);
                    response.map(|_| Body::from(document))
                }
                None => response,
            },
            Err(error) => {
                tracing::error!(?error, "a request could not be answered");
                told(S3Error::new(S3ErrorCode::InternalError))
            }
        }
    }

    async fn preflight(&self, bucket: String, headers: &HeaderMap) -> Response<Body> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let Some(origin) = text("origin") else {
            return told(S3Error::with_message(S3ErrorCode::InvalidRequest, "a preflight request has an Origin"));
        };
        let Some(wanted) = text("access-control-request-method") else {
            let message = "a preflight request has an Access-Control-Request-Method";
            return told(S3Error::with_message(S3ErrorCode::InvalidRequest, message));
        };
        let asked = CrossOrigin { origin, method: wanted, headers: text("access-control-request-headers") };
        let mut response = Response::new(Body::empty());
        match self.service.cross_origin(bucket, asked.clone()).await {
            Ok(Some(allowed)) => {
                allowed.write(response.headers_mut(), true);
                response
            }
            Ok(None) => told(S3Error::with_message(S3ErrorCode::AccessDenied, "no rule lets this origin do that")),
            Err(error) => told(error),
        }
    }

    async fn allow_cross_origin(&self, bucket: String, asked: &CrossOrigin, response: &mut Response<Body>) {
        if let Ok(Some(allowed)) = self.service.cross_origin(bucket, asked.clone()).await {
            allowed.write(response.headers_mut(), false);
        }
    }
}

/// What a browser asks on behalf of a page from elsewhere.
#[derive(Clone, Debug)]
pub struct CrossOrigin {
    pub origin: String,
    pub method: String,
    pub headers: Option<String>,
}

impl CrossOrigin {
    fn of(request: &Request<Incoming>) -> Option<CrossOrigin> {
        let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let method = text("access-control-request-method").unwrap_or_else(|| request.method().to_string());
        Some(CrossOrigin { origin: text("origin")?, method, headers: None })
    }
}

fn host_of<B>(request: &Request<B>) -> Option<&str> {
    request.headers().get(HOST)?.to_str().ok()
}

/// What must be refused before anything else looks at it.
fn refusal<B>(request: &Request<B>, carries_object: bool) -> Option<S3Error> {
    let headers = request.headers();
    if let Some(name) = NOT_IMPLEMENTED.iter().find(|name| headers.contains_key(**name)) {
        return Some(S3Error::with_message(S3ErrorCode::NotImplemented, format!("{name} is not supported")));
    }
    if let Some(error) = encryption::refuse_nonsense(request.method(), headers) {
        return Some(error);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > limits::DOCUMENT_BYTES_MAX) && !carries_object {
        let message = format!("a document has at most {} bytes", limits::DOCUMENT_BYTES_MAX);
        return Some(S3Error::with_message(S3ErrorCode::MaxMessageLengthExceeded, message));
    }
    let query = query_pairs(request.uri().query().unwrap_or_default());
    if let Some((_, expires)) = query.iter().find(|(name, _)| name == "X-Amz-Expires")
        && !expires.parse::<u32>().is_ok_and(|seconds| (1..=PRESIGNED_SECONDS_MAX).contains(&seconds))
    {
        return Some(S3Error::with_message(
            S3ErrorCode::AccessDenied,
            "a presigned URL is good for 1 to 604800 seconds",
        ));
    }
    if let Some((name, _)) =
        query.iter().find(|(name, value)| is_not_here(request.method(), carries_object, name, value))
    {
        return Some(S3Error::with_message(S3ErrorCode::NotImplemented, format!("?{name} is not supported")));
    }
    if headers.get(AUTHORIZATION).is_some_and(HeaderValue::is_empty) {
        return Some(S3Error::with_message(S3ErrorCode::AccessDenied, "the Authorization is empty"));
    }
    let is_of_no_length = !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING);
    if request.method() == Method::PUT && carries_object && is_of_no_length && !headers.contains_key(COPY_SOURCE) {
        return Some(S3Error::with_message(S3ErrorCode::MissingContentLength, "how long is the object?"));
    }
    if headers.get("x-amz-storage-class").is_some_and(|class| class != "STANDARD") {
        return Some(S3Error::with_message(S3ErrorCode::InvalidStorageClass, "the one storage class is STANDARD"));
    }
    None
}

fn is_not_here(method: &Method, carries_object: bool, name: &str, value: &str) -> bool {
    let is_known = SUBRESOURCES.contains(&name) || name.to_ascii_lowercase().starts_with("x-amz-");
    let changes = [Method::PUT, Method::POST, Method::DELETE].contains(method);
    // An object's encryption is none of its subresources here, and what comes with it is not the object.
    let is_of_object = *method == Method::PUT && carries_object && name == "encryption";
    NOT_HERE.contains(&name) || is_of_object || (changes && value.is_empty() && !is_known)
}

/// Whether the library would refuse the body because nobody knows how long it will be.
fn is_of_unknown_length<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let is_chunked = headers.contains_key(TRANSFER_ENCODING) && !headers.contains_key(CONTENT_LENGTH);
    let payload = headers.get("x-amz-content-sha256").map(HeaderValue::as_bytes).unwrap_or_default();
    is_chunked && request.method() == Method::PUT && !payload.starts_with(b"STREAMING-")
}

/// With the body beside it, and none for the library.
fn beside(request: Request<Body>) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(SideBody::of_any_length(body));
    parts.headers.insert(CONTENT_LENGTH, 0.into());
    Request::from_parts(parts, Body::empty())
}

/// Takes the document in.
async fn with_known_length(request: Request<Body>) -> Result<Request<Body>, S3Error> {
    let (mut parts, body) = request.into_parts();
    let bytes_max = limits::DOCUMENT_BYTES_MAX;
    let too_large = |_| {
        let message = format!("a document has at most {bytes_max} bytes, and comes whole");
        S3Error::with_message(S3ErrorCode::EntityTooLarge, message)
    };
    let bytes = Limited::new(body, bytes_max).collect().await.map_err(too_large)?.to_bytes();
    parts.headers.insert(CONTENT_LENGTH, bytes.len().into());
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

async fn in_time(taking: impl Future<Output = Result<Request<Body>, S3Error>>) -> Result<Request<Body>, S3Error> {
    tokio::time::timeout(limits::FORM_WAIT, taking)
        .await
        .unwrap_or_else(|_| Err(S3Error::with_message(S3ErrorCode::RequestTimeout, "the body took too long")))
}

pub(super) fn told(error: S3Error) -> Response<Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

fn is_of_attributes<B>(request: &Request<B>) -> bool {
    let pairs = query_pairs(request.uri().query().unwrap_or_default());
    request.method() == Method::GET && pairs.iter().any(|(name, _)| name == "attributes")
}

/// The one document in which an ETag has no quotes.
async fn with_bare_etag(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let bytes = body.collect().await.map(|collected| collected.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let text = text.replace("&quot;", "\"").replace("<ETag>\"", "<ETag>").replace("\"</ETag>", "</ETag>");
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(Bytes::from(text)))
}

/// Where a form leads to is told the ETag as it is, quotes and all.
fn with_quoted_etag(mut response: Response<Body>) -> Response<Body> {
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let quoted = location.and_then(|location| {
        let (front, etag) = location.rsplit_once("&etag=")?;
        let etag = etag.trim_start_matches("%22").trim_end_matches("%22");
        HeaderValue::from_str(&format!("{front}&etag=%22{etag}%22")).ok()
    });
    if let Some(location) = quoted {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// What an answer's document says went wrong.
pub(super) async fn error_code(response: &mut Response<Body>) -> Option<String> {
    let body = std::mem::replace(response.body_mut(), Body::empty());
    let bytes = body.collect().await.map(|collected| collected.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let code =
        text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code.to_owned());
    *response.body_mut() = Body::from(bytes.clone());
    code
}

/// Errors name the bucket and the request, for people who look for them in the log.
async fn with_details(response: Response<Body>, id: &str, bucket: &str, is_head: bool) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let bytes = match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if text.contains("<Code>InvalidPolicyDocument</Code><Message>Bucket in form field") {
        text = text.replace("<Code>InvalidPolicyDocument</Code>", "<Code>AccessDenied</Code>");
        parts.status = StatusCode::FORBIDDEN;
    }
    // The library takes a form that its policy does not allow for a policy that is none.
    if text.contains("<Code>InvalidPolicyDocument</Code><Message>Policy condition") {
        text = text.replace("<Code>InvalidPolicyDocument</Code>", "<Code>AccessDenied</Code>");
        parts.status = StatusCode::FORBIDDEN;
    }
    let is_of_argument = |what: &str| text.contains(&format!("<Code>InvalidRequest</Code><Message>{what}"));
    if is_of_argument("invalid query") || is_of_argument("invalid header: authorization") {
        text = text.replace("<Code>InvalidRequest</Code>", "<Code>InvalidArgument</Code>");
    }
    let details = format!(
        "<BucketName>{}</BucketName><RequestId>{id}</RequestId><HostId>basalt</HostId></Error>",
        xml_escaped(bucket)
    );
    let body = match text.strip_suffix("</Error>") {
        _ if is_head => Bytes::new(),
        Some(front) => Bytes::from(format!("{front}{details}")),
        None => bytes.clone(),
    };
    parts.headers.remove(hyper::header::CONTENT_LENGTH);
    parts.headers.remove(HeaderName::from_static("transfer-encoding"));
    Response::from_parts(parts, Body::from(body))
}

pub fn xml_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A presigned URL is a key as long as it is valid.
pub fn without_secrets(query: &str) -> String {
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if name.eq_ignore_ascii_case("x-amz-signature") || name == "Signature" => format!("{name}=…"),
        _ => pair.to_owned(),
    });
    shown.collect::<Vec<_>>().join("&")
}
