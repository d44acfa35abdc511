//! What is written down of a request to a bucket whose requests are logged: a line as Amazon's server access logs have it.

use super::access::{percent_decoded, query_pairs};
use hyper::header::{AUTHORIZATION, HOST, HeaderName, REFERER, USER_AGENT};
use hyper::{HeaderMap, Method, Uri};
use std::net::IpAddr;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

const TIME: &[FormatItem<'_>] = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
const SHOWN_BYTES_MAX: usize = 1024;

/// A request, and its answer.
#[derive(Clone, Debug)]
pub struct LogRecord {
    pub bucket: String,
    /// Empty where the request was to the bucket.
    pub key: String,
    pub begun: OffsetDateTime,
    pub address: IpAddr,
    pub request_id: String,
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub is_secure: bool,
    pub status: u16,
    pub error_code: Option<String>,
    pub bytes_sent: Option<u64>,
    pub took: Duration,
    pub version: Option<String>,
    /// Nothing but an ACL let it through.
    pub needed_acl: bool,
    /// What it deleted of many; each has a line of its own.
    pub deletions: Vec<LoggedDeletion>,
}

/// One of the deletions that a request asks for.
#[derive(Clone, Debug)]
pub struct LoggedDeletion {
    pub key: String,
    pub version: Option<String>,
    pub status: u16,
    pub error_code: Option<String>,
}

/// How a request was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub access_key: String,
    version: &'static str,
    kind: &'static str,
}

impl LogRecord {
    pub fn signed(&self) -> Option<Signed> {
        if let Some(header) = self.headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok()) {
            let kind = "AuthHeader";
            if let Some((access_key, _)) = header.strip_prefix("AWS ").and_then(|rest| rest.split_once(':')) {
                return Some(Signed { access_key: access_key.into(), version: "SigV2", kind });
            }
            let access_key = header.split_once("Credential=")?.1.split('/').next()?;
            return Some(Signed { access_key: access_key.into(), version: "SigV4", kind });
        }
        let kind = "QueryString";
        query_pairs(self.uri.query().unwrap_or_default()).into_iter().find_map(|(name, value)| match name.as_str() {
            "X-Amz-Credential" => Some(Signed { access_key: value.split('/').next()?.into(), version: "SigV4", kind }),
            "AWSAccessKeyId" => Some(Signed { access_key: value, version: "SigV2", kind }),
            _ => None,
        })
    }

    /// `REST.PUT.OBJECT`, also of a copy, as Ceph's gateway has it.
    fn operation(&self) -> String {
        const RESOURCES: [(&str, &str); 20] = [
            ("acl", "ACL"),
            ("attributes", "OBJECT_ATTRIBUTES"),
            ("cors", "CORS"),
            ("delete", "DELETE_MULTI_OBJECT"),
            ("encryption", "ENCRYPTION"),
            ("legal-hold", "LEGAL_HOLD"),
            ("lifecycle", "LIFECYCLE"),
            ("location", "LOCATION"),
            ("logging", "LOGGING_STATUS"),
            ("object-lock", "OBJECT_LOCK_CONFIGURATION"),
            ("ownershipControls", "OWNERSHIP_CONTROLS"),
            ("partNumber", "PART"),
            ("policy", "BUCKETPOLICY"),
            ("retention", "RETENTION"),
            ("tagging", "TAGGING"),
            ("uploadId", "UPLOAD"),
            ("uploads", "UPLOADS"),
            ("versioning", "VERSIONING"),
            ("versions", "BUCKETVERSIONS"),
            ("website", "WEBSITE"),
        ];
        let pairs = query_pairs(self.uri.query().unwrap_or_default());
        let named = RESOURCES.iter().find(|(name, _)| pairs.iter().any(|(given, _)| given == name));
        let resource = named.map_or(if self.key.is_empty() { "BUCKET" } else { "OBJECT" }, |(_, resource)| resource);
        let resource = if resource == "TAGGING" && !self.key.is_empty() { "OBJECT_TAGGING" } else { resource };
        format!("REST.{}.{resource}", self.method)
    }

    /// The request's, and one for each deletion of many.
    pub fn lines(&self, owner: &str, requester: Option<&str>) -> Vec<String> {
        let of_deletion = |deletion: &LoggedDeletion| {
            let record = LogRecord {
                key: deletion.key.clone(),
                version: deletion.version.clone(),
                status: deletion.status,
                error_code: deletion.error_code.clone(),
                bytes_sent: None,
                deletions: Vec::new(),
                ..self.clone()
            };
            record.line(owner, requester)
        };
        [self.line(owner, requester)].into_iter().chain(self.deletions.iter().map(of_deletion)).collect()
    }

    /// With its end. `owner`: the bucket's; `requester`: who asked, if that is known.
    fn line(&self, owner: &str, requester: Option<&str>) -> String {
        let header = |name: HeaderName| self.headers.get(name).and_then(|value| value.to_str().ok());
        let quoted = |text: Option<&str>| text.map_or_else(|| "\"-\"".into(), |text| format!("\"{}\"", plain(text)));
        let word = |text: Option<&str>| text.filter(|text| !text.is_empty()).map_or_else(|| "-".into(), plain);
        let number = |number: Option<u64>| number.map_or_else(|| "-".into(), |number| number.to_string());
        let signed = self.signed();
        let millis = self.took.as_millis() as u64;
        let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
        // A key may hold anything; in a log it is one word.
        let key = super::server::uri_encoded(&self.key, false);
        let fields = [
            word(Some(owner)),
            word(Some(&self.bucket)),
            format!("[{}]", self.begun.format(TIME).unwrap_or_default()),
            self.address.to_string(),
            word(requester),
            self.request_id.clone(),
            self.operation(),
            word(Some(&key)),
            quoted(Some(&format!("{} {} HTTP/1.1", self.method, super::server::without_secrets(target)))),
            self.status.to_string(),
            word(self.error_code.as_deref()),
            number(self.bytes_sent.filter(|bytes| *bytes > 0)),
            "-".into(),
            millis.to_string(),
            millis.to_string(),
            quoted(header(REFERER)),
            quoted(header(USER_AGENT)),
            word(self.version.as_deref()),
            "basalt".into(),
            word(signed.as_ref().map(|signed| signed.version)),
            "-".into(),
            word(signed.as_ref().map(|signed| signed.kind)),
            word(header(HOST)),
            if self.is_secure { "TLS".into() } else { "-".into() },
            "-".into(),
            if self.needed_acl { "Yes".into() } else { "-".into() },
        ];
        fields.join(" ") + "\n"
    }
}

