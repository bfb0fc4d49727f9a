//! A shard: a thread on a core of its own with a handle of a store.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use mm_store::{Key, Sharing, Store};
use rustix::time::{ClockId, clock_gettime};

use super::VALUE_BYTES;
use super::line::{Line, one_way_ns};
use super::work::{Request, Work, key};
use crate::load::Random;
use crate::machine::{median, pin};

/// Requests looked up together, as in the service.
pub(super) const BATCH: usize = 24;

/// Batches between two looks at the clock: some hundred microseconds, less than a program has the core at a time.
const BATCHES: usize = 64;

const NOW_S: u32 = 1;

/// What a shard is asked for.
enum Task {
    /// Make the requests.
    Prepare { work: Work, items: u64, seed: u64 },
    /// Work through them.
    Run { seconds: f64 },
    /// Send a cache line to and fro; one shard begins.
    Exchange { line: Arc<Line>, begins: bool },
}

/// Requests of a block.
pub(super) const BLOCK: usize = BATCHES * BATCH;

/// This part of a slice goes by before blocks count: until caches hold what the shards that take part work with.
const WARMING: f64 = 0.25;

/// A block counts if no other program had the core for more than this part of it.
const TOLERATED: f64 = 0.05;

/// When a shard worked through blocks of [`BLOCK`] requests and had its core all the time, in order.
pub(super) type Blocks = Vec<Range<Instant>>;

/// A running shard.
pub(super) struct Shard {
    tasks: Sender<Task>,
    answers: Receiver<Result<Blocks, String>>,
}

impl Shard {
    /// Starts a shard on `core` with the handle that `take` gives; one that `fills` stores all items first.
    ///
    /// # Errors
    /// There is no such core, no memory, or no thread.
    pub(super) fn start<S: Sharing>(
        core: usize,
        items: u64,
        fills: bool,
        take: impl FnOnce() -> Option<Store<S>> + Send + 'static,
    ) -> Result<Self, String> {
        let (tasks, own_tasks) = channel();
        let (own_answers, answers) = channel();
        let body = move || {
            let opened = pin(core).and_then(|()| take().ok_or_else(|| "cannot open the store".to_owned()));
            let mut store = match opened {
                Ok(store) => store,
                Err(complaint) => return drop(own_answers.send(Err(complaint))),
            };
            let filled = if fills { fill(&mut store, items) } else { Ok(()) };
            // Who started the shard has gone if nobody listens.
            drop(own_answers.send(filled.map(|()| Blocks::new())));
            let mut requests = Vec::new();
            let mut position = 0;
            while let Ok(task) = own_tasks.recv() {
                let answer = match task {
                    Task::Prepare { work, items, seed } => {
                        requests = work.requests(items, seed);
                        Blocks::new()
                    }
                    Task::Exchange { line, begins: true } => line.exchange(),
                    Task::Exchange { line, begins: false } => {
                        line.answer();
                        Blocks::new()
                    }
                    Task::Run { seconds } => serve(&mut store, &requests, &mut position, seconds),
                };
                drop(own_answers.send(Ok(answer)));
            }
        };
        thread::Builder::new().spawn(body).map_err(|error| format!("cannot start a thread: {error}"))?;
        let shard = Self { tasks, answers };
        shard.answer().map(|_| shard)
    }

    /// Has it make the requests that it will work through.
    ///
    /// # Errors
    /// The shard has died.
    pub(super) fn prepare(&self, work: Work, items: u64, seed: u64) -> Result<(), String> {
        self.request(Task::Prepare { work, items, seed })?;
        self.answer().map(|_| ())
    }

    /// Has it work through them for so long; [`Shard::answer`] tells what it did.
    ///
    /// # Errors
    /// The shard has died.
    pub(super) fn begin(&self, seconds: f64) -> Result<(), String> {
        self.request(Task::Run { seconds })
    }

