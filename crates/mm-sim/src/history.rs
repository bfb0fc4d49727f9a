//! What clients have seen, held against every order in which it can have come about.
//!
//! The model knows in which order the server has executed what it was asked. Here nobody knows: a request is executed
//! at some time between its being made and its answer's being received, and an order has to be found that explains all
//! answers ([`linear`](crate::linear)).

use mm_proto::memcached::StoreVerb;

use crate::answer::{Answer as Told, Answers, Said, Win as ToldWin};
use crate::linear::key::{Answer, Count, Get, Key, Mode, Op as Asked, Refresh, Seen, Store, Win};
use crate::linear::{Call, check};
use crate::op::{Dialect, Flaw, KeyId, Op, What};
use crate::stream::Stream;

/// The calls of a run.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Of each the key, or none where it is about all.
    calls: Vec<(Option<KeyId>, Call<Asked, Answer>)>,
    /// Keys that something has happened to which has no place in a history.
    void: Vec<KeyId>,
    now: u64,
}

impl History {
    /// The next moment.
    pub(crate) fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// A request of a client has been executed. `before` holds what there was to read up to its answer, `behind` what
    /// there is after it.
    pub(crate) fn executed(
        &mut self,
        (client, stream): (usize, &mut Stream),
        op: &Op,
        (mut before, behind): (Answers<'_>, &Answers<'_>),
        keys: &[Vec<u8>],
    ) {
        let Some(key) = op.what.key().or_else(|| matches!(op.what, What::Flush { .. }).then_some(0)) else {
            return;
        };
        let is_refused = matches!(&op.what, What::Store(store) if store.flaw == Flaw::Refused);
        let has_answer = before.len() != behind.len();
        let told = if is_refused { Ok(Told::bare(Said::NoMemory)) } else { before.read(op, &keys[key]) };
        let Ok(told) = told else { return };
        // Where there was no memory to make an item, a look-up finds none.
        let is_not_made = matches!(&op.what, What::Get(get) if get.meta.vivify.is_some());
        if told.said == Said::NoMemory || (is_not_made && told.said == Said::NotFound) {
            self.void.push(key);
        }
        let Some((asked, answer)) = call_of(&op.what, op.wire.dialect == Dialect::Meta, &told) else {
            return;
        };
        // Until its answer is received it may have been executed at any time.
        let call = Call { client, begun: op.begun, ended: u64::MAX, op: asked, answer };
        self.calls.push((op.what.key(), call));
        stream.expect_receipt(self.calls.len() - 1, behind.len(), has_answer);
    }

    /// The answer to a call has been received.
    pub(crate) fn received(&mut self, call: usize) {
        let now = self.tick();
        if let Some((_, call)) = self.calls.get_mut(call) {
            call.ended = now;
        }
    }

    /// Looks for an order for each key, where so many items were evicted. Says for how many the search was given up.
    pub(crate) fn check(&self, keys: usize, evicted: u64) -> Result<u64, String> {
        let (mut given_up, mut vanished) = (0, 0);
        for key in (0..keys).filter(|key| !self.void.contains(key)) {
            let of_key = |of: &Option<KeyId>| of.is_none_or(|of| of == key);
            let calls = self.calls.iter().filter(|(of, _)| of_key(of)).map(|(_, call)| call.clone());
            let calls: Vec<_> = calls.collect();
            let mut found = check(&Key { may_vanish: false }, &calls);
            if found.as_ref().is_err_and(|violation| !violation.is_given_up()) && vanished < evicted {
                // Its item was evicted once at least, and that was no other's eviction.
                vanished += 1;
                found = check(&Key { may_vanish: true }, &calls);
            }
            match found {
                Ok(()) => {}
                // What would have to be tried grows with the power of what clients do at once.
                Err(violation) if violation.is_given_up() => given_up += 1,
                Err(violation) => return Err(format!("no order explains key {key}: {violation}")),
            }
        }
        Ok(given_up)
    }
}

/// A request and its answer as a call. Nothing for those that change nothing and show nothing.
fn call_of(what: &What, is_meta: bool, told: &Told<'_>) -> Option<(Asked, Answer)> {
    let said = match told.said {
        Said::Done | Said::Nothing => Answer::Done,
        Said::NotFound => Answer::NotFound,
        Said::NotStored => Answer::NotStored,
        Said::Exists => Answer::Exists,
        Said::NotANumber => Answer::NotANumber,
        Said::TooLarge | Said::BadEnd | Said::NoMemory => return None,
    };
    let given = |cas: u64| Some(cas).filter(|&cas| cas != 0);
    let is_done = told.said == Said::Done;
    match what {
        What::Get(get) => {
            let asked = Get { touch: None, vivify: get.meta.vivify.map(|_| 0), may_win: is_meta };
            let win = match told.win {
                ToldWin::None => Win::None,
                ToldWin::Here => Win::Here,
                ToldWin::Elsewhere => Win::Elsewhere,
            };
            let seen = || Seen {
                value: told.value.unwrap_or_default().to_vec(),
                cas: told.cas,
                expiry_s: None,
                refresh: is_meta.then_some(Refresh { is_stale: told.stale, win }),
            };
            Some((Asked::Get(asked), if is_done { Answer::Seen(seen()) } else { said }))
        }
        What::Store(store) => {
            let mode = match store.verb {
                StoreVerb::Set => Mode::Set,
                StoreVerb::Add => Mode::Add,
                StoreVerb::Replace => Mode::Replace,
                StoreVerb::Append => {
                    Mode::Append { compare: given(store.cas), vivify: store.meta.vivify.map(|_| 0) }
                }
                StoreVerb::Cas if store.meta.or_stale => Mode::CasOrStale(store.cas),
                StoreVerb::Cas => Mode::Cas(store.cas),
                StoreVerb::Prepend => return None,
            };
            let asked = Store { mode, value: store.value.to_vec(), expiry_s: 0 };
            let stored = Answer::Stored { cas: told.cas };
            Some((Asked::Store(asked), if is_done { stored } else { said }))
        }
        What::Count(count) => {
            let delta = i32::try_from(count.delta).unwrap_or(i32::MAX);
            let asked = Count {
                delta: if count.decrement { -delta } else { delta },
                compare: given(count.cas),
                vivify: count.creates.map(|(initial, _)| (initial, 0)),
            };
            let counted = told.number.map(|number| Answer::Number { number, cas: told.cas });
            Some((Asked::Count(asked), counted.unwrap_or(said)))
        }
        What::Delete(delete) if delete.marks => {
            Some((Asked::MarkStale { compare: given(delete.cas), expiry_s: None }, said))
        }
        What::Delete(delete) => Some((Asked::Delete { compare: given(delete.cas) }, said)),
        What::Touch { .. } => Some((Asked::Touch { expiry_s: 0 }, said)),
        What::Flush { .. } => Some((Asked::Flush, Answer::Done)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eviction_explains_what_one_key_has_lost() {
        let mut history = History::default();
        for key in 0..2 {
            let mut call = |begun, op, answer| {
                history.calls.push((Some(key), Call { client: 0, begun, ended: begun + 1, op, answer }));
            };
            let store = Store { mode: Mode::Set, value: b"value".to_vec(), expiry_s: 0 };
            call(1, Asked::Store(store), Answer::Stored { cas: None });
            call(3, Asked::Get(Get::default()), Answer::NotFound);
        }
        assert_eq!(history.check(2, 2), Ok(0));
        for (evicted, key) in [(0, "key 0"), (1, "key 1")] {
            assert!(history.check(2, evicted).unwrap_err().contains(key));
        }
    }
}
