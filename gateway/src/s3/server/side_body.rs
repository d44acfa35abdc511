//! Bodies that go past the library. It wants to know beforehand how long a body is, and takes a form's file into memory; so it is shown none,
//! or a short one in its place, and the operation takes the real one from beside the request.

use s3s::dto::StreamingBlob;
use s3s::{Body, S3Request};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

/// Put beside a request.
#[derive(Clone)]
pub struct SideBody {
    body: Arc<Mutex<Option<StreamingBlob>>>,
    bounds: RangeInclusive<u64>,
}

/// The body of a request, wherever it came from.
pub struct Taken {
    pub body: Option<StreamingBlob>,
    /// As it was announced.
    pub length: Option<i64>,
    /// How many bytes it may have, where its form's policy says so.
    pub bounds: Option<RangeInclusive<u64>>,
    /// The library has not looked at it, and so has not compared it with what was signed.
    pub is_unseen: bool,
}

impl SideBody {
    /// `bounds`: how many bytes it may have.
    pub fn new(body: StreamingBlob, bounds: RangeInclusive<u64>) -> SideBody {
        SideBody { body: Arc::new(Mutex::new(Some(body))), bounds }
    }

    pub fn of_any_length(body: Body) -> SideBody {
        SideBody::new(StreamingBlob::from(body), 0..=u64::MAX)
    }

    /// The body beside the request, or else the one that the library has handed on.
    pub fn take<T>(request: &S3Request<T>, body: Option<StreamingBlob>, length: Option<i64>) -> Taken {
        match request.extensions.get::<SideBody>() {
            None => Taken { body, length, bounds: None, is_unseen: false },
            Some(side) => {
                let body = side.body.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
                Taken { body, length: None, bounds: Some(side.bounds.clone()), is_unseen: true }
            }
        }
    }
}
