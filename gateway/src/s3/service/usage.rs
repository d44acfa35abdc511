//! What a user holds and may hold: `GET /?usage`, which Ceph's gateway has and Amazon has not.

use super::Service;
use crate::s3::access::Asked;
use crate::s3::fault::Result;
use crate::s3::store::quota::Usage;
use crate::s3::store::user::User;

/// A document that is answered in place of the one that the library makes.
#[derive(Clone, Debug)]
pub struct Document(pub String);

impl Service {
    /// Of who asks.
    pub(super) async fn usage(&self, asked: Asked) -> Result<Document> {
        self.for_requester(asked, move |store, requester| async move {
            let user = requester.user()?;
            let used = store.usage_of_user(&user.user_id).await?;
            Ok(document(user, used))
        })
        .await
    }
}

/// Bytes are rounded up to 4 KiB an object there, and to 4 KiB of all of them here: each object's size is not asked for.
fn document(user: &User, used: Usage) -> Document {
    let max = |is_set: bool, max: i64| if is_set { max } else { -1 };
    let (all, each) = (&user.user_quota, &user.bucket_quota);
    let fields = [
        ("QuotaMaxBytes", max(all.enabled, all.max_size)),
        ("QuotaMaxBuckets", user.max_buckets),
        ("QuotaMaxObjCount", max(all.enabled, all.max_objects)),
        ("QuotaMaxBytesPerBucket", max(each.enabled, each.max_size)),
        ("QuotaMaxObjCountPerBucket", max(each.enabled, each.max_objects)),
        ("TotalBytes", used.bytes as i64),
        ("TotalBytesRounded", used.bytes.next_multiple_of(4096) as i64),
        ("TotalEntries", used.objects as i64),
    ];
    let fields = fields.map(|(name, value)| format!("<{name}>{value}</{name}>")).concat();
    Document(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Usage><Entries></Entries><Summary>{fields}</Summary></Usage>"
    ))
}
