//! From a new connection to an export that its client has chosen.

use super::exports::{Export, Exports, Joined};
use super::inbox::Inbox;
use super::limits::{BLOCK_BYTES_PREFERRED, NAME_BYTES_MAX, OPTION_BYTES_MAX, OPTIONS_MAX, REQUEST_BYTES_MAX};
use super::tls::Tls;
use super::transport::Transport;
use super::wire::{self, ContextRequest, InfoRequest, handshake, info, option, option_reply, transmission};
use basalt_client::Error;
use basalt_ring::Ring;
use std::io;
use std::rc::Rc;

/// What was agreed on.
pub struct Agreement {
    pub export: Rc<Joined>,
    pub structured_replies: bool,
    pub block_status: bool,
}

/// How a negotiation ends without an export.
#[derive(Debug, thiserror::Error)]
pub enum NoAgreement {
    #[error("the connection ended: {0}")]
    Broken(#[from] io::Error),
    #[error("the client left")]
    Left,
    #[error("the client {0}")]
    Nonsense(&'static str),
}

pub struct Negotiation<'a> {
    pub ring: &'a Ring,
    pub exports: &'a Rc<Exports>,
    pub tls: Option<&'a Tls>,
    pub inbox: &'a mut Inbox,
}

/// What a client has asked for so far.
#[derive(Default)]
struct Wishes {
    no_zeroes: bool,
    structured_replies: bool,
    /// The export for which `base:allocation` was set.
    block_status_of: Option<String>,
}

impl Negotiation<'_> {
    pub async fn run(mut self) -> Result<Agreement, NoAgreement> {
        self.send(wire::greeting()).await?;
        let flags = u32::from_be_bytes(self.inbox.array().await?);
        let known = u32::from(handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES);
        if flags & !known != 0 {
            return Err(NoAgreement::Nonsense("sets handshake flags that it was not offered"));
        }
        let mut wishes = Wishes { no_zeroes: flags & u32::from(handshake::NO_ZEROES) != 0, ..Wishes::default() };
        for _ in 0..OPTIONS_MAX {
            let head = self.inbox.array().await?;
            let Some((number, length)) = wire::parse_option(&head) else {
                return Err(NoAgreement::Nonsense("sends no option where one begins"));
            };
            if length > OPTION_BYTES_MAX {
                if number == option::EXPORT_NAME {
                    return Err(NoAgreement::Nonsense("names an export with too long a name"));
                }
                self.skip(length).await?;
                self.refuse(number, option_reply::ERR_TOO_BIG, "the option is too long").await?;
                continue;
            }
            let data = self.inbox.bytes(length as usize).await?;
            if let Some(agreement) = self.option(number, &data, &mut wishes).await? {
                return Ok(agreement);
            }
        }
        Err(NoAgreement::Nonsense("tries too many options"))
    }

    async fn option(
        &mut self,
        number: u32,
        data: &[u8],
        wishes: &mut Wishes,
    ) -> Result<Option<Agreement>, NoAgreement> {
        let is_plain = matches!(self.inbox.transport, Transport::Plain(_));
        if is_plain && self.tls.is_some_and(|tls| tls.is_required) {
            match number {
                option::STARTTLS | option::ABORT => {}
                option::EXPORT_NAME => return Err(NoAgreement::Nonsense("chooses an export without TLS")),
                _ => {
                    self.refuse(number, option_reply::ERR_TLS_REQUIRED, "begin TLS first").await?;
                    return Ok(None);
                }
            }
        }
        match number {
            option::EXPORT_NAME => return self.export_name(data, wishes).await.map(Some),
            option::ABORT => {
                // The client may be gone already.
                let _ = self.reply(number, option_reply::ACK, &[]).await;
                return Err(NoAgreement::Left);
            }
            option::INFO | option::GO => return self.info(number, data, wishes).await,
            option::LIST | option::STRUCTURED_REPLY | option::STARTTLS if !data.is_empty() => {
                self.refuse(number, option_reply::ERR_INVALID, "this option has no data").await?;
            }
            option::STARTTLS => self.start_tls(wishes).await?,
            option::LIST => self.list().await?,
            option::STRUCTURED_REPLY => {
                wishes.structured_replies = true;
                self.reply(number, option_reply::ACK, &[]).await?;
            }
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => self.contexts(number, data, wishes).await?,
            _ => self.refuse(number, option_reply::ERR_UNSUPPORTED, "this option is not known here").await?,
        }
        Ok(None)
    }

