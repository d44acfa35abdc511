//! An OSD as a client sees it, with objects in memory: atomic operation vectors, duplicate detection by request id, listings.

use crate::cluster::{Monitor, credentials};
use basalt_net::message::object::*;
use basalt_net::{FrameKind, ReceivedFrame, Service, Session, SessionSender, session};
use basalt_ring::{Buffer, Ring};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
const ERANGE: i32 = 34;
const ENODATA: i32 = 61;
const ESTALE: i32 = 116;
const ESHUTDOWN: i32 = 108;
const ECANCELED: i32 = 125;

pub struct Osd {
    id: u32,
    ring: Ring,
    monitor: Rc<Monitor>,
    objects: RefCell<BTreeMap<(u32, Vec<u8>), Object>>,
    duplicates: RefCell<HashMap<u64, Duplicates>>,
    last_version: Cell<u64>,
    /// Sessions opened before this many were accepted get no answers.
    deaf_below: Cell<u64>,
    accepted: Cell<u64>,
    /// Requests that all OSDs together carry out from now on: the last of them gets no answer, and those behind it are not heard.
    pub requests_left: Rc<Cell<u64>>,
    pub faults: Faults,
    pub figures: Figures,
}

/// What goes wrong, on purpose.
#[derive(Default)]
pub struct Faults {
    /// One of so many requests ends its session, before or after it was carried out (0: none does).
    pub cut_one_of: Cell<u64>,
    /// Answers so many requests with ESTALE.
    pub stale: Cell<u32>,
    /// A resent request is carried out again: what an OSD must never do.
    pub forgetful: Cell<bool>,
    /// Before the answers to so many requests comes one to a copy that never was: a refusal.
    pub stray: Cell<u32>,
    /// Holds every answer back until so many requests wait.
    pub gather: Cell<usize>,
}

#[derive(Default)]
pub struct Figures {
    pub carried_out: Cell<u64>,
    pub repeated: Cell<u64>,
    pub sessions_cut: Cell<u64>,
    /// The most requests that ever waited at the same time.
    pub deepest: Cell<usize>,
}

#[derive(Clone, Default)]
struct Object {
    data: Vec<u8>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    omap: BTreeMap<Vec<u8>, Vec<u8>>,
    version: u64,
}

/// Of one client.
#[derive(Default)]
struct Duplicates {
    /// Nothing up to here is ever sent again, so what comes all the same is an old copy.
    floor: u64,
    answers: BTreeMap<u64, (ObjectReply, Vec<u8>)>,
}

impl Osd {
    pub fn start(
        ring: &Ring,
        id: u32,
        address: SocketAddr,
        monitor: Rc<Monitor>,
        requests_left: Rc<Cell<u64>>,
    ) -> Rc<Osd> {
        let osd = Rc::new(Osd {
            id,
            ring: ring.clone(),
            monitor,
            requests_left,
            objects: RefCell::default(),
            duplicates: RefCell::default(),
            last_version: Cell::new(0),
            deaf_below: Cell::new(0),
            accepted: Cell::new(0),
            faults: Faults::default(),
            figures: Figures::default(),
        });
        osd.serve_at(address);
        osd
    }

    pub fn serve_at(self: &Rc<Osd>, address: SocketAddr) {
        let osd = self.clone();
        self.ring.spawn(async move {
            let listener = osd.ring.listen(address).await.unwrap();
            loop {
                let socket = listener.accept().await.unwrap();
                let osd = osd.clone();
                osd.ring.clone().spawn(async move {
                    let ours = credentials("osd.0");
                    let id = osd.id;
                    let accepted = session::accept(&osd.ring, socket, &ours, |asked| asked == Service::Osd(id));
                    if let Ok(session) = accepted.await {
                        osd.serve(session).await;
                    }
                });
            }
        });
    }

    /// Sessions that are open now get no answers any more.
    pub fn fall_silent(&self) {
        self.deaf_below.set(self.accepted.get() + 1);
    }

