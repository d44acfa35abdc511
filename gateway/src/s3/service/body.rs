//! Bodies: checked while they come in, streamed while they go out.

use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use crate::s3::server::Taken;
use crate::s3::store::data::Piece;
use crate::s3::store::entry::StoredChecksum;
use crate::s3::store::object::BodyFacts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use hyper::HeaderMap;
use md5::{Digest, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::Checksum as _;
use s3s::crypto::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3ErrorCode, S3Request, TrailingHeaders};
use std::ops::RangeInclusive;
use tokio::sync::{mpsc, oneshot};

/// As headers and answers name them: algorithm, header.
pub const ALGORITHMS: [(&str, &str); 5] = [
    ("CRC32", "x-amz-checksum-crc32"),
    ("CRC32C", "x-amz-checksum-crc32c"),
    ("CRC64NVME", "x-amz-checksum-crc64nvme"),
    ("SHA1", "x-amz-checksum-sha1"),
    ("SHA256", "x-amz-checksum-sha256"),
];

/// What a body was announced to be.
pub struct Announced {
    length: Option<u64>,
    /// How many bytes it may have.
    bounds: RangeInclusive<u64>,
    /// As it was signed, if nobody else looks.
    sha256: Option<String>,
    /// As the client computed it.
    md5: Option<Vec<u8>>,
    /// With the value, if it does not come behind the body.
    checksum: Option<(&'static str, Option<String>)>,
    trailers: Option<TrailingHeaders>,
}

impl Announced {
    /// `default`: the algorithm to use where none is announced.
    pub fn of<T>(request: &S3Request<T>, length: Option<i64>, default: Option<&str>) -> Result<Announced> {
        let headers = &request.headers;
        let length = length.map(|length| u64::try_from(length).unwrap_or(0));
        if length.is_some_and(|length| length > limits::UPLOAD_BYTES_MAX) {
            let message =
                format!("one upload has at most {} bytes; larger ones come in parts", limits::UPLOAD_BYTES_MAX);
            return Err(Fault::refuse(S3ErrorCode::EntityTooLarge, message));
        }
        let md5 = match text(headers, "content-md5") {
            None => None,
            Some(given) => {
                let decoded = STANDARD.decode(given.trim()).ok().filter(|bytes| bytes.len() == 16);
                let invalid = || Fault::refuse(S3ErrorCode::InvalidDigest, "Content-MD5 is no MD5 in base64");
                Some(decoded.ok_or_else(invalid)?)
            }
        };
        let mut checksum = None;
        for (algorithm, header) in ALGORITHMS {
            if let Some(value) = text(headers, header) {
                if checksum.is_some() {
                    let message = "more than one checksum was given";
                    return Err(Fault::refuse(S3ErrorCode::InvalidRequest, message));
                }
                checksum = Some((algorithm, Some(value.to_owned())));
            }
        }
        if checksum.is_none() {
            let trailer = text(headers, "x-amz-trailer").map(str::to_ascii_lowercase);
            let named = text(headers, "x-amz-sdk-checksum-algorithm").or(default).map(str::to_ascii_uppercase);
            let found = ALGORITHMS.iter().find(|(algorithm, header)| match &trailer {
                Some(trailer) => trailer.split(',').any(|name| name.trim() == *header),
                None => named.as_deref() == Some(algorithm),
            });
            checksum = found.map(|(algorithm, _)| (*algorithm, None));
        }
        let trailers = request.trailing_headers.clone();
        Ok(Announced { length, bounds: 0..=limits::UPLOAD_BYTES_MAX, sha256: None, md5, checksum, trailers })
    }

    /// Of a body that went past the library: it has not been compared with what was signed, nor with what its form's policy allows.
    pub fn unseen(mut self, headers: &HeaderMap, taken: &Taken) -> Announced {
        if taken.is_unseen {
            let signed = text(headers, "x-amz-content-sha256");
            let is_digest = |value: &&str| value.len() == 64 && value.bytes().all(|digit| digit.is_ascii_hexdigit());
            self.sha256 = signed.filter(is_digest).map(str::to_ascii_lowercase);
        }
        if let Some(bounds) = &taken.bounds {
            self.bounds = *bounds.start()..=*bounds.end().min(self.bounds.end());
        }
        self
    }

    /// `given`: a header's name and value, from elsewhere than the headers.
    pub fn with_checksum(mut self, given: Option<&(String, String)>) -> Announced {
        let found = given.and_then(|(name, value)| {
            let (algorithm, _) = ALGORITHMS.iter().find(|(_, header)| header == name)?;
            Some((*algorithm, Some(value.clone())))
        });
        self.checksum = found.or(self.checksum);
        self
    }

    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Passes the body on and ends it with what is known of it, or with what is wrong with it. Nothing of it is asked for before `begun`:
    /// who may not send it is told so first.
    pub async fn feed(self, body: Option<StreamingBlob>, pieces: mpsc::Sender<Piece>, begun: oneshot::Receiver<()>) {
        if begun.await.is_err() {
            return;
        }
        let last = match self.pass_on(body, &pieces).await {
            Ok(Some(facts)) => Piece::End(facts),
            Ok(None) => return,
            Err(fault) => Piece::Wrong(fault),
        };
        // Whoever does not listen any more has failed for another reason, and says so.
        let _ = pieces.send(last).await;
    }

