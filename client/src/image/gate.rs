//! Lets writes in, or holds them back until none is under way: the moment at which a snapshot is taken.

use basalt_ring::local::Event;
use std::cell::Cell;
use std::rc::Rc;

#[derive(Clone)]
pub struct Gate {
    state: Rc<State>,
}

struct State {
    inside: Cell<u64>,
    /// Who holds it shut.
    shut: Cell<u64>,
    changed: Event,
}

/// A write that is under way.
pub struct Pass(Rc<State>);

/// No write is under way as long as this lives.
pub struct Shut(Rc<State>);

impl Gate {
    pub fn new() -> Gate {
        Gate { state: Rc::new(State { inside: Cell::new(0), shut: Cell::new(0), changed: Event::new() }) }
    }

    pub async fn enter(&self) -> Pass {
        loop {
            let changed = self.state.changed.wait();
            if self.state.shut.get() == 0 {
                self.state.inside.set(self.state.inside.get() + 1);
                return Pass(self.state.clone());
            }
            changed.await;
        }
    }

    /// Lets nobody in from now on, and waits until all are out.
    pub async fn shut(&self) -> Shut {
        self.state.shut.set(self.state.shut.get() + 1);
        let shut = Shut(self.state.clone());
        loop {
            let changed = self.state.changed.wait();
            if self.state.inside.get() == 0 {
                return shut;
            }
            changed.await;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.inside.set(self.0.inside.get() - 1);
        if self.0.inside.get() == 0 {
            self.0.changed.notify_all();
        }
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        self.0.shut.set(self.0.shut.get() - 1);
        self.0.changed.notify_all();
    }
}
