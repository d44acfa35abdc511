//! The threads that etcd's client runs on. They may be let go of anywhere, also on a thread of another runtime.

use std::io;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// Cheap to clone; the threads end, without being waited for, with the last clone.
#[derive(Clone)]
pub struct Background {
    runtime: Arc<Ending>,
}

struct Ending(Option<Runtime>);

impl Drop for Ending {
    fn drop(&mut self) {
        // A runtime that is just dropped waits for its threads, which it may not do where others must not be kept waiting.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Background {
    pub fn start() -> io::Result<Background> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("etcd").enable_all().build()?;
        Ok(Background { runtime: Arc::new(Ending(Some(runtime))) })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.0.as_ref().unwrap_or_else(|| unreachable!("it is taken out only when it is dropped"))
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime().spawn(task);
    }

    /// Not to be called on a thread of an asynchronous runtime.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime().block_on(future)
    }
}
