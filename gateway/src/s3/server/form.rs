//! What the library leaves out of forms that upload an object: the fields `acl` and `tagging` and checksums, the name of the file, and what
//! a policy must have.

use super::{SideBody, form_file};
use crate::s3::limits;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use s3s::{Body, S3Error, S3ErrorCode};
use serde_json::Value;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Put beside the request that the form is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormFields {
    pub acl: Option<String>,
    /// XML, or as the header has it.
    pub tagging: Option<String>,
    /// The field, which is named as the header, and its value.
    pub checksum: Option<(String, String)>,
}

/// A field before the file.
struct Field {
    /// In lower case.
    name: String,
    value: String,
    /// In the form, with the delimiter before it.
    bytes: Range<usize>,
    /// Where the value is.
    value_bytes: Range<usize>,
}

pub fn is_form<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    request.method() == hyper::Method::POST && kind.is_some_and(|kind| kind.starts_with(b"multipart/form-data"))
}

/// Takes in what is before the file, and looks at it. The library gets a form with a short file in place of the real one, which is left to come
/// in while it is stored.
/// `stand_ins`: how many that are large there may be.
pub async fn look(request: Request<Body>, stand_ins: &Arc<Semaphore>) -> Result<Request<Body>, S3Error> {
    let boundary = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).and_then(boundary);
    let (mut parts, mut body) = request.into_parts();
    // The library says what is wrong with one that has none.
    let Some(boundary) = boundary else { return Ok(Request::from_parts(parts, Body::empty())) };
    let mut form = BytesMut::new();
    let Head { fields, file } = head(&mut form, &mut body, &boundary).await?;
    let Some(file) = file else { return Ok(Request::from_parts(parts, Body::from(form.freeze()))) };
    let value = |name: &str| fields.iter().find(|field| field.name == name).map(|field| field.value.as_str());
    let bounds = check_policy(&value)?;
    let checksum = fields.iter().find(|field| field.name.starts_with(CHECKSUM_PREFIX));
    parts.extensions.insert(FormFields {
        acl: value("acl").map(str::to_owned),
        tagging: value("tagging").map(str::to_owned),
        checksum: checksum.map(|field| (field.name.clone(), field.value.clone())),
    });
    let begin = form.split_off(file.begin);
    parts.extensions.insert(SideBody::new(form_file::stream(&boundary, &begin, body), bounds.clone()));
    // Of a length that the policy allows: the real one is looked at when it is known.
    let stand_in = (*bounds.start()).min(limits::UPLOAD_BYTES_MAX) as usize;
    if stand_in > limits::FORM_STAND_IN_BYTES_MAX {
        let message = format!("no policy can ask for more than {} bytes", limits::FORM_STAND_IN_BYTES_MAX);
        return Err(S3Error::with_message(S3ErrorCode::InvalidPolicyDocument, message));
    }
    if stand_in > limits::FORM_FIELDS_BYTES_MAX {
        // As long as there is the request, there may be its stand-in.
        parts.extensions.insert(Arc::new(stand_ins.clone().acquire_owned().await));
    }
    let mut shown = BytesMut::from(&rewritten(form.freeze(), &fields, &file.name)[..]);
    shown.resize(shown.len() + stand_in, b'x');
    shown.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    Ok(Request::from_parts(parts, Body::from(shown.freeze())))
}

/// Reads until the file begins, or nothing more comes.
async fn head(form: &mut BytesMut, body: &mut Body, boundary: &str) -> Result<Head, S3Error> {
    let mut looked_at = 0;
    loop {
        let frame = tokio::time::timeout(limits::BODY_WAIT, body.frame()).await;
        let frame = frame
            .map_err(|_| S3Error::with_message(S3ErrorCode::RequestTimeout, "nothing came of the form for too long"))?;
        let is_end = frame.is_none();
        if let Some(frame) = frame {
            let broken = |_| S3Error::with_message(S3ErrorCode::IncompleteBody, "the form did not come in whole");
            if let Ok(bytes) = frame.map_err(broken)?.into_data() {
                form.extend_from_slice(&bytes);
            }
        }
        // Not for each byte of a form that comes byte by byte.
        if is_end || form.len() - looked_at >= LOOK_BYTES {
            looked_at = form.len();
            let head = fields(form, boundary);
            if is_end || head.file.is_some() {
                return Ok(head);
            }
            if form.len() > limits::FORM_FIELDS_BYTES_MAX {
                let message = format!("the fields of a form have at most {} bytes", limits::FORM_FIELDS_BYTES_MAX);
                return Err(S3Error::with_message(S3ErrorCode::EntityTooLarge, message));
            }
        }
    }
}

