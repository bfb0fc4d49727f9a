//! What is found in which bytes, at every cut.

use proptest::prelude::*;

use super::super::Writer;
use super::fuzzing::{fuzz_cuts, transcript};
use super::*;

/// A request's bytes.
fn request(opcode: u8, (extras, key, value): (&[u8], &[u8], &[u8])) -> Vec<u8> {
    let body = extras.len() + key.len() + value.len();
    header(opcode, (u8::try_from(extras.len()).unwrap(), key.len(), u32::try_from(body).unwrap()))
        .into_iter()
        .chain([extras, key, value].concat())
        .collect()
}

/// A header, whatever follows it.
fn header(opcode: u8, (extras, key, body): (u8, usize, u32)) -> Vec<u8> {
    let mut bytes = vec![REQUEST_MAGIC, opcode];
    bytes.extend(u16::try_from(key).unwrap().to_be_bytes());
    bytes.extend([extras, 0, 0, 0]);
    bytes.extend(body.to_be_bytes());
    bytes.extend(0x0a0b_0c0d_u32.to_be_bytes());
    bytes.extend(7_u64.to_be_bytes());
    bytes
}

fn head(opcode: u8) -> Head {
    Head { opcode, opaque: 0x0a0b_0c0d, cas: 7 }
}

/// Checks that `bytes` hold exactly `expected`, whole and however they are cut in two or into single bytes.
#[track_caller]
fn check(bytes: &[u8], expected: &[Parsed<'_>]) {
    let told = |parsed: &Parsed<'_>| match parsed {
        Parsed::Request(request) => format!("{request:?}"),
        other => format!("{other:?}"),
    };
    let expected: Vec<String> = expected.iter().map(told).collect();
    assert_eq!(transcript(bytes, []), expected, "whole {bytes:?}");
    assert_eq!(transcript(bytes, vec![1; bytes.len()]), expected, "single bytes {bytes:?}");
    for cut in 1..bytes.len() {
        assert_eq!(transcript(bytes, [cut]), expected, "cut at {cut} {bytes:?}");
    }
}

fn found(opcode: u8, verb: Verb, key: &[u8], quiet: bool) -> Parsed<'_> {
    Parsed::Request(Request { head: head(opcode), verb, key, quiet })
}

#[test]
fn fetching() {
    for (opcode, tells_key, quiet) in
        [(0x00, false, false), (0x09, false, true), (0x0c, true, false), (0x0d, true, true)]
    {
        let verb = Verb::Get { tells_key };
        check(&request(opcode, (b"", b"key", b"")), &[found(opcode, verb, b"key", quiet)]);
    }
    for (opcode, tells_key, quiet) in
        [(0x1d, false, false), (0x1e, false, true), (0x23, true, false), (0x24, true, true)]
    {
        let verb = Verb::GetAndTouch { tells_key, exptime: 0x0102_0304 };
        let bytes = request(opcode, (&[1, 2, 3, 4], b"key", b""));
        check(&bytes, &[found(opcode, verb, b"key", quiet)]);
    }
    // What memcached does not read behind a touch is ignored.
    let bytes = [request(0x1c, (&[0, 0, 0, 9], b"k", b"more")), request(0x0a, (b"", b"", b""))].concat();
    let touch = found(0x1c, Verb::Touch { exptime: 9 }, b"k", false);
    check(&bytes, &[touch, found(0x0a, Verb::Noop, b"", false)]);
}

#[test]
fn storing() {
    let extras = [0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff];
    for (opcode, mode, quiet) in [
        (0x01, Mode::Set, false),
        (0x02, Mode::Add, false),
        (0x03, Mode::Replace, false),
        (0x11, Mode::Set, true),
        (0x12, Mode::Add, true),
        (0x13, Mode::Replace, true),
    ] {
        let bytes = request(opcode, (&extras, b"key", b"value")).repeat(2);
        let verb = Verb::Store { mode, flags: 5, exptime: u32::MAX, bytes: 5 };
        check(&bytes, &[found(opcode, verb, b"key", quiet); 2]);
    }
    for (opcode, mode, quiet) in [
        (0x0e, Mode::Append, false),
        (0x0f, Mode::Prepend, false),
        (0x19, Mode::Append, true),
        (0x1a, Mode::Prepend, true),
    ] {
        let verb = Verb::Store { mode, flags: 0, exptime: 0, bytes: 0 };
        check(&request(opcode, (b"", b"key", b"")), &[found(opcode, verb, b"key", quiet)]);
    }
}

