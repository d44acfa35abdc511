//! One receive into several buffers.

use super::driver::Uring;
use super::file::{File, on_target};
use super::operation::{Abandon, Held, InFlight, is_interrupted, outcome};
use super::socket::UringSocket;
use crate::Buffer;
use crate::limits::IDLE_MESSAGES_MAX;
use io_uring::opcode;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The header of a scattered receive and what it points to; it keeps its place in memory while the kernel has it.
#[derive(Default)]
pub(super) struct Scatter {
    buffers: Vec<Buffer>,
    vectors: Vec<libc::iovec>,
    header: Option<libc::msghdr>,
}

impl Scatter {
    fn prepare(&mut self) -> *mut libc::msghdr {
        self.vectors.clear();
        for buffer in &mut self.buffers {
            let (iov_base, iov_len) = (buffer.as_kernel_pointer().cast(), buffer.len());
            self.vectors.push(libc::iovec { iov_base, iov_len });
        }
        // SAFETY: an all-zero header is a valid, empty one.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = self.vectors.as_mut_ptr();
        header.msg_iovlen = self.vectors.len();
        std::ptr::from_mut(self.header.insert(header))
    }
}

pub(crate) struct UringScatter {
    driver: Rc<Uring>,
    file: Rc<File>,
    in_flight: InFlight,
}

fn begin(driver: &Rc<Uring>, file: &Rc<File>, mut scatter: Box<Scatter>) -> InFlight {
    let pointer = scatter.prepare();
    let entry = on_target!(file, |target| opcode::RecvMsg::new(target, pointer).build());
    driver.start(entry, file, Held::Scatter(scatter), Abandon::Cancel)
}

impl UringSocket {
    pub(crate) fn start_receive_scattered(&self, buffers: Vec<Buffer>) -> UringScatter {
        let (driver, file) = (self.driver.clone(), self.file.clone());
        let mut scatter = driver.idle_scatters.borrow_mut().pop().unwrap_or_default();
        scatter.buffers = buffers;
        let in_flight = begin(&driver, &file, scatter);
        UringScatter { driver, file, in_flight }
    }
}

impl Future for UringScatter {
    type Output = (io::Result<usize>, Vec<Buffer>);
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let (result, held) = std::task::ready!(Pin::new(&mut self.in_flight).poll(context));
            let Held::Scatter(mut scatter) = held else { unreachable!("the operation was given a scatter") };
            if !is_interrupted(result) {
                let buffers = std::mem::take(&mut scatter.buffers);
                scatter.header = None;
                let mut idle = self.driver.idle_scatters.borrow_mut();
                if idle.len() < IDLE_MESSAGES_MAX {
                    idle.push(scatter);
                }
                return Poll::Ready((outcome(result), buffers));
            }
            self.in_flight = begin(&self.driver, &self.file, scatter);
        }
    }
}
