//! Daemons of neighbouring releases read each other's messages as archives whose layout both know, so that layout is pinned here. A variant
//! that is added at an enum's end is harmless as long as it makes the enum no larger: an archive's root lies at its end, and begins as far
//! before it as the type is large.
//!
//! If this fails, the change can't be read by the release before: give the message a frame kind of its own, sent only to ends with a new
//! feature ([`crate::Features`]), or put what is new into a variant that is no larger.

use super::{monitor, object, peer};
use rkyv::Archived;
use std::mem::{align_of, size_of};

fn of<T: rkyv::Archive>() -> (usize, usize) {
    (size_of::<Archived<T>>(), align_of::<Archived<T>>())
}

#[test]
fn archives_have_the_layout_that_the_release_before_reads() {
    let found = [
        ("monitor::MonitorRequest", of::<monitor::MonitorRequest>()),
        ("monitor::MonitorReply", of::<monitor::MonitorReply>()),
        ("monitor::AdminCommand", of::<monitor::AdminCommand>()),
        ("monitor::OsdReport", of::<monitor::OsdReport>()),
        ("monitor::PoolReport", of::<monitor::PoolReport>()),
        ("monitor::OsdBoot", of::<monitor::OsdBoot>()),
        ("object::ObjectRequest", of::<object::ObjectRequest>()),
        ("object::ObjectReply", of::<object::ObjectReply>()),
        ("object::Operation", of::<object::Operation>()),
        ("object::OperationResult", of::<object::OperationResult>()),
        ("object::ListRequest", of::<object::ListRequest>()),
        ("object::ListReply", of::<object::ListReply>()),
        ("object::OsdCommandRequest", of::<object::OsdCommandRequest>()),
        ("object::OsdCommandReply", of::<object::OsdCommandReply>()),
        ("peer::PeerRequest", of::<peer::PeerRequest>()),
        ("peer::PeerReply", of::<peer::PeerReply>()),
    ];
    let pinned = [
        ("monitor::MonitorRequest", (256, 16)),
        ("monitor::MonitorReply", (40, 8)),
        ("monitor::AdminCommand", (64, 8)),
        ("monitor::OsdReport", (240, 8)),
        ("monitor::PoolReport", (240, 8)),
        ("monitor::OsdBoot", (80, 8)),
        ("object::ObjectRequest", (64, 8)),
        ("object::ObjectReply", (64, 8)),
        ("object::Operation", (40, 8)),
        ("object::OperationResult", (32, 8)),
        ("object::ListRequest", (48, 8)),
        ("object::ListReply", (48, 8)),
        ("object::OsdCommandRequest", (32, 8)),
        ("object::OsdCommandReply", (40, 8)),
        ("peer::PeerRequest", (136, 8)),
        ("peer::PeerReply", (112, 8)),
    ];
    assert_eq!(found, pinned);
}
