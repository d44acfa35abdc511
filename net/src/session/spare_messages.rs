//! The memory of messages that were read, kept by each thread for those to come.

use crate::limits::{SPARE_MESSAGE_BYTES_MAX, SPARE_MESSAGES_MAX};
use rkyv::util::AlignedVec;
use std::cell::RefCell;

thread_local! {
    static KEPT: RefCell<Vec<AlignedVec>> = const { RefCell::new(Vec::new()) };
}

/// An empty vector for so many bytes.
pub(super) fn take(bytes: usize) -> AlignedVec {
    let kept = KEPT.try_with(|kept| kept.borrow_mut().pop()).ok().flatten();
    // All that are kept have the same capacity, so that any of them will do.
    match kept {
        Some(message) if bytes <= message.capacity() => message,
        _ if bytes <= SPARE_MESSAGE_BYTES_MAX => AlignedVec::with_capacity(SPARE_MESSAGE_BYTES_MAX),
        _ => AlignedVec::with_capacity(bytes),
    }
}

pub(super) fn give_back(mut message: AlignedVec) {
    if message.capacity() != SPARE_MESSAGE_BYTES_MAX {
        return;
    }
    // A thread that ends keeps nothing.
    let _ = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if kept.len() < SPARE_MESSAGES_MAX {
            message.clear();
            kept.push(message);
        }
    });
}
