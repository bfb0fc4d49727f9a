//! The binary protocol: what is answered to which packets, however they are cut.

use mm_memcached::{Framed, Protocol};

use crate::packets::{Packets, Request, Response, check, check_with};
use crate::world::{plain, service};

/// The opcodes that are told by name here.
const SETQ: u8 = 0x11;

#[test]
fn set_and_get_in_their_forms() {
    let set = Request::new(0x01).extras([0, 0, 0, 5, 0, 0, 0, 0]).key("key").value("value");
    let miss = |opcode| Response::new(opcode).status(1);
    let hit = |opcode| Response::new(opcode).extras([0, 0, 0, 5]).value("value");
    check(
        &[
            Request::new(0x00).key("key"),
            Request::new(0x0c).key("key"),
            Request::new(0x09).key("key"),
            Request::new(0x0d).key("key"),
            set,
            Request::new(0x00).key("key"),
            Request::new(0x09).key("key"),
            Request::new(0x0c).key("key"),
            Request::new(0x0d).key("key"),
            Request::new(0x0a),
        ],
        &[
            miss(0x00).value("Not found"),
            miss(0x0c).key("key"),
            Response::new(0x01),
            hit(0x00),
            hit(0x09),
            hit(0x0c).key("key"),
            hit(0x0d).key("key"),
            Response::new(0x0a),
        ],
    );
}

#[test]
fn storing_on_conditions_loud_and_quiet() {
    let extras = [0; 8];
    let store =
        |opcode: u8, key: &str, value: &str| Request::new(opcode).extras(extras).key(key).value(value);
    check(
        &[
            store(0x02, "a", "1"),
            store(0x02, "a", "2"),
            store(0x12, "a", "2"),
            store(0x12, "b", "2"),
            store(0x03, "c", "3"),
            store(0x13, "c", "3"),
            store(0x03, "a", "3"),
            store(0x13, "b", "4"),
            store(SETQ, "d", "5"),
            Request::new(0x0e).key("a").value("x"),
            Request::new(0x0f).key("a").value("y"),
            Request::new(0x19).key("b").value("x"),
            Request::new(0x1a).key("b").value("y"),
            Request::new(0x0e).key("none").value("x"),
            Request::new(0x1a).key("none").value("x"),
            Request::new(0x00).key("a"),
            Request::new(0x00).key("b"),
            Request::new(0x00).key("d"),
        ],
        &[
            Response::new(0x02),
            Response::new(0x02).status(2).value("Data exists for key."),
            Response::new(0x12).status(2).value("Data exists for key."),
            Response::new(0x03).status(1).value("Not found"),
            Response::new(0x13).status(1).value("Not found"),
            Response::new(0x03),
            Response::new(0x0e),
            Response::new(0x0f),
            Response::new(0x0e).status(5).value("Not stored."),
            Response::new(0x1a).status(5).value("Not stored."),
            Response::new(0x00).extras([0; 4]).value("y3x"),
            Response::new(0x00).extras([0; 4]).value("y4x"),
            Response::new(0x00).extras([0; 4]).value("5"),
        ],
    );
}

fn arithmetic(opcode: u8, key: &str, (delta, initial, exptime): (u64, u64, u32)) -> Request {
    let extras = [delta.to_be_bytes().as_slice(), &initial.to_be_bytes(), &exptime.to_be_bytes()].concat();
    Request::new(opcode).extras(extras).key(key)
}

#[test]
fn numbers() {
    let number = |opcode, number: u64| Response::new(opcode).value(number.to_be_bytes());
    check(
        &[
            arithmetic(0x05, "n", (5, 7, u32::MAX)),
            arithmetic(0x05, "n", (5, 7, 0)),
            arithmetic(0x05, "n", (5, 7, 0)),
            arithmetic(0x06, "n", (2, 7, 0)),
            arithmetic(0x15, "n", (1, 0, 0)),
            arithmetic(0x16, "n", (2, 0, 0)),
            arithmetic(0x06, "n", (99, 0, 0)),
            arithmetic(0x15, "m", (1, u64::MAX, 0)),
            arithmetic(0x05, "m", (2, 0, 0)),
            arithmetic(0x16, "none", (1, 0, u32::MAX)),
            Request::new(SETQ).extras([0; 8]).key("text").value("text"),
            arithmetic(0x05, "text", (1, 0, 0)),
            Request::new(0x00).key("n"),
        ],
        &[
            Response::new(0x05).status(1).value("Not found"),
            number(0x05, 7),
            number(0x05, 12),
            number(0x06, 10),
            number(0x06, 0),
            number(0x05, 1),
            Response::new(0x16).status(1).value("Not found"),
            Response::new(0x05).status(6).value("Non-numeric server-side value for incr or decr"),
            Response::new(0x00).extras([0; 4]).value("0"),
        ],
    );
}

