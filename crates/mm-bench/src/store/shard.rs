//! A shard: a thread on a core of its own with a handle of a store.

use std::hint::black_box;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use mm_store::{Key, Put, Sharing, Store};

use super::VALUE_BYTES;
use super::work::{Request, Work, key};
use crate::machine::pin;

/// Requests looked up together, as in the service.
pub(super) const BATCH: usize = 24;

/// Batches between two looks at the clock.
const BATCHES: usize = 64;

const NOW_S: u32 = 1;

/// What a shard is asked for.
pub(super) enum Task {
    /// Make the requests.
    Prepare { work: Work, items: u64, seed: u64 },
    /// Work through them.
    Run { seconds: f64 },
}

/// A running shard.
pub(super) struct Shard {
    tasks: Sender<Task>,
    answers: Receiver<Result<f64, String>>,
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
            drop(own_answers.send(filled.map(|()| 0.0)));
            let mut requests = Vec::new();
            let mut position = 0;
            while let Ok(task) = own_tasks.recv() {
                let answer = match task {
                    Task::Prepare { work, items, seed } => {
                        requests = work.requests(items, seed);
                        0.0
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

    /// Asks for something.
    ///
    /// # Errors
    /// The shard has died.
    pub(super) fn request(&self, task: Task) -> Result<(), String> {
        self.tasks.send(task).map_err(|_gone| "a shard has died".to_owned())
    }

    /// Waits for the answer: for work that was done, requests in a second.
    ///
    /// # Errors
    /// The shard has died, or why it could not do it.
    pub(super) fn answer(&self) -> Result<f64, String> {
        self.answers.recv().map_err(|_gone| "a shard has died".to_owned())?
    }
}

/// Stores every item twice, so that memory has been touched and reused before anything is measured.
fn fill<S: Sharing>(store: &mut Store<S>, items: u64) -> Result<(), String> {
    for number in (0..items).chain(0..items) {
        let bytes = key(number);
        let stored =
            store.key(&bytes).map(|key| store.put(key, &Put::default(), &[b'v'; VALUE_BYTES], NOW_S));
        if !matches!(stored, Some(Ok(_))) {
            return Err("the store refuses to store".to_owned());
        }
    }
    store.rest();
    Ok(())
}

/// Works through the requests for so many seconds. Returns how many that were in a second.
fn serve<S: Sharing>(store: &mut Store<S>, requests: &[Request], position: &mut usize, seconds: f64) -> f64 {
    let mut done = 0_u64;
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        for _ in 0..BATCHES {
            if *position + BATCH > requests.len() {
                *position = 0;
            }
            serve_batch(store, &requests[*position..*position + BATCH]);
            store.rest();
            *position += BATCH;
            done += BATCH as u64;
        }
    }
    done as f64 / start.elapsed().as_secs_f64()
}

/// A turn's worth of requests.
fn serve_batch<S: Sharing>(store: &mut Store<S>, requests: &[Request]) {
    let mut keys: [Option<Key<'_>>; BATCH] = [None; BATCH];
    for (key, request) in keys.iter_mut().zip(requests) {
        *key = store.key_ahead(&request.key);
    }
    for key in keys.iter_mut().flatten() {
        store.look_ahead(key);
    }
    for (key, request) in keys.iter().flatten().zip(requests) {
        if request.stores {
            black_box(store.set(*key, &[b'v'; VALUE_BYTES], NOW_S).is_ok());
        } else {
            black_box(store.get(*key, NOW_S).ok().and_then(|item| item.value()).map(<[u8]>::len));
        }
    }
}
