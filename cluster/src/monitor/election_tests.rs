use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const OWN: Candidacy = Candidacy { lease: 7, revision: 20 };

fn first(revision: i64) -> Option<First> {
    Some(First { revision, address: format!("127.0.0.1:{revision}") })
}

fn seen(revision: i64) -> Event {
    Event::Seen { lease: Some(OWN.lease), first: first(revision), is_candidate: true }
}

fn standings(actions: &[Action]) -> Vec<Standing> {
    let standing = |action: &Action| match action {
        Action::Stand(standing) => Some(standing.clone()),
        _ => None,
    };
    actions.iter().filter_map(standing).collect()
}

fn leading() -> Election {
    let mut election = Election::default();
    assert!(election.handle(ms(0), Event::Tick).contains(&Action::Enter));
    election.handle(ms(1), Event::Failed(Question::Look));
    let actions = election.handle(ms(10), Event::Entered { candidacy: OWN, asked: ms(0) });
    assert_eq!(actions, [Action::Look { lease: Some(OWN.lease) }]);
    let actions = election.handle(ms(20), seen(OWN.revision));
    let until = limits::LEASE_TTL - limits::LEASE_MARGIN;
    assert_eq!(standings(&actions), [Standing::Leads { candidacy: OWN, until }]);
    election
}

#[test]
fn the_candidate_that_came_first_leads_and_the_others_know_where() {
    leading();
    let mut election = Election::default();
    election.handle(ms(0), Event::Tick);
    election.handle(ms(1), Event::Failed(Question::Look));
    election.handle(ms(10), Event::Entered { candidacy: OWN, asked: ms(0) });
    let actions = election.handle(ms(20), seen(11));
    assert_eq!(standings(&actions), [Standing::Follows { leader: "127.0.0.1:11".into() }]);
    // Said once.
    election.handle(ms(600), Event::Tick);
    assert!(standings(&election.handle(ms(610), seen(11))).is_empty());
}

#[test]
fn a_leader_that_cannot_renew_stops_before_its_lease_can_have_ended() {
    let mut election = leading();
    let mut now = 20;
    loop {
        now += 10;
        let actions = election.handle(ms(now), Event::Tick);
        if standings(&actions) == [Standing::Follows { leader: String::new() }] {
            assert!(actions.contains(&Action::Leave { lease: OWN.lease }));
            break;
        }
        assert!(now < 10_000, "it leads for ever");
    }
    assert_eq!(ms(now), limits::LEASE_TTL - limits::LEASE_MARGIN);
}

#[test]
fn a_renewal_counts_from_when_it_was_asked_for() {
    let mut election = leading();
    let actions = election.handle(ms(1000), Event::Tick);
    assert!(actions.contains(&Action::Renew { lease: OWN.lease }));
    let actions = election.handle(ms(3500), Event::Renewed { lease: OWN.lease, asked: ms(1000) });
    let until = ms(1000) + limits::LEASE_TTL - limits::LEASE_MARGIN;
    assert_eq!(standings(&actions), [Standing::Leads { candidacy: OWN, until }]);
}

#[test]
fn who_can_no_longer_lead_leaves_and_lets_others_go_first() {
    let mut election = leading();
    let actions = election.handle(ms(100), Event::CannotLead);
    assert_eq!(standings(&actions), [Standing::Follows { leader: String::new() }]);
    assert!(actions.contains(&Action::Leave { lease: OWN.lease }) && !actions.contains(&Action::Enter));
    assert!(!election.handle(ms(500), Event::Tick).contains(&Action::Enter));
    assert!(election.handle(ms(1100), Event::Tick).contains(&Action::Enter));
}

#[test]
fn what_was_seen_before_the_candidacy_says_nothing_of_it() {
    let mut election = Election::default();
    election.handle(ms(0), Event::Tick);
    election.handle(ms(10), Event::Entered { candidacy: OWN, asked: ms(0) });
    let actions = election.handle(ms(20), Event::Seen { lease: None, first: first(OWN.revision), is_candidate: false });
    assert!(standings(&actions).is_empty() && !actions.contains(&Action::Leave { lease: OWN.lease }));
}

#[test]
fn a_monitor_that_stops_gives_its_lease_back_and_asks_nothing_more() {
    let mut election = leading();
    let actions = election.handle(ms(100), Event::Stop);
    assert!(actions.contains(&Action::Leave { lease: OWN.lease }));
    assert!(election.handle(ms(10_000), Event::Tick).is_empty());
}

/// etcd, as far as an election needs it: leases that end by its clock, candidates in the order of their making.
#[derive(Default)]
struct Etcd {
    revision: i64,
    /// By lease: when it ends, and the candidate's revision and monitor.
    candidates: BTreeMap<i64, (Duration, i64, usize)>,
}