#[test]
fn the_rest_of_the_commands() {
    check(
        &[
            Request::new(0x0b),
            Request::new(SETQ).extras([0; 8]).key("a").value("1"),
            Request::new(0x04).key("a"),
            Request::new(0x04).key("a"),
            Request::new(SETQ).extras([0; 8]).key("a").value("1"),
            Request::new(0x14).key("a"),
            Request::new(0x14).key("a"),
            Request::new(SETQ).extras([0; 8]).key("a").value("1"),
            Request::new(0x08),
            Request::new(0x00).key("a"),
            Request::new(0x18).extras([0, 0, 0, 9]),
            // Verbosity, a range operation, and an authentication that is not there.
            Request::new(0x1b).extras([0, 0, 0, 1]),
            Request::new(0x30).key("k").value("v"),
            Request::new(0x21).key("PLAIN").value("\0u\0p"),
            Request::new(0x07),
            Request::new(0x0a),
        ],
        &[
            Response::new(0x0b).value("1.6.45"),
            Response::new(0x04),
            Response::new(0x04).status(1).value("Not found"),
            Response::new(0x14).status(1).value("Not found"),
            Response::new(0x08),
            Response::new(0x00).status(1).value("Not found"),
            Response::new(0x1b).status(0x81).value("Unknown command"),
            Response::new(0x30).status(0x81).value("Unknown command"),
            Response::new(0x21).status(0x81).value("Unknown command"),
            Response::new(0x07),
        ],
    );
    // quit in its quiet form, and a flush that is not allowed.
    check_with(
        || service(1 << 20, |settings| (settings.allowed.flush, settings.items.has_cas) = (false, false)),
        &[Request::new(0x08), Request::new(0x18), Request::new(0x17), Request::new(0x0a)],
        &[
            Response::new(0x08).status(0x20).value("Auth failure."),
            Response::new(0x18).status(0x20).value("Auth failure."),
        ],
    );
}

