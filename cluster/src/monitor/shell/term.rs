//! The time for which a monitor leads.

#[cfg(feature = "etcd")]
use crate::monitor::election::{Candidacy, Standing};
use std::time::Instant;
#[cfg(feature = "etcd")]
use tokio::sync::watch;

/// Of a monitor that was elected, until it is no longer. The only monitor of a cluster leads for life.
pub(super) enum Term {
    Life,
    #[cfg(feature = "etcd")]
    Elected {
        standing: watch::Receiver<Standing>,
        candidacy: Candidacy,
        /// What the standing's times count from.
        start: Instant,
    },
}

impl Term {
    /// When it ends unless it is prolonged; `None`: it is over.
    fn end(&self) -> Option<Option<Instant>> {
        match self {
            Term::Life => Some(None),
            #[cfg(feature = "etcd")]
            Term::Elected { standing, candidacy, start } => match &*standing.borrow() {
                Standing::Leads { candidacy: current, until } if current == candidacy => {
                    let end = *start + *until;
                    (Instant::now() < end).then_some(Some(end))
                }
                _ => None,
            },
        }
    }

    pub fn is_over(&self) -> bool {
        self.end().is_none()
    }

    /// Resolves when it is over. Cancel-safe.
    pub async fn over(&mut self) {
        match self {
            Term::Life => std::future::pending().await,
            #[cfg(feature = "etcd")]
            Term::Elected { .. } => self.elected_over().await,
        }
    }

    #[cfg(feature = "etcd")]
    async fn elected_over(&mut self) {
        while let Some(Some(end)) = self.end() {
            let Term::Elected { standing, .. } = self else { return };
            tokio::select! {
                changed = standing.changed() => if changed.is_err() {
                    return;
                },
                () = tokio::time::sleep_until(end.into()) => {}
            }
        }
    }
}
