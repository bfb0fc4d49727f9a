//! Values of all lengths: whole, in pieces, too long, given up, read slowly.

use crate::world::{Client, check_with, plain, service};

/// A value that shows where each of its bytes belongs.
fn value(len: usize) -> Vec<u8> {
    (0..len).map(|index| b'a' + u8::try_from((index * 7 + index / 26 + index / 1000) % 26).unwrap()).collect()
}

fn set(key: &str, len: usize) -> Vec<u8> {
    [format!("set {key} 0 0 {len}\r\n").as_bytes(), &value(len), b"\r\n"].concat()
}

fn got(key: &str, len: usize) -> Vec<u8> {
    [format!("VALUE {key} 0 {len}\r\n").as_bytes(), &value(len), b"\r\nEND\r\n"].concat()
}

#[test]
fn every_length_comes_back() {
    let mut client = Client::new(service(16 << 20, |_| {}));
    for len in
        [0, 1, 100, 2047, 2048, 2049, 15_000, 15_360, 15_361, 16_384, 20_000, 65_536, 300_000, 1_047_552]
    {
        client.send(&set("k", len));
        assert_eq!(client.receive(usize::MAX), b"STORED\r\n", "{len}");
        client.send(b"get k\r\n");
        assert!(client.receive(usize::MAX) == got("k", len), "{len}");
    }
    client.harness.service().store().verify().unwrap();
    assert_eq!(client.harness.buffered_bytes(), 0);
}

#[test]
fn values_in_pieces() {
    for len in [2049, 2500] {
        let input = [set("k", len).as_slice(), b"get k\r\nversion\r\n"].concat();
        let expected = [b"STORED\r\n", got("k", len).as_slice(), b"VERSION 1.6.45\r\n"].concat();
        check_with(plain, input, expected);
    }
}

#[test]
fn what_is_joined_is_no_larger_than_an_item_may_be() {
    let dialogue = |len: usize| {
        let value = "v".repeat(len);
        let input = format!(
            "set a 0 0 {len}\n{value}\nappend a 0 0 {len}\n{value}\nprepend a 0 0 {len} noreply\n{value}\n\
             ms a {len} MA q\n{value}\nms a {len} MP N0\n{value}\nms a {len} MA C1\n{value}\nmg a s\n\
             append a 0 0 1\n!\nmg a s\n"
        );
        let expected = format!("STORED\nNOT_STORED\nNS\nNS\nEX\nHD s{len}\nSTORED\nHD s{}\n", len + 1);
        (input, expected)
    };
    let limited = |limit| service(1 << 20, |settings| settings.items.item_size_max = limit);
    let (input, expected) = dialogue(100);
    check_with(|| limited(250), input, expected);
    // Values that are streamed into the store.
    let (input, expected) = dialogue(3000);
    let mut client = Client::new(limited(5000));
    for piece in input.replace('\n', "\r\n").as_bytes().chunks(700) {
        client.send(piece);
    }
    assert_eq!(String::from_utf8(client.receive(usize::MAX)).unwrap(), expected.replace('\n', "\r\n"));
}

#[test]
fn appending_in_pieces() {
    let added = String::from_utf8(value(3000)).unwrap();
    let input = format!("set k 3 0 2\nab\nappend k 0 0 3000\n{added}\nprepend k 0 0 3000\n{added}\nget k\n");
    let expected = format!("STORED\nSTORED\nSTORED\nVALUE k 3 6002\n{added}ab{added}\nEND\n");
    let mut client = Client::new(plain());
    client.expect(&input, &expected);
    let mut client = Client::new(plain());
    for byte in input.replace('\n', "\r\n").as_bytes() {
        client.send(&[*byte]);
    }
    assert_eq!(String::from_utf8(client.receive(usize::MAX)).unwrap(), expected.replace('\n', "\r\n"));
    client.harness.service().store().verify().unwrap();
}

#[test]
fn a_piecewise_value_with_a_bad_end() {
    let body = String::from_utf8(value(3000)).unwrap();
    let input = format!("set k 0 0 1\r\nx\r\nset k 0 0 3000\r\n{body}xyversion\r\nversion\r\nget k\r\n");
    let expected = "STORED\r\nCLIENT_ERROR bad data chunk\r\nVERSION 1.6.45\r\nVERSION 1.6.45\r\n\
                    VALUE k 0 1\r\nx\r\nEND\r\n";
    check_with(plain, input, expected);
}

