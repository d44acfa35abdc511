//! Buckets as websites: hosts `BUCKET.s3-website.DOMAIN`, for anybody's browser. Only what anybody may read is served.

use super::front::{Front, error_code, told, xml_escaped};
use super::routing_rule::route;
use super::signature_v4::uri_encoded;
use crate::s3::access::{Origin, percent_decoded};
use crate::s3::service::fields;
use hyper::header::{self, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use s3s::dto::{Protocol, WebsiteConfiguration};
use s3s::{Body, S3Error, S3ErrorCode};

/// Of a request, what the bucket's answer or its policy may depend on.
const PASSED_ON: [HeaderName; 7] = [
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::USER_AGENT,
    header::REFERER,
];

/// The bucket, and the domain below which it has its website.
pub struct Site {
    pub bucket: String,
    pub domain: String,
}

struct Visit<'a> {
    site: &'a Site,
    headers: &'a HeaderMap,
    origin: Origin,
}

impl Front {
    /// Errors are told as pages, for people.
    pub(super) async fn visit<B>(&self, site: &Site, request: &Request<B>, origin: Origin) -> Response<Body> {
        let answer = self.page(site, request, origin).await;
        let is_document = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/xml");
        if is_document && (answer.status().is_client_error() || answer.status().is_server_error()) {
            return page_of_error(answer, &site.bucket, request.method()).await;
        }
        answer
    }

    async fn page<B>(&self, site: &Site, request: &Request<B>, origin: Origin) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let message = "a website is read only";
            return told(S3Error::with_message(S3ErrorCode::MethodNotAllowed, message));
        }
        let website = match self.service().website(site.bucket.clone()).await {
            Ok(website) => website,
            Err(error) => return told(error),
        };
        if let Some(location) = elsewhere(&website, request.uri(), origin.is_secure) {
            return redirect(StatusCode::MOVED_PERMANENTLY, &location);
        }
        let rules = website.routing_rules.unwrap_or_default();
        let here = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or(&site.domain);
        let suffix = website.index_document.map(|index| index.suffix).unwrap_or_default();
        let key = percent_decoded(request.uri().path().trim_start_matches('/'));
        let sent = |failed: Option<StatusCode>| {
            let route = route(&rules, &key, failed)?;
            Some(redirect(route.status(), &route.location(&key, here, origin.is_secure)))
        };
        if let Some(elsewhere) = sent(None) {
            return elsewhere;
        }
        let is_folder = key.is_empty() || key.ends_with('/');
        let visit = Visit { site, headers: request.headers(), origin };
        let page = if is_folder { format!("{key}{suffix}") } else { key.clone() };
        let answer = self.fetch(&visit, request.method().clone(), &page).await;
        if let Some(location) = answer.headers().get(fields::REDIRECT).filter(|_| answer.status().is_success()) {
            return redirect(StatusCode::MOVED_PERMANENTLY, location.to_str().unwrap_or("/"));
        }
        if !answer.status().is_client_error() || answer.status() == StatusCode::PRECONDITION_FAILED {
            return answer;
        }
        if !is_folder {
            let index = self.fetch(&visit, Method::HEAD, &format!("{key}/{suffix}")).await;
            if index.status().is_success() {
                return redirect(StatusCode::FOUND, &format!("/{}/", uri_encoded(&key, false)));
            }
        }
        if let Some(elsewhere) = sent(Some(answer.status())) {
            return elsewhere;
        }
        let Some(document) = website.error_document else { return answer };
        let unconditional = HeaderMap::new();
        let visit = Visit { headers: &unconditional, ..visit };
        let mut page = self.fetch(&visit, request.method().clone(), &document.key).await;
        if !page.status().is_success() {
            return answer;
        }
        *page.status_mut() = answer.status();
        page
    }

    /// An object, as anybody gets it.
    async fn fetch(&self, visit: &Visit<'_>, method: Method, key: &str) -> Response<Body> {
        let uri = format!("/{}/{}", visit.site.bucket, uri_encoded(key, false));
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        let (Ok(uri), Ok(host)) = (uri.parse::<Uri>(), HeaderValue::from_str(&visit.site.domain)) else {
            return told(S3Error::with_message(S3ErrorCode::InvalidURI, "this is no page"));
        };
        *request.uri_mut() = uri;
        for name in PASSED_ON {
            if let Some(value) = visit.headers.get(&name) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        request.headers_mut().insert(HOST, host);
        request.extensions_mut().insert(visit.origin);
        self.call(request).await
    }
}

/// Where all requests are sent to, if they are.
fn elsewhere(website: &WebsiteConfiguration, uri: &Uri, is_secure: bool) -> Option<String> {
    let to = website.redirect_all_requests_to.as_ref()?;
    let same = if is_secure { Protocol::HTTPS } else { Protocol::HTTP };
    let protocol = to.protocol.as_ref().map_or(same, Protocol::as_str);
    Some(format!("{protocol}://{}{}", to.host_name, uri.path_and_query().map_or("/", |path| path.as_str())))
}

async fn page_of_error(mut answer: Response<Body>, bucket: &str, method: &Method) -> Response<Body> {
    let status = answer.status();
    let code = error_code(&mut answer).await;
    // An answer to HEAD has no document to tell it.
    let code = code.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().replace(' ', ""));
    let (code, bucket) = (xml_escaped(&code), xml_escaped(bucket));
    let page = format!(
        "<html>\n<head><title>{status}</title></head>\n<body>\n<h1>{status}</h1>\n<ul>\n<li>Code: {code}</li>\n\
         <li>BucketName: {bucket}</li>\n</ul>\n<hr/>\n</body>\n</html>\n"
    );
    let mut told = Response::new(if *method == Method::HEAD { Body::empty() } else { Body::from(page) });
    *told.status_mut() = status;
    told.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(code) = HeaderValue::from_str(&code) {
        told.headers_mut().insert("x-amz-error-code", code);
    }
    told
}

fn redirect(status: StatusCode, location: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
