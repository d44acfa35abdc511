//! Requests on a chosen export, many at a time, each answered when it is done.

use super::exports::Joined;
use super::figures::Counts;
use super::inbox::Inbox;
use super::limits::{CONNECTION_BYTES_MAX, CONNECTION_REQUESTS_MAX, EXTENTS_MAX, REQUEST_BYTES_MAX, STALL_MAX};
use super::negotiate::Agreement;
use super::outbox::{Outbox, Part, Permits, Reply};
use super::wire::{self, Request, allocation, chunk, command, error};
use basalt_client::image::Segment;
use basalt_client::{Error, Result};
use basalt_ring::local::Semaphore;
use basalt_ring::{Ring, Slice};
use std::io;
use std::rc::Rc;

/// Bytes that any request costs, whatever it carries.
const REQUEST_COST: u64 = 4096;

/// What all connections share.
pub struct Shared {
    pub ring: Ring,
    /// Bytes in flight.
    pub bytes: Semaphore,
    pub zeros: Slice,
    pub counts: Counts,
}

struct Connection {
    shared: Rc<Shared>,
    export: Rc<Joined>,
    structured_replies: bool,
    block_status: bool,
    outbox: Outbox,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub enum End {
    #[error("the connection ended: {0}")]
    Broken(#[from] io::Error),
    #[error("the client {0}")]
    Nonsense(String),
    #[error("the client began a request and did not go on for {} s", STALL_MAX.as_secs())]
    Stalled,
    #[error("the export is served no more: {0}")]
    Stopped(Error),
}

/// Serves until the client leaves; everything it asked for has been answered then, or can't be.
pub async fn run(shared: Rc<Shared>, agreement: &Agreement, inbox: &mut Inbox) -> std::result::Result<(), End> {
    let (outbox, sending) = Outbox::open(&shared.ring, inbox.transport.clone());
    let connection = Rc::new(Connection {
        shared,
        export: agreement.export.clone(),
        structured_replies: agreement.structured_replies,
        block_status: agreement.block_status,
        outbox,
    });
    let ended = receive_all(&connection, inbox).await;
    if ended.is_err() {
        inbox.transport.shutdown();
    }
    drop(connection);
    // Ends when the last request has dropped its outbox.
    sending.await;
    ended
}

async fn receive_all(connection: &Rc<Connection>, inbox: &mut Inbox) -> std::result::Result<(), End> {
    let bytes = Semaphore::new(CONNECTION_BYTES_MAX);
    let requests = Semaphore::new(CONNECTION_REQUESTS_MAX);
    loop {
        if let Some(why) = connection.export.image.stopped() {
            return Err(End::Stopped(why));
        }
        if !inbox.wait().await? {
            return Ok(());
        }
        let ring = connection.shared.ring.clone();
        let head = ring.timeout(STALL_MAX, inbox.array()).await.map_err(|_| End::Stalled)??;
        let Some(request) = Request::parse(&head) else {
            return Err(End::Nonsense("sends no request where one begins".into()));
        };
        let carries_data = match request.command {
            command::DISCONNECT => return Ok(()),
            command::WRITE => true,
            _ => false,
        };
        let moves_data = carries_data || request.command == command::READ;
        if carries_data && request.length > REQUEST_BYTES_MAX {
            // Nobody takes that much only to throw it away.
            return Err(End::Nonsense(format!(
                "writes {} bytes at once, where {REQUEST_BYTES_MAX} are possible",
                request.length
            )));
        }
        let cost =
            if moves_data { REQUEST_COST + u64::from(request.length.min(REQUEST_BYTES_MAX)) } else { REQUEST_COST };
        // The connection's own first: who has too much in flight waits here, and holds nothing that others need.
        let permits: Permits =
            [requests.acquire(1).await, bytes.acquire(cost).await, connection.shared.bytes.acquire(cost).await];
        let data = if carries_data {
            let data = ring.timeout(STALL_MAX, inbox.data(request.length as usize)).await;
            Some(data.map_err(|_| End::Stalled)??)
        } else {
            None
        };
        let connection = connection.clone();
        ring.spawn(async move {
            let parts = connection.answer(&request, data).await;
            connection.outbox.send(Reply { parts, _permits: permits });
        });
    }
}

impl Connection {
    async fn answer(&self, request: &Request, data: Option<Slice>) -> Vec<Part> {
        let (structured, begun) = (self.structured_replies, self.shared.ring.now());
        let answered = match request.command {
            command::READ => self.read(request).await,
            command::BLOCK_STATUS if self.block_status => self.block_status(request).await,
            _ => self.change(request, data).await.map(|()| vec![Part::Head(wire::simple_reply(0, request.cookie))]),
        };
        let took = self.shared.ring.now().since(begun);
        self.shared.counts.note(request.command, request.length, answered.is_ok(), took);
        answered.unwrap_or_else(|refusal| {
            let number = error::of(refusal.errno());
            tracing::debug!(export = %self.export.name, ?request, reason = refusal.message(), "a request fails");
            let head = if structured {
                wire::error_chunk(number, refusal.message(), request.cookie)
            } else {
                wire::simple_reply(number, request.cookie)
            };
            vec![Part::Head(head)]
        })
    }

    async fn read(&self, request: &Request) -> Result<Vec<Part>> {
        self.check(request, command::FLAG_DF)?;
        if request.length > REQUEST_BYTES_MAX {
            return Err(invalid(format!("a read of {} bytes, where {REQUEST_BYTES_MAX} are possible", request.length)));
        }
        let segments = self.export.image.read(request.offset, u64::from(request.length)).await?;
        let mut parts = Vec::new();
        if !self.structured_replies {
            parts.push(Part::Head(wire::simple_reply(0, request.cookie)));
            segments.into_iter().for_each(|segment| self.push_data(&mut parts, segment));
            return Ok(parts);
        }
        if request.flags & command::FLAG_DF != 0
            || segments.len() < 2 && !matches!(segments.first(), Some(Segment::Zeros(_)))
        {
            let offset = request.offset.to_be_bytes();
            parts.push(Part::Head(wire::chunk(chunk::OFFSET_DATA, true, request.cookie, &offset, request.length)));
            segments.into_iter().for_each(|segment| self.push_data(&mut parts, segment));
            return Ok(parts);
        }
        let mut offset = request.offset;
        let last = segments.len().saturating_sub(1);
        for (index, segment) in segments.into_iter().enumerate() {
            let length = segment.len();
            match &segment {
                Segment::Zeros(zeros) => {
                    // A request's length has 32 bits, and so has that of each part.
                    let fields = [&offset.to_be_bytes()[..], &(*zeros as u32).to_be_bytes()].concat();
                    parts.push(Part::Head(wire::chunk(chunk::OFFSET_HOLE, index == last, request.cookie, &fields, 0)));
                }
                Segment::Data(data) => {
                    let (fields, length) = (offset.to_be_bytes(), data.len() as u32);
                    let head = wire::chunk(chunk::OFFSET_DATA, index == last, request.cookie, &fields, length);
                    parts.push(Part::Head(head));
                    self.push_data(&mut parts, segment);
                }
            }
            offset += length;
        }
        Ok(parts)
    }

    fn push_data(&self, parts: &mut Vec<Part>, segment: Segment) {
        match segment {
            Segment::Data(data) => parts.push(Part::Data(data)),
            Segment::Zeros(mut length) => {
                let zeros = &self.shared.zeros;
                while length > 0 {
                    let step = length.min(zeros.len() as u64);
                    parts.push(Part::Data(zeros.slice(0..step as usize)));
                    length -= step;
                }
            }
        }
    }

    async fn block_status(&self, request: &Request) -> Result<Vec<Part>> {
        self.check(request, command::FLAG_REQ_ONE)?;
        if request.length == 0 {
            return Err(invalid("a question about no bytes at all".into()));
        }
        let max = if request.flags & command::FLAG_REQ_ONE != 0 { 1 } else { EXTENTS_MAX };
        let extents = self.export.image.extents(request.offset, u64::from(request.length), max).await?;
        let mut fields = allocation::CONTEXT_ID.to_be_bytes().to_vec();
        for extent in extents {
            let flags = if extent.is_data { 0 } else { allocation::HOLE | allocation::ZERO };
            fields.extend((extent.length as u32).to_be_bytes());
            fields.extend(flags.to_be_bytes());
        }
        Ok(vec![Part::Head(wire::chunk(chunk::BLOCK_STATUS, true, request.cookie, &fields, 0))])
    }

    async fn change(&self, request: &Request, data: Option<Slice>) -> Result<()> {
        let image = &self.export.image;
        let (offset, length) = (request.offset, u64::from(request.length));
        // Everything is durable when it is acknowledged, so there is nothing that FUA or a flush could add.
        match (request.command, data) {
            (command::WRITE, Some(data)) => {
                self.check_change(request, command::FLAG_FUA)?;
                image.write(offset, data).await
            }
            (command::FLUSH, _) => {
                if (offset, length) != (0, 0) {
                    return Err(invalid("a flush of a range".into()));
                }
                self.check(request, command::FLAG_FUA)
            }
            (command::TRIM, _) => {
                self.check_change(request, command::FLAG_FUA)?;
                image.discard(offset, length).await
            }
            // A hole is as good as zeros: an overwrite takes new space in any case.
            (command::WRITE_ZEROES, _) => {
                let flags = command::FLAG_FUA | command::FLAG_NO_HOLE | command::FLAG_FAST_ZERO;
                self.check_change(request, flags)?;
                image.discard(offset, length).await
            }
            _ => Err(invalid(format!("command {}, which is not known or was not negotiated", request.command))),
        }
    }

    /// What is asked of a change beyond [`Connection::check`].
    fn check_change(&self, request: &Request, flags: u16) -> Result<()> {
        if self.export.is_read_only() {
            return Err(Error::new(1, format!("{} is served for reading only", self.export.name)));
        }
        self.check_flags(request, flags)?;
        let size = self.export.image.size();
        let end = request.offset.checked_add(u64::from(request.length));
        if end.is_none_or(|end| end > size) {
            let message =
                format!("{} bytes at {} end beyond the {size} of {}", request.length, request.offset, self.export.name);
            return Err(Error::new(error::ENOSPC as i32, message));
        }
        Ok(())
    }

    fn check(&self, request: &Request, flags: u16) -> Result<()> {
        self.check_flags(request, flags | command::FLAG_FUA)
    }

    fn check_flags(&self, request: &Request, flags: u16) -> Result<()> {
        if request.flags & !flags == 0 {
            return Ok(());
        }
        Err(invalid(format!("flags {:#x} with command {}", request.flags, request.command)))
    }
}

fn invalid(message: String) -> Error {
    Error::new(error::EINVAL as i32, message)
}
