//! The election's hands: asks etcd what [`Election`] wants to know, on a thread of its own, and tells how this monitor stands.

use super::election::{Action, Candidacy, Election, Event, First, Question, Standing};
use super::store::StoreError;
use super::store_etcd::{Background, EtcdError, EtcdStore, Keys, Members};
use crate::limits;
use etcd_client::{Compare, CompareOp, Error, GetOptions, PutOptions, SortOrder, SortTarget, Txn, TxnOp};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// A monitor that takes part in the election. Dropping it ends its part; [`Candidate::resign`] first makes room for others at once.
pub struct Candidate {
    background: Background,
    members: Members,
    keys: Keys,
    orders: mpsc::UnboundedSender<Order>,
    standing: watch::Receiver<Standing>,
    /// What the election's times count from.
    start: Instant,
}

enum Order {
    CannotLead,
    Stop { done: std::sync::mpsc::Sender<()> },
}

impl Candidate {
    /// `address`: where peers find this monitor; empty if that isn't known. Servers that don't answer yet are waited for.
    pub fn start(endpoints: &[String], prefix: &str, address: String) -> Result<Candidate, StoreError> {
        let failed =
            |problem: &dyn std::fmt::Display| StoreError { place: "etcd".into(), problem: problem.to_string() };
        let background = Background::start().map_err(|error| failed(&error))?;
        let members = background.block_on(Members::open(endpoints)).map_err(|error| failed(&error))?;
        let keys = Keys::new(prefix);
        let (orders, inbox) = mpsc::unbounded_channel();
        let (stand, standing) = watch::channel(Standing::Follows { leader: String::new() });
        let start = Instant::now();
        let hands = Hands { members: members.clone(), keys: keys.clone(), address: address.into() };
        background.spawn(take_part(hands, start, inbox, stand));
        Ok(Candidate { background, members, keys, orders, standing, start })
    }

    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    pub fn started(&self) -> Instant {
        self.start
    }

    /// The store as the leader of this candidacy writes it.
    pub fn store(&self, candidacy: Candidacy) -> EtcdStore {
        EtcdStore::new(self.background.clone(), self.members.clone(), self.keys.clone(), candidacy)
    }

    /// Leaves the lead to another: a commit failed, or nobody knows whether it did.
    pub fn cannot_lead(&self) {
        let _ = self.orders.send(Order::CannotLead);
    }

    /// Ends the candidacy and gives the lease back, as far as etcd answers. Blocks.
    pub fn resign(self) {
        let (done, resigned) = std::sync::mpsc::channel();
        if self.orders.send(Order::Stop { done }).is_ok() {
            let _ = resigned.recv_timeout(limits::ETCD_ATTEMPT_MAX);
        }
    }
}

#[derive(Clone)]
struct Hands {
    members: Members,
    keys: Keys,
    address: Arc<str>,
}

async fn take_part(
    hands: Hands,
    start: Instant,
    mut orders: mpsc::UnboundedReceiver<Order>,
    standing: watch::Sender<Standing>,
) {
    let mut election = Election::default();
    let (answers, mut inbox) = mpsc::unbounded_channel();
    let mut ticks = tokio::time::interval(limits::ELECTION_TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut stop = None;
        let event = tokio::select! {
            _ = ticks.tick() => Event::Tick,
            answer = inbox.recv() => match answer {
                Some(answer) => answer,
                None => return,
            },
            order = orders.recv() => match order {
                Some(Order::CannotLead) => Event::CannotLead,
                Some(Order::Stop { done }) => {
                    stop = Some(done);
                    Event::Stop
                }
                None => return,
            },
        };
        for action in election.handle(start.elapsed(), event) {
            match action {
                Action::Stand(new) => {
                    standing.send_replace(new);
                }
                Action::Leave { lease } if stop.is_some() => hands.leave(lease).await,
                action => {
                    let (hands, answers, asked) = (hands.clone(), answers.clone(), start.elapsed());
                    tokio::spawn(async move {
                        if let Some(event) = hands.carry_out(action, asked).await {
                            let _ = answers.send(event);
                        }
                    });
                }
            }
        }
        if let Some(done) = stop {
            let _ = done.send(());
            return;
        }
    }
}

