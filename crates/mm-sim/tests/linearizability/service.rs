//! Clients that speak memcached's protocol with a service of their own, one for each shard.

use std::sync::Arc;

use mm_memcached::{Memcached, NoHost, Settings, Shared as Common};
use mm_server::harness::{ClientId, Harness};
use mm_server::{Start, Stats};
use mm_sim::linear::key::{Answer, Count, Get, Mode, Op, Refresh, Seen, Store, Win};
use mm_store::{Shared, StoreHandles};

use crate::CLIENTS;
use crate::history::{Client, Histories, record};

struct Speaker {
    harness: Harness<Memcached<Shared>>,
    client: ClientId,
}

/// A round.
pub(crate) fn round(handles: &StoreHandles, seed: u64) -> Histories {
    let common = Common::new(Settings::default(), CLIENTS, Box::new(NoHost));
    record(handles, (seed, true), |shard| {
        let store = handles.take().unwrap();
        let mut harness = Harness::new(|start| {
            let stats: Arc<[Stats]> = (0..CLIENTS).map(|_| Stats::default()).collect();
            Memcached::new(&Start { shard, shards: CLIENTS, stats, ..start.clone() }, &common, store)
        });
        let client = harness.connect();
        Speaker { harness, client }
    })
}

impl Client for Speaker {
    fn call(&mut self, key: &[u8], op: &Op) -> Answer {
        let key = std::str::from_utf8(key).unwrap();
        let request = match op {
            Op::Get(get) => fetch(key, get),
            Op::Store(store) => storage(key, store),
            Op::Count(count) => counting(key, count),
            Op::Delete { compare } => format!("md {key}{}\r\n", flag('C', *compare)).into_bytes(),
            Op::Touch { expiry_s } => format!("touch {key} {expiry_s}\r\n").into_bytes(),
            Op::MarkStale { compare, expiry_s } => {
                format!("md {key} I{}{}\r\n", flag('C', *compare), flag('T', *expiry_s)).into_bytes()
            }
            Op::Flush => b"flush_all\r\n".to_vec(),
        };
        let mut answer = self.harness.exchange(self.client, &request);
        while answer.is_empty() {
            // It was put off until others have rested.
            std::thread::yield_now();
            self.harness.set_now(self.harness.now());
            answer = self.harness.receive(self.client, usize::MAX);
        }
        understand(op, &answer).unwrap_or_else(|| {
            let (request, answer) = (String::from_utf8_lossy(&request), String::from_utf8_lossy(&answer));
            panic!("{request:?} was answered by {answer:?}")
        })
    }

    /// The harness ends a turn after each request.
    fn rest(&mut self) {}
}

fn flag(letter: char, number: Option<impl std::fmt::Display>) -> String {
    number.map_or(String::new(), |number| format!(" {letter}{number}"))
}

/// A get that may win is mg with all that it can tell, another one is get or gat.
fn fetch(key: &str, get: &Get) -> Vec<u8> {
    let request = match get.touch {
        _ if get.may_win => format!("mg {key}{}{} v c t\r\n", flag('T', get.touch), flag('N', get.vivify)),
        Some(expiry_s) => format!("gat {expiry_s} {key}\r\n"),
        None => format!("get {key}\r\n"),
    };
    request.into_bytes()
}

fn storage(key: &str, store: &Store) -> Vec<u8> {
    let Store { mode, value, expiry_s } = store;
    let len = value.len();
    let flags = match *mode {
        Mode::Set => String::new(),
        Mode::Add => " ME".to_owned(),
        Mode::Replace => " MR".to_owned(),
        Mode::Append { compare, vivify } => format!(" MA{}{}", flag('C', compare), flag('N', vivify)),
        Mode::Cas(cas) => format!(" C{cas}"),
        Mode::CasOrStale(cas) => format!(" I C{cas}"),
    };
    let line = format!("ms {key} {len} T{expiry_s} c{flags}\r\n");
    [line.as_bytes(), value, b"\r\n"].concat()
}

fn counting(key: &str, count: &Count) -> Vec<u8> {
    let mode = if count.delta < 0 { " MD" } else { "" };
    let vivify = count.vivify.map_or(String::new(), |(initial, expiry_s)| format!(" N{expiry_s} J{initial}"));
    let (delta, compare) = (count.delta.unsigned_abs(), flag('C', count.compare));
    format!("ma {key} v c D{delta}{mode}{compare}{vivify}\r\n").into_bytes()
}

fn understand(op: &Op, answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(2).position(|two| two == b"\r\n")?;
    let (line, rest) = (std::str::from_utf8(&answer[..end]).ok()?, &answer[end + 2..]);
    let words: Vec<&str> = line.split(' ').collect();
    match (op, words[0]) {
        (_, "EN" | "NF" | "END" | "NOT_FOUND") => return Some(Answer::NotFound),
        (_, "NS") => return Some(Answer::NotStored),
        (_, "EX") => return Some(Answer::Exists),
        (Op::Count(_), "CLIENT_ERROR") => return Some(Answer::NotANumber),
        (Op::Store(_), "HD") => return Some(Answer::Stored { cas: cas(&words) }),
        (Op::Delete { .. } | Op::MarkStale { .. }, "HD")
        | (Op::Touch { .. }, "TOUCHED")
        | (Op::Flush, "OK") => {
            return Some(Answer::Done);
        }
        _ => {}
    }
    let is_classic = words[0] == "VALUE";
    let len: usize = words.get(if is_classic { 3 } else { 1 })?.parse().ok()?;
    let value = rest.get(..len)?.to_vec();
    match op {
        Op::Count(_) => {
            Some(Answer::Number { number: std::str::from_utf8(&value).ok()?.parse().ok()?, cas: cas(&words) })
        }
        Op::Get(_) if is_classic => Some(Answer::Seen(Seen { value, ..Seen::default() })),
        Op::Get(get) => {
            let win = match () {
                () if words.contains(&"W") => Win::Here,
                () if words.contains(&"Z") => Win::Elsewhere,
                () => Win::None,
            };
            let refresh = Refresh { is_stale: words.contains(&"X"), win };
            // Expiry and state of an item change where it stands, so together they may be of no moment.
            let is_plain = refresh == Refresh { is_stale: false, win: Win::None };
            let expiry_s = if is_plain { time_left(&words) } else { get.touch };
            Some(Answer::Seen(Seen { value, cas: cas(&words), expiry_s, refresh: Some(refresh) }))
        }
        _ => None,
    }
}

fn cas(words: &[&str]) -> Option<u64> {
    words.iter().find_map(|word| word.strip_prefix('c')).and_then(|digits| digits.parse().ok())
}

/// The time that an item has left, which is what it was given: time stands still.
fn time_left(words: &[&str]) -> Option<u32> {
    let told = words.iter().find_map(|word| word.strip_prefix('t'))?;
    if told == "-1" { Some(0) } else { told.parse().ok() }
}