#[test]
fn touches() {
    let mut packets = Packets::new(plain());
    packets.ask(&[Request::new(0x01).extras([0, 0, 0, 9, 0, 0, 0, 5]).key("a").value("1")]);
    for (opcode, expected) in [
        (0x1c, Response::new(0x1c).extras([0, 0, 0, 9])),
        (0x1d, Response::new(0x1d).extras([0, 0, 0, 9]).value("1")),
        (0x1e, Response::new(0x1e).extras([0, 0, 0, 9]).value("1")),
        (0x23, Response::new(0x23).extras([0, 0, 0, 9]).key("a").value("1")),
        (0x24, Response::new(0x24).extras([0, 0, 0, 9]).key("a").value("1")),
    ] {
        packets.advance_s(4);
        let answers = packets.ask(&[Request::new(opcode).extras([0, 0, 0, 5]).key("a")]);
        assert_eq!(answers.iter().map(Response::without_cas).collect::<Vec<_>>(), [expected]);
    }
    packets.advance_s(5);
    for (opcode, expected) in [
        (0x1c, vec![Response::new(0x1c).status(1).value("Not found")]),
        (0x1d, vec![Response::new(0x1d).status(1).value("Not found")]),
        (0x1e, vec![]),
        (0x23, vec![Response::new(0x23).status(1).key("a")]),
        (0x24, vec![]),
    ] {
        assert_eq!(packets.ask(&[Request::new(opcode).extras([0, 0, 0, 5]).key("a")]), expected);
    }
    // A time that would be negative in the text protocol is a date in 2106.
    packets.ask(&[Request::new(0x01).extras([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).key("b").value("1")]);
    assert_eq!(packets.ask(&[Request::new(0x00).key("b")])[0].status, 0);
}

#[test]
fn compare_and_swap() {
    let mut packets = Packets::new(plain());
    let extras = [0; 8];
    let store = |opcode: u8, cas| Request::new(opcode).extras(extras).key("a").value("1").cas(cas);
    let mut ask = |request: Request| packets.ask(&[request]).remove(0);
    assert_eq!(ask(store(0x01, 77)).status, 1);
    let mut cas = ask(store(0x01, 0)).cas;
    assert_eq!(ask(Request::new(0x00).key("a")).cas, cas);
    for opcode in [0x01, 0x02, 0x03] {
        assert_eq!(ask(store(opcode, cas + 1)).status, 2);
        let stored = ask(store(opcode, cas));
        assert!(stored.status == 0 && stored.cas > cas, "{stored:?}");
        cas = stored.cas;
    }
    for opcode in [0x0e, 0x0f] {
        let append = |cas| Request::new(opcode).key("a").value("2").cas(cas);
        assert_eq!(ask(append(cas + 1)).status, 2);
        let stored = ask(append(cas));
        assert!(stored.status == 0 && stored.cas > cas, "{stored:?}");
        cas = stored.cas;
    }
    assert_eq!(ask(arithmetic(0x05, "a", (1, 0, 0)).cas(cas + 1)).status, 2);
    let counted = ask(arithmetic(0x05, "a", (1, 0, 0)).cas(cas));
    assert!(counted.status == 0 && counted.cas > cas, "{counted:?}");
    assert_eq!(counted.value, 213_u64.to_be_bytes());
    assert_eq!(ask(Request::new(0x1c).extras([0; 4]).key("a")).cas, counted.cas);
    assert_eq!(ask(Request::new(0x04).key("a").cas(cas)).status, 2);
    assert_eq!(ask(Request::new(0x04).key("a").cas(counted.cas)).status, 0);
}

#[test]
fn long_values_are_streamed_and_sent_from_where_they_lie() {
    for len in [2047, 2048, 2049, 100_000] {
        let value = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect::<Vec<_>>();
        let set = Request::new(SETQ).extras([0, 0, 0, 1, 0, 0, 0, 0]).key("long").value(&value);
        let append = Request::new(0x19).key("long").value(&value);
        let mut packets = Packets::new(plain());
        let bytes = [set.bytes(), append.bytes(), Request::new(0x0c).key("long").bytes()].concat();
        let mut answers = Vec::new();
        for piece in bytes.chunks(1000) {
            answers.extend(packets.ask_bytes(piece));
        }
        let expected = Response::new(0x0c).extras([0, 0, 0, 1]).key("long").value(value.repeat(2));
        assert!(answers.iter().map(Response::without_cas).eq([expected]), "{len}");
    }
}

#[test]
fn what_is_too_large_is_gone_and_the_stream_in_step() {
    let len = 1 << 20;
    let value = vec![b'x'; len];
    let large = |opcode: u8| Request::new(opcode).extras([0; 8]).key("a").value(&value);
    let mut packets = Packets::new(service(8 << 20, |_| {}));
    packets.ask(&[Request::new(SETQ).extras([0; 8]).key("a").value("1")]);
    // add leaves the old value, set does not, quiet or not.
    for (opcode, left) in [(0x02, 0), (0x19, 0), (SETQ, 1)] {
        let request =
            if opcode == 0x19 { Request::new(opcode).key("a").value(&value) } else { large(opcode) };
        let answers = packets.ask(&[request, Request::new(0x0a), Request::new(0x00).key("a")]);
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [3, 0, left], "{opcode}");
        assert_eq!(answers[0].value, b"Too large.");
    }
}

#[test]
fn a_value_that_is_waited_for_behind_one_that_was_refused() {
    let set = |key: &str, value: &[u8]| Request::new(0x01).extras([0; 8]).key(key).value(value).bytes();
    let refused = set("a", &vec![b'x'; 1 << 20]);
    let bytes = [&refused[..], &set("b", &[b'y'; 100])].concat();
    // The end of the one and a part of the other are as much as is received at once.
    let start = refused.len() - (16 * 1024 - 60);
    let mut packets = Packets::new(service(8 << 20, |_| {}));
    let pieces = [&bytes[..start], &bytes[start..start + 16 * 1024], &bytes[start + 16 * 1024..]];
    let statuses: [Vec<u16>; 3] =
        pieces.map(|piece| packets.ask_bytes(piece).iter().map(|answer| answer.status).collect());
    assert_eq!(statuses, [vec![3], vec![], vec![0]]);
    assert!(packets.is_open());
}