#[test]
fn too_long_values_take_the_old_ones_with_them() {
    let make = || service(1 << 20, |settings| settings.items.item_size_max = 5000);
    let body = String::from_utf8(value(5000)).unwrap();
    check_with(
        make,
        format!("set a 0 0 1\nx\nset a 0 0 5000\n{body}\nget a\nversion\n"),
        "STORED\nSERVER_ERROR object too large for cache\nEND\nVERSION 1.6.45\n",
    );
    check_with(
        make,
        format!("set a 0 0 1\nx\nadd a 0 0 5000 noreply\n{body}\nget a\nms a 5000 q\n{body}\nget a\n"),
        "STORED\nVALUE a 0 1\nx\nEND\nSERVER_ERROR object too large for cache\nEND\n",
    );
    let mut client = Client::new(make());
    client.expect(format!("set a 0 0 5000\n{body}\n"), "SERVER_ERROR object too large for cache\n");
    assert_eq!(client.stat("", "store_too_large"), "1");
    assert_eq!(client.stat("", "cmd_set"), "0");
}

#[test]
fn a_value_to_wait_for_behind_one_that_is_skipped() {
    let make = || service(1 << 20, |settings| settings.items.item_size_max = 5000);
    let input = [set("a", 5000), set("b", 40), b"get b\r\n".to_vec()].concat();
    let expected =
        [b"SERVER_ERROR object too large for cache\r\nSTORED\r\n".as_slice(), &got("b", 40)].concat();
    for cut in input.len() - 60..input.len() {
        let mut harness = make();
        let client = harness.connect();
        let pieces = [&input[..3000], &input[3000..cut], &input[cut..]];
        let answer = pieces.map(|piece| harness.exchange(client, piece)).concat();
        assert_eq!(String::from_utf8_lossy(&answer), String::from_utf8_lossy(&expected), "cut at {cut}");
    }
}

#[test]
fn memory_that_may_not_be_evicted() {
    let mut client = Client::new(service(1 << 20, |settings| settings.items.evicts = false));
    let body = String::from_utf8(value(1000)).unwrap();
    let mut refused = 0;
    for number in 0..2000 {
        let answer = client.ask(format!("set key-{number} 0 0 1000\n{body}\n"));
        refused += usize::from(answer == "SERVER_ERROR out of memory storing object\n");
        assert!(answer == "STORED\n" || refused > 0, "{answer}");
    }
    assert!(refused > 900, "{refused}");
    assert_eq!(client.stat("", "store_no_memory"), refused.to_string());
    client.expect("get key-0\n", &format!("VALUE key-0 0 1000\n{body}\nEND\n"));
}

#[test]
fn uploads_given_up_leave_nothing() {
    let mut harness = service(4 << 20, |_| {});
    for _ in 0..200 {
        let half = harness.connect();
        harness.send(half, &set("k", 200_000)[..100_000]);
        harness.reset(half);
    }
    let mut client = Client::new(harness);
    client.expect("get k\n", "END\n");
    client.harness.service().store().verify().unwrap();
    assert_eq!(client.stat("", "curr_items"), "0");
    client.send(&set("k", 900_000));
    assert_eq!(client.receive(usize::MAX), b"STORED\r\n");
}

#[test]
fn a_slow_reader_gets_the_value_that_was_there() {
    let mut harness = service(8 << 20, |_| {});
    harness.set_output_cap(64 * 1024);
    let reader = harness.connect();
    let writer = harness.connect();
    harness.exchange(writer, &set("k", 500_000));
    harness.send(reader, b"get k k k k k k\r\n");
    let first = harness.receive(reader, 1000);
    assert_eq!(harness.exchange(writer, b"delete k\r\n"), b"DELETED\r\n");
    let rest = harness.receive(reader, usize::MAX);
    let one = [b"VALUE k 0 500000\r\n", value(500_000).as_slice(), b"\r\n"].concat();
    assert!([first, rest].concat().starts_with(&one));
    assert_eq!(harness.buffered_bytes(), 0);
    assert_eq!(harness.into_service().store().stats().pins, 0);
}