    async fn serve(self: Rc<Osd>, mut session: Session) {
        self.accepted.set(self.accepted.get() + 1);
        let number = self.accepted.get();
        let mut held: Vec<ReceivedFrame> = Vec::new();
        loop {
            let received = if held.is_empty() {
                session.receive().await
            } else {
                // Those that wait are answered when no more come.
                match self.ring.timeout(Duration::from_millis(200), session.receive()).await {
                    Ok(received) => received,
                    Err(_) => {
                        for frame in held.drain(..) {
                            self.answer(frame, &session.sender()).await;
                        }
                        continue;
                    }
                }
            };
            let Some(Ok(frame)) = received else { return };
            if number < self.deaf_below.get() {
                continue;
            }
            let chance = self.faults.cut_one_of.get();
            if chance > 0 && self.ring.random_u64().is_multiple_of(chance) {
                self.figures.sessions_cut.set(self.figures.sessions_cut.get() + 1);
                if self.ring.random_u64().is_multiple_of(2) {
                    self.answer(frame, &session.sender()).await;
                }
                // Dropping the session drops the answer, or sends a part of it.
                return;
            }
            held.push(frame);
            self.figures.deepest.set(self.figures.deepest.get().max(held.len()));
            if held.len() >= self.faults.gather.get() {
                for frame in held.drain(..) {
                    self.answer(frame, &session.sender()).await;
                }
            }
        }
    }

    async fn answer(&self, mut frame: ReceivedFrame, sender: &SessionSender) {
        let sent = match frame.kind() {
            FrameKind::OBJECT_REQUEST => {
                let payload = frame.take_payload();
                let request: ObjectRequest = frame.message().unwrap();
                let attempt = request.attempt;
                let Some(left) = self.requests_left.get().checked_sub(1) else { return };
                self.requests_left.set(left);
                let Some((reply, data)) = self.object_request(request, payload) else { return };
                if left == 0 {
                    return;
                }
                let reply = ObjectReply { attempt, ..reply };
                if let Some(left) = self.faults.stray.get().checked_sub(1) {
                    self.faults.stray.set(left);
                    let older = ObjectReply {
                        attempt: attempt - 1,
                        errno: ENOENT,
                        results: Default::default(),
                        ..reply.clone()
                    };
                    sender.send(&older, Vec::new()).await.unwrap();
                }
                let mut buffer = self.ring.buffer(data.len());
                buffer.copy_from_slice(&data);
                sender.send(&reply, vec![buffer.freeze()]).await
            }
            FrameKind::LIST_REQUEST => sender.send(&self.list(frame.message().unwrap()), Vec::new()).await,
            FrameKind::OSD_COMMAND_REQUEST => {
                let request: OsdCommandRequest = frame.message().unwrap();
                let json = format!("{{\"osd\":{},\"command\":\"{:?}\"}}", self.id, request.command);
                let reply = OsdCommandReply { request: request.request, errno: 0, message: String::new(), json };
                sender.send(&reply, Vec::new()).await
            }
            kind => panic!("{kind:?}"),
        };
        drop(sent);
    }

