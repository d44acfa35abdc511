//! A read that met a damaged clean copy had it dropped beside itself, and what the object then held on the hot device was kept for the tier's next
//! tick. A promotion in between put a sound copy back and told of it at once; the tick then said that nothing was there. From then on the tier knew
//! nothing of that copy: it was never evicted, and a drain never came to its end (seeds 12303 and 15866 of clusters with hot slices).

use basalt_blockstore::{ObjectKey, Placement};
use basalt_tests::model::Step;
use basalt_tests::random::Random;
use basalt_tests::simulated_store::{self as simulated, Shape, formatted, transact};

const POOL: u32 = 3;
const BLOCK: u64 = 4096;
const SHAPE: Shape = Shape::SMALL_TIERED;

#[test]
fn what_changed_beside_the_tier_is_told_as_it_is_when_it_is_told() {
    let mut sim = formatted(7, SHAPE);
    let ring = sim.ring();
    sim.world.block_on(async {
        let store = simulated::open(&ring, SHAPE).await.expect("open");
        let object = ObjectKey { pool: POOL, pg: 0, name: b"o".as_slice().into() };
        let bytes = Random::new(1).bytes(3 * BLOCK as usize);
        let steps = [Step::Write { offset: 0, data: bytes.clone() }];
        transact(&ring, &store, &object, &steps, Placement::Hot).await.expect("written");
        let id = store.stat(&object).await.expect("stat").expect("an object").id;
        store.flush(&[id], POOL).await.expect("flushed");

        let hot = sim.hot.as_ref().expect("a hot device");
        let at = hot.image().chunks(BLOCK as usize).position(|block| block == &bytes[..BLOCK as usize]);
        hot.flip(at.expect("the first block") as u64 * BLOCK, 1);
        assert!(store.read(&object, 0, u64::MAX).await.expect("base has it").data[..] == bytes[..]);
        while store.pool_usage(POOL).hot_clean_bytes > 0 {
            ring.sleep(std::time::Duration::from_millis(1)).await;
        }
        let (promoted, change) = store.promote(&object, 0, 3 * BLOCK).await.expect("promoted");
        assert_eq!((promoted, change.clean_bytes), (3 * BLOCK, 3 * BLOCK));
        let told = store.take_background_changes(8).await.expect("a whole index");
        let held = told.iter().map(|change| (change.object, change.clean_bytes)).collect::<Vec<_>>();
        assert_eq!(held, [(id, 3 * BLOCK)], "the drop is told of, but not as it was");
        assert_eq!(store.take_background_changes(8).await.expect("a whole index"), [], "once");
        store.close().await.expect("close");
    });
    simulated::assert_sound(&mut sim, SHAPE);
}
