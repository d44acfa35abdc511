//! Uploads in parts.

use super::Service;
use super::acl::of_new_object;
use super::body::{Announced, hasher, hex, text};
use super::fields;
use super::lock;
use super::object::{check_key, new_version_id};
use super::sealing::Sealing;
use crate::fill_checksum;
use crate::s3::access::{Asked, denied};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use crate::s3::server::SideBody;
use crate::s3::store::data::Incoming;
use crate::s3::store::entry::StoredChecksum;
use crate::s3::store::multipart::{self as store_multipart, ChecksumPlan, NamedPart, Upload};
use crate::s3::store::object::Condition;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response};
use tokio::sync::{mpsc, oneshot};

pub fn part_number(number: i32) -> Result<u32> {
    match u32::try_from(number) {
        Ok(number) if (1..=limits::PARTS_MAX).contains(&number) => Ok(number),
        _ => Err(Fault::refuse(
            S3ErrorCode::InvalidArgument,
            format!("parts have numbers from 1 to {}", limits::PARTS_MAX),
        )),
    }
}

fn algorithm_of_plan(upload: &Upload) -> Option<&str> {
    upload.checksum.as_ref().map(|plan| plan.algorithm.as_str())
}

impl Service {
    pub(super) async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Result<S3Response<CreateMultipartUploadOutput>> {
        let asked = Asked::of(&request);
        let headers = request.headers;
        let CreateMultipartUploadInput { bucket: name, key, checksum_algorithm, checksum_type, .. } = request.input;
        check_key(&key)?;
        let plan = plan(checksum_algorithm.as_ref(), checksum_type.as_ref())?;
        let output = CreateMultipartUploadOutput {
            bucket: Some(name.clone()),
            key: Some(key.clone()),
            checksum_algorithm: plan.as_ref().map(|plan| ChecksumAlgorithm::from(plan.algorithm.clone())),
            checksum_type: plan.as_ref().map(|plan| fields::checksum_type(plan.is_of_whole)),
            ..Default::default()
        };
        let (upload, sealing) = self
            .for_requester(asked, move |store, requester| async move {
                let bucket = store.bucket(&name).await?;
                requester.check_key(&bucket, &key, "s3:PutObject")?;
                let sealing = Sealing::of_new(&store, &requester, &bucket, &key)?;
                let (owner, acl) = of_new_object(&store, &headers, requester.owner(), &bucket).await?;
                let mut draft = fields::draft(&headers, &owner)?;
                draft.acl = acl;
                draft.lock = lock::requested(&headers, &requester, &bucket, &key, store.now_ns())?;
                draft.encryption.clone_from(&sealing.encryption);
                let initiator = requester.owner();
                let upload = Upload {
                    initiator: initiator.id,
                    initiator_name: initiator.name,
                    draft,
                    checksum: plan,
                    ..Upload::default()
                };
                Ok((store.begin_upload(&bucket, &key, upload).await?, sealing))
            })
            .await?;
        let mut response = S3Response::new(CreateMultipartUploadOutput { upload_id: Some(upload.id), ..output });
        sealing.write(&mut response.headers);
        Ok(response)
    }

