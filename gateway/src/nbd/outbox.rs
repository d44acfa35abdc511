//! What a client is sent: replies in the order in which they are ready, many in one send.

use super::limits::{GATHERED_REPLIES_MAX, STALL_MAX};
use super::transport::Transport;
use basalt_ring::local::{Permit, QueueReceiver, QueueSender, queue};
use basalt_ring::{Ring, Slice, Task};

/// A part of a reply.
pub enum Part {
    Head(Vec<u8>),
    Data(Slice),
}

/// What a request may use while it is in flight, given back when its reply is sent.
pub type Permits = [Permit; 3];

pub struct Reply {
    pub parts: Vec<Part>,
    /// Held only to be given back.
    pub _permits: Permits,
}

#[derive(Clone)]
pub struct Outbox {
    replies: QueueSender<Reply>,
}

impl Outbox {
    /// The task ends when the last outbox is gone and all is sent, or when the client takes nothing any more; it closes the connection then.
    pub fn open(ring: &Ring, transport: Transport) -> (Outbox, Task<()>) {
        let (replies, receiver) = queue();
        let task = ring.spawn(send_all(ring.clone(), transport, receiver));
        (Outbox { replies }, task)
    }

    /// Nobody hears a reply to one who has gone.
    pub fn send(&self, reply: Reply) {
        let _ = self.replies.send(reply);
    }
}

async fn send_all(ring: Ring, transport: Transport, mut replies: QueueReceiver<Reply>) {
    while let Some(first) = replies.receive().await {
        let mut gathered = vec![first];
        while gathered.len() < GATHERED_REPLIES_MAX
            && let Some(next) = replies.try_receive()
        {
            gathered.push(next);
        }
        let slices = slices(&ring, &gathered);
        match ring.timeout(STALL_MAX, transport.send(slices)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "a client is gone");
                break;
            }
            Err(_) => {
                tracing::warn!("a client takes none of its replies: its connection ends");
                break;
            }
        }
    }
    transport.shutdown();
}

/// All heads in one buffer, with the data between them.
fn slices(ring: &Ring, replies: &[Reply]) -> Vec<Slice> {
    let parts = || replies.iter().flat_map(|reply| &reply.parts);
    let heads = parts().map(|part| if let Part::Head(head) = part { head.len() } else { 0 }).sum();
    let mut buffer = ring.buffer(heads);
    let mut at = 0;
    for part in parts() {
        if let Part::Head(head) = part {
            if let Some(place) = buffer.get_mut(at..at + head.len()) {
                place.copy_from_slice(head);
            }
            at += head.len();
        }
    }
    let heads = buffer.freeze();
    let mut slices = Vec::new();
    // Heads that follow each other go as one.
    let (mut from, mut to) = (0, 0);
    for part in parts() {
        match part {
            Part::Head(head) => to += head.len(),
            Part::Data(data) => {
                slices.push(heads.slice(from..to));
                from = to;
                slices.push(data.clone());
            }
        }
    }
    slices.push(heads.slice(from..to));
    slices
}
