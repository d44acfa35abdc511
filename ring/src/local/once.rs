use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A single value once: the sender may drop, then the receiver gets `None`.
pub fn once<T>() -> (OnceSender<T>, OnceReceiver<T>) {
    let state = Rc::new(RefCell::new(State::Empty(None)));
    (OnceSender { state: state.clone() }, OnceReceiver { state })
}

enum State<T> {
    Empty(Option<Waker>),
    Sent(T),
    Closed,
}

pub struct OnceSender<T> {
    state: Rc<RefCell<State<T>>>,
}

impl<T> OnceSender<T> {
    pub fn send(self, value: T) {
        self.settle(State::Sent(value));
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        Rc::strong_count(&self.state) == 1
    }

    fn settle(&self, end: State<T>) {
        let waker = match &mut *self.state.borrow_mut() {
            State::Empty(waker) => waker.take(),
            State::Sent(_) | State::Closed => return,
        };
        *self.state.borrow_mut() = end;
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for OnceSender<T> {
    fn drop(&mut self) {
        self.settle(State::Closed);
    }
}

/// Resolves to the value, or to `None` if the sender was dropped without one.
pub struct OnceReceiver<T> {
    state: Rc<RefCell<State<T>>>,
}

impl<T> Future for OnceReceiver<T> {
    type Output = Option<T>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.state.borrow_mut();
        if let State::Empty(waker) = &mut *state {
            *waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        match std::mem::replace(&mut *state, State::Closed) {
            State::Sent(value) => Poll::Ready(Some(value)),
            State::Empty(_) | State::Closed => Poll::Ready(None),
        }
    }
}
