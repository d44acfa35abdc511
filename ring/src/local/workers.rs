use crate::Ring;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

/// Tasks that do one job after the other: a job costs neither an allocation nor a task's beginning and end, once there are as many tasks
/// as there are jobs at the same time. Those without a job end with this.
pub struct Workers<J> {
    shared: Rc<Shared<J>>,
}

struct Shared<J> {
    idle: RefCell<Vec<Rc<Desk<J>>>>,
    /// More than so many do not wait for work.
    kept: usize,
}

/// Where a worker finds its next job.
struct Desk<J> {
    job: Cell<Option<J>>,
    worker: Cell<Option<Waker>>,
    closed: Cell<bool>,
}

impl<J: 'static> Workers<J> {
    pub fn new(kept: usize) -> Workers<J> {
        Workers { shared: Rc::new(Shared { idle: RefCell::new(Vec::with_capacity(kept)), kept }) }
    }

    /// Has a job done, beginning with the next turn. All calls of one `Workers` pass the same work.
    pub fn start(&self, ring: &Ring, job: J, work: impl AsyncFn(J) + 'static) {
        let idle = self.shared.idle.borrow_mut().pop();
        match idle {
            Some(desk) => {
                desk.job.set(Some(job));
                if let Some(worker) = desk.worker.take() {
                    worker.wake();
                }
            }
            None => {
                let shared = Rc::downgrade(&self.shared);
                let desk =
                    Rc::new(Desk { job: Cell::new(Some(job)), worker: Cell::new(None), closed: Cell::new(false) });
                ring.spawn(async move {
                    while let Some(job) = desk.next_job().await {
                        work(job).await;
                        if !has_place_for(&shared, &desk) {
                            return;
                        }
                    }
                });
            }
        }
    }

    #[cfg(test)]
    fn idle(&self) -> usize {
        self.shared.idle.borrow().len()
    }
}

/// Whether a worker may wait for another job; then it is in line for one.
fn has_place_for<J>(shared: &Weak<Shared<J>>, desk: &Rc<Desk<J>>) -> bool {
    let Some(shared) = shared.upgrade() else { return false };
    let mut idle = shared.idle.borrow_mut();
    let has_place = idle.len() < shared.kept;
    if has_place {
        idle.push(desk.clone());
    }
    has_place
}

impl<J> Desk<J> {
    /// `None`: there will be no more.
    async fn next_job(&self) -> Option<J> {
        poll_fn(|context| match self.job.take() {
            Some(job) => Poll::Ready(Some(job)),
            None if self.closed.get() => Poll::Ready(None),
            None => {
                self.worker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

impl<J> Drop for Workers<J> {
    fn drop(&mut self) {
        for desk in self.shared.idle.take() {
            desk.closed.set(true);
            if let Some(worker) = desk.worker.take() {
                worker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::{OnceReceiver, once};
    use crate::sim::World;

    #[test]
    fn jobs_at_the_same_time_have_workers_of_their_own_and_later_ones_the_same() {
        let world = World::new(1);
        let ring = world.process("only", [10, 0, 0, 1].into()).ring();
        world.block_on(async {
            let done = Rc::new(Cell::new(0));
            let workers: Workers<OnceReceiver<u32>> = Workers::new(2);
            let add = |done: &Rc<Cell<u32>>| {
                let done = done.clone();
                async move |number: OnceReceiver<u32>| {
                    let number = number.await.unwrap_or(1000);
                    done.set(done.get() + number);
                }
            };
            for round in 1..=3u32 {
                let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| once()).unzip();
                receivers.into_iter().for_each(|number| workers.start(&ring, number, add(&done)));
                // The last begun ends first.
                for sender in senders.into_iter().rev() {
                    sender.send(round);
                    ring.sleep(std::time::Duration::from_millis(1)).await;
                }
                assert_eq!(workers.idle(), 2, "of three, two wait for more");
            }
            assert_eq!(done.get(), 18);
            let desks: Vec<_> = workers.shared.idle.borrow().iter().map(Rc::downgrade).collect();
            drop(workers);
            ring.sleep(std::time::Duration::from_millis(1)).await;
            assert!(desks.iter().all(|desk| desk.upgrade().is_none()), "workers without work have ended");
        });
    }
}
