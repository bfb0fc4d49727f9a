//! Handlers: connections as sequential code.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_runtime::net::{Served, Stream, is_write_timeout};
use mm_runtime::task::{Control, Name, Options, spawn_with};

use crate::{Peer, Service, Stats, Step};

/// Starts the task that serves one connection.
pub(crate) type Spawn = Box<dyn Fn(Served, Rc<Outcomes>) -> Control>;

/// How handlers have ended since they were last counted.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    timeouts: Cell<u64>,
    write_timeouts: Cell<u64>,
    socket_errors: Cell<u64>,
    faults: Cell<u64>,
    panics: Cell<u64>,
    /// Whether one of these is not zero.
    are_some: Cell<bool>,
}

impl Outcomes {
    fn note(&self, outcome: &io::Result<()>) {
        use io::ErrorKind as K;
        let Err(error) = outcome else { return };
        let counter = match error.kind() {
            // The server has ended it, and counted why.
            K::ConnectionAborted => return,
            K::TimedOut if is_write_timeout(error) => &self.write_timeouts,
            K::TimedOut => &self.timeouts,
            K::ConnectionReset | K::BrokenPipe | K::NotConnected | K::UnexpectedEof => &self.socket_errors,
            _ => &self.faults,
        };
        self.add(counter);
    }

    fn add(&self, counter: &Cell<u64>) {
        counter.set(counter.get() + 1);
        self.are_some.set(true);
    }

    /// Adds what has been counted since the last time.
    #[inline]
    pub(crate) fn count(&self, stats: &Stats) {
        if self.are_some.take() {
            self.count_all(stats);
        }
    }

    #[cold]
    fn count_all(&self, stats: &Stats) {
        let pairs = [
            (&self.timeouts, &stats.idle_timeouts),
            (&self.write_timeouts, &stats.write_timeouts),
            (&self.socket_errors, &stats.socket_errors),
            (&self.faults, &stats.faults),
            (&self.panics, &stats.panics),
        ];
        for (counted, total) in pairs {
            match counted.take() {
                0 => {}
                more => total.add(more),
            }
        }
    }
}

/// Counts a panic if it is dropped by one.
struct Guard(Rc<Outcomes>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.add(&self.0.panics);
        }
    }
}

/// What the tasks of handlers are called.
pub(crate) const TASK: &str = "connection";

/// What starts the tasks of a handler on one shard.
pub(crate) fn spawner<F>(handler: Arc<F>) -> Spawn
where
    F: AsyncFn(Stream) -> io::Result<()> + 'static,
{
    let options = Options::new().name(Name::new(TASK));
    Box::new(move |served, outcomes| {
        let (handler, guard) = (Arc::clone(&handler), Guard(outcomes));
        let task = async move {
            let outcome = handler(served.into_stream()).await;
            guard.0.note(&outcome);
        };
        spawn_with(options, task).control()
    })
}

/// The service of a server that has a handler: nothing ever reaches it.
#[derive(Debug)]
pub(crate) struct NoService;

impl Service for NoService {
    type Connection = ();

    fn connect(&mut self, _peer: &Peer) {}

    fn run(&mut self, _: &mut (), input: &[u8], _: &mut Output, _: Now) -> Step {
        Step::Close { consumed: input.len() }
    }
}
