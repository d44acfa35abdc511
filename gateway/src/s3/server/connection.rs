//! Connections: how many, how long they may take, and how they end.

use super::front::{AskedBy, Front};
use super::request_counts::RequestCounts;
use super::tls::Certificate;
use crate::s3::access::Origin;
use crate::s3::limits;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` ends, and then what is under way.
pub async fn accept(
    listener: std::net::TcpListener,
    front: Front,
    tls: Option<Certificate>,
    counts: Arc<RequestCounts>,
    stop: impl Future<Output = ()>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the S3 gateway's socket is no good"),
    };
    let front = Arc::new(front);
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            next = next => next,
            () = stop.as_mut() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many files, say: others will end.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // It only saves a packet.
        let _ = stream.set_nodelay(true);
        let (front, tls, counts, watcher) = (front.clone(), tls.clone(), counts.clone(), graceful.watcher());
        tokio::spawn(async move {
            match tls {
                None => serve(stream, peer, false, front, counts, watcher).await,
                Some(certificate) => match secure(stream, &certificate).await {
                    Ok(stream) => serve(stream, peer, true, front, counts, watcher).await,
                    Err(reason) => tracing::debug!(%peer, reason, "no TLS session"),
                },
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits::STOP_WAIT, graceful.shutdown()).await.is_err() {
        tracing::info!("requests that were still under way are cut off");
    }
}

async fn secure(
    stream: TcpStream,
    certificate: &Certificate,
) -> Result<tokio_rustls::server::TlsStream<TcpStream>, String> {
    let handshake = certificate.acceptor().accept(stream);
    match tokio::time::timeout(limits::HEADER_WAIT, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the handshake took too long".into()),
    }
}

async fn serve<S>(
    stream: S,
    peer: SocketAddr,
    is_secure: bool,
    front: Arc<Front>,
    counts: Arc<RequestCounts>,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let origin = Origin { address: peer.ip().to_canonical(), is_secure };
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (front, counts) = (front.clone(), counts.clone());
        async move {
            let (begun, method) = (Instant::now(), request.method().clone());
            let mut response = front.answer(request, origin).await;
            counts.note(&method, response.status(), begun.elapsed());
            if let Some(AskedBy(user)) = response.extensions_mut().remove::<AskedBy>() {
                counts.note_user(user.as_deref(), response.status());
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_WAIT)
        .max_headers(limits::HEADERS_MAX)
        .max_buf_size(limits::HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%peer, %error, "a connection ended badly");
    }
}