const LOOK_BYTES: usize = 1024;

/// What is before the file's bytes.
struct Head {
    fields: Vec<Field>,
    /// `None`: there is none yet.
    file: Option<FileHead>,
}

struct FileHead {
    name: String,
    /// Where its bytes begin.
    begin: usize,
}

const CHECKSUM_PREFIX: &str = "x-amz-checksum-";
const FILE_NAME: &str = "${filename}";

/// With the file's name in the key, so that a policy judges the key that the object gets; and without checksums, which no policy needs to
/// name, unless this one does.
fn rewritten(form: Bytes, fields: &[Field], file_name: &str) -> Bytes {
    let policy =
        fields.iter().find(|field| field.name == "policy").and_then(|field| STANDARD.decode(&field.value).ok());
    let policy = String::from_utf8_lossy(&policy.unwrap_or_default()).to_ascii_lowercase();
    let goes = |field: &Field| field.name.starts_with(CHECKSUM_PREFIX) && !policy.contains(&field.name);
    let changes = |field: &Field| field.name == "key" && field.value.contains(FILE_NAME);
    if !fields.iter().any(|field| goes(field) || changes(field)) {
        return form;
    }
    let part = |range: Range<usize>| form.get(range).unwrap_or_default();
    let mut new = BytesMut::with_capacity(form.len() + file_name.len());
    let mut copied = 0;
    for field in fields {
        if goes(field) {
            new.extend_from_slice(part(copied..field.bytes.start));
            copied = field.bytes.end;
        } else if changes(field) {
            new.extend_from_slice(part(copied..field.value_bytes.start));
            new.extend_from_slice(field.value.replace(FILE_NAME, file_name).as_bytes());
            copied = field.value_bytes.end;
        }
    }
    new.extend_from_slice(part(copied..form.len()));
    new.freeze()
}

/// Refuses what Ceph's gateway refuses, and the library does not. Returns how many bytes the file may have.
fn check_policy<'a>(value: &impl Fn(&str) -> Option<&'a str>) -> Result<RangeInclusive<u64>, S3Error> {
    let any = 0..=u64::MAX;
    let Some(policy) = value("policy") else { return Ok(any) };
    if value("awsaccesskeyid").is_some() && value("signature").is_none() {
        return Err(S3Error::with_message(S3ErrorCode::InvalidArgument, "a policy comes with a signature"));
    }
    let decoded = STANDARD.decode(policy).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    // The library says what is wrong with one that is none.
    let Some(document) = decoded else { return Ok(any) };
    if document.get("expiration").and_then(Value::as_str).is_some_and(|date| !date.contains('T')) {
        let message = "a policy's expiration is as 2030-01-01T00:00:00Z";
        return Err(S3Error::with_message(S3ErrorCode::InvalidPolicyDocument, message));
    }
    let names_bucket = |condition: &Value| match condition {
        Value::Object(pairs) => pairs.keys().any(|name| name.eq_ignore_ascii_case("bucket")),
        Value::Array(words) => {
            words.get(1).and_then(Value::as_str).is_some_and(|name| name.eq_ignore_ascii_case("$bucket"))
        }
        _ => false,
    };
    let conditions = document.get("conditions").and_then(Value::as_array);
    // One that is empty, or no object, is no condition; that is said by the library, too.
    let are_conditions =
        |conditions: &&Vec<Value>| !conditions.iter().any(|one| one == &Value::Object(serde_json::Map::new()));
    if conditions.filter(are_conditions).is_some_and(|conditions| !conditions.iter().any(names_bucket)) {
        return Err(S3Error::with_message(S3ErrorCode::AccessDenied, "the policy does not say for which bucket it is"));
    }
    Ok(conditions.and_then(|conditions| conditions.iter().find_map(length_range)).unwrap_or(any))
}

/// `["content-length-range", 1, 1000]`.
fn length_range(condition: &Value) -> Option<RangeInclusive<u64>> {
    let [name, min, max] = condition.as_array()?.as_slice() else { return None };
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let is_of_length = name.as_str()?.eq_ignore_ascii_case("content-length-range");
    if is_of_length { Some(number(min)?..=number(max)?) } else { None }
}

fn boundary(kind: &str) -> Option<String> {
    let value = kind.split(';').find_map(|field| field.trim().strip_prefix("boundary="))?;
    Some(value.trim_matches('"').to_owned())
}

