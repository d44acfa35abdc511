//! Bodies of requests that may be answered before they have come in.
//!
//! A client that sends all it has before it looks for an answer would not find one if the connection were closed under it: what it goes on
//! sending makes its own kernel throw the answer away. So what nobody wants any more of a body is still taken in, for a while, and then the
//! connection goes on as if it had been read.

use crate::s3::limits;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use s3s::Body;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

pub struct LingeringBody(Option<Incoming>);

impl LingeringBody {
    /// `expects`: the client sends nothing until it is told to, so there is nothing to take in unless the body was asked for.
    pub fn of(body: Incoming, expects: bool) -> Body {
        if expects || body.is_end_stream() {
            return Body::from(body);
        }
        Body::http_body(LingeringBody(Some(body)))
    }
}

impl HttpBody for LingeringBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for LingeringBody {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        // Without a runtime the gateway is on its way down.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let _ = tokio::time::timeout(limits::LINGER_WAIT, take_in(body)).await;
            });
        }
    }
}

async fn take_in(mut body: Incoming) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > limits::LINGER_BYTES_MAX {
            return;
        }
    }
}
