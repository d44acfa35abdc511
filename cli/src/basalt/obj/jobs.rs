//! Several items of work at a time on one ring.

use basalt_cli::Result;
use basalt_ring::Ring;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Works on `items` in their order, `jobs` of them at a time. The first failure lets those under way end, starts no more, and is
/// returned.
pub async fn run<I, W, F>(ring: &Ring, jobs: u16, items: I, work: W) -> Result<()>
where
    I: Iterator + 'static,
    W: Fn(I::Item) -> F + 'static,
    F: Future<Output = Result<()>>,
{
    let shared = Rc::new((RefCell::new(items), Cell::new(false), work));
    let workers: Vec<_> = (0..jobs)
        .map(|_| {
            let shared = Rc::clone(&shared);
            ring.spawn(async move {
                let (items, failed, work) = &*shared;
                while !failed.get() {
                    let Some(item) = items.borrow_mut().next() else { break };
                    if let Err(failure) = work(item).await {
                        failed.set(true);
                        return Err(failure);
                    }
                }
                Ok(())
            })
        })
        .collect();
    let mut outcome = Ok(());
    for worker in workers {
        let ended = worker.await;
        outcome = outcome.and(ended);
    }
    outcome
}