/// What follows the file is no part of the form.
fn fields(form: &[u8], boundary: &str) -> Head {
    let delimiter = format!("--{boundary}");
    let ending = format!("\r\n{delimiter}");
    let mut found = Vec::new();
    let mut begin = find(form, delimiter.as_bytes(), 0);
    while let Some(start) = begin {
        let head_begin = start + delimiter.len();
        let Some(head_end) = find(form, b"\r\n\r\n", head_begin) else { break };
        let head = String::from_utf8_lossy(form.get(head_begin..head_end).unwrap_or_default()).into_owned();
        let Some(name) = parameter(&head, "name") else { break };
        if name.eq_ignore_ascii_case("file") {
            let file = FileHead { name: parameter(&head, "filename").unwrap_or_default(), begin: head_end + 4 };
            return Head { fields: found, file: Some(file) };
        }
        let value_begin = head_end + 4;
        let Some(value_end) = find(form, ending.as_bytes(), value_begin) else { break };
        // The line break before a delimiter belongs to the delimiter.
        let end = value_end + 2;
        found.push(Field {
            name: name.to_ascii_lowercase(),
            value: String::from_utf8_lossy(form.get(value_begin..value_end).unwrap_or_default()).into_owned(),
            bytes: start..end,
            value_bytes: value_begin..value_end,
        });
        begin = Some(end);
    }
    Head { fields: found, file: None }
}

/// `name="value"` of a part's head.
fn parameter(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let begin = line.find(&format!("; {name}=\""))? + name.len() + 4;
    let rest = line.get(begin..)?;
    Some(rest.get(..rest.find('"')?)?.to_owned())
}

pub(super) fn find(bytes: &[u8], wanted: &[u8], begin: usize) -> Option<usize> {
    let (first, mut at) = (*wanted.first()?, begin);
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == first)?;
        if bytes.get(at..)?.starts_with(wanted) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"Key\"\r\n\r\nin/${filename}\r\n\
                        --b\r\nContent-Disposition: form-data; name=\"x-amz-checksum-sha256\"\r\n\r\nabc\r\n\
                        --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f.txt\"\r\n\r\nx\r\n--b--\r\n";

    #[test]
    fn a_form_tells_its_fields_and_its_files_name() {
        let Head { fields: found, file } = fields(FORM.as_bytes(), "b");
        let file = file.unwrap();
        let seen: Vec<(&str, &str)> = found.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect();
        assert_eq!(seen, [("key", "in/${filename}"), ("x-amz-checksum-sha256", "abc")]);
        assert_eq!((file.name.as_str(), &FORM[file.begin..]), ("f.txt", "x\r\n--b--\r\n"));
        for cut in 0..FORM.len() {
            fields(&FORM.as_bytes()[..cut], "b");
        }
        assert_eq!(boundary("multipart/form-data; boundary=\"x y\""), Some("x y".into()));
    }

    #[test]
    fn a_key_gets_the_files_name_and_a_checksum_goes() {
        let Head { fields: found, .. } = fields(FORM.as_bytes(), "b");
        let new = rewritten(Bytes::from_static(FORM.as_bytes()), &found, "f.txt");
        let Head { fields: found, file } = fields(&new, "b");
        let seen: Vec<(&str, &str)> = found.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect();
        assert_eq!(seen, [("key", "in/f.txt")]);
        assert_eq!(file.unwrap().name, "f.txt");
        assert!(new.ends_with(b"x\r\n--b--\r\n"));
    }

    #[test]
    fn a_policy_names_its_bucket_and_comes_with_a_signature() {
        let check = |policy: &str, signature: Option<&str>| {
            let policy = STANDARD.encode(policy);
            check_policy(&|name: &str| match name {
                "policy" => Some(policy.as_str()),
                "awsaccesskeyid" => Some("k"),
                "signature" => signature,
                _ => None,
            })
            .map_err(|error| error.code().as_str().to_owned())
        };
        let good = r#"{"expiration": "2030-01-01T00:00:00Z", "conditions": [{"BUCKET": "b"}]}"#;
        let any = Ok(0..=u64::MAX);
        assert_eq!(check(good, Some("s")), any);
        assert_eq!(check(good, None), Err("InvalidArgument".into()));
        assert_eq!(check(r#"{"conditions": [["eq", "$bucket", "b"]]}"#, Some("s")), any);
        let bounded = r#"{"conditions": [{"bucket": "b"}, ["content-length-range", 5, "9"]]}"#;
        assert_eq!(check(bounded, Some("s")), Ok(5..=9));
        assert_eq!(check(r#"{"conditions": [{"acl": "private"}]}"#, Some("s")), Err("AccessDenied".into()));
        let spaced = r#"{"expiration": "2030-01-01 00:00:00", "conditions": [{"bucket": "b"}]}"#;
        assert_eq!(check(spaced, Some("s")), Err("InvalidPolicyDocument".into()));
    }
}
