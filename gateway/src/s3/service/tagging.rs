//! Tags of objects and buckets.

use super::Service;
use crate::s3::access::{Asked, query_pairs};
use crate::s3::acl::Permission;
use crate::s3::fault::{Fault, Result};
use crate::s3::limits;
use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Response};

type Tags = Vec<(String, String)>;
/// A bucket may have more than an object.
const BUCKET_TAGS_MAX: usize = 50;

/// As a header has them: `a=1&b=2`.
pub fn parse(text: &str) -> Result<Tags> {
    checked(query_pairs(text), limits::TAGS_MAX)
}

/// As a form has them: XML, or as a header.
pub fn of_form(text: &str) -> Result<Tags> {
    if !text.trim_start().starts_with('<') {
        return parse(text);
    }
    let mut reader = s3s::xml::Deserializer::new(text.as_bytes());
    let document = <Tagging as s3s::xml::Deserialize>::deserialize(&mut reader)
        .map_err(|error| Fault::refuse(S3ErrorCode::MalformedXML, format!("the field tagging: {error}")))?;
    of_document(document, limits::TAGS_MAX)
}

/// In the order of their keys.
fn checked(mut tags: Tags, max: usize) -> Result<Tags> {
    if tags.len() > max {
        return Err(Fault::refuse(
            S3ErrorCode::InvalidTag,
            format!("there are {} tags, and at most {max} are possible", tags.len()),
        ));
    }
    for (index, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || key.chars().count() > limits::TAG_KEY_CHARS_MAX {
            let message = format!("a tag's key has 1 to {} characters", limits::TAG_KEY_CHARS_MAX);
            return Err(Fault::refuse(S3ErrorCode::InvalidTag, message));
        }
        if value.chars().count() > limits::TAG_VALUE_CHARS_MAX {
            let message = format!("a tag's value has at most {} characters", limits::TAG_VALUE_CHARS_MAX);
            return Err(Fault::refuse(S3ErrorCode::InvalidTag, message));
        }
        if tags.iter().take(index).any(|(other, _)| other == key) {
            return Err(Fault::refuse(S3ErrorCode::InvalidTag, format!("there are two tags {key}")));
        }
    }
    tags.sort();
    Ok(tags)
}

fn of_document(document: Tagging, max: usize) -> Result<Tags> {
    let pairs = document.tag_set.into_iter().map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    checked(pairs.collect(), max)
}

fn shown(tags: Tags) -> TagSet {
    tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect()
}

impl Service {
    pub(super) async fn get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> Result<S3Response<GetObjectTaggingOutput>> {
        let asked = Asked::of(&request);
        let GetObjectTaggingInput { bucket: name, key, version_id, .. } = request.input;
        let entry = self
            .for_requester(asked, move |store, requester| async move {
                let bucket = store.bucket(&name).await?;
                let entry = store.find_entry(&bucket, &key, version_id.as_deref()).await?;
                let action = if version_id.is_some() { "s3:GetObjectVersionTagging" } else { "s3:GetObjectTagging" };
                requester.check_object(&bucket, &key, entry.as_ref(), action, Permission::Read)?;
                super::object::present(entry, version_id.as_deref())
            })
            .await?;
        let version_id = (!entry.has_null_version()).then(|| entry.version.clone());
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set: shown(entry.tags), version_id }))
    }

    async fn set_object_tags(
        &self,
        asked: Asked,
        name: String,
        key: String,
        version: Option<String>,
        tags: Tags,
        actions: [&'static str; 2],
    ) -> Result<()> {
        self.for_requester(asked, move |store, requester| async move {
            let bucket = store.bucket(&name).await?;
            let entry = store.find_entry(&bucket, &key, version.as_deref()).await?;
            let [plain, versioned] = actions;
            let action = if version.is_some() { versioned } else { plain };
            requester.check_object(&bucket, &key, entry.as_ref(), action, Permission::Write)?;
            super::object::present(entry, version.as_deref())?;
            let change = |entry: &mut crate::s3::store::entry::Entry| {
                entry.tags.clone_from(&tags);
                Ok(())
            };
            store.change_entry(&bucket, &key, version.as_deref(), change).await
        })
        .await?;
        Ok(())
    }

    pub(super) async fn put_object_tagging(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> Result<S3Response<PutObjectTaggingOutput>> {
        let asked = Asked::of(&request);
        let PutObjectTaggingInput { bucket, key, version_id, tagging, .. } = request.input;
        let tags = of_document(tagging, limits::TAGS_MAX)?;
        let actions = ["s3:PutObjectTagging", "s3:PutObjectVersionTagging"];
        self.set_object_tags(asked, bucket, key, version_id, tags, actions).await?;
        Ok(S3Response::new(PutObjectTaggingOutput::default()))
    }

    pub(super) async fn delete_object_tagging(
        &self,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> Result<S3Response<DeleteObjectTaggingOutput>> {
        let asked = Asked::of(&request);
        let DeleteObjectTaggingInput { bucket, key, version_id, .. } = request.input;
        let actions = ["s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"];
        self.set_object_tags(asked, bucket, key, version_id, Vec::new(), actions).await?;
        Ok(S3Response::with_status(DeleteObjectTaggingOutput::default(), hyper::StatusCode::NO_CONTENT))
    }

    pub(super) async fn get_bucket_tagging(
        &self,
        request: S3Request<GetBucketTaggingInput>,
    ) -> Result<S3Response<GetBucketTaggingOutput>> {
        let asked = Asked::of(&request);
        let bucket = self.owned(asked, request.input.bucket, "s3:GetBucketTagging").await?;
        if bucket.tags.is_empty() {
            return Err(Fault::custom("NoSuchTagSet", "the bucket has no tags"));
        }
        Ok(S3Response::new(GetBucketTaggingOutput { tag_set: shown(bucket.tags) }))
    }

    pub(super) async fn put_bucket_tagging(
        &self,
        request: S3Request<PutBucketTaggingInput>,
    ) -> Result<S3Response<PutBucketTaggingOutput>> {
        let asked = Asked::of(&request);
        let tags = of_document(request.input.tagging, BUCKET_TAGS_MAX)?;
        self.change_owned(asked, request.input.bucket, "s3:PutBucketTagging", move |bucket| {
            bucket.tags.clone_from(&tags);
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketTaggingOutput::default()))
    }

    pub(super) async fn delete_bucket_tagging(
        &self,
        request: S3Request<DeleteBucketTaggingInput>,
    ) -> Result<S3Response<DeleteBucketTaggingOutput>> {
        let asked = Asked::of(&request);
        self.change_owned(asked, request.input.bucket, "s3:PutBucketTagging", |bucket| {
            bucket.tags.clear();
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(DeleteBucketTaggingOutput::default(), hyper::StatusCode::NO_CONTENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_few_short_and_different() {
        assert_eq!(parse("a=1&b=x%20y").unwrap(), [("a".into(), "1".into()), ("b".to_owned(), "x y".to_owned())]);
        for wrong in ["a=1&a=2", "=1", &format!("{}=1", "k".repeat(129)), &format!("k={}", "v".repeat(257))] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let eleven: Vec<String> = (0..11).map(|number| format!("k{number}=v")).collect();
        assert!(parse(&eleven.join("&")).is_err());
    }
}
