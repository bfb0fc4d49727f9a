//! Clients that call the store.

use mm_sim::linear::key::{Answer, Get, Mode, Op, Refresh, Seen, Win};
use mm_store::{
    ArithmeticError, CasRule, DeleteError, Item, Key, Notes, Operation, Outcome, Put, Shared, Store,
    StoreHandles,
};

use crate::history::{Client, Histories, record};

const NOW_S: u32 = 1;

struct Direct {
    store: Store<Shared>,
    calls: u64,
}

/// A round.
pub(crate) fn round(handles: &StoreHandles, seed: u64) -> Histories {
    record(handles, (seed, false), |_| Direct { store: handles.take().unwrap(), calls: 0 })
}

/// A round in which the threads that ask make a mistake now and then.
#[cfg(feature = "canaries")]
pub(crate) fn mistaken_round(handles: &StoreHandles, seed: u64, mistake: &'static str) -> Histories {
    record(handles, (seed, false), |_| {
        mm_base::canary::choose(Some(mistake));
        Direct { store: handles.take().unwrap(), calls: 0 }
    })
}

impl Direct {
    /// A key that was looked up ahead, half of the time.
    fn key<'a>(&mut self, bytes: &'a [u8]) -> Key<'a> {
        self.calls += 1;
        let mut key = self.store.key_ahead(bytes).unwrap();
        if self.calls % 4 < 2 {
            self.store.look_ahead(&mut key);
        }
        key
    }
}

impl Client for Direct {
    fn call(&mut self, key: &[u8], op: &Op) -> Answer {
        wait(&mut self.store);
        let key = self.key(key);
        let store = &mut self.store;
        match op {
            Op::Get(get @ Get { touch: Some(expiry_s), may_win, .. }) => {
                let notes =
                    |item: &Item<'_, Shared>, _| Notes { cas: *may_win, win: *may_win && item.is_stale() };
                match store.get_touching_noting(key, *expiry_s, NOW_S, notes) {
                    Ok((item, _, wins)) => Answer::Seen(touched(&item, get, wins)),
                    Err(_) => Answer::NotFound,
                }
            }
            Op::Get(get) => loop {
                let Ok(item) = store.get(key, NOW_S) else { return Answer::NotFound };
                if let Some(seen) = seen(&item, get.may_win) {
                    return Answer::Seen(seen);
                }
            },
            Op::Store(stored) => {
                let mode = match stored.mode {
                    Mode::Set | Mode::CasOrStale(_) => mm_store::Mode::Set,
                    Mode::Add => mm_store::Mode::Add,
                    Mode::Replace => mm_store::Mode::Replace,
                    Mode::Append { .. } => mm_store::Mode::Append,
                    Mode::Cas(cas) => mm_store::Mode::Cas(cas),
                };
                let put = Put { mode, expiry_s: stored.expiry_s, ..Put::default() };
                // Who does not want to know the CAS value takes a shorter way.
                if self.calls.is_multiple_of(2) {
                    store.ask_for_cas();
                }
                let outcome = store.put(key, &put, &stored.value, NOW_S).unwrap();
                let cas = store.told_cas();
                match outcome {
                    Outcome::Stored => Answer::Stored { cas },
                    Outcome::NotStored => Answer::NotStored,
                    Outcome::Exists => Answer::Exists,
                    Outcome::NotFound => Answer::NotFound,
                }
            }
            Op::Count(count) => {
                let by = u64::from(count.delta.unsigned_abs());
                let operation =
                    if count.delta < 0 { Operation::Decrement(by) } else { Operation::Increment(by) };
                let rule = CasRule { compare: count.compare, assign: None };
                match store.arithmetic(key, operation, rule, NOW_S) {
                    Ok(number) => Answer::Number { number, cas: None },
                    Err(ArithmeticError::Miss(_)) => Answer::NotFound,
                    Err(ArithmeticError::Exists) => Answer::Exists,
                    Err(ArithmeticError::NotANumber) => Answer::NotANumber,
                    Err(ArithmeticError::Put(error)) => panic!("{error}"),
                }
            }
            Op::Delete { compare } => removed(store.delete(key, *compare, NOW_S)),
            Op::Touch { expiry_s } => match store.touch(key, *expiry_s, NOW_S) {
                Ok(done) => done.map(|()| Answer::Done).unwrap(),
                Err(_) => Answer::NotFound,
            },
            Op::MarkStale { compare, expiry_s } => {
                let rule = CasRule { compare: *compare, assign: None };
                removed(store.mark_stale(key, *expiry_s, rule, NOW_S).map(Result::unwrap))
            }
            Op::Flush => {
                store.flush_all();
                Answer::Done
            }
        }
    }

    fn rest(&mut self) {
        self.store.rest();
    }
}

/// Lets others rest who may be reading all memory.
pub(crate) fn wait(store: &mut Store<Shared>) {
    while store.must_wait() {
        store.rest();
        std::thread::yield_now();
    }
}

fn removed(done: Result<(), DeleteError>) -> Answer {
    match done {
        Ok(()) => Answer::Done,
        Err(DeleteError::Exists) => Answer::Exists,
        Err(DeleteError::Miss(_)) => Answer::NotFound,
    }
}

/// Everything there is to see of an item that was touched, or, for one who may not win, its value.
fn touched(item: &Item<'_, Shared>, get: &Get, wins: bool) -> Seen {
    let value = value_of(item);
    if !get.may_win {
        return Seen { value, ..Seen::default() };
    }
    let win = match () {
        () if wins => Win::Here,
        () if item.is_win_sent() => Win::Elsewhere,
        () => Win::None,
    };
    let refresh = Some(Refresh { is_stale: item.is_stale(), win });
    Seen { value, cas: Some(item.current_cas()), expiry_s: get.touch, refresh }
}

fn value_of(item: &Item<'_, Shared>) -> Vec<u8> {
    item.pieces().flatten().copied().collect()
}

/// Everything there is to see of an item, or, for one who may not win, its value.
/// `None` where it has changed meanwhile.
fn seen(item: &Item<'_, Shared>, may_win: bool) -> Option<Seen> {
    let value = value_of(item);
    if !may_win {
        return Some(Seen { value, ..Seen::default() });
    }
    let cas = item.shown_cas()?;
    // Expiry and state of an item change where it stands, so together they may be of no moment.
    let was_sent = item.is_win_sent();
    let is_stale = item.is_stale();
    let win = match () {
        () if was_sent => Win::Elsewhere,
        () if is_stale && item.take_win()? => Win::Here,
        () if is_stale => Win::Elsewhere,
        () => Win::None,
    };
    let refresh = Some(Refresh { is_stale, win });
    let told_s = (!is_stale && !was_sent).then(|| item.expiry_s());
    Some(Seen { value, cas: Some(cas), expiry_s: told_s, refresh })
}