    /// `None`: an old copy, not answered.
    fn object_request(&self, request: ObjectRequest, payload: Option<Buffer>) -> Option<(ObjectReply, Vec<u8>)> {
        let (id, epoch) = (request.request, self.monitor.epoch());
        let mut reply = ObjectReply {
            request: id,
            attempt: request.attempt,
            errno: 0,
            message: String::new(),
            failed_operation: None,
            version: 0,
            epoch,
            results: Default::default(),
        };
        let is_stale = self.faults.stale.get() > 0;
        if is_stale || !self.monitor.is_primary(self.id, request.pool, &request.name) {
            self.faults.stale.set(self.faults.stale.get().saturating_sub(1));
            reply.errno = ESTALE;
            return Some((reply, Vec::new()));
        }
        assert_eq!(Some(request.pg), self.monitor.pg_of(request.pool, &request.name));
        if self.monitor.is_fenced(id.client) {
            reply.errno = ESHUTDOWN;
            return Some((reply, Vec::new()));
        }
        let mut duplicates = self.duplicates.borrow_mut();
        let known = duplicates.entry(id.client).or_default();
        if let Some(answer) = known.answers.get(&id.sequence)
            && !self.faults.forgetful.get()
        {
            self.figures.repeated.set(self.figures.repeated.get() + 1);
            return Some(answer.clone());
        }
        if id.sequence <= known.floor {
            return None;
        }
        known.floor = known.floor.max(request.completed_up_to);
        known.answers.retain(|sequence, _| *sequence > known.floor);
        self.figures.carried_out.set(self.figures.carried_out.get() + 1);

        let key = (request.pool, request.name.to_vec());
        let before = self.objects.borrow().get(&key).cloned();
        let find = |name: &[u8]| {
            assert_eq!(Some(request.pg), self.monitor.pg_of(request.pool, name), "a source of another placement group");
            self.objects.borrow().get(&(request.pool, name.to_vec())).cloned()
        };
        let mut state =
            Vector { before: &before, after: before.clone(), read: Vec::new(), written: false, find: &find };
        let mut payload = payload.as_deref().unwrap_or_default();
        for (index, operation) in (0u32..).zip(&request.operations) {
            match state.apply(operation, &mut payload) {
                Ok(result) => reply.results.push(result),
                Err(errno) => {
                    reply.errno = errno;
                    reply.message = format!("operation {index} of {operation:?} fails");
                    reply.failed_operation = Some(index);
                    reply.results.clear();
                    break;
                }
            }
        }
        let Vector { mut after, mut read, written, .. } = state;
        if reply.errno == 0 && written {
            self.last_version.set(self.last_version.get() + 1);
            if let Some(object) = &mut after {
                object.version = self.last_version.get();
            }
            let mut objects = self.objects.borrow_mut();
            match &after {
                Some(object) => drop(objects.insert(key, object.clone())),
                None => drop(objects.remove(&key)),
            }
        }
        if reply.errno != 0 {
            read.clear();
        }
        reply.version = after.map_or(0, |object| object.version);
        known.answers.insert(id.sequence, (reply.clone(), read.clone()));
        Some((reply, read))
    }

    fn list(&self, request: ListRequest) -> ListReply {
        let objects = self.objects.borrow();
        let mut names: Vec<Vec<u8>> = objects
            .keys()
            .filter(|(pool, name)| {
                *pool == request.pool
                    && *name > request.after
                    && name.starts_with(&request.prefix)
                    && self.monitor.pg_of(*pool, name) == Some(request.pg)
            })
            .map(|(_, name)| name.clone())
            .take(request.max as usize + 1)
            .collect();
        let more = names.len() > request.max as usize;
        names.truncate(request.max as usize);
        ListReply {
            request: request.request,
            errno: 0,
            message: String::new(),
            epoch: self.monitor.epoch(),
            names,
            more,
        }
    }

    /// An object's content, looked at from outside.
    pub fn content(&self, pool: u32, name: &[u8]) -> Option<Vec<u8>> {
        self.objects.borrow().get(&(pool, name.to_vec())).map(|object| object.data.clone())
    }

    pub fn names(&self) -> Vec<Vec<u8>> {
        self.objects.borrow().keys().map(|(_, name)| name.clone()).collect()
    }
}

struct Vector<'a> {
    before: &'a Option<Object>,
    after: Option<Object>,
    read: Vec<u8>,
    written: bool,
    /// Another object of the same placement group.
    find: &'a dyn Fn(&[u8]) -> Option<Object>,
}

