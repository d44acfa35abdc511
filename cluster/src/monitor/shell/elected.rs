//! A monitor that is one of several: it follows until it is elected, leads for a term, and follows again.

use super::inquiry::Inquiries;
use super::{Clock, Cluster, Ended, Hub, MonitorError, Term, lead, restore};
use crate::monitor::core::Event;
use crate::monitor::election::{Candidacy, Standing};
use crate::monitor::election_etcd::Candidate;
use crate::monitor::store::StoreError;
use std::pin::Pin;
use tokio::sync::{mpsc, watch};

pub(super) async fn run(
    candidate: Candidate,
    cluster: &Cluster,
    clock: &Clock,
    (inbox, inquiries): (&mut mpsc::Receiver<Event>, &mut Inquiries),
    hub: &Hub,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), MonitorError> {
    let mut standing = candidate.standing();
    let mut last_term = None;
    let outcome = loop {
        let candidacy = tokio::select! {
            () = &mut shutdown => break Ok(()),
            elected = election(&mut standing, hub, last_term) => match elected {
                Some(candidacy) => candidacy,
                None => break Err(MonitorError::ElectionEnded),
            },
        };
        last_term = Some(candidacy);
        let term = Term::Elected { standing: standing.clone(), candidacy, start: candidate.started() };
        let store = candidate.store(candidacy);
        let (cluster, clock) = (cluster.clone(), *clock);
        let restored = tokio::task::spawn_blocking(move || {
            let mut store = store;
            restore(&cluster, &mut store, &clock).map(|core| (core, store))
        });
        let led = match restored.await {
            Ok(Ok((core, store))) => {
                // What sessions of an earlier term still had to say.
                while inbox.try_recv().is_ok() {}
                lead(core, store, &clock, (&mut *inbox, &mut *inquiries), hub, shutdown.as_mut(), term).await
            }
            Ok(Err(error)) => Err(error),
            Err(panicked) => Err(StoreError { place: "load".into(), problem: panicked.to_string() }.into()),
        };
        *hub.leader_elsewhere.borrow_mut() = Some(String::new());
        match led {
            Ok(Ended::Asked) => break Ok(()),
            Ok(Ended::TermOver) => tracing::warn!("this monitor leads no longer: its lease was not renewed in time"),
            Err(MonitorError::Store(error)) => {
                // Whether the last batch was written is not known: the next leader reads what is there.
                tracing::warn!(%error, "this monitor leads no longer");
                candidate.cannot_lead();
            }
            Err(error) => break Err(error),
        }
        hub.end_all().await;
    };
    // The next leader need not wait for the lease to end.
    let _ = tokio::task::spawn_blocking(move || candidate.resign()).await;
    outcome
}

/// Resolves when this monitor is elected, not counting the term it has had; `None`: it takes no part any more. Keeps the hub informed of
/// who leads meanwhile. Cancel-safe.
async fn election(
    standing: &mut watch::Receiver<Standing>,
    hub: &Hub,
    last_term: Option<Candidacy>,
) -> Option<Candidacy> {
    loop {
        match standing.borrow_and_update().clone() {
            Standing::Leads { candidacy, .. } if Some(candidacy) != last_term => return Some(candidacy),
            Standing::Leads { .. } => {}
            Standing::Follows { leader } => *hub.leader_elsewhere.borrow_mut() = Some(leader),
        }
        standing.changed().await.ok()?;
    }
}
