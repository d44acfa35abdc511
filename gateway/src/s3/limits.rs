//! Every bound of the S3 gateway.

use std::time::Duration;

/// Requests that the cluster's side works on at a time; more wait.
pub const JOBS_MAX: usize = 1024;
/// Pieces of a body between the two threads.
pub const BODY_PIECES_MAX: usize = 8;
/// How many bytes of an object's data one piece of a body has when it is read.
pub const READ_PIECE_BYTES: u64 = 1 << 20;
/// Pieces asked for ahead of the client.
pub const READ_AHEAD: usize = 4;

/// Data is cut into objects of this size.
pub const STRIPE_BYTES: u64 = 4 << 20;
/// Stripes of one upload that are being written.
pub const STRIPES_IN_FLIGHT: usize = 2;
/// One PUT or one part.
pub const UPLOAD_BYTES_MAX: u64 = 5 << 30;
/// All parts but the last have at least so many bytes.
pub const PART_BYTES_MIN: u64 = 5 << 20;
pub const PARTS_MAX: u32 = 10_000;
/// A multipart upload's parts in one index value.
pub const ENTRY_BYTES_MAX: usize = 60 << 10;

/// Checksums of an object's parts beyond this, as they are kept, are not kept; the object's own is. It is room for ten thousand of four bytes.
pub const PART_CHECKSUMS_BYTES_MAX: usize = 54 << 10;

pub const KEY_BYTES_MAX: usize = 1024;
pub const METADATA_BYTES_MAX: usize = 2048;
pub const LIST_KEYS_MAX: u32 = 1000;
pub const LIST_PAGE_MAX: u32 = 1000;
pub const DELETE_KEYS_MAX: usize = 1000;
pub const BUCKETS_PAGE_MAX: u32 = 1000;
pub const POLICY_BYTES_MAX: usize = 20 << 10;
/// The context of SSE-KMS, in base64.
pub const ENCRYPTION_CONTEXT_BYTES_MAX: usize = 2048;
/// A file of some hundred keys is large.
pub const KEY_FILE_BYTES_MAX: u64 = 1 << 20;
/// The file of keys is looked at again after this.
pub const KEY_FILE_KNOWN_FOR: Duration = Duration::from_secs(2);
/// Buckets whose requests are logged, that a gateway keeps in mind.
pub const LOGGED_BUCKETS_MAX: usize = 100_000;
/// One object of a log of requests has a little more than this at most.
pub const LOG_BYTES_MAX: usize = 1 << 20;
/// All lines that are not stored yet.
pub const LOGS_BYTES_MAX: usize = 64 << 20;
/// Lines wait so long to be stored.
pub const LOG_ROLL: Duration = Duration::from_secs(300);
/// A request whose line makes a log due is answered after this, even if the log is not stored by then.
pub const LOG_WAIT: Duration = Duration::from_secs(5);
pub const LOG_PREFIX_BYTES_MAX: usize = 512;
/// Where a website sends who asks for an object.
pub const REDIRECT_BYTES_MAX: usize = 2048;
/// Of a website.
pub const ROUTING_RULES_MAX: usize = 50;
pub const TAGS_MAX: usize = 10;
pub const TAG_KEY_CHARS_MAX: usize = 128;
pub const TAG_VALUE_CHARS_MAX: usize = 256;
pub const GRANTS_MAX: usize = 100;
pub const CORS_RULES_MAX: usize = 100;
pub const LIFECYCLE_RULES_MAX: usize = 1000;

/// A new bucket's index is cut into so many objects.
pub const INDEX_SHARDS: u32 = 16;
/// Of a bucket; each page of a listing asks all of them.
pub const INDEX_SHARDS_MAX: u32 = 1024;
/// A bucket whose shards have more than this on the average gets more of them.
pub const OBJECTS_PER_SHARD: u64 = 100_000;
/// Each shard counts what it has in so many places.
pub const COUNTS_OF_A_SHARD: u64 = 64;
pub const SHARDS_COUNTED_AT_ONCE: usize = 64;
/// Shards that are copied at a time when an index is cut anew.
pub const SHARDS_MOVED_AT_ONCE: usize = 4;
/// What of a shard's log is carried over at a time.
pub const LOG_PAGE: u32 = 256;
/// Values that may have any size are asked for so many at a time.
pub const VALUES_ASKED_AT_ONCE: usize = 32;
/// One change that copies has a little more than this at most, and so many pairs.
pub const COPY_BYTES_MAX: usize = 1 << 20;
pub const COPY_PAIRS_MAX: usize = 500;
/// How long what cuts an index anew may keep changes waiting; one that takes longer is given up.
pub const SWITCH_WAIT: Duration = Duration::from_secs(5);
/// Who waits for that looks this often.
pub const SWITCH_POLL: Duration = Duration::from_millis(10);
/// Who cuts an index anew says this often that he is alive.
pub const RESHARD_BEAT: Duration = Duration::from_secs(10);
/// One that has said nothing for so long is taken for dead.
pub const RESHARD_DEAD: Duration = Duration::from_secs(120);
/// From the end of one look at all buckets' counts to the next.
pub const RESHARD_INTERVAL: Duration = Duration::from_secs(10);
/// What an index was before stays for requests that began then: longer than any takes without looking again.
pub const FORMER_INDEX_WAIT: Duration = Duration::from_secs(3600);
/// An upload that took longer looks again where its key is.
pub const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);
pub const LAYOUTS_KNOWN_MAX: usize = 4096;
/// How often a change of the index that somebody else overtook is tried again.
pub const OVERTAKEN_MAX: u32 = 64;