impl Vector<'_> {
    fn apply(&mut self, operation: &Operation, payload: &mut &[u8]) -> Result<OperationResult, i32> {
        let exists = || self.before.as_ref().ok_or(ENOENT);
        match operation {
            Operation::AssertExists => exists().map(|_| OperationResult::Done),
            Operation::AssertAbsent if self.before.is_some() => Err(EEXIST),
            Operation::AssertAbsent => Ok(OperationResult::Done),
            Operation::AssertVersion(version) if exists()?.version != *version => Err(ERANGE),
            Operation::AssertVersion(_) => Ok(OperationResult::Done),
            Operation::AssertXattr { name, value } => {
                let found = self.before.as_ref().and_then(|object| object.xattrs.get(name));
                if found == value.as_ref() { Ok(OperationResult::Done) } else { Err(ECANCELED) }
            }
            Operation::CloneRange { source, source_offset, offset, length } => {
                let from = (self.find)(source).ok_or(ENOENT)?;
                let mut bytes = vec![0; *length as usize];
                let there = from.data.get(*source_offset as usize..).unwrap_or_default();
                let there = &there[..there.len().min(bytes.len())];
                bytes[..there.len()].copy_from_slice(there);
                let object = self.after.get_or_insert_default();
                let (start, end) = (*offset as usize, (*offset + *length) as usize);
                object.data.resize(object.data.len().max(end), 0);
                object.data[start..end].copy_from_slice(&bytes);
                self.written = true;
                Ok(OperationResult::Done)
            }
            Operation::Read { offset, length } => {
                let data = &exists()?.data;
                let start = (*offset).min(data.len() as u64) as usize;
                let end = offset.saturating_add(*length).min(data.len() as u64) as usize;
                self.read.extend(&data[start..end]);
                Ok(OperationResult::Data { length: (end - start) as u64 })
            }
            Operation::Stat => {
                let object = exists()?;
                Ok(OperationResult::Stat { size: object.data.len() as u64, mtime_ns: 1, version: object.version })
            }
            Operation::GetXattr { name } => {
                exists()?.xattrs.get(name).cloned().map(OperationResult::Value).ok_or(ENODATA)
            }
            Operation::ListXattrs => Ok(pairs(exists()?.xattrs.iter(), u32::MAX)),
            Operation::GetOmap { keys } => {
                Ok(pairs(exists()?.omap.iter().filter(|(key, _)| keys.contains(key)), u32::MAX))
            }
            Operation::ListOmap { after, prefix, max, .. } => {
                let fits = |(key, _): &(&Vec<u8>, &Vec<u8>)| *key > after && key.starts_with(prefix);
                Ok(pairs(exists()?.omap.iter().filter(fits), *max))
            }
            Operation::Remove => {
                exists()?;
                self.written = true;
                self.after = None;
                Ok(OperationResult::Done)
            }
            write => {
                self.written = true;
                self.write(write, payload)
            }
        }
    }

    fn write(&mut self, operation: &Operation, payload: &mut &[u8]) -> Result<OperationResult, i32> {
        let object = self.after.get_or_insert_default();
        let mut take =
            |length: &u64| payload.split_off(..*length as usize).expect("the payload has what operations say");
        match operation {
            Operation::Touch => {}
            Operation::Write { offset, length } => {
                let (start, end) = (*offset as usize, (*offset + *length) as usize);
                object.data.resize(object.data.len().max(end), 0);
                object.data[start..end].copy_from_slice(take(length));
            }
            Operation::WriteFull { length } => object.data = take(length).to_vec(),
            Operation::Append { length } => object.data.extend(take(length)),
            Operation::Truncate { size } => object.data.resize(*size as usize, 0),
            Operation::Zero { offset, length } => {
                let end = object.data.len().min((*offset + *length) as usize);
                object.data[(*offset as usize).min(end)..end].fill(0);
            }
            Operation::SetXattr { name, value } => drop(object.xattrs.insert(name.clone(), value.clone())),
            Operation::RemoveXattr { name } => drop(object.xattrs.remove(name).ok_or(ENODATA)?),
            Operation::SetOmap { pairs } => object.omap.extend(pairs.iter().cloned()),
            Operation::RemoveOmap { keys } => object.omap.retain(|key, _| !keys.contains(key)),
            Operation::ClearOmap => object.omap.clear(),
            other => panic!("{other:?} is not needed here"),
        }
        Ok(OperationResult::Done)
    }
}

fn pairs<'a>(found: impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>, max: u32) -> OperationResult {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> =
        found.take((max as usize).saturating_add(1)).map(|(key, value)| (key.clone(), value.clone())).collect();
    let more = pairs.len() > max as usize;
    pairs.truncate(max as usize);
    OperationResult::Pairs { pairs, more }
}