    /// From here on all is inside TLS, and what was agreed on outside is forgotten: anybody may have said it.
    async fn start_tls(&mut self, wishes: &mut Wishes) -> Result<(), NoAgreement> {
        let (tls, socket) = match (self.tls, &self.inbox.transport) {
            (Some(tls), Transport::Plain(socket)) => (tls, socket.clone()),
            (None, _) => {
                return Ok(self.refuse(option::STARTTLS, option_reply::ERR_POLICY, "TLS is not set up here").await?);
            }
            (_, Transport::Tls(_)) => {
                return Ok(self.refuse(option::STARTTLS, option_reply::ERR_INVALID, "TLS has begun already").await?);
            }
        };
        if !self.inbox.is_empty() {
            return Err(NoAgreement::Nonsense("sends on before TLS has begun"));
        }
        self.reply(option::STARTTLS, option_reply::ACK, &[]).await?;
        let stream = tls.accept(self.ring, socket).await?;
        self.inbox.transport = Transport::Tls(Rc::new(stream));
        *wishes = Wishes { no_zeroes: wishes.no_zeroes, ..Wishes::default() };
        Ok(())
    }

    /// The old way: there is no reply that could refuse, only a closed connection.
    async fn export_name(&mut self, data: &[u8], wishes: &Wishes) -> Result<Agreement, NoAgreement> {
        let name = std::str::from_utf8(data)
            .map_err(|_| NoAgreement::Nonsense("names an export in bytes that are no text"))?;
        let export = self.exports.join(name).await.map_err(|error| {
            tracing::info!(export = name, reason = error.message(), "an export is refused");
            NoAgreement::Nonsense("wants an export that can't be served")
        })?;
        let zeroes = if wishes.no_zeroes { 0 } else { 124 };
        let reply = [&export_fields(&export, wishes.structured_replies)[..], &vec![0; zeroes]].concat();
        self.send(reply).await?;
        Ok(self.agree(export, wishes, name))
    }

    fn agree(&self, export: Joined, wishes: &Wishes, name: &str) -> Agreement {
        Agreement {
            export: Rc::new(export),
            structured_replies: wishes.structured_replies,
            block_status: wishes.block_status_of.as_deref() == Some(name),
        }
    }

    async fn info(&mut self, number: u32, data: &[u8], wishes: &Wishes) -> Result<Option<Agreement>, NoAgreement> {
        let Some(request) = InfoRequest::parse(data) else {
            self.refuse(number, option_reply::ERR_INVALID, "the option's lengths don't fit each other").await?;
            return Ok(None);
        };
        if request.export.len() > NAME_BYTES_MAX as usize {
            self.refuse(number, option_reply::ERR_TOO_BIG, "the export's name is too long").await?;
            return Ok(None);
        }
        if number == option::INFO {
            match self.exports.peek(&request.export).await {
                Ok((size, is_read_only)) => {
                    let fields = fields(size, is_read_only, wishes.structured_replies);
                    self.inform(number, &request, fields).await?;
                    self.reply(number, option_reply::ACK, &[]).await?;
                }
                Err(error) => self.refuse_export(number, &request.export, &error).await?,
            }
            return Ok(None);
        }
        let export = match self.exports.join(&request.export).await {
            Ok(export) => export,
            Err(error) => {
                self.refuse_export(number, &request.export, &error).await?;
                return Ok(None);
            }
        };
        let fields = export_fields(&export, wishes.structured_replies);
        self.inform(number, &request, fields).await?;
        self.reply(number, option_reply::ACK, &[]).await?;
        Ok(Some(self.agree(export, wishes, &request.export)))
    }

    async fn inform(&mut self, number: u32, request: &InfoRequest, fields: [u8; 10]) -> io::Result<()> {
        let export = [&info::EXPORT.to_be_bytes()[..], &fields].concat();
        self.reply(number, option_reply::INFO, &export).await?;
        for wanted in &request.wanted {
            let data = match *wanted {
                info::NAME => request.export.as_bytes().to_vec(),
                info::DESCRIPTION => format!("Basalt image {}", request.export).into_bytes(),
                info::BLOCK_SIZE => {
                    let sizes = [1, BLOCK_BYTES_PREFERRED, REQUEST_BYTES_MAX];
                    sizes.iter().flat_map(|size| size.to_be_bytes()).collect()
                }
                _ => continue,
            };
            self.reply(number, option_reply::INFO, &[&wanted.to_be_bytes()[..], &data].concat()).await?;
        }
        Ok(())
    }

