//! What is known of an object and its parts, as a document.

use super::Service;
use super::fields;
use super::object::{Looked, look, version_id};
use crate::fill_checksum;
use crate::s3::access::Asked;
use crate::s3::fault::Result;
use crate::s3::limits;
use crate::s3::store::entry::{Entry, StoredChecksum};
use s3s::dto::*;
use s3s::{S3Request, S3Response};

impl Service {
    pub(super) async fn get_object_attributes(
        &self,
        request: S3Request<GetObjectAttributesInput>,
    ) -> Result<S3Response<GetObjectAttributesOutput>> {
        let asked = Asked::of(&request);
        let input = request.input;
        let wanted = input.object_attributes;
        let bounded = |number: Option<i32>| number.map(|number| usize::try_from(number).unwrap_or(0));
        let max_parts = bounded(input.max_parts).unwrap_or(usize::MAX).min(limits::LIST_KEYS_MAX as usize);
        let part_marker = bounded(input.part_number_marker);
        let looked = self
            .for_requester(asked, move |store, requester| async move {
                look(&store, &requester, &input.bucket, &input.key, input.version_id.as_deref(), None).await
            })
            .await?;
        let Looked { bucket, entry, .. } = looked;
        let wants =
            |name: &str| wanted.iter().any(|list| list.as_str().split(',').any(|attribute| attribute.trim() == name));
        let mut output = GetObjectAttributesOutput {
            last_modified: Some(fields::timestamp(entry.modified_ns)),
            version_id: version_id(&bucket, &entry),
            ..Default::default()
        };
        if wants(ObjectAttributes::ETAG) {
            output.e_tag = Some(fields::etag(&entry));
        }
        if wants(ObjectAttributes::OBJECT_SIZE) {
            output.object_size = Some(entry.size as i64);
        }
        if wants(ObjectAttributes::STORAGE_CLASS) {
            output.storage_class = Some(StorageClass::from_static(StorageClass::STANDARD));
        }
        if wants(ObjectAttributes::CHECKSUM) {
            let mut checksum = Checksum::default();
            fill_checksum!(checksum, &entry.checksum);
            checksum.checksum_type =
                entry.checksum.as_ref().map(|checksum| fields::checksum_type(checksum.is_of_whole));
            output.checksum = entry.checksum.is_some().then_some(checksum);
        }
        if wants(ObjectAttributes::OBJECT_PARTS) && entry.parts > 0 {
            output.object_parts = Some(parts_page(&entry, max_parts, part_marker));
        }
        Ok(S3Response::new(output))
    }
}

/// The parts behind number `marker`.
fn parts_page(entry: &Entry, max: usize, marker: Option<usize>) -> GetObjectAttributesParts {
    let after = marker.unwrap_or(0);
    let all = entry.part_sizes().enumerate().skip(after).take(max);
    let parts: Vec<ObjectPart> = all
        .map(|(index, size)| {
            let mut part =
                ObjectPart { part_number: Some(index as i32 + 1), size: Some(size as i64), ..ObjectPart::default() };
            let checksum = entry.checksum.as_ref().zip(entry.part_checksums.get(index));
            let checksum = checksum.map(|(whole, value)| StoredChecksum { value: value.clone(), ..whole.clone() });
            fill_checksum!(part, &checksum);
            part
        })
        .collect();
    let last = after + parts.len();
    let is_truncated = last < entry.parts as usize;
    GetObjectAttributesParts {
        is_truncated: Some(is_truncated),
        max_parts: Some(max as i32),
        next_part_number_marker: is_truncated.then_some(last as i32),
        part_number_marker: Some(after as i32),
        parts: Some(parts),
        total_parts_count: Some(entry.parts as i32),
    }
}
