//! What a fuzzer feeds: one function a structure that is read from disk, each with bytes that anybody could have written there.
//!
//! Where a checksum stands before a parser, the function puts it right, so that the parser is reached. What can be decoded must say the
//! same after it was encoded again; nothing may panic, loop, or take more memory than its bytes justify. `seeds` are well-formed inputs
//! to begin from.

use crate::allocation_page::{PAGE_BITS, PageSlot};
use crate::allocator::{Allocator, Run};
use crate::checksum::Seed;
use crate::encoding::{Put, Reader, Value};
use crate::features::Features;
use crate::fsck::{self, FsckOptions};
use crate::index::{Body, Content, Key, Layer, Node, NodePointer, Tree, key};
use crate::layout::Layout;
use crate::limits::{BLOCK_BYTES, NODE_BLOCKS_MAX, NODE_BYTES, NODE_ENTRY_HEADER_BYTES, NODE_HEADER_BYTES};
use crate::object::{ObjectId, ObjectKey};
use crate::record::{Checksums, Extent, ExtentState, HotSummary, ObjectRecord, References, Usage};
use crate::store::{Devices, FormatOptions, OpenOptions, Placement, Store};
use crate::superblock::{self, Role, Superblock};
use crate::wal::{self, Allocation, Entry, Header, Kind, Side};
use basalt_ring::sim::{Image, World};
use basalt_ring::{BLOCK, DeviceInfo, DeviceKind, DeviceOptions, Ring};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

const STORE_ID: [u8; 16] = [0x5e; 16];
const NO_STORE: [u8; 16] = [0; 16];
const GENERATION: u64 = 7;

/// A target's name, what it does with an input, and inputs to begin from.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

pub const TARGETS: &[Target] = &[
    ("superblock", superblock, superblock_seeds),
    ("allocation_page", allocation_page, allocation_page_seeds),
    ("wal_record", wal_record, wal_record_seeds),
    ("wal_replay", wal_replay, wal_replay_seeds),
    ("index_node", index_node, index_node_seeds),
    ("index_entry", index_entry, index_entry_seeds),
];

/// The bytes, cut or filled with zeros to this length.
fn padded(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut padded = bytes[..bytes.len().min(length)].to_vec();
    padded.resize(length, 0);
    padded
}

