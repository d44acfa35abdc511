//! Which of several monitors leads, as a pure state machine: what was heard and the time in, what to ask of etcd out.
//!
//! Each monitor that is fit to lead is a *candidate*: a key that lives as long as its lease. The candidate whose key was made first
//! leads, which is how etcd's own election does it; the next one takes over when that key goes. So there is at most one leader by
//! etcd's account, and every commit is compared with that account. Only what a monitor answers without a commit rests on clocks:
//! it leads no longer than its lease surely lives, counted on its own clock from before it asked for the lease to be renewed.

use crate::limits;
use std::time::Duration;

/// A candidate's key: it lives as long as the lease, and `revision` is when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidacy {
    pub lease: i64,
    pub revision: i64,
}

/// The first of the candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct First {
    pub revision: i64,
    /// Where it serves peers; empty if it can't say.
    pub address: String,
}

/// `asked` is when the question was put.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Tick,
    /// Answers [`Action::Enter`].
    Entered {
        candidacy: Candidacy,
        asked: Duration,
    },
    /// Answers [`Action::Renew`].
    Renewed {
        lease: i64,
        asked: Duration,
    },
    /// Answers [`Action::Look`]: the first candidate, and whether this one is still among them.
    Seen {
        lease: Option<i64>,
        first: Option<First>,
        is_candidate: bool,
    },
    /// The lease is over.
    Gone {
        lease: i64,
    },
    /// No answer, or none that tells anything.
    Failed(Question),
    /// The leader can't go on: it no longer knows what is stored.
    CannotLead,
    /// The process ends.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Enter,
    Renew,
    Look,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Get a lease and become a candidate under it.
    Enter,
    Renew {
        lease: i64,
    },
    /// Who is first among the candidates?
    Look {
        lease: Option<i64>,
    },
    /// Give the lease back, as well as it goes; nobody waits for an answer.
    Leave {
        lease: i64,
    },
    Stand(Standing),
}

/// What a monitor is, for the moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// To decide, but for no longer than `until`.
    Leads { candidacy: Candidacy, until: Duration },
    /// To decide nothing. The leader's address is empty while none is known.
    Follows { leader: String },
}

struct Own {
    candidacy: Candidacy,
    /// When the newest renewal that was granted was asked for.
    renewed: Duration,
    leads: bool,
}

/// One monitor's part in the election.
#[derive(Default)]
pub struct Election {
    own: Option<Own>,
    leader: String,
    is_entering: bool,
    is_renewing: bool,
    is_looking: bool,
    asked_to_renew: Duration,
    looked: Option<Duration>,
    /// No candidacy before this.
    pause_until: Duration,
    is_stopped: bool,
}

impl Election {
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => {}
            Event::Entered { candidacy, asked } => {
                self.is_entering = false;
                if self.is_stopped || self.own.is_some() || now >= asked + limits::LEASE_TTL {
                    actions.push(Action::Leave { lease: candidacy.lease });
                } else {
                    self.own = Some(Own { candidacy, renewed: asked, leads: false });
                    self.asked_to_renew = asked;
                    // Whether it is the first is asked at once.
                    self.looked = None;
                }
            }
            Event::Renewed { lease, asked } => {
                self.is_renewing = false;
                if let Some(own) = self.own.as_mut().filter(|own| own.candidacy.lease == lease) {
                    own.renewed = own.renewed.max(asked);
                    if own.leads {
                        let until = leads_until(own);
                        actions.push(Action::Stand(Standing::Leads { candidacy: own.candidacy, until }));
                    }
                }
            }
            Event::Seen { lease, first, is_candidate } => {
                self.is_looking = false;
                self.seen(now, lease, first, is_candidate, &mut actions);
            }
            Event::Gone { lease } => {
                self.is_renewing = false;
                if self.own.as_ref().is_some_and(|own| own.candidacy.lease == lease) {
                    self.give_up(now, Duration::ZERO, &mut actions);
                }
            }
            Event::Failed(question) => match question {
                Question::Enter => {
                    self.is_entering = false;
                    self.pause_until = now + limits::CANDIDACY_PAUSE;
                }
                Question::Renew => self.is_renewing = false,
                Question::Look => self.is_looking = false,
            },
            Event::CannotLead => self.give_up(now, limits::CANDIDACY_PAUSE, &mut actions),
            Event::Stop => {
                self.is_stopped = true;
                self.give_up(now, Duration::ZERO, &mut actions);
            }
        }
        self.go_on(now, &mut actions);
        actions
    }

    fn seen(
        &mut self,
        now: Duration,
        lease: Option<i64>,
        first: Option<First>,
        is_candidate: bool,
        actions: &mut Vec<Action>,
    ) {
        let own_lease = self.own.as_ref().map(|own| own.candidacy.lease);
        if let Some(own) = &mut self.own {
            if lease != own_lease {
                // Asked before it became a candidate: what it says of the others is old.
                return;
            }
            if !is_candidate {
                return self.give_up(now, Duration::ZERO, actions);
            }
            let is_first = first.as_ref().is_some_and(|first| first.revision == own.candidacy.revision);
            if is_first && !own.leads && now < leads_until(own) {
                own.leads = true;
                let until = leads_until(own);
                actions.push(Action::Stand(Standing::Leads { candidacy: own.candidacy, until }));
            }
            if is_first {
                return;
            }
            if own.leads {
                // Whoever is first now came before: this one never led by etcd's account.
                self.give_up(now, Duration::ZERO, actions);
            }
        }
        self.follow(first.map_or_else(String::new, |first| first.address), actions);
    }

    fn follow(&mut self, leader: String, actions: &mut Vec<Action>) {
        if self.leader != leader {
            self.leader.clone_from(&leader);
            actions.push(Action::Stand(Standing::Follows { leader }));
        }
    }

    fn give_up(&mut self, now: Duration, pause: Duration, actions: &mut Vec<Action>) {
        if let Some(own) = self.own.take() {
            if own.leads {
                self.leader.clear();
                actions.push(Action::Stand(Standing::Follows { leader: String::new() }));
            }
            actions.push(Action::Leave { lease: own.candidacy.lease });
        }
        self.pause_until = self.pause_until.max(now + pause);
    }

    /// What time alone brings about.
    fn go_on(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.own.as_ref().is_some_and(|own| now >= leads_until(own)) {
            self.give_up(now, Duration::ZERO, actions);
        }
        if self.is_stopped {
            return;
        }
        match &self.own {
            None if !self.is_entering && now >= self.pause_until => {
                self.is_entering = true;
                actions.push(Action::Enter);
            }
            Some(own) if !self.is_renewing && now >= self.asked_to_renew + limits::LEASE_RENEW_INTERVAL => {
                self.is_renewing = true;
                self.asked_to_renew = now;
                actions.push(Action::Renew { lease: own.candidacy.lease });
            }
            _ => {}
        }
        if !self.is_looking && self.looked.is_none_or(|looked| now >= looked + limits::LEADER_LOOK_INTERVAL) {
            self.is_looking = true;
            self.looked = Some(now);
            actions.push(Action::Look { lease: self.own.as_ref().map(|own| own.candidacy.lease) });
        }
    }
}

fn leads_until(own: &Own) -> Duration {
    own.renewed + limits::LEASE_TTL - limits::LEASE_MARGIN
}

#[cfg(test)]
#[path = "election_tests.rs"]
mod tests;