#[test]
fn what_breaks_the_protocol_ends_the_connection() {
    let noop = Request::new(0x0a);
    let text = |status: u16, text: &str| Response::new(0x00).status(status).value(text);
    for (bytes, expected) in [
        (Request::new(0x00).key(vec![b'k'; 251]).bytes(), vec![text(4, "Invalid arguments")]),
        (Request::new(0x00).extras([1]).key("a").bytes(), vec![text(4, "Invalid arguments")]),
        (Request::new(0x00).lengths(5, 0, 3), vec![text(0x81, "Unknown command")]),
        (Request::new(0x00).lengths(0, 0, (1 << 30) + 1), vec![text(4, "Invalid arguments")]),
        (b"get a\r\n".to_vec(), vec![]),
    ] {
        let mut packets = Packets::new(plain());
        let answered = packets.ask_bytes(&[noop.bytes(), bytes, noop.bytes()].concat());
        assert_eq!(answered[1..], expected);
        assert!(!packets.is_open());
    }
}

#[test]
fn the_protocol_is_that_of_the_first_byte_or_the_one_set() {
    let noop = Request::new(0x0a).bytes();
    let with = |protocol| service(1 << 20, |settings| settings.protocol = protocol);
    let mut packets = Packets::new(plain());
    assert_eq!(
        packets.ask_text("version\r\n\u{1}\r\n"),
        "VERSION 1.6.45\r\nCLIENT_ERROR bad command line format\r\n"
    );
    let mut packets = Packets::new(with(Protocol::Binary));
    assert_eq!(packets.ask_bytes(&noop).len(), 1);
    let mut packets = Packets::new(with(Protocol::Binary));
    assert_eq!((packets.ask_text("version\r\n").as_str(), packets.is_open()), ("", false));
    let mut packets = Packets::new(with(Protocol::Ascii));
    assert_eq!(packets.ask_raw(&[Request::new(0x0b).bytes(), b"\r\n".to_vec()].concat()), b"ERROR\r\n");
    assert!(packets.is_open());
    let listeners = |settings: &mut mm_memcached::Settings| {
        settings.protocol = Protocol::Ascii;
        settings.listener_protocols = vec![Some(Protocol::Binary)];
    };
    assert_eq!(Packets::new(service(1 << 20, listeners)).ask_bytes(&noop).len(), 1);
}

#[test]
fn statistics_are_packets() {
    let mut packets = Packets::new(plain());
    packets.ask(&[
        Request::new(SETQ).extras([0; 8]).key("ab:c").value("1"),
        Request::new(0x10).key("detail on"),
        Request::new(0x00).key("ab:c"),
    ]);
    for (group, name, value) in [
        ("", "cmd_set", "1"),
        ("settings", "binding_protocol", "auto-negotiate"),
        ("items", "items:1:number", "1"),
        ("slabs", "active_slabs", "1"),
        ("sizes", "sizes_status", "disabled"),
        ("detail dump", "detailed", "PREFIX ab get 1 hit 1 set 0 del 0\r\nEND\r\n"),
    ] {
        let answers = packets.ask(&[Request::new(0x10).key(group)]);
        let is_asked = |answer: &&Response| answer.key == name.as_bytes();
        let found =
            answers.iter().find(is_asked).unwrap_or_else(|| panic!("{name} of '{group}': {answers:?}"));
        assert_eq!(String::from_utf8_lossy(&found.value), value, "{name} of '{group}'");
        assert_eq!(answers.last(), Some(&Response::new(0x10)), "'{group}'");
    }
    assert_eq!(packets.ask(&[Request::new(0x10).key("reset")]), [Response::new(0x10)]);
    for unknown in ["conns", "cachedump 1 1", "extstore", "detail", "item"] {
        assert_eq!(packets.ask(&[Request::new(0x10).key(unknown)])[0].status, 1, "{unknown}");
    }
}

#[test]
fn a_key_that_no_line_can_hold_is_told_in_base64() {
    let mut harness = plain();
    let (binary, text) = (harness.connect(), harness.connect());
    harness.exchange(binary, &Request::new(0x01).extras([0; 8]).key("a\nb").value("x").bytes());
    let input = b"mg YQpi b k\r\nlru_crawler mgdump all\r\nstats cachedump 1 0\r\n";
    let answer = harness.exchange(text, input);
    assert_eq!(String::from_utf8_lossy(&answer), "HD kYQpi b\r\nOK\r\nmg YQpi b\r\nEN\r\nEND\r\n");
}

