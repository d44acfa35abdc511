//! What the library does not tell of a form that uploads an object: its field `acl`, and the name of its file.

use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use s3s::{Body, S3Error, S3ErrorCode};

/// Put beside the request that the form is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormFields {
    pub acl: Option<String>,
    pub file_name: Option<String>,
}

pub fn is_form<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    request.method() == hyper::Method::POST && kind.is_some_and(|kind| kind.starts_with(b"multipart/form-data"))
}

/// Takes the form in, which the library would do next, and looks at it.
pub async fn look(request: Request<Body>, bytes_max: usize) -> Result<Request<Body>, S3Error> {
    let boundary = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).and_then(boundary);
    let (mut parts, body) = request.into_parts();
    let collected = Limited::new(body, bytes_max).collect().await.map_err(|_| {
        S3Error::with_message(
            S3ErrorCode::EntityTooLarge,
            format!("a form has at most {bytes_max} bytes, and comes whole"),
        )
    })?;
    let bytes = collected.to_bytes();
    if let Some(boundary) = boundary {
        parts.extensions.insert(fields(&bytes, &boundary));
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn boundary(kind: &str) -> Option<String> {
    let value = kind.split(';').find_map(|field| field.trim().strip_prefix("boundary="))?;
    Some(value.trim_matches('"').to_owned())
}

fn fields(form: &[u8], boundary: &str) -> FormFields {
    let delimiter = format!("--{boundary}");
    let mut found = FormFields::default();
    let mut rest = form;
    while let Some(begin) = find(rest, delimiter.as_bytes()) {
        rest = rest.get(begin + delimiter.len()..).unwrap_or_default();
        let Some(end) = find(rest, b"\r\n\r\n") else { break };
        let head = String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
        let value = rest.get(end + 4..).unwrap_or_default();
        let Some(name) = parameter(&head, "name") else { continue };
        if name == "file" {
            found.file_name = parameter(&head, "filename");
            // What follows the file is no part of the form.
            break;
        }
        if name.eq_ignore_ascii_case("acl") {
            let end = find(value, b"\r\n").unwrap_or(value.len());
            found.acl = Some(String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned());
        }
    }
    found
}

/// `name="value"` of a part's head.
fn parameter(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let begin = line.find(&format!("; {name}=\""))? + name.len() + 4;
    let rest = line.get(begin..)?;
    Some(rest.get(..rest.find('"')?)?.to_owned())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_tells_its_acl_and_its_files_name() {
        let form = "--b\r\nContent-Disposition: form-data; name=\"acl\"\r\n\r\npublic-read\r\n\
                    --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f.txt\"\r\n\r\nx\r\n--b--\r\n";
        let expected = FormFields { acl: Some("public-read".into()), file_name: Some("f.txt".into()) };
        assert_eq!(fields(form.as_bytes(), "b"), expected);
        for cut in 0..form.len() {
            fields(&form.as_bytes()[..cut], "b");
        }
        assert_eq!(boundary("multipart/form-data; boundary=\"x y\""), Some("x y".into()));
    }
}
