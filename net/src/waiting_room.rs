//! Those who have connected and have not yet proven who they are. There is room for so many; whoever comes in then turns out who has been
//! waiting longest. So a crowd that connects and says nothing keeps nobody out, and is bounded all the same: an honest handshake takes
//! milliseconds, and is hardly ever the oldest.

use basalt_ring::local::Event;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// Of one thread. Cheap to clone.
#[derive(Clone)]
pub struct WaitingRoom {
    room: Rc<Room>,
}

struct Room {
    capacity: usize,
    /// The oldest first.
    guests: RefCell<VecDeque<Rc<Place>>>,
}

struct Place {
    is_turned_out: Cell<bool>,
    turned_out: Event,
}

/// Leaves the room when dropped.
pub struct Guest {
    room: Rc<Room>,
    place: Rc<Place>,
}

impl WaitingRoom {
    pub fn new(capacity: usize) -> WaitingRoom {
        assert!(capacity > 0, "a room for nobody");
        WaitingRoom { room: Rc::new(Room { capacity, guests: RefCell::default() }) }
    }

    pub fn enter(&self) -> Guest {
        let mut guests = self.room.guests.borrow_mut();
        while guests.len() >= self.room.capacity {
            if let Some(oldest) = guests.pop_front() {
                oldest.is_turned_out.set(true);
                oldest.turned_out.notify_all();
            }
        }
        let place = Rc::new(Place { is_turned_out: Cell::new(false), turned_out: Event::new() });
        guests.push_back(place.clone());
        Guest { room: self.room.clone(), place }
    }
}

impl Guest {
    /// Resolves when a newer guest needed the place.
    pub async fn turned_out(&self) {
        loop {
            let turned_out = self.place.turned_out.wait();
            if self.place.is_turned_out.get() {
                return;
            }
            turned_out.await;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.room.guests.borrow_mut().retain(|place| !Rc::ptr_eq(place, &self.place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_turned_out(guest: &Guest) -> bool {
        guest.place.is_turned_out.get()
    }

    #[test]
    fn the_oldest_makes_room_and_those_who_left_need_not() {
        let room = WaitingRoom::new(2);
        let first = room.enter();
        let second = room.enter();
        assert!(!is_turned_out(&first));
        let third = room.enter();
        assert!(is_turned_out(&first) && !is_turned_out(&second));
        drop(second);
        let fourth = room.enter();
        assert!(!is_turned_out(&third));
        drop(first);
        let _fifth = room.enter();
        assert!(is_turned_out(&third) && !is_turned_out(&fourth));
        assert_eq!(room.room.guests.borrow().len(), 2);
    }
}
