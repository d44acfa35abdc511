//! An open disk: what a process asks of it.

use super::operation::{Kind, Operation, Reply};
use super::{DiskState, MICROSECOND, errno};
use crate::local::once;
use crate::sim::DiskEvent;
use crate::sim::faults::Faults;
use crate::sim::process::Host;
use crate::{Buffer, Slice};
use std::io;
use std::rc::{Rc, Weak};

/// The pieces a discard is made of, each of which reads as its own kind of leftover.
const DISCARD_PIECE: u64 = 1 << 20;

/// An open handle. The device is closed with its last clone and last operation.
pub(crate) struct OpenDisk {
    disk: Rc<DiskState>,
    host: Weak<Host>,
    epoch: u64,
    write: bool,
    exclusive: bool,
}

impl OpenDisk {
    pub(super) fn new(disk: &Rc<DiskState>, host: &Rc<Host>, epoch: u64, write: bool, exclusive: bool) -> OpenDisk {
        OpenDisk { disk: disk.clone(), host: Rc::downgrade(host), epoch, write, exclusive }
    }

    pub(super) fn belongs_to(&self, host: &Rc<Host>) -> bool {
        std::ptr::eq(self.host.as_ptr(), Rc::as_ptr(host))
    }
}

impl Drop for OpenDisk {
    fn drop(&mut self) {
        let mut inner = self.disk.inner.borrow_mut();
        if self.exclusive && inner.epoch == self.epoch {
            inner.exclusive = false;
        }
    }
}

impl OpenDisk {
    fn host(&self) -> io::Result<Rc<Host>> {
        let host = self.host.upgrade().filter(|host| host.is_alive()).ok_or_else(|| errno(libc::ECANCELED))?;
        let inner = self.disk.inner.borrow();
        if inner.faults.is_gone() || self.epoch < inner.vanished {
            return Err(errno(libc::ENODEV));
        }
        if inner.epoch != self.epoch {
            return Err(errno(libc::EIO));
        }
        Ok(host)
    }

    fn writable_host(&self) -> io::Result<Rc<Host>> {
        if !self.write {
            return Err(errno(libc::EBADF));
        }
        self.host()
    }

    pub(crate) async fn read(self: &Rc<Self>, offset: u64, buffer: Buffer) -> (io::Result<()>, Buffer) {
        let host = match self.host() {
            Ok(host) => host,
            Err(error) => return (Err(error), buffer),
        };
        let (reply, answer) = once();
        let latency = self.disk.latency(host.shared());
        let fault = self.disk.with_faults(Faults::next_read);
        let kind = Kind::Read { offset, buffer, fault, reply };
        self.disk.submit(host.shared(), latency, Operation { device: self.clone(), kind });
        match answer.await {
            Some(answer) => answer,
            None => std::future::pending().await, // The world is gone.
        }
    }

    pub(crate) async fn write(self: &Rc<Self>, offset: u64, data: Slice) -> io::Result<()> {
        let host = self.writable_host()?;
        self.write_all(&host, vec![(offset, Rc::from(&*data))]).await
    }

    async fn write_all(self: &Rc<Self>, host: &Host, pieces: Vec<(u64, Rc<[u8]>)>) -> io::Result<()> {
        if pieces.is_empty() {
            return Ok(());
        }
        let (sender, answer) = once();
        let reply = Reply::to(sender, pieces.len());
        for (offset, data) in pieces {
            let (write, fault) = {
                let mut inner = self.disk.inner.borrow_mut();
                let write = inner.next_write;
                inner.next_write += 1;
                inner.log(DiskEvent::WriteSubmitted { write, offset, data: data.clone() });
                (write, inner.faults.next_write())
            };
            let latency = self.disk.latency(host.shared());
            let kind = Kind::Write { write, offset, data, fault, reply: reply.clone() };
            self.disk.submit(host.shared(), latency, Operation { device: self.clone(), kind });
        }
        drop(reply);
        answer.await.unwrap_or_else(|| Err(errno(libc::ECANCELED)))
    }

    pub(crate) async fn flush(self: &Rc<Self>) -> io::Result<()> {
        let host = self.host()?;
        let (reply, answer) = once();
        let (covers, fault) = {
            let mut inner = self.disk.inner.borrow_mut();
            (inner.completed, inner.faults.next_flush())
        };
        let latency = host.shared().between(100 * MICROSECOND, 2000 * MICROSECOND);
        let kind = Kind::Flush { covers, fault, reply };
        self.disk.submit(host.shared(), latency, Operation { device: self.clone(), kind });
        answer.await.unwrap_or_else(|| Err(errno(libc::ECANCELED)))
    }

    /// To the disk a discard is a number of writes, each of zeros or of garbage; some of the range it leaves alone.
    pub(crate) async fn discard(self: &Rc<Self>, offset: u64, length: u64) -> io::Result<()> {
        let host = self.writable_host()?;
        if !self.disk.info.discard {
            return Ok(());
        }
        let mut pieces = Vec::new();
        {
            let mut random = host.shared().random.borrow_mut();
            let mut start = offset;
            while start < offset + length {
                let end = (offset + length).min((start / DISCARD_PIECE + 1) * DISCARD_PIECE);
                let mut data = vec![0; (end - start) as usize];
                match random.below(3) {
                    0 => pieces.push((start, Rc::from(data))),
                    1 => {
                        random.fill(&mut data);
                        pieces.push((start, Rc::from(data)));
                    }
                    _ => {}
                }
                start = end;
            }
        }
        self.write_all(&host, pieces).await
    }
}