    pub(super) async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> Result<S3Response<UploadPartOutput>> {
        let asked = Asked::of(&request);
        let body = request.input.body.take();
        let taken = SideBody::take(&request, body, request.input.content_length);
        let announced = Announced::of(&request, taken.length, None)?.unseen(&request.headers, &taken);
        let UploadPartInput { bucket: name, key, part_number: number, upload_id: id, .. } = request.input;
        check_key(&key)?;
        let number = part_number(number)?;
        let expected = announced.length();
        let (pieces, incoming) = mpsc::channel(limits::BODY_PIECES_MAX);
        let (begin, begun) = oneshot::channel();
        let storing = self.for_requester(asked, move |store, requester| async move {
            let bucket = store.bucket(&name).await?;
            requester.check_key(&bucket, &key, "s3:PutObject")?;
            let upload = store.upload(&bucket, &key, &id).await?;
            let sealing = Sealing::of_upload(&store, &requester, &bucket, &key, &upload)?;
            let _ = begin.send(());
            let incoming = Incoming { pieces: incoming, expected, key: sealing.key.clone() };
            Ok((store.put_part(&bucket, &key, &id, number, incoming).await?, sealing))
        });
        let (stored, ()) = tokio::join!(storing, announced.feed(taken.body, pieces, begun));
        let (part, sealing) = stored?;
        let mut output = UploadPartOutput { e_tag: Some(ETag::Strong(part.etag)), ..Default::default() };
        fill_checksum!(output, &part.checksum);
        let mut response = S3Response::new(output);
        sealing.write(&mut response.headers);
        Ok(response)
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Result<S3Response<CompleteMultipartUploadOutput>> {
        let asked = Asked::of(&request);
        let given =
            super::body::ALGORITHMS.iter().find_map(|(_, header)| text(&request.headers, header).map(str::to_owned));
        let CompleteMultipartUploadInput {
            bucket: name,
            key,
            upload_id: id,
            multipart_upload,
            if_match,
            if_none_match,
            ..
        } = request.input;
        let parts = multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let mut named = Vec::new();
        for part in parts {
            let missing = || Fault::refuse(S3ErrorCode::MalformedXML, "each part is named by number and ETag");
            let number = part_number(part.part_number.ok_or_else(missing)?)?;
            let etag = part.e_tag.map(ETag::into_value).ok_or_else(missing)?;
            let checksums = [
                part.checksum_crc32,
                part.checksum_crc32c,
                part.checksum_crc64nvme,
                part.checksum_sha1,
                part.checksum_sha256,
            ];
            named.push(NamedPart { number, etag, checksum: checksums.into_iter().flatten().next() });
        }
        let condition = Condition { if_match, if_none_match };
        let (bucket_name, key_name) = (name.clone(), key.clone());
        let (entry, version, sealing) = self
            .for_requester(asked, move |store, requester| async move {
                let bucket = store.bucket(&name).await?;
                requester.check_key(&bucket, &key, "s3:PutObject")?;
                let finish = |upload: &Upload, parts: &[store_multipart::Part]| {
                    // Who completes an upload with a client's key shows that he has it.
                    Sealing::of_upload(&store, &requester, &bucket, &key, upload)?;
                    let checksum = checksum_of_parts(upload, parts, given.as_deref())?;
                    Ok((etag_of_parts(parts), checksum))
                };
                let completed = store.complete_upload(&bucket, &key, &id, &named, &condition, finish).await;
                let entry = match completed {
                    // Its answer may have been lost, and it is asked for again.
                    Err(fault @ Fault::Refused { code: S3ErrorCode::NoSuchUpload, .. }) => {
                        let found = store.find_entry(&bucket, &key, None).await?;
                        found.filter(|entry| entry.runs.iter().any(|run| run.tag == id)).ok_or(fault)?
                    }
                    completed => completed?,
                };
                let version = new_version_id(&bucket, &entry);
                let sealing = Sealing::of_entry(&store, &requester, &bucket, &key, &entry)?;
                Ok((entry, version, sealing))
            })
            .await?;
        let mut output = CompleteMultipartUploadOutput {
            location: Some(format!("/{bucket_name}/{key_name}")),
            bucket: Some(bucket_name),
            key: Some(key_name),
            e_tag: Some(fields::etag(&entry)),
            version_id: version,
            ..Default::default()
        };
        fill_checksum!(output, &entry.checksum);
        output.checksum_type = entry.checksum.as_ref().map(|checksum| fields::checksum_type(checksum.is_of_whole));
        let mut response = S3Response::new(output);
        sealing.write(&mut response.headers);
        Ok(response)
    }

    pub(super) async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Result<S3Response<AbortMultipartUploadOutput>> {
        let asked = Asked::of(&request);
        let AbortMultipartUploadInput { bucket: name, key, upload_id: id, .. } = request.input;
        self.for_requester(asked, move |store, requester| async move {
            let bucket = store.bucket(&name).await?;
            requester.check_key(&bucket, &key, "s3:AbortMultipartUpload")?;
            store.abort_upload(&bucket, &key, &id).await
        })
        .await?;
        Ok(S3Response::with_status(AbortMultipartUploadOutput::default(), hyper::StatusCode::NO_CONTENT))
    }

    pub(super) async fn list_parts(&self, request: S3Request<ListPartsInput>) -> Result<S3Response<ListPartsOutput>> {
        let asked = Asked::of(&request);
        let ListPartsInput { bucket: name, key, upload_id: id, max_parts, part_number_marker, .. } = request.input;
        let max =
            max_parts.map_or(limits::LIST_KEYS_MAX, |max| u32::try_from(max).unwrap_or(0).min(limits::LIST_KEYS_MAX));
        let after = u32::try_from(part_number_marker.unwrap_or(0)).unwrap_or(0);
        let mut output = ListPartsOutput {
            bucket: Some(name.clone()),
            key: Some(key.clone()),
            upload_id: Some(id.clone()),
            max_parts: Some(max as i32),
            part_number_marker: Some(after as i32),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..Default::default()
        };
        let (upload, parts, more) = self
            .for_requester(asked, move |store, requester| async move {
                let bucket = store.bucket(&name).await?;
                let may = requester.check_key(&bucket, &key, "s3:ListMultipartUploadParts");
                let upload = store.upload(&bucket, &key, &id).await?;
                if may.is_err() && requester.id() != Some(upload.initiator.as_str()) {
                    return Err(denied());
                }
                let (parts, more) = store.parts(&bucket, &key, &id, after, max).await?;
                Ok((upload, parts, more))
            })
            .await?;
        output.is_truncated = Some(more);
        output.next_part_number_marker = parts.last().map(|part| part.number as i32);
        output.initiator = Some(Initiator {
            id: Some(upload.initiator.clone()),
            display_name: Some(upload.initiator_name().to_owned()),
        });
        output.owner = Some(fields::owner_of(&upload.draft));
        output.checksum_algorithm = algorithm_of_plan(&upload).map(|name| ChecksumAlgorithm::from(name.to_owned()));
        output.checksum_type = upload.checksum.as_ref().map(|plan| fields::checksum_type(plan.is_of_whole));
        let shown = parts.into_iter().map(|part| {
            let mut shown = Part {
                part_number: Some(part.number as i32),
                size: Some(part.size as i64),
                e_tag: Some(ETag::Strong(part.etag)),
                last_modified: Some(fields::timestamp(part.modified_ns)),
                ..Default::default()
            };
            fill_checksum!(shown, &part.checksum);
            shown
        });
        output.parts = Some(shown.collect());
        Ok(S3Response::new(output))
    }
}

fn plan(algorithm: Option<&ChecksumAlgorithm>, kind: Option<&ChecksumType>) -> Result<Option<ChecksumPlan>> {
    let Some(algorithm) = algorithm else { return Ok(None) };
    let algorithm = algorithm.as_str().to_ascii_uppercase();
    if !super::body::ALGORITHMS.iter().any(|(name, _)| *name == algorithm) {
        return Err(Fault::refuse(S3ErrorCode::InvalidRequest, format!("there is no checksum {algorithm}")));
    }
    let is_of_whole = match kind.map(ChecksumType::as_str) {
        None => algorithm == "CRC64NVME",
        Some(ChecksumType::FULL_OBJECT) => true,
        Some(_) => false,
    };
    if is_of_whole && algorithm.starts_with("SHA") {
        let message = format!("{algorithm} of a whole object can't be made of its parts'; COMPOSITE can");
        return Err(Fault::refuse(S3ErrorCode::InvalidRequest, message));
    }
    if !is_of_whole && algorithm == "CRC64NVME" {
        return Err(Fault::refuse(S3ErrorCode::InvalidRequest, "CRC64NVME is FULL_OBJECT always"));
    }
    Ok(Some(ChecksumPlan { algorithm, is_of_whole }))
}

/// As S3 makes it: the MD5 of the parts' MD5s, and how many they are.
fn etag_of_parts(parts: &[store_multipart::Part]) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        let digits = part.etag.as_bytes().chunks(2);
        let bytes: Vec<u8> =
            digits.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        md5.update(&bytes);
    }
    format!("{}-{}", hex(&md5.finalize()), parts.len())
}

