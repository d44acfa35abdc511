//! The time for which a monitor leads.

use crate::monitor::election::{Candidacy, Standing};
use std::time::Instant;
use tokio::sync::watch;

/// Of a monitor that was elected, until it is no longer. The only monitor of a cluster leads for life.
pub(super) enum Term {
    Life,
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
        while let Some(end) = self.end() {
            let (Term::Elected { standing, .. }, Some(end)) = (&mut *self, end) else {
                return std::future::pending().await;
            };
            tokio::select! {
                changed = standing.changed() => if changed.is_err() {
                    return;
                },
                () = tokio::time::sleep_until(end.into()) => {}
            }
        }
    }
}
