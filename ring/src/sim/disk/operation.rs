//! An operation in flight, and whom to tell of its end.

use super::{OpenDisk, errno};
use crate::Buffer;
use crate::local::OnceSender;
use crate::sim::faults::{FlushFault, ReadFault, WriteFault};
use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::rc::Rc;

pub(super) struct Operation {
    /// Keeps the device open until the operation is over.
    pub device: Rc<OpenDisk>,
    pub kind: Kind,
}

pub(super) enum Kind {
    Read { offset: u64, buffer: Buffer, fault: Option<ReadFault>, reply: OnceSender<(io::Result<()>, Buffer)> },
    Write { write: u64, offset: u64, data: Rc<[u8]>, fault: Option<WriteFault>, reply: Rc<RefCell<Reply>> },
    Flush { covers: u64, fault: Option<FlushFault>, reply: OnceSender<io::Result<()>> },
}

impl Kind {
    /// What it touches; a flush everything.
    pub fn range(&self) -> Range<u64> {
        match self {
            Kind::Read { offset, buffer, .. } => *offset..offset + buffer.len() as u64,
            Kind::Write { offset, data, .. } => *offset..offset + data.len() as u64,
            Kind::Flush { .. } => 0..u64::MAX,
        }
    }
}

/// One answer for the writes that a discard is made of.
pub(super) struct Reply {
    outstanding: usize,
    result: io::Result<()>,
    sender: Option<OnceSender<io::Result<()>>>,
}

impl Reply {
    pub fn to(sender: OnceSender<io::Result<()>>, outstanding: usize) -> Rc<RefCell<Reply>> {
        Rc::new(RefCell::new(Reply { outstanding, result: Ok(()), sender: Some(sender) }))
    }

    pub fn settle(reply: &Rc<RefCell<Reply>>, result: io::Result<()>) {
        let sender = {
            let mut reply = reply.borrow_mut();
            if result.is_err() {
                reply.result = result;
            }
            reply.outstanding -= 1;
            if reply.outstanding > 0 {
                return;
            }
            let result = std::mem::replace(&mut reply.result, Ok(()));
            reply.sender.take().map(|sender| (sender, result))
        };
        if let Some((sender, result)) = sender {
            sender.send(result);
        }
    }
}

impl Operation {
    pub fn fail(self, code: i32) {
        match self.kind {
            Kind::Read { buffer, reply, .. } => reply.send((Err(errno(code)), buffer)),
            Kind::Write { reply, .. } => Reply::settle(&reply, Err(errno(code))),
            Kind::Flush { reply, .. } => reply.send(Err(errno(code))),
        }
    }
}