impl Etcd {
    fn expire(&mut self, now: Duration) {
        self.candidates.retain(|_, (end, ..)| *end > now);
    }

    fn first(&self) -> Option<(i64, usize)> {
        self.candidates.values().map(|(_, revision, monitor)| (*revision, *monitor)).min()
    }

    fn answer(&mut self, now: Duration, asked: Duration, monitor: usize, action: &Action) -> Option<Event> {
        self.expire(now);
        match action {
            Action::Enter => {
                self.revision += 1;
                let candidacy = Candidacy { lease: self.revision, revision: self.revision };
                self.candidates.insert(candidacy.lease, (now + limits::LEASE_TTL, candidacy.revision, monitor));
                Some(Event::Entered { candidacy, asked })
            }
            Action::Renew { lease } => match self.candidates.get_mut(lease) {
                Some((end, ..)) => {
                    *end = now + limits::LEASE_TTL;
                    Some(Event::Renewed { lease: *lease, asked })
                }
                None => Some(Event::Gone { lease: *lease }),
            },
            Action::Look { lease } => Some(Event::Seen {
                lease: *lease,
                first: self.first().map(|(revision, _)| First { revision, address: revision.to_string() }),
                is_candidate: lease.is_some_and(|lease| self.candidates.contains_key(&lease)),
            }),
            Action::Leave { lease } => {
                self.candidates.remove(lease);
                None
            }
            Action::Stand(_) => None,
        }
    }
}

fn question(action: &Action) -> Option<Question> {
    match action {
        Action::Enter => Some(Question::Enter),
        Action::Renew { .. } => Some(Question::Renew),
        Action::Look { .. } => Some(Question::Look),
        Action::Leave { .. } | Action::Stand(_) => None,
    }
}

/// What is under way: when it gets to etcd and when its answer is back, in milliseconds; lost ones fail in the end.
struct Letter {
    monitor: usize,
    asked: Duration,
    action: Action,
    there: Duration,
    back: Duration,
    is_lost: bool,
    answer: Option<Event>,
    is_answered: bool,
}

proptest! {
    /// Three monitors, messages that take their time or are lost, monitors that can't lead: never two that lead at a time, and once all is
    /// well for a while, one does.
    #[test]
    fn at_most_one_leads_at_any_time(
        delays in prop::collection::vec((0u64..900, 0u64..900, 0u8..10), 400),
        failures in prop::collection::vec((0u64..60_000, 0usize..3), 0..12),
    ) {
        let mut etcd = Etcd::default();
        let mut monitors: Vec<Election> = (0..3).map(|_| Election::default()).collect();
        let mut standing: Vec<Standing> = vec![Standing::Follows { leader: String::new() }; 3];
        let mut letters: Vec<Letter> = Vec::new();
        let mut fates = delays.into_iter();
        for step in 0..900u64 {
            let now = ms(step * 100);
            let mut events: Vec<(usize, Event)> = (0..3).map(|monitor| (monitor, Event::Tick)).collect();
            for (at, monitor) in &failures {
                if at / 100 == step {
                    events.push((*monitor, Event::CannotLead));
                }
            }
            letters.sort_by_key(|letter| letter.there);
            for letter in &mut letters {
                if letter.there <= now && !letter.is_answered {
                    letter.is_answered = true;
                    letter.answer = etcd.answer(now, letter.asked, letter.monitor, &letter.action);
                }
                if letter.back <= now {
                    let failed = question(&letter.action).map(Event::Failed);
                    let event = if letter.is_lost { failed } else { letter.answer.take() };
                    events.extend(event.map(|event| (letter.monitor, event)));
                }
            }
            letters.retain(|letter| letter.back > now);
            for (monitor, event) in events {
                for action in monitors[monitor].handle(now, event) {
                    if let Action::Stand(new) = &action {
                        standing[monitor] = new.clone();
                        continue;
                    }
                    let (there, back, fate) = fates.next().unwrap_or((10, 10, 9));
                    let (there, back) = (now + ms(there), now + ms(there) + ms(back));
                    let letter = Letter { monitor, asked: now, action, there, back, is_lost: fate < 2, answer: None, is_answered: false };
                    letters.push(letter);
                }
            }
            let leads = |standing: &&Standing| matches!(standing, Standing::Leads { until, .. } if *until > now);
            prop_assert!(standing.iter().filter(leads).count() <= 1, "at {now:?}: {standing:?}");
        }
        let at_the_end = ms(90_000);
        prop_assert_eq!(standing.iter().filter(|standing| matches!(standing, Standing::Leads { until, .. } if *until > at_the_end)).count(), 1);
    }
}
