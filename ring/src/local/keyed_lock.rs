use super::semaphore::{Permit, Semaphore};
use foldhash::HashMap;
use std::cell::RefCell;
use std::hash::Hash;
use std::rc::Rc;

/// Locks by key, first come, first served for each key.
pub struct KeyedLock<K> {
    /// The keys that are locked or waited for.
    keys: Keys<K>,
}

/// Hashed quickly: at most as many keys as there are operations under way can be made to collide, and a lock is taken by each of them.
type Keys<K> = Rc<RefCell<HashMap<K, Use>>>;

struct Use {
    /// Guards, and those who wait to have one.
    users: usize,
    /// Made when there is a second user: most keys are let go of before. The first one's permit is kept here, since it was not there to be taken.
    line: Option<(Semaphore, Option<Permit>)>,
}

impl<K> Clone for KeyedLock<K> {
    fn clone(&self) -> Self {
        KeyedLock { keys: self.keys.clone() }
    }
}

impl<K: Clone + Eq + Hash + 'static> KeyedLock<K> {
    #[allow(clippy::new_without_default)]
    pub fn new() -> KeyedLock<K> {
        KeyedLock { keys: Rc::default() }
    }
    pub async fn lock(&self, key: K) -> KeyGuard<K> {
        let line = {
            let mut keys = self.keys.borrow_mut();
            let known = keys.entry(key.clone()).or_insert(Use { users: 0, line: None });
            known.users += 1;
            let is_first = known.users == 1;
            (!is_first).then(|| {
                let (semaphore, _) = known.line.get_or_insert_with(|| {
                    let semaphore = Semaphore::new(1);
                    let first = semaphore.try_acquire(1);
                    (semaphore, first)
                });
                semaphore.clone()
            })
        };
        // From here on the guard counts as a user, so that a cancelled wait leaves no trace.
        let is_first = line.is_none();
        let mut guard =
            KeyGuard { keys: self.keys.clone(), key: Some(key), forget: forget::<K>, permit: None, is_first };
        if let Some(line) = line {
            guard.permit = Some(line.acquire(1).await);
        }
        guard
    }
    /// Whether anyone holds or waits for the key.
    pub fn is_locked(&self, key: &K) -> bool {
        self.keys.borrow().contains_key(key)
    }
}

fn forget<K: Eq + Hash>(keys: &Keys<K>, key: &K, is_first: bool) {
    let mut keys = keys.borrow_mut();
    let Some(known) = keys.get_mut(key) else { return };
    known.users -= 1;
    if known.users == 0 {
        keys.remove(key);
    } else if is_first && let Some((_, permit)) = &mut known.line {
        let permit = permit.take();
        drop(keys);
        // Wakes the next in line.
        drop(permit);
    }
}

/// Holds its key until dropped.
pub struct KeyGuard<K> {
    keys: Keys<K>,
    key: Option<K>,
    /// Kept as a pointer because `Drop` may not ask more of `K` than the type does.
    forget: fn(&Keys<K>, &K, bool),
    permit: Option<Permit>,
    /// It has the key without a permit.
    is_first: bool,
}

impl<K> Drop for KeyGuard<K> {
    fn drop(&mut self) {
        drop(self.permit.take());
        if let Some(key) = self.key.take() {
            (self.forget)(&self.keys, &key, self.is_first);
        }
    }
}
