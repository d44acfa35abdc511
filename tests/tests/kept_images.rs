//! Stores that earlier versions made are opened, read, changed and checked. To keep one of the format as it is now, add it to `Kept` and run
//! `BASALT_KEEP_IMAGE=1 cargo nextest run -p basalt-tests --test kept_images --run-ignored only`.

use basalt_blockstore::Placement;
use basalt_tests::kept_image::{ALL, Kept};
use basalt_tests::model::{Model, Step};
use basalt_tests::simulated_store::{self as simulated, SimulatedStore};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("images")
}

fn on_disks(kept: Kept) -> SimulatedStore {
    let sim = SimulatedStore::new(1, kept.shape());
    let images = kept.load(&folder()).expect("the image is kept");
    for (disk, image) in sim.disks().into_iter().zip(images) {
        disk.restore(image);
    }
    sim
}

#[test]
fn stores_of_every_earlier_version_are_opened_read_and_changed() {
    for kept in ALL {
        let mut sim = on_disks(kept);
        simulated::assert_sound(&mut sim, kept.shape());
        sim.restart();
        let ring = sim.ring();
        let mut model = kept.model();
        sim.world.block_on(async {
            let store = simulated::open(&ring, kept.shape()).await.expect("opens");
            let found = Model::of(&store).await.expect("readable");
            assert!(found == model, "{kept:?}: {}", found.difference(&model));
            let names: Vec<_> = model.objects.keys().cloned().collect();
            for (at, name) in names.into_iter().enumerate() {
                let steps = match at % 3 {
                    0 => vec![Step::Write { offset: 100, data: vec![at as u8; 5000] }],
                    1 => vec![Step::Append { data: vec![at as u8; 100] }],
                    _ => vec![Step::Truncate { size: 700 }],
                };
                simulated::transact(&ring, &store, &name, &steps, Placement::Hot).await.expect("written");
                assert!(model.apply(&name, &steps));
            }
            let found = Model::of(&store).await.expect("readable");
            assert!(found == model, "{kept:?}: {}", found.difference(&model));
            store.close().await.expect("close");
        });
        simulated::assert_sound(&mut sim, kept.shape());
        sim.restart();
        let ring = sim.ring();
        sim.world.block_on(async {
            let store = simulated::open(&ring, kept.shape()).await.expect("opens again");
            assert!(Model::of(&store).await.expect("readable") == model);
        });
    }
}

/// Not a test: writes the image of the newest state of the format.
#[test]
#[ignore = "makes an image to be kept"]
fn keep_an_image() {
    if std::env::var("BASALT_KEEP_IMAGE").is_ok() {
        let newest = ALL[ALL.len() - 1];
        newest.make(&folder()).expect("written");
    }
}
