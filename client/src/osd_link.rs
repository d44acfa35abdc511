//! One session with one OSD, and the requests that wait for its answers.

use crate::cluster_view::Target;
use crate::limits::{DEAD_AFTER, PING_AFTER, WATCH_INTERVAL};
use crate::request::{Answer, Request};
use basalt_net::{Credentials, ReceivedFrame, Service, SessionError, SessionSender, session};
use basalt_ring::local::{Event, OnceSender, once};
use basalt_ring::{Instant, Ring, Task};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Dropping it ends the session.
pub(crate) struct OsdLink {
    shared: Rc<Shared>,
    task: Task<()>,
}

struct Shared {
    ring: Ring,
    target: Target,
    state: RefCell<State>,
    changed: Event,
    /// By request sequence and attempt.
    waiting: RefCell<BTreeMap<(u64, u32), OnceSender<Answer>>>,
    /// When something began to wait after nothing did.
    waiting_since: Cell<Instant>,
}

enum State {
    Connecting,
    Up(SessionSender),
    Down(String),
}

/// Why a request got no answer on this link. It may have been applied all the same.
pub(crate) enum NoAnswer {
    Broken(String),
    TooLarge(basalt_net::FrameError),
}

impl OsdLink {
    pub fn open(ring: &Ring, target: Target, credentials: Credentials, connect_timeout: Duration) -> OsdLink {
        let shared = Rc::new(Shared {
            ring: ring.clone(),
            target,
            state: RefCell::new(State::Connecting),
            changed: Event::new(),
            waiting: RefCell::default(),
            waiting_since: Cell::new(ring.now()),
        });
        let task = ring.spawn(run(shared.clone(), credentials, connect_timeout));
        OsdLink { shared, task }
    }

    pub fn target(&self) -> &Target {
        &self.shared.target
    }

    pub fn is_down(&self) -> bool {
        matches!(*self.shared.state.borrow(), State::Down(_))
    }

    /// Sends a request and waits for its answer, as long as the session lives.
    pub async fn ask(&self, request: &Request) -> Result<Answer, NoAnswer> {
        let shared = &self.shared;
        let sender = shared.ready().await.map_err(NoAnswer::Broken)?;
        let (answer, answered) = once();
        let waiting = Waiting::register(shared, (request.id().sequence, request.attempt()), answer);
        match request.send(&sender).await {
            Ok(()) => {}
            Err(SessionError::TooLarge(error)) => return Err(NoAnswer::TooLarge(error)),
            Err(error) => return Err(NoAnswer::Broken(error.to_string())),
        }
        let answer = answered.await;
        drop(waiting);
        answer.ok_or_else(|| NoAnswer::Broken(shared.why_down()))
    }
}

impl Drop for OsdLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes its entry out when the request is given up.
struct Waiting<'a> {
    shared: &'a Shared,
    copy: (u64, u32),
}

impl<'a> Waiting<'a> {
    fn register(shared: &'a Shared, copy: (u64, u32), answer: OnceSender<Answer>) -> Waiting<'a> {
        let mut waiting = shared.waiting.borrow_mut();
        if waiting.is_empty() {
            shared.waiting_since.set(shared.ring.now());
        }
        waiting.insert(copy, answer);
        Waiting { shared, copy }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.waiting.borrow_mut().remove(&self.copy);
    }
}

impl Shared {
    async fn ready(&self) -> Result<SessionSender, String> {
        loop {
            let changed = self.changed.wait();
            match &*self.state.borrow() {
                State::Up(sender) => return Ok(sender.clone()),
                State::Down(reason) => return Err(reason.clone()),
                State::Connecting => {}
            }
            changed.await;
        }
    }

    fn set(&self, state: State) {
        *self.state.borrow_mut() = state;
        self.changed.notify_all();
    }

    fn why_down(&self) -> String {
        match &*self.state.borrow() {
            State::Down(reason) => reason.clone(),
            _ => format!("osd.{} gave no answer", self.target.osd),
        }
    }

    /// Everything that waits is told by its sender being dropped, after the reason is there to be read.
    fn fail(&self, reason: String) {
        tracing::debug!(osd = self.target.osd, reason, "no session");
        self.set(State::Down(reason));
        self.waiting.borrow_mut().clear();
    }

    fn answer(&self, frame: &mut ReceivedFrame) -> Result<(), String> {
        let answer = Answer::read(frame).map_err(|error| error.to_string())?;
        // Nobody waits for what was given up.
        if let Some(waiting) = self.waiting.borrow_mut().remove(&(answer.id().sequence, answer.attempt())) {
            waiting.send(answer);
        }
        Ok(())
    }
}

async fn run(shared: Rc<Shared>, credentials: Credentials, connect_timeout: Duration) {
    let Target { osd, address } = &shared.target;
    let Ok(socket_address) = address.parse::<SocketAddr>() else {
        return shared.fail(format!("the map says that osd.{osd} is at {address:?}, which is no address"));
    };
    let connecting = session::connect(&shared.ring, socket_address, &credentials, Service::Osd(*osd));
    let mut session = match shared.ring.timeout(connect_timeout, connecting).await {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return shared.fail(format!("osd.{osd}: {error}")),
        Err(_) => return shared.fail(format!("osd.{osd} at {address} takes no connection within {connect_timeout:?}")),
    };
    let sender = session.sender();
    shared.set(State::Up(sender.clone()));
    let _watch = Watch(shared.ring.spawn(watch(shared.clone(), sender.clone())));
    let reason = loop {
        match session.receive().await {
            Some(Ok(mut frame)) => {
                if let Err(error) = shared.answer(&mut frame) {
                    sender.close(&error);
                    break format!("osd.{osd} at {address}: {error}");
                }
            }
            Some(Err(error)) => break error.to_string(),
            None => break format!("osd.{osd} at {address} closed the session"),
        }
    };
    shared.fail(reason);
}

struct Watch(Task<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Notices an OSD that has fallen silent while it owes an answer.
async fn watch(shared: Rc<Shared>, sender: SessionSender) {
    loop {
        shared.ring.sleep(WATCH_INTERVAL).await;
        if shared.waiting.borrow().is_empty() {
            continue;
        }
        let heard = sender.last_received().max(shared.waiting_since.get());
        let silence = shared.ring.now().since(heard);
        if silence >= DEAD_AFTER {
            sender.close(&format!("no sign of life for {} s", silence.as_secs()));
            return;
        }
        if silence >= PING_AFTER && sender.ping().is_err() {
            return;
        }
    }
}
