//! Names of objects in byte order. Each placement group lists its own in order; here they are merged.

use crate::client::Client;
use crate::error::{ENOENT, Error, Result};
use crate::limits::{LIST_JOBS, LIST_NAMES_MAX, LIST_PAGE_MAX};
use crate::request::{Answer, Request};
use crate::{Pool, retry, striped};
use basalt_cluster::object_hash;
use basalt_net::message::object::{ListReply, ListRequest};
use basalt_ring::Task;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// A listing in progress. Objects made or removed meanwhile may or may not show; all others show once.
pub struct NamePager {
    pool: Pool,
    prefix: Vec<u8>,
    after: Vec<u8>,
    with_pieces: bool,
    groups: Option<Groups>,
}

/// Every group that is not at its end has its next name in `heads`.
struct Groups {
    pages: Vec<Page>,
    heads: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
    page_max: u32,
}

#[derive(Default)]
struct Page {
    names: VecDeque<Vec<u8>>,
    /// There are more behind the last of these.
    more: bool,
}

impl NamePager {
    pub(crate) fn new(pool: Pool, prefix: &[u8]) -> NamePager {
        NamePager { pool, prefix: prefix.into(), after: Vec::new(), with_pieces: false, groups: None }
    }

    /// Starts behind this name instead of at the beginning.
    pub fn after(mut self, name: &[u8]) -> NamePager {
        self.after = name.into();
        self
    }

    /// Shows the pieces of striped objects and the data of images too.
    pub fn with_pieces(mut self) -> NamePager {
        self.with_pieces = true;
        self
    }

    /// The next name, `None` at the end. After an error the listing goes on where it was.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let groups = match &mut self.groups {
                Some(groups) => groups,
                none => none.insert(Groups::begin(&self.pool, &self.prefix, &self.after).await?),
            };
            match groups.next(&self.pool, &self.prefix).await? {
                Some(name) if !self.with_pieces && is_part(&name) => {}
                next => return Ok(next),
            }
        }
    }

    /// Up to `max` names; fewer only at the end.
    pub async fn next_page(&mut self, max: usize) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        while names.len() < max
            && let Some(name) = self.next().await?
        {
            names.push(name);
        }
        Ok(names)
    }
}

/// Whether an object is nothing by itself: a piece of a striped one, or a layer's part of an image.
fn is_part(name: &[u8]) -> bool {
    striped::is_piece(name) || object_hash::placed_by(name).len() < name.len()
}

impl Groups {
    /// Asks every group for its first page, some at a time.
    async fn begin(pool: &Pool, prefix: &[u8], after: &[u8]) -> Result<Groups> {
        let map = pool.client().map();
        let pg_num = map
            .pool(pool.id())
            .map(|pool| pool.pg_num)
            .ok_or_else(|| Error::new(ENOENT, format!("pool {:?} does not exist any more", pool.name())))?;
        let page_max = (LIST_NAMES_MAX / pg_num.max(1)).clamp(2, LIST_PAGE_MAX);
        let mut groups = Groups { pages: Vec::new(), heads: BinaryHeap::new(), page_max };
        let mut asked: VecDeque<Task<Result<ListReply>>> = VecDeque::new();
        let mut unasked = 0..pg_num;
        loop {
            while asked.len() < LIST_JOBS
                && let Some(pg) = unasked.next()
            {
                let (client, prefix, after) = (pool.client().clone(), prefix.to_vec(), after.to_vec());
                let ask = ask(client, pool.id(), pg, after, prefix, page_max);
                asked.push_back(pool.ring().spawn(ask));
            }
            let Some(first) = asked.pop_front() else { return Ok(groups) };
            let page = first.await?;
            let group = groups.pages.len();
            groups.pages.push(Page::default());
            groups.turn_to(group, page);
        }
    }

    fn turn_to(&mut self, group: usize, reply: ListReply) {
        if let Some(page) = self.pages.get_mut(group) {
            page.names = reply.names.into();
            page.more = reply.more;
            if let Some(name) = page.names.pop_front() {
                self.heads.push(Reverse((name, group)));
            }
        }
    }

    async fn next(&mut self, pool: &Pool, prefix: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(Reverse((name, group))) = self.heads.peek() else { return Ok(None) };
        let (name, group) = (name.clone(), *group);
        let Some(page) = self.pages.get_mut(group) else { return Ok(None) };
        match page.names.pop_front() {
            Some(next) => {
                self.heads.pop();
                self.heads.push(Reverse((next, group)));
            }
            None if page.more => {
                let pg = group as u32;
                let (client, after) = (pool.client().clone(), name.clone());
                let reply = ask(client, pool.id(), pg, after, prefix.to_vec(), self.page_max).await?;
                // Only now, so that a failure loses no name.
                self.heads.pop();
                self.turn_to(group, reply);
            }
            None => {
                self.heads.pop();
            }
        }
        Ok(Some(name))
    }
}

async fn ask(client: Client, pool: u32, pg: u32, after: Vec<u8>, prefix: Vec<u8>, max: u32) -> Result<ListReply> {
    let issued = client.inner.ids.issue();
    let request = ListRequest { request: issued.id(), epoch: 0, pool, pg, after: after.clone(), prefix, max };
    match retry::run(&client.inner, Request::List(request), 0).await? {
        Answer::List(reply) if reply.errno == 0 => {
            let in_order =
                reply.names.is_sorted_by(|a, b| a < b) && reply.names.first().is_none_or(|first| *first > after);
            if !in_order || (reply.more && reply.names.is_empty()) {
                return Err(Error::protocol("the OSD", "a listing that is out of order"));
            }
            Ok(reply)
        }
        Answer::List(reply) => Err(Error::new(reply.errno, reply.message)),
        _ => Err(Error::protocol("the OSD", "another kind of reply")),
    }
}