    /// `None`: nobody listens any more.
    async fn pass_on(self, body: Option<StreamingBlob>, pieces: &mpsc::Sender<Piece>) -> Result<Option<BodyFacts>> {
        let mut md5 = Md5::new();
        let mut hasher = hasher(self.checksum.as_ref().map(|(algorithm, _)| *algorithm));
        let mut sha256 = self.sha256.as_ref().map(|_| sha2::Sha256::new());
        let mut size = 0_u64;
        if let Some(mut body) = body {
            while let Some(piece) = next(&mut body).await? {
                size += piece.len() as u64;
                if size > *self.bounds.end() {
                    return Err(Fault::refuse(S3ErrorCode::EntityTooLarge, "the upload is too large"));
                }
                if let Some(sha256) = &mut sha256 {
                    sha256.update(&piece);
                }
                md5.update(&piece);
                hasher.update(&piece);
                if pieces.send(Piece::Data(piece)).await.is_err() {
                    return Ok(None);
                }
            }
        }
        if self.length.is_some_and(|length| length != size) {
            return Err(Fault::refuse(S3ErrorCode::IncompleteBody, "the body has another length than was announced"));
        }
        if size < *self.bounds.start() {
            return Err(Fault::refuse(S3ErrorCode::EntityTooSmall, "the upload is smaller than its policy wants it"));
        }
        if sha256.map(|sha256| hex(&sha256.finalize())) != self.sha256 {
            return Err(Fault::custom("XAmzContentSHA256Mismatch", "the body has another SHA-256 than was signed"));
        }
        let digest = md5.finalize();
        if self.md5.is_some_and(|wanted| wanted.as_slice() != digest.as_slice()) {
            return Err(Fault::refuse(S3ErrorCode::BadDigest, "the body has another MD5 than was announced"));
        }
        let checksum = match self.checksum {
            None => None,
            Some((algorithm, given)) => {
                let value = checksum_value(&hasher.finalize()).unwrap_or_default();
                let header = ALGORITHMS.iter().find(|(name, _)| *name == algorithm).map_or("", |(_, header)| header);
                let behind = self.trailers.as_ref().and_then(|trailers| {
                    trailers.read(|trailers| text(trailers, header).map(|value| value.trim().to_owned())).flatten()
                });
                if given.or(behind).is_some_and(|given| given != value) {
                    return Err(Fault::refuse(
                        S3ErrorCode::BadDigest,
                        format!("the body has another {algorithm} than was announced"),
                    ));
                }
                Some(StoredChecksum { algorithm: algorithm.into(), value, is_of_whole: true })
            }
        };
        Ok(Some(BodyFacts { etag: hex(&digest), checksum }))
    }
}

async fn next(body: &mut StreamingBlob) -> Result<Option<Bytes>> {
    match tokio::time::timeout(limits::BODY_WAIT, body.next()).await {
        Err(_) => Err(Fault::refuse(S3ErrorCode::RequestTimeout, "nothing came of the body for too long")),
        Ok(None) => Ok(None),
        Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
        Ok(Some(Err(error))) => {
            // The library's errors have no types that can be named.
            let told = error.to_string();
            Err(if told.contains("Sha256Mismatch") {
                Fault::custom("XAmzContentSHA256Mismatch", "the body has another SHA-256 than was signed")
            } else if told.contains("SignatureMismatch") {
                Fault::refuse(S3ErrorCode::SignatureDoesNotMatch, "a piece of the body was not signed like this")
            } else {
                Fault::refuse(S3ErrorCode::IncompleteBody, "the body did not come in whole")
            })
        }
    }
}

/// Passes on what is copied inside the cluster.
pub async fn relay(mut from: mpsc::Receiver<Result<Bytes>>, to: mpsc::Sender<Piece>, algorithm: Option<&'static str>) {
    let mut md5 = Md5::new();
    let mut hasher = hasher(algorithm);
    while let Some(piece) = from.recv().await {
        let piece = match piece {
            Ok(bytes) => {
                md5.update(&bytes);
                hasher.update(&bytes);
                Piece::Data(bytes)
            }
            Err(fault) => Piece::Wrong(fault),
        };
        if to.send(piece).await.is_err() {
            return;
        }
    }
    let checksum = algorithm.and_then(|algorithm| {
        let value = checksum_value(&hasher.finalize())?;
        Some(StoredChecksum { algorithm: algorithm.into(), value, is_of_whole: true })
    });
    let _ = to.send(Piece::End(BodyFacts { etag: hex(&md5.finalize()), checksum })).await;
}

pub fn hasher(algorithm: Option<&str>) -> ChecksumHasher {
    let mut hasher = ChecksumHasher::default();
    match algorithm {
        Some("CRC32") => hasher.crc32 = Some(Crc32::new()),
        Some("CRC32C") => hasher.crc32c = Some(Crc32c::new()),
        Some("CRC64NVME") => hasher.crc64nvme = Some(Crc64Nvme::new()),
        Some("SHA1") => hasher.sha1 = Some(Sha1::new()),
        Some("SHA256") => hasher.sha256 = Some(Sha256::new()),
        _ => {}
    }
    hasher
}

/// The one value there is.
pub fn checksum_value(checksum: &Checksum) -> Option<String> {
    let Checksum { checksum_crc32, checksum_crc32c, checksum_crc64nvme, checksum_sha1, checksum_sha256, .. } = checksum;
    let values = [checksum_crc32, checksum_crc32c, checksum_crc64nvme, checksum_sha1, checksum_sha256];
    values.into_iter().flatten().next().cloned()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What the store sends, as a body.
pub fn outgoing(pieces: mpsc::Receiver<Result<Bytes>>) -> StreamingBlob {
    StreamingBlob::wrap(futures::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    }))
}
