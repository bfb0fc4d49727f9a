//! What holds for all bytes.

use proptest::prelude::*;

use super::super::fuzzing::{fuzz_cuts, fuzz_quick};
use super::*;

/// Pieces that requests are made of, so that chance finds what matters.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words: [&[u8]; 44] = [
        b"get ",
        b"gets ",
        b"gat ",
        b"gats ",
        b"set ",
        b"add ",
        b"cas ",
        b"replace ",
        b"append ",
        b"incr ",
        b"decr ",
        b"touch ",
        b"delete ",
        b"mg ",
        b"ms ",
        b"md ",
        b"ma ",
        b"me ",
        b"mn",
        b"version",
        b"stats",
        b"flush_all ",
        b"verbosity",
        b"quit",
        b"noreply",
        b" ",
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"0 ",
        b"0",
        b"1 ",
        b"-1 ",
        b"12 ",
        b"key ",
        b"key",
        b" v",
        b" T30",
        b" b",
        b" Oabc",
        b"hello",
        b"HTTP/1.1",
    ];
    prop_oneof![
        20 => proptest::sample::select(words.to_vec()).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        2 => (0u32..40, 0u64..4).prop_map(|(bits, end)| number((1 << bits) - 1, end)),
        1 => (1usize..300).prop_map(|len| vec![b'k'; len]),
    ]
}

/// A number and what may come after it.
fn number(number: u64, end: u64) -> Vec<u8> {
    let end = [" ", "\r\n", " 0 ", " 0 0 "][usize::try_from(end).unwrap()];
    format!("{number}{end}").into_bytes()
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cuts_change_nothing(bytes in stream(), cuts in proptest::collection::vec(0usize..40, 0..60)) {
        prop_assert_eq!(transcript(&bytes, []), transcript(&bytes, cuts));
    }

    #[test]
    fn the_quick_parser_agrees_with_the_other(bytes in stream()) {
        fuzz_quick(&bytes);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        fuzz_cuts(&bytes);
        fuzz_quick(&bytes);
    }
}