#[test]
fn changing_and_the_rest() {
    let mut extras = [0; 20];
    (extras[7], extras[15], extras[19]) = (3, 4, 5);
    for (opcode, decrement, quiet) in
        [(0x05, false, false), (0x06, true, false), (0x15, false, true), (0x16, true, true)]
    {
        let verb = Verb::Arithmetic { decrement, delta: 3, initial: 4, exptime: 5 };
        check(&request(opcode, (&extras, b"n", b"")), &[found(opcode, verb, b"n", quiet)]);
    }
    for (opcode, verb, quiet) in [
        (0x08, Verb::Flush { exptime: 0 }, false),
        (0x18, Verb::Flush { exptime: 0 }, true),
        (0x0a, Verb::Noop, false),
        (0x0b, Verb::Version, false),
        (0x07, Verb::Quit, false),
        (0x17, Verb::Quit, true),
        (0x10, Verb::Stat, false),
    ] {
        check(&request(opcode, (b"", b"", b"")), &[found(opcode, verb, b"", quiet)]);
    }
    check(
        &request(0x08, (&[0, 0, 1, 0], b"", b"")),
        &[found(0x08, Verb::Flush { exptime: 256 }, b"", false)],
    );
    check(&request(0x10, (b"", b"items", b"")), &[found(0x10, Verb::Stat, b"items", false)]);
    for (opcode, quiet) in [(0x04, false), (0x14, true)] {
        check(&request(opcode, (b"", b"key", b"")), &[found(opcode, Verb::Delete, b"key", quiet)]);
    }
}

#[test]
fn what_has_the_wrong_shape_ends_the_connection() {
    let four = [0; 4];
    for (opcode, parts) in [
        (0x00, (&b"x"[..], &b"key"[..], &b""[..])),
        (0x00, (b"", b"", b"")),
        (0x00, (b"", b"key", b"value")),
        (0x01, (&four, b"key", b"value")),
        (0x01, (&[0; 8], b"", b"value")),
        (0x04, (b"", b"key", b"value")),
        (0x05, (&four, b"key", b"")),
        (0x07, (b"", b"key", b"")),
        (0x08, (b"x", b"", b"")),
        (0x0a, (b"", b"", b"value")),
        (0x0b, (&four, b"", b"")),
        (0x0e, (&four, b"key", b"value")),
        (0x10, (&four, b"", b"")),
        (0x1c, (b"", b"key", b"")),
        (0x1d, (&four, b"", b"")),
    ] {
        check(&request(opcode, parts), &[Parsed::Malformed(head(opcode), Status::Invalid)]);
    }
    let longest = vec![b'k'; 250];
    check(&request(0x04, (b"", &longest, b"")), &[found(0x04, Verb::Delete, &longest, false)]);
    check(&request(0x04, (b"", &[b'k'; 251], b"")), &[Parsed::Malformed(head(0x04), Status::Invalid)]);
    check(&header(0x00, (0, 5, 4)), &[Parsed::Malformed(head(0x00), Status::Unknown)]);
    check(&header(0x01, (8, 1, BODY_MAX_BYTES + 1)), &[Parsed::TooLarge(head(0x01))]);
}

#[test]
fn unknown_commands_keep_the_parser_in_step() {
    for opcode in [0x1b, 0x20, 0x21, 0x30, 0x3c, 0xff] {
        let bytes = [request(opcode, (&[1; 9], b"key", b"value")), request(0x0a, (b"", b"", b""))].concat();
        check(&bytes, &[Parsed::Unsupported(head(opcode)), found(0x0a, Verb::Noop, b"", false)]);
    }
}

#[test]
fn text_is_foreign_at_its_first_byte() {
    check(b"get key\r\n", &[Parsed::Foreign]);
    check(&[RESPONSE_MAGIC], &[Parsed::Foreign]);
    let bytes = [request(0x0a, (b"", b"", b"")), b"x".to_vec()].concat();
    check(&bytes, &[found(0x0a, Verb::Noop, b"", false), Parsed::Foreign]);
}

#[test]
fn a_head_of_a_response() {
    let mut room = [0; RESPONSE_HEAD_BYTES];
    let mut writer = Writer::new(&mut room);
    let response = Response { status: Status::Exists, extras: 4, key: 3, value: 0x0102, cas: 9 };
    put_head(&mut writer, head(0x0c), &response);
    assert_eq!(
        room,
        [0x81, 0x0c, 0, 3, 4, 0, 0, 2, 0, 0, 1, 9, 0x0a, 0x0b, 0x0c, 0x0d, 0, 0, 0, 0, 0, 0, 0, 9]
    );
}

/// Requests of every kind, whole, broken off, and with lengths of chance.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let part = |most| proptest::collection::vec(any::<u8>(), 0..most);
    let sizes = proptest::sample::select(vec![0_usize, 4, 8, 20]);
    prop_oneof![
        6 => (0_u8..0x26, sizes, part(12), part(40)).prop_map(|(opcode, extras, key, value)| {
            request(opcode, (&vec![1; extras], &key, &value))
        }),
        1 => (any::<u8>(), any::<u8>(), 0..300_usize, 0..600_u32)
            .prop_map(|(opcode, extras, key, body)| header(opcode, (extras, key, body))),
        1 => part(30),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cuts_change_nothing(
        pieces in proptest::collection::vec(piece(), 0..12),
        cuts in proptest::collection::vec(0usize..60, 0..60),
    ) {
        let bytes = pieces.concat();
        prop_assert_eq!(transcript(&bytes, []), transcript(&bytes, cuts));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        fuzz_cuts(&bytes);
    }
}
