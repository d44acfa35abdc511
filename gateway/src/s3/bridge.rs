//! From the threads that speak HTTP to the one that speaks to the cluster: work goes over as a closure, its result comes back.

use super::fault::{Fault, Result};
use super::limits;
use super::store::Store;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, oneshot};

type Job = Box<dyn FnOnce(Rc<Store>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The way over, from any thread.
#[derive(Clone)]
pub struct Bridge {
    jobs: mpsc::Sender<Job>,
    slots: Arc<Semaphore>,
}

/// The cluster's end.
pub struct Jobs(mpsc::Receiver<Job>);

pub fn bridge() -> (Bridge, Jobs) {
    let (jobs, receiver) = mpsc::channel(limits::JOBS_MAX);
    (Bridge { jobs, slots: Arc::new(Semaphore::new(limits::JOBS_MAX)) }, Jobs(receiver))
}

impl Bridge {
    /// Runs `work` beside the cluster's client. It goes on to its end even if nobody waits for it any more: a change that was begun is
    /// finished, or given up in order.
    pub async fn run<T, F, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(Rc<Store>) -> F + Send + 'static,
        F: Future<Output = Result<T>> + 'static,
    {
        let slot = self.slots.clone().acquire_owned().await.map_err(|_| Fault::Stopping)?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            Box::pin(async move {
                // Nobody may be waiting any more.
                let _ = answer.send(work(store).await);
                drop(slot);
            })
        });
        self.jobs.send(job).await.map_err(|_| Fault::Stopping)?;
        answered.await.map_err(|_| Fault::Stopping)?
    }
}

impl Jobs {
    /// Carries out what comes, until every bridge is gone.
    pub async fn carry_out(mut self, store: Rc<Store>) {
        while let Some(job) = self.0.recv().await {
            drop(store.ring.spawn(job(store.clone())));
        }
    }
}