#[test]
fn a_large_answer_waits_for_its_reader() {
    let mut harness = service(8 << 20, |_| {});
    let client = harness.connect();
    for number in 0..100 {
        harness.exchange(client, &set(&format!("k{number}"), 10_000));
    }
    let keys: Vec<String> = (0..2000).map(|number| format!("k{}", number % 100)).collect();
    let mut expected = Vec::new();
    for key in &keys {
        expected.extend_from_slice(&got(key, 10_000)[..]);
        expected.truncate(expected.len() - 5);
    }
    expected.extend_from_slice(b"END\r\nVERSION 1.6.45\r\n");
    harness.send(client, format!("get {}\r\nversion\r\n", keys.join(" ")).as_bytes());
    assert!(harness.buffered_bytes() < 256 * 1024, "{} bytes held", harness.buffered_bytes());
    assert!(harness.receive(client, usize::MAX) == expected);
}

#[test]
fn every_refusal_for_want_of_memory_at_every_cut() {
    // Small items fill the last gaps. What refused commands remove of them is too little to be worth compacting.
    let make = || {
        let mut harness = service(1 << 20, |settings| settings.items.evicts = false);
        let filler = harness.connect();
        harness.exchange(filler, b"set number 0 0 2\r\n10\r\n");
        for len in [1000, 1] {
            let body = "v".repeat(len);
            for number in 0..1000 {
                harness.exchange(filler, format!("set {len}-{number} 0 0 {len}\r\n{body}\r\n").as_bytes());
            }
        }
        harness.reset(filler);
        harness
    };
    let storing = "SERVER_ERROR out of memory storing object\n";
    check_with(
        make,
        "set 1-1 0 0 40\n0123456789012345678901234567890123456789\nget 1-1\nset 1-2 0 0 1 noreply\nx\n\
         add new 0 0 1\nx\nappend 1-3 0 0 1\nx\nms 1-4 1 q\nx\nmg 1-4\nma new N0\nmg new N0\nversion\n",
        format!(
            "{storing}END\n{storing}{storing}{storing}EN\n\
             SERVER_ERROR Out of memory allocating new item\nEN\nVERSION 1.6.45\n"
        ),
    );
    check_with(
        make,
        "incr number 1\nincr number 1 noreply\ntouch number 100\nma number\nmd number I\nget number\n",
        "SERVER_ERROR out of memory\n".repeat(4) + "VALUE number 0 2\n10\nEND\n",
    );
}

#[test]
fn memory_that_is_used_up_while_a_value_arrives() {
    for (line, is_kept) in [
        ("set a 0 0 200000", false),
        ("ms a 200000 ME", false),
        ("add b 0 0 200000", true),
        ("append a 0 0 200000", true),
    ] {
        let mut harness = service(1 << 20, |settings| settings.items.evicts = false);
        let sender = harness.connect();
        harness.exchange(sender, b"set a 0 0 1\r\nx\r\n");
        harness.send(sender, format!("{line}\r\n{}", "v".repeat(20_000)).as_bytes());
        let mut other = Client::new(harness);
        let body = "w".repeat(1000);
        for number in 0..1000 {
            other.ask(format!("set key-{number} 0 0 1000\n{body}\n"));
        }
        let refused: u64 = other.stat("", "store_no_memory").parse().unwrap();
        assert!(refused > 0);
        other.harness.send(sender, format!("{}\r\nversion\r\n", "v".repeat(180_000)).as_bytes());
        let answer = String::from_utf8(other.harness.receive(sender, usize::MAX)).unwrap();
        assert_eq!(answer, "SERVER_ERROR Out of memory during read\r\nVERSION 1.6.45\r\n", "{line}");
        assert_eq!(other.stat("", "store_no_memory"), (refused + 1).to_string(), "{line}");
        other.expect("get a\n", if is_kept { "VALUE a 0 1\nx\nEND\n" } else { "END\n" });
        other.harness.service().store().verify().unwrap();
    }
}
