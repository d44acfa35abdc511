//! One pool's objects.

use crate::client::Client;
use crate::error::{EINVAL, ENAMETOOLONG, Error, Result};
use crate::limits::{NAME_BYTES_MAX, PIECE_SUFFIX_BYTES};
use crate::request::{Answer, Request};
use crate::striped;
use crate::{NamePager, ObjectOperations, Outcome, Pairs, Stat, retry};
use basalt_net::message::object::{ObjectRequest, Operation};
use basalt_ring::{Ring, Slice};
use std::rc::Rc;

/// Cheap to clone. Names are any bytes, 1 to [`NAME_BYTES_MAX`]. Offsets and lengths are in bytes. What does not fit a frame is E2BIG:
/// [`striped`](crate::striped) stores objects of any size.
#[derive(Clone)]
pub struct Pool {
    client: Client,
    id: u32,
    name: Rc<str>,
}

impl Pool {
    pub(crate) fn new(client: Client, id: u32, name: &str) -> Pool {
        Pool { client, id, name: name.into() }
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// As it was asked for; the pool may have been renamed since.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn ring(&self) -> &Ring {
        self.client.ring()
    }

    /// Runs all operations or none, once. An errno in the reply is an `Err` here. Any number may run at the same time; two on one object are
    /// ordered only if the second begins after the first has ended.
    pub async fn execute(&self, name: &[u8], operations: ObjectOperations) -> Result<Outcome> {
        check_name(name)?;
        let bytes = operations.check()?;
        let client = &self.client.inner;
        let issued = client.ids.issue();
        let count = operations.len();
        let request = ObjectRequest {
            request: issued.id(),
            epoch: 0,
            pool: self.id,
            pg: 0,
            name: name.into(),
            operations: operations.operations,
            completed_up_to: 0,
            attempt: 0,
        };
        match retry::run(client, Request::Object(request, operations.payload), bytes).await? {
            Answer::Object(reply, payload) if reply.errno == 0 => Outcome::read(&client.ring, reply, payload, count),
            Answer::Object(reply, _) => Err(refusal(reply.errno, reply.message, &self.name, name)),
            _ => Err(Error::protocol("the OSD", "another kind of reply")),
        }
    }

    async fn change(&self, name: &[u8], operation: Operation) -> Result<u64> {
        Ok(self.execute(name, ObjectOperations::new().operation(operation)).await?.version())
    }

    /// Short at the object's end. ENOENT if there is no object.
    pub async fn read(&self, name: &[u8], offset: u64, length: u64) -> Result<Slice> {
        self.execute(name, ObjectOperations::new().read(offset, length)).await?.data(0)
    }

    /// Returns the object's new version, as do all that change it.
    pub async fn write(&self, name: &[u8], offset: u64, data: Slice) -> Result<u64> {
        Ok(self.execute(name, ObjectOperations::new().write(offset, data)).await?.version())
    }

    pub async fn write_full(&self, name: &[u8], data: Slice) -> Result<u64> {
        Ok(self.execute(name, ObjectOperations::new().write_full(data)).await?.version())
    }

    pub async fn append(&self, name: &[u8], data: Slice) -> Result<u64> {
        Ok(self.execute(name, ObjectOperations::new().append(data)).await?.version())
    }

    pub async fn zero(&self, name: &[u8], offset: u64, length: u64) -> Result<u64> {
        self.change(name, Operation::Zero { offset, length }).await
    }

    pub async fn truncate(&self, name: &[u8], size: u64) -> Result<u64> {
        self.change(name, Operation::Truncate { size }).await
    }

    /// ENOENT if there is no object.
    pub async fn remove(&self, name: &[u8]) -> Result<()> {
        self.change(name, Operation::Remove).await.map(drop)
    }

    pub async fn stat(&self, name: &[u8]) -> Result<Stat> {
        self.execute(name, ObjectOperations::new().stat()).await?.stat(0)
    }

    /// ENODATA if there is no such xattr.
    pub async fn get_xattr(&self, name: &[u8], xattr: &[u8]) -> Result<Vec<u8>> {
        let operations = ObjectOperations::new().operation(Operation::GetXattr { name: xattr.into() });
        Ok(self.execute(name, operations).await?.value(0)?.into())
    }

    pub async fn set_xattr(&self, name: &[u8], xattr: &[u8], value: &[u8]) -> Result<u64> {
        self.change(name, Operation::SetXattr { name: xattr.into(), value: value.into() }).await
    }

    /// ENODATA if there is no such xattr.
    pub async fn remove_xattr(&self, name: &[u8], xattr: &[u8]) -> Result<u64> {
        self.change(name, Operation::RemoveXattr { name: xattr.into() }).await
    }

    pub async fn list_xattrs(&self, name: &[u8]) -> Result<Pairs> {
        Ok(self.execute(name, ObjectOperations::new().list_xattrs()).await?.pairs(0)?.0.into())
    }

    /// Missing keys are left out.
    pub async fn get_omap(&self, name: &[u8], keys: &[&[u8]]) -> Result<Pairs> {
        let keys = keys.iter().map(|key| key.to_vec()).collect();
        let operations = ObjectOperations::new().operation(Operation::GetOmap { keys });
        Ok(self.execute(name, operations).await?.pairs(0)?.0.into())
    }

    pub async fn set_omap(&self, name: &[u8], pairs: Pairs) -> Result<u64> {
        self.change(name, Operation::SetOmap { pairs }).await
    }

    pub async fn remove_omap(&self, name: &[u8], keys: &[&[u8]]) -> Result<u64> {
        self.change(name, Operation::RemoveOmap { keys: keys.iter().map(|key| key.to_vec()).collect() }).await
    }

    /// At most `max` pairs after `after` (exclusive) whose keys start with `prefix`, and whether there are more.
    pub async fn list_omap(&self, name: &[u8], after: &[u8], prefix: &[u8], max: u32) -> Result<(Pairs, bool)> {
        let list = Operation::ListOmap { after: after.into(), prefix: prefix.into(), max, values: true };
        let outcome = self.execute(name, ObjectOperations::new().operation(list)).await?;
        let (pairs, more) = outcome.pairs(0)?;
        Ok((pairs.into(), more))
    }

    /// Names that start with `prefix`, merged over all placement groups in byte order. Pieces of striped objects and the data of images are hidden.
    pub fn list(&self, prefix: &[u8]) -> NamePager {
        NamePager::new(self.clone(), prefix)
    }
}

fn check_name(name: &[u8]) -> Result<()> {
    let max = if striped::is_piece(name) { NAME_BYTES_MAX + PIECE_SUFFIX_BYTES } else { NAME_BYTES_MAX };
    match name.len() {
        0 => Err(Error::new(EINVAL, "an object's name has at least one byte")),
        seen if seen <= max => Ok(()),
        seen => {
            let message = format!("an object's name of {seen} bytes, where {max} are allowed");
            Err(Error::new(ENAMETOOLONG, message))
        }
    }
}

/// An OSD's refusal, with the object's name if its message is empty.
fn refusal(errno: i32, message: String, pool: &str, name: &[u8]) -> Error {
    if message.is_empty() {
        let what = crate::error::errno_name(errno);
        return Error::new(errno, format!("{what} for object {} in pool {pool}", name.escape_ascii()));
    }
    Error::new(errno, message)
}
