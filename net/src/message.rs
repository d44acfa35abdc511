//! What peers say to each other, as `rkyv` archives; always validated before use.

#[cfg(test)]
mod layout;
pub mod monitor;
pub mod object;
pub mod peer;

use crate::frame::FrameKind;
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

/// A message with a frame kind of its own. Any `rkyv` type without shared pointers can be one; other crates add theirs, with kinds
/// from the ranges in [`FrameKind`].
pub trait Message:
    Archive<Archived: for<'a> CheckBytes<HighValidator<'a, Error>> + Deserialize<Self, HighDeserializer<Error>>>
    + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Error>>
    + Sized
    + 'static
{
    const KIND: FrameKind;
}

impl Message for object::ObjectRequest {
    const KIND: FrameKind = FrameKind::OBJECT_REQUEST;
}
impl Message for object::ObjectReply {
    const KIND: FrameKind = FrameKind::OBJECT_REPLY;
}
impl Message for object::ListRequest {
    const KIND: FrameKind = FrameKind::LIST_REQUEST;
}
impl Message for object::ListReply {
    const KIND: FrameKind = FrameKind::LIST_REPLY;
}
impl Message for object::OsdCommandRequest {
    const KIND: FrameKind = FrameKind::OSD_COMMAND_REQUEST;
}
impl Message for object::OsdCommandReply {
    const KIND: FrameKind = FrameKind::OSD_COMMAND_REPLY;
}
impl Message for peer::PeerRequest {
    const KIND: FrameKind = FrameKind::PEER_REQUEST;
}
impl Message for peer::PeerReply {
    const KIND: FrameKind = FrameKind::PEER_REPLY;
}
impl Message for monitor::MonitorRequest {
    const KIND: FrameKind = FrameKind::MONITOR_REQUEST;
}
impl Message for monitor::MonitorReply {
    const KIND: FrameKind = FrameKind::MONITOR_REPLY;
}
