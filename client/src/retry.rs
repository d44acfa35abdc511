//! One request until it is answered: to the OSD that the newest map names, again after a broken session, a stale map or a move, always under
//! the same id, so that it is applied once however often it arrives.

use crate::client::Inner;
use crate::cluster_view::Target;
use crate::error::{EAGAIN, ESTALE, ETIMEDOUT, Error, Result};
use crate::limits::{RETRY_DELAY_MAX, RETRY_DELAY_MIN};
use crate::osd_link::NoAnswer;
use crate::request::{Answer, NoTarget, Request};
use basalt_ring::Ring;
use basalt_ring::local::{Either, select};
use std::cell::RefCell;
use std::time::Duration;

/// The answer, which may carry an errno, or why there is none. `bytes` go out or are asked for.
pub(crate) async fn run(client: &Inner, mut request: Request, bytes: u64) -> Result<Answer> {
    let waits_for = RefCell::new(String::from("earlier requests of this client"));
    let limit = client.config.operation_timeout;
    let in_turn = async {
        let _slot = client.slots.acquire(1).await;
        let _bytes = client.bytes.acquire(bytes).await;
        until_answered(client, &mut request, &waits_for).await
    };
    let answered = client.ring.timeout(limit, in_turn).await;
    answered.unwrap_or_else(|_| {
        let waits_for = waits_for.take();
        Err(Error::new(
            ETIMEDOUT,
            format!("not done within {limit:?}, and it may still be applied; it waits for this: {waits_for}"),
        ))
    })
}

async fn until_answered(client: &Inner, request: &mut Request, waits_for: &RefCell<String>) -> Result<Answer> {
    let mut backoff = Backoff::default();
    loop {
        let changed = client.view.changed();
        let Some(map) = client.view.map() else {
            *waits_for.borrow_mut() = "a first map from a monitor".into();
            changed.await;
            continue;
        };
        let target = match request.target(&map) {
            Ok(target) => target,
            Err(NoTarget::Never(error)) => return Err(error),
            Err(NoTarget::NotYet(missing)) => {
                *waits_for.borrow_mut() = format!("{missing}, as of map {}", map.epoch());
                changed.await;
                continue;
            }
        };
        request.place(&map, client.ids.completed_up_to());
        *waits_for.borrow_mut() = format!("an answer of osd.{} at {}", target.osd, target.address);
        let link = client.link(&target);
        let obstacle = match select(link.ask(request), moved(client, request, &target)).await {
            Either::First(Ok(answer)) if !matches!(answer.errno(), ESTALE | EAGAIN) => return Ok(answer),
            Either::First(Ok(answer)) => {
                let (name, epoch) = (crate::error::errno_name(answer.errno()), map.epoch());
                format!("osd.{} answers {name} to a request by map {epoch}: {}", target.osd, answer.message())
            }
            Either::First(Err(NoAnswer::TooLarge(error))) => return Err(Error::too_large(&error)),
            Either::First(Err(NoAnswer::Broken(reason))) => reason,
            // The new place is asked at once.
            Either::Second(()) => continue,
        };
        tracing::debug!(request = ?request.id(), obstacle, "will be sent again");
        *waits_for.borrow_mut() = obstacle;
        select(client.ring.sleep(backoff.next(&client.ring)), changed).await;
    }
}

/// Ends when the newest map sends the request elsewhere.
async fn moved(client: &Inner, request: &Request, target: &Target) {
    loop {
        let changed = client.view.changed();
        let stays = client.view.map().is_some_and(|map| matches!(request.target(&map), Ok(now) if now == *target));
        if !stays {
            return;
        }
        changed.await;
    }
}

/// Doubles from attempt to attempt.
#[derive(Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Half of the delay is fixed and half random, so that many clients of one dead OSD don't come back as one.
    pub fn next(&mut self, ring: &Ring) -> Duration {
        let delay = RETRY_DELAY_MIN.saturating_mul(1 << self.attempts.min(16)).min(RETRY_DELAY_MAX);
        self.attempts += 1;
        let half = delay / 2;
        half + Duration::from_nanos(ring.random_u64() % (half.as_nanos() as u64).max(1))
    }
}