/// What is known of a user is asked for again after this.
pub const USER_KNOWN_FOR: Duration = Duration::from_secs(2);
pub const USERS_KNOWN_MAX: usize = 4096;

/// What a bucket holds is counted again after this, where a quota wants to know.
pub const USAGE_KNOWN_FOR: Duration = Duration::from_secs(60);
pub const DAY: Duration = Duration::from_secs(24 * 3600);
/// From the end of one pass over buckets' rules of expiration to the next.
pub const LIFECYCLE_INTERVAL: Duration = Duration::from_secs(3600);

/// The data of what was replaced or deleted stays for those who read it.
pub const GARBAGE_WAIT: Duration = Duration::from_secs(60);
/// An upload that says nothing for so long is given up.
pub const INTENT_WAIT: Duration = Duration::from_secs(2 * 3600);
/// A running upload says so this often.
pub const INTENT_RENEWAL: Duration = Duration::from_secs(600);
/// The longest that a request may take between reading a bucket's record and changing its index.
pub const DEAD_BUCKET_WAIT: Duration = Duration::from_secs(600);
/// From the end of one pass over all buckets' garbage to the next.
pub const GARBAGE_INTERVAL: Duration = Duration::from_secs(30);
/// Objects that one pass removes at a time.
pub const GARBAGE_JOBS: usize = 8;

/// Users whose requests are counted one by one.
pub const USERS_COUNTED_MAX: usize = 1000;
pub const CONNECTIONS_MAX: usize = 4096;
pub const HEADER_BYTES_MAX: usize = 64 << 10;
pub const HEADERS_MAX: usize = 128;
pub const HEADER_WAIT: Duration = Duration::from_secs(10);
/// A body of which nothing comes for so long is cut off.
pub const BODY_WAIT: Duration = Duration::from_secs(60);
/// What is still taken in of a body that nobody wants: so much at most, and for so long.
pub const LINGER_BYTES_MAX: usize = 64 << 20;
pub const LINGER_WAIT: Duration = Duration::from_secs(10);
/// A document in a request's body: a policy, a list of keys.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// What is before the file in a form.
pub const FORM_FIELDS_BYTES_MAX: usize = 64 << 10;
/// What the library is shown in a file's place.
pub const FORM_STAND_IN_BYTES_MAX: usize = 16 << 20;
/// How long what is before a form's file, or a document whose length was not announced, may take to come in.
pub const FORM_WAIT: Duration = Duration::from_secs(60);
/// Large stand-ins, and documents of no announced length, are in memory: so many at a time.
pub const FORMS_MAX: usize = 16;
pub const STOP_WAIT: Duration = Duration::from_secs(10);

const _: () = {
    assert!(STRIPE_BYTES <= basalt_client::limits::TRANSFER_BYTES_MAX);
    assert!(READ_PIECE_BYTES <= STRIPE_BYTES);
    assert!(PART_CHECKSUMS_BYTES_MAX >= (PARTS_MAX as usize * 4).div_ceil(3) * 4 + 16);
    assert!(PART_CHECKSUMS_BYTES_MAX < ENTRY_BYTES_MAX);
    assert!(COUNTS_OF_A_SHARD < LIST_PAGE_MAX as u64);
    assert!(VALUES_ASKED_AT_ONCE * (ENTRY_BYTES_MAX + 4096) < (4 << 20));
    assert!(FORMER_INDEX_WAIT.as_secs() > DEAD_BUCKET_WAIT.as_secs());
    assert!(INTENT_RENEWAL.as_secs() * 4 <= INTENT_WAIT.as_secs());
};