impl Hands {
    async fn carry_out(&self, action: Action, asked: Duration) -> Option<Event> {
        let (question, answer) = match action {
            Action::Enter => {
                let entered = self.enter().await;
                (Question::Enter, entered.map(|candidacy| Event::Entered { candidacy, asked }))
            }
            Action::Renew { lease } => match self.renew(lease).await {
                Ok(()) => (Question::Renew, Ok(Event::Renewed { lease, asked })),
                Err(EtcdError::Refused { source: Error::LeaseKeepAliveError(_), .. }) => {
                    (Question::Renew, Ok(Event::Gone { lease }))
                }
                Err(error) => (Question::Renew, Err(error)),
            },
            Action::Look { lease } => (Question::Look, self.look(lease).await),
            Action::Leave { lease } => {
                self.leave(lease).await;
                return None;
            }
            Action::Stand(_) => return None,
        };
        Some(answer.unwrap_or_else(|error| {
            tracing::warn!(%error, ?question, "etcd does not answer");
            Event::Failed(question)
        }))
    }

    async fn enter(&self) -> Result<Candidacy, EtcdError> {
        // An attempt whose answer is lost leaves a lease behind that nobody renews.
        let granted = self
            .members
            .ask(|mut client| async move { client.lease_grant(limits::LEASE_TTL.as_secs() as i64, None).await });
        let lease = granted.await?.id();
        let key = self.keys.candidate(lease);
        // Put a second time, it finds itself.
        let enter = Txn::new()
            .when([Compare::create_revision(key.clone(), CompareOp::Equal, 0)])
            .and_then([
                TxnOp::put(key.clone(), self.address.as_bytes(), Some(PutOptions::new().with_lease(lease))),
                TxnOp::get(key.clone(), None),
            ])
            .or_else([TxnOp::get(key.clone(), None)]);
        let entered = self.members.ask(|mut client| {
            let enter = enter.clone();
            async move { client.txn(enter).await }
        });
        let made = entered.await?.op_responses().into_iter().find_map(|response| match response {
            etcd_client::TxnOpResponse::Get(got) => got.kvs().first().map(|pair| pair.create_revision()),
            _ => None,
        });
        let gone = || EtcdError::Refused {
            endpoint: key.clone(),
            source: Error::ElectError("the candidate's key was gone at once".into()),
        };
        Ok(Candidacy { lease, revision: made.ok_or_else(gone)? })
    }

    async fn renew(&self, lease: i64) -> Result<(), EtcdError> {
        self.members.ask(|mut client| async move { client.lease_keep_alive(lease).await.map(drop) }).await
    }

    async fn look(&self, lease: Option<i64>) -> Result<Event, EtcdError> {
        let all = GetOptions::new().with_prefix().with_sort(SortTarget::Create, SortOrder::Ascend);
        let candidates = self.keys.candidates();
        let seen = self.members.ask(|mut client| {
            let (key, options) = (candidates.clone(), all.clone());
            async move { client.get(key, Some(options)).await }
        });
        let seen = seen.await?;
        let own = lease.map(|lease| self.keys.candidate(lease).into_bytes());
        let first = seen.kvs().first().map(|pair| First {
            revision: pair.create_revision(),
            address: String::from_utf8_lossy(pair.value()).into_owned(),
        });
        let is_candidate = own.is_some_and(|own| seen.kvs().iter().any(|pair| pair.key() == own));
        Ok(Event::Seen { lease, first, is_candidate })
    }

    async fn leave(&self, lease: i64) {
        let left = self.members.ask(|mut client| async move { client.lease_revoke(lease).await });
        if let Err(error) = left.await {
            tracing::debug!(%error, lease, "the lease is left to end by itself");
        }
    }
}
