//! A whole memcached service: it survives whatever is sent, answers the same however that is cut, and its store is
//! sound afterwards.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mm_memcached::{Memcached, NoHost, Settings, Shared};
use mm_server::harness::Harness;
use mm_store::{Config, Store};

/// Bytes of the store.
const LIMIT_BYTES: usize = 1 << 20;
/// The seed of its hash.
const SEED: u64 = 1;
/// The longest piece that input is cut into.
const PIECE_BYTES_MAX: usize = 64;
/// What an answer depends on how often or when it is asked for, or on more than one connection.
const UNSTEADY: &[&[u8]] = &[b"stat", b"dump", b"watch"];
/// The same in the binary protocol: the opcode of statistics.
const BINARY_STAT: [u8; 2] = [0x80, 0x10];

fn service() -> Harness<Memcached> {
    let mut settings = Settings::default();
    settings.items.limit_bytes = LIMIT_BYTES as u64;
    let shared = Shared::new(settings, 1, Box::new(NoHost));
    Harness::new(|start| {
        let store = Store::open(&Config::new(LIMIT_BYTES, SEED)).expect("there is memory for a store");
        Memcached::new(start, &shared, store)
    })
}

/// The answers to the input in pieces of these lengths, and then the rest.
fn answers(input: &[u8], cuts: &[u8]) -> Vec<u8> {
    let mut harness = service();
    let client = harness.connect();
    let mut answers = Vec::new();
    let mut rest = input;
    for cut in cuts {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*cut) % PIECE_BYTES_MAX));
        answers.extend(harness.exchange(client, piece));
        rest = after;
    }
    answers.extend(harness.exchange(client, rest));
    harness.service().store().verify().expect("the store is sound");
    answers
}

fuzz_target!(|data: &[u8]| {
    let (cuts, input) = data.split_at(data.len() / 3);
    let whole = answers(input, &[]);
    let pieces = answers(input, cuts);
    let has = |part: &[u8]| input.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part));
    if !UNSTEADY.iter().any(|part| has(part)) && !has(&BINARY_STAT) {
        assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(&pieces));
    }
});
