use super::semaphore::{Permit, Semaphore};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

/// Locks by key, first come, first served for each key.
pub struct KeyedLock<K> {
    /// The keys that are locked or waited for, each with the number of those.
    keys: Keys<K>,
}

type Keys<K> = Rc<RefCell<HashMap<K, (Semaphore, usize)>>>;

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
        let semaphore = {
            let mut keys = self.keys.borrow_mut();
            let (semaphore, users) = keys.entry(key.clone()).or_insert_with(|| (Semaphore::new(1), 0));
            *users += 1;
            semaphore.clone()
        };
        // From here on the guard counts as a user, so that a cancelled wait leaves no trace.
        let mut guard = KeyGuard { keys: self.keys.clone(), key: Some(key), forget: forget::<K>, permit: None };
        guard.permit = Some(semaphore.acquire(1).await);
        guard
    }
    /// Whether anyone holds or waits for the key.
    pub fn is_locked(&self, key: &K) -> bool {
        self.keys.borrow().contains_key(key)
    }
}

fn forget<K: Eq + Hash>(keys: &Keys<K>, key: &K) {
    let mut keys = keys.borrow_mut();
    if let Some((_, users)) = keys.get_mut(key) {
        *users -= 1;
        if *users == 0 {
            keys.remove(key);
        }
    }
}

/// Holds its key until dropped.
pub struct KeyGuard<K> {
    keys: Keys<K>,
    key: Option<K>,
    /// Kept as a pointer because `Drop` may not ask more of `K` than the type does.
    forget: fn(&Keys<K>, &K),
    permit: Option<Permit>,
}

impl<K> Drop for KeyGuard<K> {
    fn drop(&mut self) {
        drop(self.permit.take());
        if let Some(key) = self.key.take() {
            (self.forget)(&self.keys, &key);
        }
    }
}