    async fn refuse_export(&mut self, number: u32, name: &str, error: &Error) -> io::Result<()> {
        tracing::info!(export = name, reason = error.message(), "an export is refused");
        let kind = match error.errno() {
            // No such image, and what can be no name of one.
            2 | 22 => option_reply::ERR_UNKNOWN,
            // In use by somebody.
            16 => option_reply::ERR_POLICY,
            _ => option_reply::ERR_SHUTDOWN,
        };
        self.refuse(number, kind, error.message()).await
    }

    async fn list(&mut self) -> io::Result<()> {
        let names = match self.exports.list().await {
            Ok(names) => names,
            Err(error) => return self.refuse(option::LIST, option_reply::ERR_SHUTDOWN, error.message()).await,
        };
        for name in names {
            let data = [&(name.len() as u32).to_be_bytes()[..], name.as_bytes()].concat();
            self.reply(option::LIST, option_reply::SERVER, &data).await?;
        }
        self.reply(option::LIST, option_reply::ACK, &[]).await
    }

    async fn contexts(&mut self, number: u32, data: &[u8], wishes: &mut Wishes) -> io::Result<()> {
        let sets = number == option::SET_META_CONTEXT;
        if sets {
            // Whatever comes of it, what was set before is so no more.
            wishes.block_status_of = None;
        }
        let Some(request) = ContextRequest::parse(data) else {
            return self.refuse(number, option_reply::ERR_INVALID, "the option's lengths don't fit each other").await;
        };
        if !wishes.structured_replies {
            return self.refuse(number, option_reply::ERR_INVALID, "ask for structured replies first").await;
        }
        if let Err(error) = self.exports.peek(&request.export).await {
            return self.refuse_export(number, &request.export, &error).await;
        }
        if request.wants_allocation(!sets) {
            let id = if sets { wire::allocation::CONTEXT_ID } else { 0 };
            let context = [&id.to_be_bytes()[..], wire::allocation::CONTEXT.as_bytes()].concat();
            self.reply(number, option_reply::META_CONTEXT, &context).await?;
            if sets {
                wishes.block_status_of = Some(request.export);
            }
        }
        self.reply(number, option_reply::ACK, &[]).await
    }

    async fn refuse(&mut self, number: u32, kind: u32, message: &str) -> io::Result<()> {
        let message = message.get(..message.len().min(1024)).unwrap_or("");
        self.reply(number, kind, message.as_bytes()).await
    }

    async fn reply(&mut self, number: u32, kind: u32, data: &[u8]) -> io::Result<()> {
        self.send(wire::option_reply(number, kind, data)).await
    }

    async fn send(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let mut buffer = self.ring.buffer(bytes.len());
        buffer.copy_from_slice(&bytes);
        self.inbox.transport.send(vec![buffer.freeze()]).await
    }

    /// Takes no more memory than one receive.
    async fn skip(&mut self, length: u32) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let step = left.min(OPTION_BYTES_MAX);
            self.inbox.bytes(step as usize).await?;
            left -= step;
        }
        Ok(())
    }
}

fn export_fields(export: &Export, structured_replies: bool) -> [u8; 10] {
    fields(export.image.size(), export.is_read_only(), structured_replies)
}

/// Size and transmission flags, as EXPORT_NAME and INFO have them.
fn fields(size: u64, is_read_only: bool, structured_replies: bool) -> [u8; 10] {
    use transmission::*;
    // What one connection has flushed every connection sees: all share one open image.
    let mut flags = HAS_FLAGS | SEND_FLUSH | SEND_FUA | CAN_MULTI_CONN;
    flags |= if is_read_only { READ_ONLY } else { SEND_TRIM | SEND_WRITE_ZEROES | SEND_FAST_ZERO };
    if structured_replies {
        flags |= SEND_DF;
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7] = size.to_be_bytes();
    let [f0, f1] = flags.to_be_bytes();
    [s0, s1, s2, s3, s4, s5, s6, s7, f0, f1]
}
