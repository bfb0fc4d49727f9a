//! Threads that ask, and what they were answered and when.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use mm_base::choice::Choices;
use mm_sim::linear::Call;
use mm_sim::linear::key::{Answer, Op};
use mm_store::{Put, Shared, Store, StoreHandles};

use crate::requests::Requests;
use crate::{CLIENTS, CROWD};

/// Keys that are checked.
pub(crate) const KEYS: usize = 4;

/// Stores that are opened one after the other.
pub(crate) const ROUNDS: u64 = 4;

/// Requests of each client in a round.
const REQUESTS: usize = 3_000;

/// Requests of a client in a turn.
const TURN: usize = 6;

/// Other keys that are stored and deleted again, in turn: enough for the index to grow and shrink each time.
const OTHERS: u64 = 2_500;

/// What was asked and answered for each key.
pub(crate) struct Histories {
    pub(crate) keys: Vec<Vec<Call<Op, Answer>>>,
}

/// A way to ask.
pub(crate) trait Client {
    fn call(&mut self, key: &[u8], op: &Op) -> Answer;
    /// A turn is over.
    fn rest(&mut self);
}

/// The name of a checked key.
pub(crate) fn name(key: usize) -> Vec<u8> {
    format!("checked-{key}").into_bytes()
}

/// Has clients ask and the crowd do its work. `connect` makes a client of a thread's number.
pub(crate) fn record<C: Client>(
    handles: &StoreHandles,
    (seed, is_service): (u64, bool),
    connect: impl Fn(usize) -> C + Sync,
) -> Histories {
    let (clock, asking) = (AtomicU64::new(1), AtomicUsize::new(CLIENTS));
    let start = Barrier::new(CLIENTS + CROWD);
    let is_over = AtomicBool::new(false);
    let mut keys: Vec<Vec<_>> = (0..KEYS).map(|_| Vec::new()).collect();
    std::thread::scope(|scope| {
        let (clock, asking, start, is_over, connect) = (&clock, &asking, &start, &is_over, &connect);
        for number in 0..CROWD {
            scope.spawn(move || {
                let store = handles.take().unwrap();
                start.wait();
                crowd(store, Choices::new(seed).fork(100 + number as u64), is_over);
            });
        }
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                scope.spawn(move || {
                    let mut client = connect(number);
                    let requests = Requests::new(Choices::new(seed).fork(number as u64), number, is_service);
                    start.wait();
                    let calls = ask(&mut client, requests, clock);
                    if asking.fetch_sub(1, Ordering::AcqRel) == 1 {
                        is_over.store(true, Ordering::Release);
                    }
                    calls
                })
            })
            .collect();
        for client in clients {
            for (key, call) in client.join().unwrap() {
                match key {
                    Some(key) => keys[key].push(call),
                    None => keys.iter_mut().for_each(|history| history.push(call.clone())),
                }
            }
        }
    });
    Histories { keys }
}

fn ask(
    client: &mut impl Client,
    mut requests: Requests,
    clock: &AtomicU64,
) -> Vec<(Option<usize>, Call<Op, Answer>)> {
    let mut calls = Vec::with_capacity(REQUESTS);
    for turn in 0..REQUESTS / TURN {
        for _ in 0..TURN {
            let (key, op) = requests.next(turn);
            let begun = clock.fetch_add(1, Ordering::SeqCst);
            let answer = client.call(&name(key.unwrap_or(0)), &op);
            let ended = clock.fetch_add(1, Ordering::SeqCst);
            requests.learn(key, &answer);
            calls.push((key, Call { client: requests.client(), begun, ended, op, answer }));
        }
        client.rest();
    }
    calls
}

/// Stores and deletes other keys, so that the index grows and shrinks and items move.
fn crowd(mut store: Store<Shared>, mut choices: Choices, is_over: &AtomicBool) {
    let value = [b'o'; 300];
    while !is_over.load(Ordering::Acquire) {
        for is_storing in [true, false] {
            for number in 0..OTHERS {
                crate::store::wait(&mut store);
                let name = format!("other-{number}");
                let key = store.key(name.as_bytes()).unwrap();
                if is_storing {
                    let len = choices.index(value.len());
                    store.put(key, &Put::default(), &value[..len], 1).unwrap();
                } else {
                    let _evicted_or_not = store.delete(key, None, 1);
                }
                if number % 16 == 0 {
                    store.maintain(64, 1);
                    store.rest();
                }
            }
            if is_over.load(Ordering::Acquire) {
                return;
            }
        }
    }
}
