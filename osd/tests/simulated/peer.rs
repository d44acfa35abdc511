//! A client that says exactly what a test wants said, one frame at a time.

use basalt_cluster::Map;
use basalt_net::message::object::{
    ListReply, ListRequest, ObjectReply, ObjectRequest, Operation, OperationResult, OsdCommand, OsdCommandReply,
    OsdCommandRequest, RequestId,
};
use basalt_net::{Credentials, FrameKind, Service, Session, SessionSender, session};
use basalt_ring::local::{OnceSender, once};
use basalt_ring::{Ring, Slice};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

pub struct Peer {
    ring: Ring,
    sender: SessionSender,
    map: Map,
    client: u64,
    next: Cell<u64>,
    waiting: Waiting,
}

type Waiting = Rc<RefCell<HashMap<RequestId, OnceSender<Answer>>>>;

enum Answer {
    Object(ObjectReply, Vec<u8>),
    List(ListReply),
    Command(OsdCommandReply),
}

impl Peer {
    pub async fn connect(
        ring: &Ring,
        address: SocketAddr,
        credentials: &Credentials,
        osd: u32,
        map: Map,
        client: u64,
    ) -> Peer {
        let session =
            session::connect(ring, address, credentials, Service::Osd(osd)).await.expect("the OSD takes sessions");
        let waiting = Waiting::default();
        let peer = Peer {
            ring: ring.clone(),
            sender: session.sender(),
            map,
            client,
            next: Cell::new(1),
            waiting: waiting.clone(),
        };
        ring.spawn(distribute(session, waiting));
        peer
    }

    /// A request with a new number.
    pub fn request(&self, pool: u32, name: &[u8], operations: Vec<Operation>) -> ObjectRequest {
        let sequence = self.next.get();
        self.next.set(sequence + 1);
        ObjectRequest {
            request: RequestId { client: self.client, sequence },
            epoch: self.map.epoch(),
            pool,
            pg: self.map.pg_of(pool, name).map_or(0, |pg| pg.seed),
            name: name.into(),
            operations: operations.into(),
            completed_up_to: 0,
            attempt: 0,
        }
    }

    /// Sends a request as it is. `None`: the session ended before the answer.
    pub async fn exchange(&self, request: &ObjectRequest, payload: &[u8]) -> Option<(ObjectReply, Vec<u8>)> {
        let (sender, receiver) = once();
        self.waiting.borrow_mut().insert(request.request, sender);
        let payload = if payload.is_empty() { Vec::new() } else { vec![self.slice(payload)] };
        self.sender.send(request, payload).await.ok()?;
        match receiver.await? {
            Answer::Object(reply, data) => Some((reply, data)),
            _ => panic!("an object request is answered by an object reply"),
        }
    }

    /// A request that is answered.
    pub async fn ask(
        &self,
        pool: u32,
        name: &[u8],
        operations: Vec<Operation>,
        payload: &[u8],
    ) -> (ObjectReply, Vec<u8>) {
        let request = self.request(pool, name, operations);
        self.exchange(&request, payload).await.expect("the session lives")
    }

    /// A request that succeeds.
    pub async fn done(&self, pool: u32, name: &[u8], operations: Vec<Operation>, payload: &[u8]) -> ObjectReply {
        let (reply, _) = self.ask(pool, name, operations, payload).await;
        assert_eq!(reply.errno, 0, "{}", reply.message);
        reply
    }

    pub async fn write_full(&self, pool: u32, name: &[u8], data: &[u8]) -> u64 {
        self.done(pool, name, vec![Operation::WriteFull { length: data.len() as u64 }], data).await.version
    }

    pub async fn read_all(&self, pool: u32, name: &[u8]) -> Result<Vec<u8>, i32> {
        let (reply, data) = self.ask(pool, name, vec![Operation::Read { offset: 0, length: u64::MAX }], &[]).await;
        if reply.errno != 0 {
            return Err(reply.errno);
        }
        assert_eq!(reply.results.to_vec(), vec![OperationResult::Data { length: data.len() as u64 }]);
        Ok(data)
    }

    pub async fn list(&self, pool: u32, pg: u32, after: &[u8], max: u32) -> ListReply {
        let request = ListRequest {
            request: self.request(pool, b"list", Vec::new()).request,
            epoch: self.map.epoch(),
            pool,
            pg,
            after: after.to_vec(),
            prefix: Vec::new(),
            max,
        };
        let (sender, receiver) = once();
        self.waiting.borrow_mut().insert(request.request, sender);
        self.sender.send(&request, Vec::new()).await.expect("the session lives");
        match receiver.await.expect("the session lives") {
            Answer::List(reply) => reply,
            _ => panic!("a list request is answered by a list reply"),
        }
    }

    pub async fn command(&self, command: OsdCommand) -> OsdCommandReply {
        let request = OsdCommandRequest { request: self.request(1, b"command", Vec::new()).request, command };
        let (sender, receiver) = once();
        self.waiting.borrow_mut().insert(request.request, sender);
        self.sender.send(&request, Vec::new()).await.expect("the session lives");
        match receiver.await.expect("the session lives") {
            Answer::Command(reply) => reply,
            _ => panic!("a command is answered by a command reply"),
        }
    }

    pub fn close(&self) {
        self.sender.close("the test has enough");
    }

    pub fn sender(&self) -> &SessionSender {
        &self.sender
    }

    pub fn map(&self) -> &Map {
        &self.map
    }

    fn slice(&self, bytes: &[u8]) -> Slice {
        let mut buffer = self.ring.buffer(bytes.len());
        buffer.copy_from_slice(bytes);
        buffer.freeze()
    }
}

async fn distribute(mut session: Session, waiting: Waiting) {
    while let Some(Ok(mut frame)) = session.receive().await {
        let data = frame.take_payload().map_or_else(Vec::new, |payload| payload.to_vec());
        let (request, answer) = match frame.kind() {
            FrameKind::OBJECT_REPLY => {
                let reply: ObjectReply = frame.message().expect("a reply");
                (reply.request, Answer::Object(reply, data))
            }
            FrameKind::LIST_REPLY => {
                let reply: ListReply = frame.message().expect("a listing");
                (reply.request, Answer::List(reply))
            }
            _ => {
                let reply: OsdCommandReply = frame.message().expect("a command's reply");
                (reply.request, Answer::Command(reply))
            }
        };
        let sender = waiting.borrow_mut().remove(&request);
        if let Some(sender) = sender {
            sender.send(answer);
        }
    }
    // Those who still wait hear that nothing will come.
    waiting.borrow_mut().clear();
}