/// What [`padded`] makes whole again.
fn trimmed(mut bytes: Vec<u8>) -> Vec<u8> {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

/// A superblock copy, as it lies in block 0.
pub fn superblock(bytes: &[u8]) {
    let mut block = padded(bytes, BLOCK);
    block[..8].copy_from_slice(superblock::MAGIC);
    let crc = Seed::new(&NO_STORE, b"SUPR", 0, 0).checksum(&block[12..]);
    block[8..12].copy_from_slice(&crc.to_le_bytes());
    let Some(Ok(decoded)) = Superblock::decode(&block, 0) else { return };
    let again = Superblock::decode(&decoded.encode(0, 0), 0);
    assert!(matches!(&again, Some(Ok(again)) if *again == decoded), "{decoded:?} became {again:?}");
}

fn superblock_seeds() -> Vec<Vec<u8>> {
    let seed = |hot_bytes: Option<u64>, role: Role| {
        let superblock = Superblock {
            features: Features::CURRENT,
            sequence: 3,
            store_id: STORE_ID,
            fsid: [1; 16],
            osd: 2,
            layout: Layout::new(64 << 20, hot_bytes, None).expect("a layout"),
            replay_lsn: 40,
            next_object: 5,
            generation: GENERATION,
            root: NodePointer { block: 3000, blocks: 4, crc: 1, generation: GENERATION },
            clean: true,
            role,
            pages_digests: [1, 2],
            index_blocks: 4,
        };
        trimmed(superblock.encode(0, 0))
    };
    vec![seed(None, Role::BaseAlone), seed(Some(16 << 20), Role::Hot), seed(Some(16 << 20), Role::BaseBesideHot)]
}

/// A slot of an allocation page, and the allocator that takes it over.
pub fn allocation_page(bytes: &[u8]) {
    const AT: u64 = 11;
    let mut block = padded(bytes, BLOCK);
    block[..4].copy_from_slice(b"BALP");
    block[16..24].fill(0);
    let generation = Reader::new(&block[8..]).u64().unwrap_or_default();
    let crc = Seed::new(&STORE_ID, b"ALOC", AT, generation).checksum(&block[8..]);
    block[4..8].copy_from_slice(&crc.to_le_bytes());
    let Some(slot) = PageSlot::decode(&block, &STORE_ID, AT, 0) else { return };
    for (blocks, area, zone) in [(PAGE_BITS, (8, PAGE_BITS - 2), 200), (1000, (70, 900), 0), (130, (100, 129), 5)] {
        let load = |slot: &PageSlot| {
            let mut allocator = Allocator::new(blocks, area, zone, true);
            allocator.load_page(0, 1, slot, true);
            allocator.loaded();
            allocator
        };
        let mut allocator = load(&slot);
        let images = allocator.freeze();
        let encoded = images[0].encode(&STORE_ID, AT, generation);
        let again = PageSlot::decode(&encoded, &STORE_ID, AT, 0).expect("what was encoded");
        let copy = load(&again);
        assert!((0..blocks + 64).all(|block| allocator.is_used(block) == copy.is_used(block)));
        allocator.images_written(&images, generation);
        allocator.release();

        let free = allocator.data_free_blocks();
        let wanted = free / 3 + 1;
        let runs = allocator.allocate(wanted, 64);
        assert_eq!(runs.is_some(), wanted <= free);
        let node = allocator.allocate_node(4);
        for run in runs.into_iter().flatten().chain(node) {
            assert!((run.at..run.end()).all(|block| allocator.is_used(block) && !copy.is_used(block)));
            allocator.free(run);
        }
        let images = allocator.freeze();
        allocator.images_written(&images, generation);
        allocator.release();
        assert_eq!(allocator.data_free_blocks(), copy.data_free_blocks());
        assert_eq!(allocator.index_free_blocks(), copy.index_free_blocks());
    }
}

fn allocation_page_seeds() -> Vec<Vec<u8>> {
    let mut allocator = Allocator::new(PAGE_BITS, (8, PAGE_BITS - 2), 200, false);
    let empty = allocator.freeze()[0].encode(&STORE_ID, 11, GENERATION);
    allocator.release();
    let runs = allocator.allocate(5000, 64).expect("room");
    for run in runs.into_iter().step_by(2) {
        allocator.free(run);
    }
    let used = allocator.freeze()[0].encode(&STORE_ID, 11, GENERATION);
    vec![trimmed(empty), trimmed(used), vec![0; 64], vec![0xff; BLOCK]]
}

/// A record's header, then, behind a byte that counts its transactions, its body.
pub fn wal_record(bytes: &[u8]) {
    const LSN: u64 = 1000;
    let (header, body) = bytes.split_at(bytes.len().min(wal::HEADER_BYTES));
    let mut header = padded(header, wal::HEADER_BYTES);
    let count = header[0];
    header[..4].copy_from_slice(b"BWAL");
    header[8..16].copy_from_slice(&LSN.to_le_bytes());
    for lengths_put_right in [false, true] {
        if lengths_put_right {
            header[24..28].copy_from_slice(&(wal::record_blocks(body.len()) as u32).to_le_bytes());
            header[28..32].copy_from_slice(&(body.len() as u32).to_le_bytes());
        }
        let crc = Seed::new(&STORE_ID, b"WALR", LSN, 0).checksum(&header[8..]);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        if let Some(decoded) = Header::decode(&header, &STORE_ID, LSN) {
            assert_eq!(Header::decode(&decoded.encode(&STORE_ID), &STORE_ID, LSN), Some(decoded));
        }
    }
    let Some(entries) = Entry::decode_all(body, count.into()) else { return };
    let mut again = Vec::new();
    for entry in &entries {
        entry.encode(&mut again);
    }
    assert!(again.len() <= body.len(), "entries are never longer than what they came from");
    assert_eq!(Entry::decode_all(&again, count.into()), Some(entries));
}

fn entry(object: &ObjectKey) -> Entry {
    let id = ObjectId(90);
    let extent =
        Extent { address: 700, state: ExtentState::Base, shared: false, checksums: Checksums::from_slice(&[1, 2, 3]) };
    let record = ObjectRecord { id, size: 9000, version: 1, mtime_ns: 5 };
    Entry {
        next_object: 91,
        mutations: vec![
            (key::object(object), Some(record.encode().to_vec())),
            (key::extent(id, Layer::Base, 0), Some(extent.encode().to_vec())),
            (key::omap(id, b"key"), Some(b"value".to_vec())),
            (key::xattr(id, b"name"), None),
        ],
        allocations: vec![Allocation { side: Side::Base, address: 700, checksums: Checksums::from_slice(&[1, 2, 3]) }],
        frees: vec![(Side::Base, Run { at: 702, blocks: 1 })],
        usage: [(1, Usage { objects: 1, data_bytes: 9000, omap_bytes: 8, ..Usage::default() })].into(),
    }
}

fn wal_record_seeds() -> Vec<Vec<u8>> {
    let entry = entry(&object("new"));
    [1u8, 2]
        .map(|count| {
            let mut bytes = vec![0; wal::HEADER_BYTES];
            bytes[0] = count;
            for _ in 0..count {
                entry.encode(&mut bytes);
            }
            bytes
        })
        .to_vec()
}

/// An index node: a byte for the level, then its entries, whose number is put right.
pub fn index_node(bytes: &[u8]) {
    let Some((&level, entries)) = bytes.split_first() else { return };
    let entries = &entries[..entries.len().min(NODE_BLOCKS_MAX * BLOCK - NODE_HEADER_BYTES)];
    let (count, length) = count_entries(level, entries);
    let mut block = Vec::new();
    block.put(b"BNOD");
    block.put_u8(level);
    block.put(&[0; 3]);
    block.put_u64(GENERATION);
    block.put_u32(count);
    block.put_u32(length as u32);
    block.put_u64(0);
    block.put(&entries[..length]);
    block.resize(block.len().next_multiple_of(NODE_BYTES), 0);
    let mut pointer = NodePointer { block: 50, blocks: (block.len() / BLOCK) as u8, crc: 0, generation: GENERATION };
    pointer.crc = Node::checksum(&STORE_ID, pointer.block, GENERATION, &block);
    let Ok(node) = Node::decode(&block, &pointer, &STORE_ID) else { return };
    let encoded = node.encode();
    pointer.crc = Node::checksum(&STORE_ID, pointer.block, GENERATION, &encoded);
    let again = Node::decode(&encoded, &pointer, &STORE_ID).map(|again| again.encode());
    assert!(again == Ok(encoded), "a node is what it was encoded from");

    let Body::Leaf(_) = &node.body else { return };
    let mut tree = Tree::open(pointer, GENERATION + 1, pointer.blocks.into(), 1 << 20);
    let root = tree.root();
    tree.loaded(&root, node);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    let scanned = tree.scan(&[], None, |key, _| {
        keys.push(key.to_vec());
        true
    });
    assert!(scanned.is_ok() && keys.is_sorted() && keys.len() == count as usize);
    for (index, key) in keys.iter().enumerate() {
        let changed = match index % 3 {
            0 => tree.delete(key).is_ok_and(|found| found),
            1 => tree.put(key, &vec![1; index * 7]).is_ok(),
            _ => tree.contains(key).is_ok_and(|found| found),
        };
        assert!(changed, "a leaf in memory needs nothing else");
    }
    let left = keys.iter().filter(|key| tree.contains(key).is_ok_and(|found| found)).count();
    assert_eq!(left, keys.len() - keys.len().div_ceil(3));
    tree.freeze();
}

/// How many whole entries the bytes begin with, and how long those are.
fn count_entries(level: u8, entries: &[u8]) -> (u32, usize) {
    let mut reader = Reader::new(entries);
    let (mut count, mut length) = (0, 0);
    loop {
        let taken = match level {
            0 => reader.u16().zip(reader.u32()).and_then(|(key, value)| {
                reader.bytes(usize::from(key))?;
                reader.bytes(value as usize)
            }),
            _ => reader.u16().and_then(|key| {
                reader.bytes(usize::from(key))?;
                reader.bytes(24)
            }),
        };
        if taken.is_none() {
            return (count, length);
        }
        count += 1;
        length = entries.len() - reader.remaining();
    }
}

fn index_node_seeds() -> Vec<Vec<u8>> {
    let mut leaf = vec![0];
    let mut inner = vec![1];
    for (index, (key, value)) in entry(&object("name")).mutations.into_iter().enumerate() {
        let value = value.unwrap_or_default();
        leaf.put_u16(key.len() as u16);
        leaf.put_u32(value.len() as u32);
        leaf.put(&key);
        leaf.put(&value);
        let low = if index == 0 { &[][..] } else { &key };
        inner.put_u16(low.len() as u16);
        inner.put(low);
        NodePointer { block: 9, blocks: 4, crc: 8, generation: 2 }.encode(&mut inner);
    }
    assert!(leaf.len() > 1 + NODE_ENTRY_HEADER_BYTES);
    vec![leaf, inner, vec![0]]
}

/// An index key, if the first byte is even, or a value.
pub fn index_entry(bytes: &[u8]) {
    let Some((&what, bytes)) = bytes.split_first() else { return };
    if what % 2 == 0 { index_key(bytes) } else { index_value(bytes) }
}

fn index_key(bytes: &[u8]) {
    let same = |key: Option<Key>| assert!(key.is_none_or(|key| *key == *bytes), "a key is its fields: {bytes:02x?}");
    same(key::parse_object(bytes).map(|found| key::object(&found)));
    same(key::parse_hot_summary(bytes).map(|(pool, object)| key::hot_summary(pool, object)));
    same(key::parse_log(bytes).map(|(pool, pg, version)| key::log(pool, pg, version)));
    same(key::parse_pool_usage(bytes).map(key::pool_usage));
    same(key::parse_removed(bytes).map(key::removed));
    same(key::parse_references(bytes).map(|(side, address)| key::references(side, address)));
    if let Some((pool, pg)) = key::parse_pg(bytes) {
        assert!(bytes.starts_with(&key::objects_of(pool, pg)) || bytes.starts_with(&key::log_of(pool, pg)));
    }
    let content = key::parse_content(bytes);
    if let Some((object, Content::Inline)) = content {
        same(Some(key::inline(object)));
    } else if let Some((object, Content::Extent(layer, block))) = content {
        same(Some(key::extent(object, layer, block)));
    } else if let Some((object, Content::Xattr(name))) = content {
        same(Some(key::xattr(object, &name)));
    } else if let Some((object, Content::Omap(name))) = content {
        same(Some(key::omap(object, &name)));
    }
    if let Some(end) = key::prefix_end(bytes) {
        assert!(end.as_slice() > bytes && !end.starts_with(bytes));
        assert!(*[bytes, &[0xff; 40]].concat() < *end);
    }
}

fn index_value(bytes: &[u8]) {
    let same = |value: Option<Value>| assert!(value.is_none_or(|value| *value == *bytes), "a value is its fields");
    same(ObjectRecord::decode(bytes).map(|record| record.encode()));
    same(Extent::decode(bytes).map(|extent| {
        let end = extent.blocks();
        assert_eq!(extent.part(0, end), extent);
        extent.encode()
    }));
    same(References::decode(bytes).map(|references| references.encode()));
    same(HotSummary::decode(bytes).map(|summary| summary.encode()));
    let mut reader = Reader::new(bytes);
    let usage = Usage::decode(&mut reader).filter(|_| reader.is_empty());
    same(usage.map(|usage| {
        let mut bytes = Vec::new();
        usage.encode(&mut bytes);
        Value::from_vec(bytes)
    }));
}

fn index_entry_seeds() -> Vec<Vec<u8>> {
    let id = ObjectId(7);
    let mut keys = vec![
        key::hot_summary(3, id),
        key::log(3, 4, 5),
        key::pool_usage(3),
        key::removed(id),
        key::inline(id),
        key::references(Side::Hot, 900),
        key::extent(id, Layer::Hot, 6),
    ];
    let mut values =
        vec![HotSummary { dirty_blocks: 1, clean_blocks: 2, dirty_since_ns: 3 }.encode().to_vec(), vec![0; 48]];
    values.push(References { blocks: 3, count: 2 }.encode().to_vec());
    for (key, value) in entry(&object("name")).mutations {
        keys.push(key);
        values.extend(value);
    }
    let tagged = |tag: u8| move |bytes: Vec<u8>| [&[tag], bytes.as_slice()].concat();
    keys.into_iter().map(Key::into_vec).map(tagged(0)).chain(values.into_iter().map(tagged(1))).collect()
}

fn object(name: &str) -> ObjectKey {
    ObjectKey { pool: 1, pg: 0, name: name.as_bytes().into() }
}

/// A closed store with something in it, whose log ends where its checkpoint begins.
struct Begun {
    images: Vec<Image>,
    superblock: Superblock,
}

fn world(images: &[Image]) -> (World, Ring) {
    let world = World::new(1);
    for (image, path) in images.iter().zip(["/base", "/hot"]) {
        let info = DeviceInfo {
            kind: DeviceKind::Block,
            size: image.size(),
            sector_size: 512,
            rotational: false,
            volatile_cache: true,
            discard: true,
        };
        world.add_disk(path, info).restore(image.clone());
    }
    let ring = world.process("osd", IpAddr::V4(Ipv4Addr::LOCALHOST)).ring();
    (world, ring)
}

async fn devices(ring: &Ring, hot: bool) -> Devices {
    let options = DeviceOptions { write: true, ..DeviceOptions::default() };
    let open = async |path: &str| ring.open_device(Path::new(path), options.clone()).await.expect("it is there");
    Devices { base: open("/base").await, hot: if hot { Some(open("/hot").await) } else { None } }
}

fn begin(hot: bool) -> Begun {
    let size = |bytes: usize| Image::from(vec![0; bytes].as_slice());
    let empty = if hot { vec![size(4 << 20), size(4 << 20)] } else { vec![size(4 << 20)] };
    let (world, ring) = world(&empty);
    let superblock = world.block_on(async {
        let options = FormatOptions {
            osd: 0,
            store_id: STORE_ID,
            fsid: [1; 16],
            wal_bytes: Some(crate::limits::WAL_BYTES_MIN),
            force: false,
        };
        Store::format(&ring, &devices(&ring, hot).await, options).await.expect("format");
        let store = Store::open(&ring, devices(&ring, hot).await, OpenOptions::default()).await.expect("open");
        for (name, placement) in [("first", Placement::Base), ("second", Placement::Hot)] {
            let mut transaction = store.begin(&[object(name)]).await;
            let mut data = ring.buffer(9000);
            data.fill(7);
            transaction.write(&object(name), 0, data.freeze());
            transaction.set_omap(&object(name), b"key", b"value");
            let prepared = transaction.prepare(placement).await.expect("prepare");
            prepared.submit().await.expect("submit").durable().await.expect("durable");
        }
        store.close().await.expect("close");
        let devices = devices(&ring, hot).await;
        superblock::load(&ring, devices.hot.as_ref().unwrap_or(&devices.base)).await.expect("a superblock")
    });
    let images = ["/base", "/hot"].iter().filter_map(|path| world.disk(path)).map(|disk| disk.snapshot()).collect();
    Begun { images, superblock }
}

thread_local! {
    static BEGUN: [Begun; 2] = [begin(false), begin(true)];
}

/// Records behind a store's checkpoint, all with right checksums: `kind, transactions, how far the durable LSN lags, length u16, body`
/// each. The first byte says which store, and whether a seal follows. The store must be refused, or found at fault, or be one that opens,
/// can be read as a whole, closed, and is without fault then.
pub fn wal_replay(bytes: &[u8]) {
    let Some((&shape, mut rest)) = bytes.split_first() else { return };
    let hot = shape & 1 == 1;
    BEGUN.with(|begun| {
        let Begun { images, superblock } = &begun[usize::from(hot)];
        let layout = &superblock.layout;
        let mut images = images.clone();
        let mut lsn = superblock.replay_lsn;
        let mut write = |kind: Kind, transactions: u32, lag: u64, body: &[u8]| {
            let position = lsn % layout.wal_blocks;
            let mut header = Header {
                lsn,
                durable_lsn: lsn.saturating_sub(lag),
                blocks: wal::record_blocks(body.len()) as u32,
                body_bytes: body.len() as u32,
                body_crc: wal::body_checksum(&STORE_ID, lsn, body),
                transactions,
                kind,
                previous: 0,
            };
            let left = layout.wal_blocks - position;
            if u64::from(header.blocks) > left {
                header = Header { kind: Kind::Pad, blocks: left as u32, ..header };
            }
            let mut record = header.encode(&STORE_ID).to_vec();
            if header.kind != Kind::Pad {
                record.put(body);
            }
            images[usize::from(hot)].write((layout.wal_at + position) * BLOCK_BYTES, &record);
            lsn += u64::from(header.blocks);
        };
        for _ in 0..layout.wal_blocks / 2 {
            let Some(([kind, transactions, lag, low, high], behind)) = rest.split_first_chunk() else { break };
            let length = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
            let (body, behind) = behind.split_at(length);
            let kind = match kind % 8 {
                0 => Kind::Seal,
                1 => Kind::Pad,
                _ => Kind::Group,
            };
            write(kind, (*transactions).into(), (*lag).into(), body);
            rest = behind;
        }
        if shape & 2 == 0 {
            write(Kind::Seal, 0, 0, &[]);
        }
        examine(&images, hot);
    });
}

fn examine(images: &[Image], hot: bool) {
    let (world, ring) = world(images);
    world.block_on(async {
        let check = async || {
            let devices = devices(&ring, hot).await;
            fsck::check(&ring, &devices, FsckOptions { deep: true, ..FsckOptions::default() })
                .await
                .expect("the disks can be asked")
        };
        if !check().await.faults.is_empty() {
            return;
        }
        let store = Store::open(&ring, devices(&ring, hot).await, OpenOptions::default()).await.expect("without fault");
        for (pool, pg) in store.list_pgs().await.expect("list_pgs") {
            let (names, _) = store.list(pool, pg, &[], &[], 100).await.expect("list");
            for name in names {
                let object = ObjectKey { pool, pg, name: name.into() };
                let info = store.stat(&object).await.expect("stat").expect("it was listed");
                store.read(&object, info.size.saturating_sub(1 << 20), 1 << 20).await.expect("read");
                store.list_xattrs(&object).await.expect("list_xattrs");
                store.list_omap(&object, &[], &[], 100).await.expect("list_omap");
            }
        }
        store.close().await.expect("close");
        assert_eq!(check().await.faults, [], "after a clean close");
    });
}

fn wal_replay_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for shape in 0..4u8 {
        let mut new = Vec::new();
        entry(&object("new")).encode(&mut new);
        let mut gone = Vec::new();
        let touched = ObjectRecord { id: ObjectId(91), size: 5, version: 1, mtime_ns: 5 };
        Entry {
            next_object: 92,
            mutations: vec![
                (key::object(&object("small")), Some(touched.encode().to_vec())),
                (key::inline(ObjectId(91)), Some(b"bytes".to_vec())),
            ],
            usage: [(1, Usage { objects: 1, data_bytes: 5, ..Usage::default() })].into(),
            ..Entry::default()
        }
        .encode(&mut gone);
        let mut bytes = vec![shape];
        for (kind, body) in [(2, &gone), (0, &Vec::new()), (2, &new)] {
            bytes.put(&[kind, u8::from(kind == 2), 0]);
            bytes.put_u16(body.len() as u16);
            bytes.put(body);
            seeds.push(bytes.clone());
        }
    }
    seeds
}