    /// Sends a cache line to another shard's core and back, many times. Returns about how many nanoseconds one way
    /// takes.
    ///
    /// # Errors
    /// A shard has died.
    pub(super) fn exchange(&self, other: &Self) -> Result<f64, String> {
        let line = Arc::new(Line::default());
        other.request(Task::Exchange { line: Arc::clone(&line), begins: false })?;
        self.request(Task::Exchange { line, begins: true })?;
        let mut ways: Vec<f64> = self.answer()?.iter().map(one_way_ns).collect();
        other.answer()?;
        Ok(median(&mut ways))
    }

    fn request(&self, task: Task) -> Result<(), String> {
        self.tasks.send(task).map_err(|_gone| "a shard has died".to_owned())
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// The shard has died, or why it could not do it.
    pub(super) fn answer(&self) -> Result<Blocks, String> {
        self.answers.recv().map_err(|_gone| "a shard has died".to_owned())?
    }
}

/// Stores every item, and then some of them again in no order until as many segments were emptied as there are: from
/// then on no memory is touched for the first time.
fn fill<S: Sharing>(store: &mut Store<S>, items: u64) -> Result<(), String> {
    const STRIDE: usize = 1 << 12;
    let mut random = Random::new(1);
    for number in 0..items {
        set(store, number)?;
    }
    loop {
        let stats = store.stats();
        if stats.segments_reused >= stats.segments {
            store.rest();
            return Ok(());
        }
        for _ in 0..STRIDE {
            set(store, random.below(items))?;
        }
    }
}

fn set<S: Sharing>(store: &mut Store<S>, number: u64) -> Result<(), String> {
    let bytes = key(number);
    let stored = store.key(&bytes).map(|key| store.set(key, &[b'v'; VALUE_BYTES], NOW_S));
    if matches!(stored, Some(Ok(_))) { Ok(()) } else { Err("the store refuses to store".to_owned()) }
}

/// Works through the requests for so many seconds.
fn serve<S: Sharing>(
    store: &mut Store<S>,
    requests: &[Request],
    position: &mut usize,
    seconds: f64,
) -> Blocks {
    let mut blocks = Blocks::new();
    let start = Instant::now();
    let (mut began, mut began_cpu_s) = (start, cpu_s());
    while began.duration_since(start).as_secs_f64() < seconds {
        for _ in 0..BATCHES {
            if *position + BATCH > requests.len() {
                *position = 0;
            }
            serve_batch(store, &requests[*position..*position + BATCH]);
            store.rest();
            *position += BATCH;
        }
        let (ended, ended_cpu_s) = (Instant::now(), cpu_s());
        let took_s = ended.duration_since(began).as_secs_f64();
        let is_warm = began.duration_since(start).as_secs_f64() >= seconds * WARMING;
        if is_warm && ended_cpu_s - began_cpu_s > took_s * (1.0 - TOLERATED) {
            blocks.push(began..ended);
        }
        (began, began_cpu_s) = (ended, ended_cpu_s);
    }
    blocks
}

/// Processor time of this thread, in seconds.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A turn's worth of requests.
fn serve_batch<S: Sharing>(store: &mut Store<S>, requests: &[Request]) {
    let mut keys: [Option<Key<'_>>; BATCH] = [None; BATCH];
    for (key, request) in keys.iter_mut().zip(requests) {
        let ahead = if request.stores {
            store.key_ahead_to_write(&request.key)
        } else {
            store.key_ahead(&request.key)
        };
        *key = ahead;
    }
    for (key, request) in keys.iter_mut().flatten().zip(requests) {
        if request.stores {
            store.look_ahead_to_write(key);
        } else {
            store.look_ahead(key);
        }
    }
    for (key, request) in keys.iter().flatten().zip(requests) {
        if request.stores {
            black_box(store.set(*key, &[b'v'; VALUE_BYTES], NOW_S).is_ok());
        } else {
            black_box(store.get(*key, NOW_S).ok().and_then(|item| item.value()).map(<[u8]>::len));
        }
    }
}
