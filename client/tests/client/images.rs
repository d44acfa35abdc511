//! Images against a model of them in memory: random work through cut sessions, and whoever works on them killed behind each of his requests.

use super::*;
use basalt_client::image::limits::{LOCK_DEAD_AFTER, OBJECT_BYTES};
use basalt_client::image::{Change, Id, Image, Mode, Segment, apply, manage};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const POOL: &str = "data";

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    images: BTreeMap<String, ModelImage>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct ModelImage {
    data: Vec<u8>,
    snapshots: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Step {
    Create(&'static str, u64),
    Remove(&'static str),
    Write(&'static str, u64, u64, u8),
    Discard(&'static str, u64, u64),
    Snapshot(&'static str, &'static str),
    RemoveSnapshot(&'static str, &'static str),
    RollBack(&'static str, &'static str),
    Resize(&'static str, u64),
    Protect(&'static str, &'static str),
    Unprotect(&'static str, &'static str),
    Clone(&'static str, &'static str, &'static str),
    Flatten(&'static str),
}

use Step::*;

impl Model {
    fn after(&self, step: &Step) -> Model {
        let mut model = self.clone();
        match step {
            Create(name, size) => {
                let data = vec![0; *size as usize];
                model.images.insert((*name).to_owned(), ModelImage { data, snapshots: BTreeMap::new() });
            }
            Remove(name) => drop(model.images.remove(*name)),
            Write(name, offset, length, fill) => model.at(name).data[range(*offset, *length)].fill(*fill),
            Discard(name, offset, length) => model.at(name).data[range(*offset, *length)].fill(0),
            Snapshot(name, snapshot) => {
                let image = model.at(name);
                image.snapshots.insert((*snapshot).to_owned(), image.data.clone());
            }
            RemoveSnapshot(name, snapshot) => drop(model.at(name).snapshots.remove(*snapshot)),
            RollBack(name, snapshot) => {
                let image = model.at(name);
                image.data = image.snapshots[*snapshot].clone();
            }
            Resize(name, size) => model.at(name).data.resize(*size as usize, 0),
            Protect(..) | Unprotect(..) | Flatten(_) => {}
            Clone(parent, snapshot, child) => {
                let data = model.at(parent).snapshots[*snapshot].clone();
                model.images.insert((*child).to_owned(), ModelImage { data, snapshots: BTreeMap::new() });
            }
        }
        model
    }

    fn at(&mut self, name: &str) -> &mut ModelImage {
        self.images.get_mut(name).expect("an image of the model")
    }
}

fn range(offset: u64, length: u64) -> std::ops::Range<usize> {
    offset as usize..(offset + length) as usize
}

async fn perform(client: &Client, step: &Step) -> Result<(), Error> {
    let change = async |name: &str, change: Change| apply(client, POOL, name, &change).await;
    match step {
        Create(name, size) => manage::create(client, POOL, name, *size).await,
        Remove(name) => manage::remove(client, POOL, name).await,
        Write(name, offset, length, fill) => {
            let image = Image::open(client, POOL, name, Mode::Write).await?;
            let data = slice(client.ring(), &vec![*fill; *length as usize]);
            let written = image.write(*offset, data).await;
            image.close().await;
            written
        }
        Discard(name, offset, length) => {
            let image = Image::open(client, POOL, name, Mode::Write).await?;
            let discarded = image.discard(*offset, *length).await;
            image.close().await;
            discarded
        }
        Snapshot(name, snapshot) => {
            let request = Id::random(client.ring());
            change(name, Change::CreateSnapshot { name: (*snapshot).into(), request }).await
        }
        RemoveSnapshot(name, snapshot) => change(name, Change::RemoveSnapshot { name: (*snapshot).into() }).await,
        RollBack(name, snapshot) => change(name, Change::RollBack { name: (*snapshot).into() }).await,
        Resize(name, size) => change(name, Change::Resize { size: *size }).await,
        Protect(name, snapshot) => manage::protect(client, POOL, name, snapshot).await,
        Unprotect(name, snapshot) => manage::unprotect(client, POOL, name, snapshot).await,
        Clone(parent, snapshot, child) => manage::clone(client, POOL, parent, snapshot, child).await,
        Flatten(name) => change(name, Change::Flatten).await,
    }
}

async fn content(client: &Client, name: &str, snapshot: Option<&str>) -> Result<Vec<u8>, Error> {
    let mode = snapshot.map_or(Mode::Read, |snapshot| Mode::Snapshot(snapshot.into()));
    let image = Image::open(client, POOL, name, mode).await?;
    let mut bytes = Vec::new();
    for segment in image.read(0, image.size()).await? {
        match segment {
            Segment::Data(data) => bytes.extend_from_slice(&data),
            Segment::Zeros(length) => bytes.resize(bytes.len() + length as usize, 0),
        }
    }
    Ok(bytes)
}

/// Everything that the cluster has, as a model.
async fn everything(client: &Client) -> Result<Model, Error> {
    let mut model = Model::default();
    for header in manage::list(client, POOL).await? {
        let mut image = ModelImage { data: content(client, &header.name, None).await?, snapshots: BTreeMap::new() };
        for snapshot in &header.snapshots {
            let bytes = content(client, &header.name, Some(&snapshot.name)).await?;
            image.snapshots.insert(snapshot.name.clone(), bytes);
        }
        model.images.insert(header.name, image);
    }
    Ok(model)
}

/// The first difference, in few words.
fn difference(seen: &[u8], expected: &[u8]) -> Option<String> {
    if seen.len() != expected.len() {
        return Some(format!("{} bytes where {} are right", seen.len(), expected.len()));
    }
    let at = seen.iter().zip(expected).position(|(seen, expected)| seen != expected)?;
    Some(format!("{} at {at} where {} is right", seen[at], expected[at]))
}

#[track_caller]
fn assert_same(seen: &Model, expected: &Model, what: &str) {
    let names = |model: &Model| model.images.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(seen), names(expected), "{what}: images");
    for (name, image) in &seen.images {
        let expected = &expected.images[name];
        assert_eq!(difference(&image.data, &expected.data), None, "{what}: image {name}");
        let names = |image: &ModelImage| image.snapshots.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(image), names(expected), "{what}: snapshots of {name}");
        for (snapshot, data) in &image.snapshots {
            assert_eq!(difference(data, &expected.snapshots[snapshot]), None, "{what}: {name}@{snapshot}");
        }
    }
}

/// Every kind of change, with objects in each kind of place when it comes.
fn script() -> Vec<Step> {
    let size = 2 * OBJECT_BYTES + 512 * KIB;
    vec![
        Create("a", size),
        Write("a", 100, 5000, 1),
        Write("a", OBJECT_BYTES - 1000, 3000, 2),
        Snapshot("a", "one"),
        Write("a", 4096, 8192, 3),
        Discard("a", OBJECT_BYTES, OBJECT_BYTES),
        Write("a", 2 * OBJECT_BYTES, 1000, 4),
        Snapshot("a", "two"),
        Write("a", 0, 64, 5),
        Snapshot("a", "three"),
        Write("a", OBJECT_BYTES + 77, 100, 6),
        RemoveSnapshot("a", "two"),
        Resize("a", OBJECT_BYTES + 50),
        Resize("a", size),
        Protect("a", "one"),
        Clone("a", "one", "b"),
        Write("b", 200, 50, 7),
        Snapshot("b", "kept"),
        Write("b", OBJECT_BYTES + 10, 10, 8),
        RollBack("a", "three"),
        Flatten("b"),
        Unprotect("a", "one"),
        RemoveSnapshot("a", "one"),
        Write("b", 0, 10, 9),
        RemoveSnapshot("b", "kept"),
        RemoveSnapshot("a", "three"),
        Remove("a"),
        Remove("b"),
    ]
}

/// What is left in the end if nothing leaks.
fn leftovers(cluster: &Cluster) -> Vec<String> {
    let names = cluster.osds.iter().flat_map(|osd| osd.names());
    let mut names: Vec<String> = names.map(|name| name.escape_ascii().to_string()).collect();
    names.retain(|name| name != "image_directory");
    names.sort();
    names
}

#[test]
fn an_image_is_what_the_model_says_after_each_change_and_leaves_nothing_behind() {
    for seed in 0..3 {
        let stage = stage(seed);
        stage.cluster.osds.iter().for_each(|osd| osd.faults.cut_one_of.set(if seed > 0 { 31 } else { 0 }));
        stage.run(|ring| async move {
            let config = ClientConfig { operation_timeout: 300 * SECOND, ..config() };
            let client = pool_with(&ring, config).await.client().clone();
            let mut model = Model::default();
            for step in script() {
                perform(&client, &step).await.unwrap_or_else(|error| panic!("{step:?}: {error}"));
                model = model.after(&step);
                let seen = everything(&client).await.unwrap();
                assert_same(&seen, &model, &format!("seed {seed}, after {step:?}"));
            }
        });
        assert_eq!(leftovers(&stage.cluster), [""; 0]);
    }
}

/// Runs the script until the cluster has carried out so many requests, kills the client, and lets another go on. False: the script ended before.
fn killed_after(requests: u64) -> bool {
    let stage = stage(requests);
    let done = Rc::new(Cell::new(0));
    let ready = Rc::new(Cell::new(false));
    let (work_done, is_ready, left) = (done.clone(), ready.clone(), stage.cluster.requests_left.clone());
    stage.client.ring().spawn({
        let ring = stage.client.ring();
        async move {
            let client = pool(&ring).await.client().clone();
            left.set(requests);
            is_ready.set(true);
            for step in script() {
                if let Err(error) = perform(&client, &step).await {
                    // After its time-out; it is as good as dead.
                    assert_eq!(error.errno(), 110, "{step:?}: {error}");
                    return;
                }
                work_done.set(work_done.get() + 1);
            }
        }
    });
    while done.get() < script().len() && !(ready.get() && stage.cluster.requests_left.get() == 0) {
        stage.world.run_for(SECOND / 100);
    }
    if done.get() == script().len() {
        return false;
    }
    stage.client.kill();
    stage.cluster.requests_left.set(u64::MAX);
    let steps = script();
    let before = steps[..done.get()].iter().fold(Model::default(), |model, step| model.after(step));
    let step = steps[done.get()].clone();
    let what = format!("killed after {requests} requests, in {step:?}");
    let other = stage.world.process("other", "10.0.0.3".parse().unwrap());
    let seen: Rc<RefCell<Option<Model>>> = Rc::default();
    let result = seen.clone();
    let ring = other.ring();
    let names: Vec<&'static str> = vec!["b", "a"];
    stage.world.block_on(other.ring().spawn(async move {
        let client = pool(&ring).await.client().clone();
        // Finishes what is half done, with the dead one's lock where it has one.
        for name in &names {
            match manage::info(&client, POOL, name).await {
                Ok((header, _)) => {
                    let change = Change::Resize { size: header.size };
                    match apply(&client, POOL, name, &change).await {
                        Ok(()) => {}
                        // A removal, or a clone of which nothing came.
                        Err(error) if matches!(error.errno(), 2 | 16) => {
                            manage::remove(&client, POOL, name).await.unwrap();
                        }
                        Err(error) => panic!("{name}: {error}"),
                    }
                }
                Err(error) => assert_eq!(error.errno(), 2, "{name}: {error}"),
            }
        }
        *result.borrow_mut() = Some(everything(&client).await.unwrap());
        for name in &names {
            let Ok((header, _)) = manage::info(&client, POOL, name).await else {
                assert_eq!(errno(manage::remove(&client, POOL, name).await), 2);
                continue;
            };
            for snapshot in &header.snapshots {
                if snapshot.protected {
                    manage::unprotect(&client, POOL, name, &snapshot.name).await.unwrap();
                }
                let change = Change::RemoveSnapshot { name: snapshot.name.clone() };
                apply(&client, POOL, name, &change).await.unwrap();
            }
            manage::remove(&client, POOL, name).await.unwrap();
        }
    }));
    let seen = seen.take().unwrap();
    let after = before.after(&step);
    assert_one_or_other(&seen, &before, &after, &what);
    assert_eq!(leftovers(&stage.cluster), [""; 0], "{what}");
    true
}

/// A step that was cut short has happened or not; of a write over several objects, some of it may have.
#[track_caller]
fn assert_one_or_other(seen: &Model, before: &Model, after: &Model, what: &str) {
    for name in ["a", "b"] {
        let (seen, before, after) = (seen.images.get(name), before.images.get(name), after.images.get(name));
        let Some(seen) = seen else {
            assert!(before.is_none() || after.is_none(), "{what}: image {name} is gone");
            continue;
        };
        let may: Vec<&ModelImage> = [before, after].into_iter().flatten().collect();
        assert!(!may.is_empty(), "{what}: there is an image {name}");
        let same_size: Vec<_> = may.iter().filter(|image| image.data.len() == seen.data.len()).collect();
        assert!(!same_size.is_empty(), "{what}: image {name} has {} bytes", seen.data.len());
        let wrong = (0..seen.data.len()).find(|at| same_size.iter().all(|image| image.data[*at] != seen.data[*at]));
        assert_eq!(wrong, None, "{what}: image {name} has a byte that nobody wrote there");
        let snapshots = |image: &ModelImage| image.snapshots.keys().cloned().collect::<Vec<_>>();
        let like = may.iter().find(|image| snapshots(image) == snapshots(seen));
        let like = like.unwrap_or_else(|| panic!("{what}: {name} has the snapshots {:?}", snapshots(seen)));
        for (snapshot, data) in &seen.snapshots {
            assert_eq!(difference(data, &like.snapshots[snapshot]), None, "{what}: {name}@{snapshot}");
        }
    }
}

#[test]
fn whoever_is_killed_behind_any_of_his_requests_leaves_an_image_that_goes_on() {
    let mut requests = 1;
    while killed_after(requests) {
        requests += 1;
    }
    assert!(requests > 200, "the script has {requests} requests only");
}

#[test]
fn a_holder_that_was_taken_for_dead_writes_nothing_any_more() {
    let stage = stage(5);
    let world = &stage.world;
    let (servers, clients) = (SERVERS.parse().unwrap(), CLIENTS.parse().unwrap());
    let ring = stage.client.ring();
    let image = world.block_on(stage.client.ring().spawn(async move {
        let config = ClientConfig { operation_timeout: 120 * SECOND, ..config() };
        let client = pool_with(&ring, config).await.client().clone();
        manage::create(&client, POOL, "a", 8 * MIB).await.unwrap();
        let image = Image::open(&client, POOL, "a", Mode::Write).await.unwrap();
        image.write(0, slice(&ring, &[1; 4096])).await.unwrap();
        image
    }));
    // Nothing of what it sends arrives from now on; it arrives when the line is whole again.
    world.cut(clients, servers);
    let late = stage.client.ring().spawn({
        let (image, data) = (image.clone(), slice(&stage.client.ring(), &[9; 4096]));
        async move { image.write(4096, data).await }
    });
    let other = world.process("other", "10.0.0.3".parse().unwrap());
    let ring = other.ring();
    let taken = world.block_on(other.ring().spawn(async move {
        let client = pool(&ring).await.client().clone();
        let begun = ring.now();
        let image = Image::open(&client, POOL, "a", Mode::Write).await.unwrap();
        assert!(ring.now().since(begun) >= LOCK_DEAD_AFTER);
        image.write(0, slice(&ring, &[2; 4096])).await.unwrap();
        image
    }));
    world.heal(clients, servers);
    let refused = world.block_on(late);
    assert_eq!(errno(refused), 108, "the write that was on its way");
    world.run_for(2 * SECOND);
    assert!(image.stopped().is_some());
    let ring = other.ring();
    world.block_on(other.ring().spawn(async move {
        let segments = taken.read(0, 8192).await.unwrap();
        let bytes: Vec<u8> = segments
            .iter()
            .flat_map(|segment| match segment {
                Segment::Data(data) => data.to_vec(),
                Segment::Zeros(length) => vec![0; *length as usize],
            })
            .collect();
        assert!(bytes[..4096].iter().all(|byte| *byte == 2) && bytes[4096..].iter().all(|byte| *byte == 0));
        taken.close().await;
        // The lock is free again.
        let client = pool(&ring).await.client().clone();
        Image::open(&client, POOL, "a", Mode::Write).await.unwrap().close().await;
    }));
}

/// Writes under way at a time, each task's in places of its own.
const WRITERS: u64 = 8;
const WRITES_EACH: u64 = 240;
const SNAPSHOTS: u32 = 6;

/// Where a task's write of this number goes: all tasks in the same few objects.
fn place_of(writer: u64, number: u64) -> u64 {
    (number * 79 % 251 * WRITERS + writer) * 4096 % (8 * MIB)
}

#[test]
fn an_image_has_one_process_that_writes_and_takes_others_snapshots_in_the_middle_of_it() {
    let stage = stage(6);
    // What is sent again comes after what was sent later.
    stage.cluster.osds.iter().for_each(|osd| osd.faults.cut_one_of.set(19));
    let patient = || ClientConfig { operation_timeout: 300 * SECOND, ..config() };
    let other = stage.world.process("other", "10.0.0.3".parse().unwrap());
    let ring = stage.client.ring();
    let image = stage.world.block_on(stage.client.ring().spawn(async move {
        let client = pool_with(&ring, patient()).await.client().clone();
        manage::create(&client, POOL, "a", 8 * MIB).await.unwrap();
        Image::open(&client, POOL, "a", Mode::Write).await.unwrap()
    }));
    // Each task writes its next number once the one before is acknowledged: a snapshot has all its numbers up to some one, and none after it.
    let written: Rc<RefCell<Vec<u64>>> = Rc::new(RefCell::new(vec![0; WRITERS as usize]));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (image, written, ring) = (image.clone(), written.clone(), stage.client.ring());
            stage.client.ring().spawn(async move {
                for number in 0..WRITES_EACH {
                    let bytes = (number + 1).to_be_bytes();
                    image.write(place_of(writer, number), slice(&ring, &bytes)).await.unwrap();
                    written.borrow_mut()[writer as usize] = number + 1;
                    ring.sleep(SECOND / 100).await;
                }
            })
        })
        .collect();
    let ring = other.ring();
    let seen = written.clone();
    let snapshots = stage.world.block_on(other.ring().spawn(async move {
        let client = pool_with(&ring, patient()).await.client().clone();
        assert_eq!(errno(Image::open(&client, POOL, "a", Mode::Write).await), 16);
        assert_eq!(errno(apply(&client, POOL, "a", &Change::RollBack { name: "s0".into() }).await), 16);
        let mut found = Vec::new();
        for index in 0..SNAPSHOTS {
            let before = seen.borrow().clone();
            let name = format!("s{index}");
            let change = Change::CreateSnapshot { name: name.clone(), request: Id::random(&ring) };
            apply(&client, POOL, "a", &change).await.unwrap();
            let after = seen.borrow().clone();
            let bytes = content(&client, "a", Some(&name)).await.unwrap();
            found.push((name, before, bytes, after));
        }
        assert_eq!(errno(apply(&client, POOL, "a", &Change::RemoveSnapshot { name: "no".into() }).await), 2);
        found
    }));
    for writer in writers {
        stage.world.block_on(writer);
    }
    let ring = other.ring();
    let (now, again) = stage.world.block_on(other.ring().spawn(async move {
        let client = pool_with(&ring, patient()).await.client().clone();
        let mut again = Vec::new();
        for index in 0..SNAPSHOTS {
            again.push(content(&client, "a", Some(&format!("s{index}"))).await.unwrap());
        }
        (content(&client, "a", None).await.unwrap(), again)
    }));
    let has = |bytes: &[u8], writer, number: u64| {
        let place = place_of(writer, number) as usize;
        bytes[place..place + 8] == (number + 1).to_be_bytes()
    };
    for ((name, before, bytes, after), again) in snapshots.into_iter().zip(again) {
        assert_eq!(difference(&again, &bytes), None, "{name} has changed since it was taken");
        for writer in 0..WRITERS {
            let (before, after) = (before[writer as usize], after[writer as usize]);
            let count = (0..WRITES_EACH).take_while(|number| has(&bytes, writer, *number)).count() as u64;
            assert!((before..=after + 1).contains(&count), "{name}: {count} writes of {before} to {after}");
            let later = (count..WRITES_EACH).find(|number| has(&bytes, writer, *number));
            assert_eq!(later, None, "{name} has a later write without an earlier one");
        }
    }
    for writer in 0..WRITERS {
        let lost = (0..WRITES_EACH).find(|number| !has(&now, writer, *number));
        assert_eq!(lost, None, "writer {writer}: an acknowledged write is lost");
    }
    let ring = stage.client.ring();
    stage.world.block_on(ring.spawn(image.close()));
}

#[test]
fn a_snapshot_that_is_removed_under_its_reader_is_an_error_and_no_zeros() {
    let stage = stage(7);
    stage.run(|ring| async move {
        let client = pool(&ring).await.client().clone();
        let change = async |change: Change| apply(&client, POOL, "a", &change).await.unwrap();
        manage::create(&client, POOL, "a", 3 * OBJECT_BYTES).await.unwrap();
        let write = async |fill: u8| {
            let image = Image::open(&client, POOL, "a", Mode::Write).await.unwrap();
            image.write(0, slice(&ring, &[fill; 4096])).await.unwrap();
            image.close().await;
        };
        write(1).await;
        change(Change::CreateSnapshot { name: "s".into(), request: Id::random(&ring) }).await;
        write(2).await;
        let snapshot = Image::open(&client, POOL, "a", Mode::Snapshot("s".into())).await.unwrap();
        let live = Image::open(&client, POOL, "a", Mode::Read).await.unwrap();
        change(Change::CreateSnapshot { name: "t".into(), request: Id::random(&ring) }).await;
        change(Change::RollBack { name: "s".into() }).await;
        write(3).await;
        let first = async |image: &Image| match image.read(0, 4096).await?.first() {
            Some(Segment::Data(data)) => Ok::<u8, Error>(data[0]),
            _ => Ok(0),
        };
        assert_eq!(first(&snapshot).await, Ok(1));
        change(Change::RemoveSnapshot { name: "t".into() }).await;
        assert_eq!(first(&live).await, Ok(3), "the layer that it looked through is gone");
        change(Change::RemoveSnapshot { name: "s".into() }).await;
        assert_eq!(errno(snapshot.read(0, 4096).await), 2);
        assert_eq!(errno(snapshot.extents(0, 4096, 8).await), 2);
    });
}