/// What a client sent must not look like another field, or another line.
fn plain(text: &str) -> String {
    let shown = text.chars().map(|letter| if letter.is_control() || letter == '"' { '_' } else { letter });
    let mut shown: String = shown.collect();
    if shown.len() > SHOWN_BYTES_MAX {
        let end = (0..=SHOWN_BYTES_MAX).rev().find(|end| shown.is_char_boundary(*end)).unwrap_or(0);
        shown.truncate(end);
    }
    shown
}

/// The key that a request's path names, behind the bucket if that is no part of the host's name.
pub fn key_of(uri: &Uri, is_by_host: bool) -> String {
    let path = uri.path().trim_start_matches('/');
    let key = if is_by_host { path } else { path.split_once('/').map_or("", |(_, key)| key) };
    percent_decoded(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(method: Method, target: &str, headers: &[(&'static str, &str)]) -> LogRecord {
        let uri: Uri = target.parse().unwrap();
        LogRecord {
            bucket: "b".into(),
            key: key_of(&uri, false),
            begun: OffsetDateTime::UNIX_EPOCH,
            address: "192.0.2.1".parse().unwrap(),
            request_id: "tx1".into(),
            method,
            uri,
            headers: headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
            is_secure: false,
            status: 404,
            error_code: Some("NoSuchKey".into()),
            bytes_sent: Some(7),
            took: Duration::from_millis(12),
            version: None,
            needed_acl: false,
            deletions: Vec::new(),
        }
    }

    #[test]
    fn a_line_has_the_fields_of_amazons() {
        let headers = [("host", "h"), ("user-agent", "a \"b\""), ("authorization", "AWS4 Credential=AK/2026/x, S=1")];
        let line = record(Method::GET, "/b/k%20%22x?versionId=1", &headers).line("ann", Some("bob"));
        assert_eq!(
            line,
            "ann b [01/Jan/1970:00:00:00 +0000] 192.0.2.1 bob tx1 REST.GET.OBJECT k%20%22x \"GET /b/k%20%22x?versionId=1 \
             HTTP/1.1\" 404 NoSuchKey 7 - 12 12 \"-\" \"a _b_\" - basalt SigV4 - AuthHeader h - - -\n"
        );
    }

    #[test]
    fn no_secret_of_a_url_is_written_down() {
        let record = record(Method::GET, "/b/k?X-Amz-Credential=AK%2F1&X-Amz-Signature=deadbeef", &[]);
        assert_eq!(record.signed().unwrap().access_key, "AK");
        assert!(!record.line("o", None).contains("deadbeef"));
        assert!(record.line("o", None).contains(" QueryString "));
    }

    #[test]
    fn operations_are_told_by_method_and_resource() {
        for (method, target, expected) in [
            (Method::PUT, "/b", "REST.PUT.BUCKET"),
            (Method::PUT, "/b/k?partNumber=1&uploadId=x", "REST.PUT.PART"),
            (Method::POST, "/b/k?uploadId=x", "REST.POST.UPLOAD"),
            (Method::POST, "/b?delete", "REST.POST.DELETE_MULTI_OBJECT"),
            (Method::GET, "/b?acl", "REST.GET.ACL"),
        ] {
            assert_eq!(record(method, target, &[]).operation(), expected);
        }
        assert_eq!(record(Method::PUT, "/b/k", &[("x-amz-copy-source", "/b/j")]).operation(), "REST.PUT.OBJECT");
        assert_eq!(record(Method::PUT, "/b/k?tagging", &[]).operation(), "REST.PUT.OBJECT_TAGGING");
        assert_eq!(record(Method::PUT, "/b?tagging", &[]).operation(), "REST.PUT.TAGGING");
    }

    #[test]
    fn each_deletion_of_many_has_a_line() {
        let deletion = |key: &str, status, error_code: Option<&str>| LoggedDeletion {
            key: key.into(),
            version: None,
            status,
            error_code: error_code.map(str::to_owned),
        };
        let deletions = vec![deletion("k1", 204, None), deletion("k2", 403, Some("AccessDenied"))];
        let lines = LogRecord { deletions, ..record(Method::POST, "/b?delete", &[]) }.lines("ann", None);
        let seen: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
        assert_eq!(seen.iter().map(|fields| fields[8]).collect::<Vec<_>>(), ["-", "k1", "k2"]);
        assert!(seen.iter().all(|fields| fields[7] == "REST.POST.DELETE_MULTI_OBJECT"));
        assert!(lines[2].contains(" 403 AccessDenied ") && lines[1].contains(" 204 - "));
    }
}
