//! Regions that the library takes for none: there is one region here, and clients may call it what they like (`US`, by default, in s3cmd).
//! A request that is rightly signed for such a name is signed anew for one that the library knows.

use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{HeaderMap, Method, Request, Uri};
use s3s::auth::S3Auth;
use sha2::{Digest, Sha256};

const KNOWN_REGION: &str = "us-east-1";

/// A header of `Authorization`, taken apart.
struct Signed<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    headers: &'a str,
    signature: &'a str,
}

fn parse(header: &str) -> Option<Signed<'_>> {
    let (mut credential, mut headers, mut signature) = (None, None, None);
    for field in header.strip_prefix("AWS4-HMAC-SHA256")?.split(',') {
        match field.trim().split_once('=')? {
            ("Credential", value) => credential = Some(value),
            ("SignedHeaders", value) => headers = Some(value),
            ("Signature", value) => signature = Some(value),
            _ => return None,
        }
    }
    let mut scope = credential?.rsplitn(5, '/');
    let (end, service, region, date, access_key) =
        (scope.next()?, scope.next()?, scope.next()?, scope.next()?, scope.next()?);
    (end == "aws4_request" && service == "s3").then_some(())?;
    Some(Signed { access_key, date, region, headers: headers?, signature: signature? })
}

/// The request, signed for a region that the library knows.
pub async fn with_known_region<B>(mut request: Request<B>, keys: &impl S3Auth) -> Request<B> {
    if let Some(header) = signed_anew(request.method(), request.uri(), request.headers(), keys).await {
        request.headers_mut().insert(AUTHORIZATION, header);
    }
    request
}

async fn signed_anew(method: &Method, uri: &Uri, headers: &HeaderMap, keys: &impl S3Auth) -> Option<HeaderValue> {
    let signed = parse(headers.get(AUTHORIZATION)?.to_str().ok()?)?;
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if signed.region.bytes().all(is_known) {
        return None;
    }
    let time = headers.get("x-amz-date")?.to_str().ok()?;
    let payload = headers.get("x-amz-content-sha256")?.to_str().ok()?;
    // Each piece of such a body is signed for the region, too.
    if payload.starts_with("STREAMING-AWS4") {
        return None;
    }
    let secret = keys.get_secret_key(signed.access_key).await.ok()?;
    let sign = |region: &str, path: &str| {
        let canonical = canonical_request(method, path, uri.query(), headers, signed.headers, payload);
        let scope = format!("{}/{region}/s3/aws4_request", signed.date);
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
        let mut key = format!("AWS4{}", secret.expose()).into_bytes();
        for part in [signed.date, region, "s3", "aws4_request", &to_sign] {
            key = mac(&key, part)?;
        }
        Some((hex(&key), scope))
    };
    let decoded = crate::s3::access::percent_decoded(uri.path());
    let encoded = uri_encoded(&decoded, false);
    let is_right = [encoded.as_str(), uri.path()].iter().any(|path| {
        let computed = sign(signed.region, path).map(|(signature, _)| signature).unwrap_or_default();
        // Of what both know nothing of, a comparison in constant time.
        computed.len() == signed.signature.len()
            && computed.bytes().zip(signed.signature.bytes()).fold(0, |seen, (one, other)| seen | (one ^ other)) == 0
    });
    if !is_right {
        return None;
    }
    let (signature, scope) = sign(KNOWN_REGION, &encoded)?;
    let header = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
        signed.access_key, signed.headers
    );
    HeaderValue::from_str(&header).ok()
}

fn mac(key: &[u8], text: &str) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn canonical_request(
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    signed: &str,
    payload: &str,
) -> String {
    let pairs = crate::s3::access::query_pairs(query.unwrap_or_default());
    let encoded = pairs.iter().map(|(name, value)| (uri_encoded(name, true), uri_encoded(value, true)));
    let mut encoded: Vec<(String, String)> = encoded.collect();
    encoded.sort();
    let query: Vec<String> = encoded.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut names: Vec<&str> = signed.split(';').collect();
    names.sort_unstable();
    let mut lines = String::new();
    for name in names {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let values: Vec<String> = values.map(|value| value.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        lines.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    format!("{method}\n{path}\n{}\n{lines}\n{signed}\n{payload}", query.join("&"))
}

pub fn uri_encoded(text: &str, with_slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            b'/' if !with_slashes => encoded.push('/'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::auth::SimpleAuth;

    /// The example of Amazon's documentation: GET of a range, with its published signature.
    fn example(region: &str, signature: &str) -> Request<()> {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/{region}/s3/aws4_request,\
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature={signature}"
        );
        Request::get("/test.txt")
            .header("host", "examplebucket.s3.amazonaws.com")
            .header("range", "bytes=0-9")
            .header("x-amz-content-sha256", empty)
            .header("x-amz-date", "20130524T000000Z")
            .header("authorization", authorization)
            .body(())
            .unwrap()
    }

    #[test]
    fn only_a_right_signature_is_made_anew() {
        let keys = SimpleAuth::from_single("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let published = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        let signed = |region: &str, signature: &str| {
            let request = example(region, signature);
            let made =
                futures::executor::block_on(signed_anew(request.method(), request.uri(), request.headers(), &keys));
            made.map(|header| header.to_str().unwrap().to_owned())
        };
        assert_eq!(signed("us-east-1", published), None, "the library knows this region");
        assert_eq!(signed("US", published), None, "the signature is for another region");
        // Computed for the region US by the same rules.
        let request = example("US", published);
        let canonical = canonical_request(
            request.method(),
            "/test.txt",
            None,
            request.headers(),
            "host;range;x-amz-content-sha256;x-amz-date",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        );
        assert_eq!(
            hex(&Sha256::digest(canonical.as_bytes())),
            "7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972",
            "as Amazon documents it"
        );
        let to_sign = "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/US/s3/aws4_request\n7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972";
        let mut key = b"AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_vec();
        for part in ["20130524", "US", "s3", "aws4_request", to_sign] {
            key = mac(&key, part).unwrap();
        }
        let made = signed("US", &hex(&key)).unwrap();
        assert!(made.contains("/us-east-1/") && made.ends_with(published), "{made}");
    }
}
