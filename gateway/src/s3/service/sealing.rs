//! The keys that a request's object is sealed or opened with, and what its answer says of them.

use crate::s3::access::Requester;
use crate::s3::encryption::{CustomerKey, DataKey, Encryption, Place, Wish, not_with_clients_key};
use crate::s3::fault::Result;
use crate::s3::store::Store;
use crate::s3::store::bucket::Bucket;
use crate::s3::store::entry::Entry;
use crate::s3::store::multipart::Upload;
use hyper::HeaderMap;

/// How an object is sealed, if it is; then with the key to it.
#[derive(Clone, Debug, Default)]
pub struct Sealing {
    pub encryption: Option<Encryption>,
    pub key: Option<DataKey>,
    /// The client's, if the request brought one.
    given: Option<CustomerKey>,
}

impl Sealing {
    /// Of an object that the request makes, or whose upload it begins.
    pub fn of_new(store: &Store, requester: &Requester, bucket: &Bucket, key: &str) -> Result<Sealing> {
        let is_safe = may_bring_key(store, requester);
        let Some(wish) = Wish::of(requester.headers(), is_safe, bucket.encryption.as_ref())? else {
            return Ok(Sealing::default());
        };
        let place = Place { bucket_id: &bucket.id, key };
        let (encryption, data_key) = Encryption::new(&wish, &store.keyring.keys(), place, &store.ring)?;
        let given = match wish {
            Wish::Customer(key) => Some(key),
            Wish::Master | Wish::Kms { .. } => None,
        };
        Ok(Sealing { encryption: Some(encryption), key: Some(data_key), given })
    }

    /// Of an upload that the request adds a part to. How the parts are sealed was said when it began; only a client's key comes with each.
    pub fn of_upload(
        store: &Store,
        requester: &Requester,
        bucket: &Bucket,
        key: &str,
        upload: &Upload,
    ) -> Result<Sealing> {
        Sealing::of_entry(store, requester, bucket, key, &upload.draft)
    }

    /// Of an object that the request reads.
    pub fn of_entry(
        store: &Store,
        requester: &Requester,
        bucket: &Bucket,
        key: &str,
        entry: &Entry,
    ) -> Result<Sealing> {
        let given = CustomerKey::of(requester.headers(), may_bring_key(store, requester))?;
        Sealing::open(store, bucket, key, entry, given)
    }

    /// Of an object that the request copies.
    pub fn of_source(
        store: &Store,
        requester: &Requester,
        bucket: &Bucket,
        key: &str,
        entry: &Entry,
    ) -> Result<Sealing> {
        let given = CustomerKey::of_source(requester.headers(), may_bring_key(store, requester))?;
        Sealing::open(store, bucket, key, entry, given)
    }

    fn open(store: &Store, bucket: &Bucket, key: &str, entry: &Entry, given: Option<CustomerKey>) -> Result<Sealing> {
        let place = Place { bucket_id: &bucket.id, key };
        let data_key = match (&entry.encryption, &given) {
            (Some(encryption), given) => Some(encryption.open(&store.keyring.keys(), given.as_ref(), place)?),
            (None, Some(_)) => return Err(not_with_clients_key()),
            (None, None) => None,
        };
        Ok(Sealing { encryption: entry.encryption.clone(), key: data_key, given })
    }

    /// Adds what an answer says of it.
    pub fn write(&self, headers: &mut HeaderMap) {
        if let Some(encryption) = &self.encryption {
            encryption.write(self.given.as_ref(), headers);
        }
    }
}

/// Whether nobody can have listened when a key came in, or that was made the network's care.
fn may_bring_key(store: &Store, requester: &Requester) -> bool {
    requester.is_secure() || !store.settings.customer_keys_need_tls
}
