//! Questions of the monitor's own process, for its metrics and its page: answered by the task that decides, between two events, and
//! such that nothing can be changed by them.

use super::super::core::{Action, Event, MonitorCore, Now, SessionId};
use crate::limits;
use basalt_net::Trust;
use basalt_net::message::monitor::{AdminCommand, MonitorReply, MonitorRequest};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot};

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// With the details of its health.
    Status,
    Health,
    Df,
    OsdDf,
    OsdPerf,
    TierStatus,
}

impl Question {
    fn command(self) -> AdminCommand {
        match self {
            Question::Status => AdminCommand::Status,
            Question::Health => AdminCommand::HealthDetail,
            Question::Df => AdminCommand::Df,
            Question::OsdDf => AdminCommand::OsdDf,
            Question::OsdPerf => AdminCommand::OsdPerf,
            Question::TierStatus => AdminCommand::TierStatus { pool: None },
        }
    }
}

pub(super) struct Inquiry {
    question: Question,
    answer: oneshot::Sender<Value>,
}

/// Asks a monitor that runs in this process, from any thread. Cheap to clone.
#[derive(Clone)]
pub struct Inquirer {
    inquiries: mpsc::Sender<Inquiry>,
    leads: Arc<AtomicBool>,
    trust: Trust,
}

/// The other end.
pub(super) struct Inquiries {
    pub inbox: mpsc::Receiver<Inquiry>,
    leads: Arc<AtomicBool>,
}

/// No session has it.
const OWN_SESSION: SessionId = SessionId(0);

pub(super) fn channel(trust: Trust) -> (Inquirer, Inquiries) {
    let (inquiries, inbox) = mpsc::channel(limits::INQUIRIES_QUEUED_MAX);
    let leads = Arc::new(AtomicBool::new(false));
    (Inquirer { inquiries, leads: leads.clone(), trust }, Inquiries { inbox, leads })
}

impl Inquirer {
    /// Whether this monitor decides; if it does not, it has nothing to tell.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// By what this monitor judges who connects, and counts whom it does not let in, whether it leads or not.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The document that the command of that name has. `None` if this monitor does not lead, or has not the time.
    pub async fn ask(&self, question: Question) -> Option<Value> {
        if !self.leads() {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        self.inquiries.try_send(Inquiry { question, answer }).ok()?;
        tokio::time::timeout(limits::INQUIRY_TIME_MAX, answered).await.ok()?.ok()
    }
}

/// While it is held, this monitor leads.
pub(super) struct Leading(Arc<AtomicBool>);

impl Drop for Leading {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Inquiries {
    pub fn lead(&self) -> Leading {
        self.leads.store(true, Ordering::Relaxed);
        Leading(self.leads.clone())
    }
}

impl Inquiry {
    pub fn answer(self, core: &mut MonitorCore, now: Now) {
        let request = MonitorRequest::Command { tag: 0, command: self.question.command() };
        let actions = core.handle(now, Event::Request { session: OWN_SESSION, request });
        let [Action::Reply { reply: MonitorReply::Command { reply, .. }, .. }] = actions.as_slice() else { return };
        if reply.errno == 0
            && let Ok(document) = serde_json::from_str(&reply.json)
        {
            // Whoever asked may not have waited.
            let _ = self.answer.send(document);
        }
    }
}
