//! The listener: GET of `/metrics`, and on a monitor of `/` and `/status.json`, over HTTP/1.1, one request a connection, for anyone who can reach the address. There is nothing to
//! change here and nothing secret, but no authentication either: on any address but loopback, whoever reaches it reads it.

use super::page::{self, Page};
use super::{Sources, limits};
use basalt_cli::{Failure, Result, errno};
use basalt_cluster::config::MetricsSection;
use basalt_net::waiting_room::WaitingRoom;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until it is dropped.
pub struct Endpoint {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    /// Says where it listens.
    file: Option<PathBuf>,
}

impl Endpoint {
    /// `None`: the configuration gives this role no address. `name`: of the file in the configuration's `address_dir`.
    pub fn start(
        section: Option<&MetricsSection>,
        role: impl Fn(&MetricsSection) -> Option<SocketAddr>,
        name: &str,
        sources: Sources,
    ) -> Result<Option<Endpoint>> {
        let Some((section, listen)) = section.and_then(|section| Some((section, role(section)?))) else {
            return Ok(None);
        };
        let failed = |error: std::io::Error| {
            Failure::new(errno::of_io(&error), format!("metrics can't be served at {listen}: {error}"))
        };
        let listener = std::net::TcpListener::bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (stop, mut stop_wanted) = watch::channel(false);
        let thread = std::thread::Builder::new().name("metrics".into()).spawn(move || {
            let serving = async {
                tokio::select! {
                    () = accept(listener, sources) => {}
                    // A sender that is gone has nobody left to serve for.
                    _ = stop_wanted.wait_for(|wanted| *wanted) => {}
                }
            };
            tokio::task::LocalSet::new().block_on(&runtime, serving);
        });
        let thread = Some(thread.map_err(failed)?);
        let file = section.address_dir.as_ref().map(|dir| dir.join(format!("{name}.metrics")));
        if let Some(file) = &file {
            let written = file.parent().map_or(Ok(()), std::fs::create_dir_all);
            written
                .and_then(|()| std::fs::write(file, format!("http://{address}/metrics\n")))
                .map_err(|error| Failure::file(file, &error))?;
        }
        tracing::info!(%address, "metrics are served");
        Ok(Some(Endpoint { stop, thread, file }))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // It is a hint, and whoever follows it finds nobody.
            let _ = std::fs::remove_file(file);
        }
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the metrics ended by a bug; see the lines above");
        }
    }
}

struct Served {
    sources: Sources,
    /// On a monitor.
    page: Option<Rc<Page>>,
    /// The last scrape. Whoever comes while one is made waits for it.
    scraped: Mutex<Option<(Instant, Bytes)>>,
}

async fn accept(listener: std::net::TcpListener, sources: Sources) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "metrics are not served: their socket is no good"),
    };
    let page = sources.monitor.clone().map(|monitor| Rc::new(Page::new(monitor)));
    if let Some(page) = page.clone() {
        tokio::task::spawn_local(async move { page.keep_history().await });
    }
    let served = Rc::new(Served { sources, page, scraped: Mutex::default() });
    let connections = WaitingRoom::new(limits::CONNECTIONS_MAX);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (served, guest) = (served.clone(), connections.enter());
        tokio::task::spawn_local(async move {
            tokio::select! {
                _ = tokio::time::timeout(limits::CONNECTION_TIME_MAX, serve(served, stream)) => {}
                () = guest.turned_out() => {}
            }
        });
    }
}

async fn serve(served: Rc<Served>, stream: TcpStream) {
    let service = hyper::service::service_fn(move |request| {
        let served = served.clone();
        async move { Ok::<_, Infallible>(served.answer(&request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIME_MAX)
        .max_headers(limits::HEADERS_MAX)
        .max_buf_size(limits::HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection for metrics ended badly");
    }
}

impl Served {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are answered here\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match (request.uri().path(), &self.page) {
            ("/metrics", _) => respond(StatusCode::OK, TEXT, self.scrape().await),
            ("/", Some(_)) => respond(StatusCode::OK, HTML, page::PAGE),
            ("/status.json", Some(page)) => match page.document().await {
                Some(document) => respond(StatusCode::OK, JSON, document.to_string()),
                None => respond(StatusCode::SERVICE_UNAVAILABLE, JSON, NOT_LEADING),
            },
            _ => respond(StatusCode::NOT_FOUND, TEXT, "there is nothing here; the metrics are at /metrics\n"),
        }
    }

    async fn scrape(&self) -> Bytes {
        let mut scraped = self.scraped.lock().await;
        if let Some((at, text)) = &*scraped
            && at.elapsed() < limits::SCRAPE_AGE_MAX
        {
            return text.clone();
        }
        let text = Bytes::from(self.sources.scrape().await);
        *scraped = Some((Instant::now(), text.clone()));
        text
    }
}

const NOT_LEADING: &str = r#"{"reason":"this monitor does not lead now; ask another one"}"#;

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, page::POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
