//! Any order of changes leaves a header that says where each byte of the image and of each snapshot is: against a model in which layers are
//! sets of what was written, and merging and collecting are done as the chores say.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Step {
    Write(u64),
    Snapshot(u8),
    Remove(u8),
    RollBack(u8),
    Resize(u64),
    Chore,
    Protect(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..8u64).prop_map(Step::Write),
        3 => (0..5u8).prop_map(Step::Snapshot),
        2 => (0..5u8).prop_map(Step::Remove),
        1 => (0..5u8).prop_map(Step::RollBack),
        2 => (0..9u64).prop_map(Step::Resize),
        3 => Just(Step::Chore),
        1 => (0..5u8).prop_map(Step::Protect),
    ]
}

/// Places of one byte each; what a layer has of each is the number of the write.
#[derive(Default)]
struct Layers(BTreeMap<Id, BTreeMap<u64, u64>>);

impl Layers {
    /// What is seen at each place below `size`; 0: nothing.
    fn seen(&self, header: &Header, top: Id, size: u64) -> Vec<u64> {
        let (chain, _) = header.chain(top);
        let look = |place: u64| {
            let mut links = chain.iter().take_while(|link| link.visible > place);
            links.find_map(|link| self.0.get(&link.layer)?.get(&place).copied()).unwrap_or(0)
        };
        (0..size).map(look).collect()
    }

    fn has_any(&self, layer: Id) -> bool {
        self.0.get(&layer).is_some_and(|places| !places.is_empty())
    }

    fn do_chore(&mut self, header: &mut Header, chore: Chore) {
        match chore {
            Chore::Trim { from, to } => {
                if let Some(places) = self.0.get_mut(&header.head) {
                    places.retain(|place, _| !(from..to).contains(place));
                }
                header.trimmed();
            }
            Chore::Collect(layer) => {
                self.0.remove(&layer);
                header.collected(layer);
            }
            Chore::Merge { lower, upper, visible } => {
                let below = self.0.get(&lower).cloned().unwrap_or_default();
                let above = self.0.entry(upper).or_default();
                for (place, number) in below.into_iter().filter(|(place, _)| *place < visible) {
                    above.entry(place).or_insert(number);
                }
                header.merged(lower, upper);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_order_of_changes_shows_what_was_written_and_leaves_nothing_behind(
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut header = Header::new(Id(1), "image", 8, Id(100), 0);
        let mut layers = Layers::default();
        let mut data = vec![0u64; 8];
        let mut snapshots: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (number, step) in (1u64..).zip(steps) {
            let (name, layer) = (|index: u8| format!("s{index}"), Id(100 + number));
            match step {
                Step::Write(place) if place < header.size => {
                    layers.0.entry(header.head).or_default().insert(place, number);
                    data[place as usize] = number;
                }
                Step::Write(_) => {}
                Step::Snapshot(index) => {
                    let made = header.create_snapshot(&name(index), layer, Id(number), 0, 1);
                    prop_assert_eq!(made.is_err(), snapshots.contains_key(&name(index)));
                    snapshots.entry(name(index)).or_insert_with(|| data.clone());
                }
                Step::Remove(index) => {
                    if header.remove_snapshot(&name(index)).is_ok() {
                        snapshots.remove(&name(index));
                    }
                }
                Step::RollBack(index) => {
                    if header.roll_back(&name(index), layer).is_ok() {
                        data = snapshots[&name(index)].clone();
                    }
                }
                Step::Resize(size) => {
                    if header.resize(size).is_ok() {
                        data.resize(size as usize, 0);
                    }
                }
                Step::Chore => {
                    if let Some(chore) = header.chore() {
                        layers.do_chore(&mut header, chore);
                    }
                }
                Step::Protect(index) => {
                    let _ = header.protect_snapshot(&name(index));
                    prop_assert!(!snapshots.contains_key(&name(index)) || header.remove_snapshot(&name(index)).is_err());
                    let _ = header.unprotect_snapshot(&name(index));
                }
            }
            prop_assert_eq!(&Header::decode("image", &header.encode()).map_err(|error| error.to_string()), &Ok(header.clone()));
            prop_assert_eq!(layers.seen(&header, header.head, header.size), data.clone());
            for snapshot in &header.snapshots {
                prop_assert_eq!(&layers.seen(&header, snapshot.layer, snapshot.size), &snapshots[&snapshot.name]);
            }
        }
        // In the end there is one layer for the head, and one for each snapshot; no others have anything.
        while let Some(chore) = header.chore() {
            layers.do_chore(&mut header, chore);
        }
        prop_assert_eq!(layers.seen(&header, header.head, header.size), data);
        let named: BTreeSet<Id> =
            header.snapshots.iter().map(|snapshot| snapshot.layer).chain([header.head]).collect();
        let branching = |id: Id| header.layers.iter().filter(|layer| layer.below == Below::Layer(id)).count() > 1;
        for id in layers.0.keys().copied().filter(|id| layers.has_any(*id)) {
            prop_assert!(named.contains(&id) || branching(id), "layer {} is left behind", id);
        }
    }
}

#[test]
fn a_clone_stays_its_parents_until_it_is_forgotten() {
    let mut parent = Header::new(Id(1), "parent", 8, Id(100), 0);
    parent.create_snapshot("s", Id(101), Id(1), 0, 1).unwrap();
    assert!(parent.announce_child("s", Id(2), "child").is_err(), "not protected");
    parent.protect_snapshot("s").unwrap();
    parent.announce_child("s", Id(2), "child").unwrap();
    let child = Header::clone_of(&parent, "s", Id(2), "child", Id(200), 0).unwrap();
    assert_eq!((child.stage, child.family, child.size), (Stage::Incomplete, parent.family, 8));
    assert_eq!(child.chain(child.head), (vec![Link { layer: Id(200), visible: u64::MAX }], 8));
    parent.confirm_child(1, Id(2)).unwrap();
    assert_eq!(parent.unprotect_snapshot("s").unwrap_err().errno(), EBUSY);
    assert_eq!(parent.remove_snapshot("s").unwrap_err().errno(), EBUSY);
    parent.forget_child(1, Id(2));
    assert_eq!(parent.confirm_child(1, Id(2)).unwrap_err().errno(), ENOENT);
    parent.unprotect_snapshot("s").unwrap();
    parent.remove_snapshot("s").unwrap();
}

#[test]
fn a_header_that_contradicts_itself_is_refused() {
    let whole = Header::new(Id(1), "image", 8, Id(100), 0);
    let wrong: [fn(&mut Header); 6] = [
        |header| header.format = 2,
        |header| header.head = Id(7),
        |header| header.layers[0].below = Below::Layer(Id(100)),
        |header| header.layers[0].below = Below::Parent,
        |header| header.garbage.push(Id(100)),
        |header| header.size = u64::MAX,
    ];
    for change in wrong {
        let mut header = whole.clone();
        change(&mut header);
        assert!(Header::decode("image", &header.encode()).is_err(), "{header:?}");
    }
    for bytes in [&b""[..], b"{}", b"null", b"{\"format\":1}", &whole.encode()[1..]] {
        assert!(Header::decode("image", bytes).is_err());
    }
}