#[test]
fn watchers_are_told() {
    let mut harness = service(8 << 20, |_| {});
    let watcher = harness.connect();
    harness.exchange(watcher, b"watch mutations fetchers connevents\r\n");
    let client = harness.connect();
    let store = |opcode: u8, len| Request::new(opcode).extras([0; 8]).key("a").value(vec![b'x'; len]);
    for request in [store(0x01, 5), store(0x02, 5_000), store(SETQ, 5_000), store(SETQ, 1 << 20)] {
        harness.exchange(client, &request.bytes());
    }
    harness.exchange(client, &Request::new(0x09).key("a").bytes());
    harness.exchange_datagram(&Framed, b"\0\0\0\0\0\x01\0\0version\r\n");
    let told = String::from_utf8(harness.receive(watcher, usize::MAX)).unwrap();
    let told: Vec<&str> = told.lines().map(|line| line.split(" type=").nth(1).unwrap()).collect();
    let starts = [
        "conn_new ",
        "item_store key=a status=stored cmd=set ",
        "item_store key=a status=not_stored cmd=add ",
        "item_store key=a status=stored cmd=set ",
        "item_store key=a status=too_large cmd=set ",
        "item_get key=a status=not_found ",
    ];
    assert_eq!(told.len(), starts.len(), "{told:?}");
    assert!(told.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{told:?}");
}

#[test]
fn datagrams() {
    let mut harness = plain();
    let framed = |request: &[u8]| [b"\x01\x02\x00\x00\x00\x01\x00\x00".as_slice(), request].concat();
    let mut ask = |request: &[u8]| harness.exchange_datagram(&Framed, &framed(request));
    let frame = |number, total| [1, 2, 0, number, 0, total, 0, 0];
    assert_eq!(
        ask(b"set a 0 0 1\r\n1\r\nset b 0 0 1 noreply\r\n2\r\n"),
        [[&frame(0, 1)[..], b"STORED\r\n"].concat()]
    );
    let both = b"VALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n2\r\nEND\r\n";
    assert_eq!(ask(b"get a b\r\n"), [[&frame(0, 1)[..], both].concat()]);
    assert!(ask(b"set c 0 0 1 noreply\r\n3\r\n").is_empty());
    // Half a request is dropped, and the next one is none the worse for it.
    assert!(ask(b"set a 0 0 5\r\n12").is_empty());
    assert_eq!(ask(b"get a\r\n"), [[&frame(0, 1)[..], b"VALUE a 0 1\r\n1\r\nEND\r\n"].concat()]);
    assert_eq!(ask(&Request::new(0x0a).bytes()), [[&frame(0, 1)[..], &Response::new(0x0a).bytes()].concat()]);
    let refusal = b"SERVER_ERROR these statistics are not told by UDP\r\n".as_slice();
    for request in
        ["stats items", "stats cachedump 20 0", "lru_crawler metadump all", "lru_crawler mgdump 20"]
    {
        let answer = ask(format!("{request}\r\n").as_bytes());
        assert_eq!(answer, [[&frame(0, 1)[..], refusal].concat()], "{request}");
    }
    assert!(ask(b"stats\r\n").concat().ends_with(b"END\r\n"));
    // A long value comes in parts; one beyond the bound is refused, in the protocol that asked.
    for (len, parts) in [(3_000, 3), (65_500, 48), (65_536, 1)] {
        let set = [format!("set a 0 0 {len}\r\n").into_bytes(), vec![b'x'; len], b"\r\n".to_vec()].concat();
        let client = harness.connect();
        harness.exchange(client, &set);
        assert_eq!(harness.exchange_datagram(&Framed, &framed(b"get a\r\n")).len(), parts, "{len}");
    }
    let mut ask = |request: &[u8]| harness.exchange_datagram(&Framed, &framed(request));
    assert!(ask(b"get a\r\n")[0].ends_with(b"SERVER_ERROR response too large for UDP\r\n"));
    let refused = Response::new(0x00).status(3).value("Too large.").bytes();
    assert_eq!(ask(&Request::new(0x00).key("a").bytes()), [[&frame(0, 1)[..], &refused].concat()]);
}