fn checksum_of_parts(
    upload: &Upload,
    parts: &[store_multipart::Part],
    given: Option<&str>,
) -> Result<Option<StoredChecksum>> {
    let Some(plan) = &upload.checksum else { return Ok(None) };
    let mut values = Vec::new();
    for part in parts {
        let kept = part.checksum.as_ref().filter(|checksum| checksum.algorithm == plan.algorithm);
        let Some(bytes) = kept.and_then(|checksum| STANDARD.decode(&checksum.value).ok()) else {
            // A part came without: then the whole has none.
            return Ok(None);
        };
        values.push((bytes, part.size));
    }
    let value = if plan.is_of_whole {
        super::combine::crcs(&plan.algorithm, &values)
    } else {
        let mut hasher = hasher(Some(&plan.algorithm));
        values.iter().for_each(|(bytes, _)| hasher.update(bytes));
        super::body::checksum_value(&hasher.finalize()).map(|value| format!("{value}-{}", parts.len()))
    };
    let Some(value) = value else { return Ok(None) };
    if given.is_some_and(|given| given != value && given != value.split('-').next().unwrap_or_default()) {
        return Err(Fault::refuse(
            S3ErrorCode::BadDigest,
            format!("the object has another {} than was announced", plan.algorithm),
        ));
    }
    Ok(Some(StoredChecksum { algorithm: plan.algorithm.clone(), value, is_of_whole: plan.is_of_whole }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_etag_of_parts_is_as_s3_makes_it() {
        let part = |etag: &str| store_multipart::Part {
            number: 1,
            tag: String::new(),
            size: 1,
            etag: etag.into(),
            modified_ns: 0,
            checksum: None,
            is_sealed: false,
            is_pending: false,
        };
        // MD5 of the sixteen bytes that are the MD5 of nothing.
        let etag = etag_of_parts(&[part("d41d8cd98f00b204e9800998ecf8427e")]);
        assert_eq!(etag, "59adb24ef3cdbe0297f05b395827453f-1");
    }
}
