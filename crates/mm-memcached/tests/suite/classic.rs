//! The classic commands: every row of the command and error tables.

use crate::world::{Client, check, check_with, plain, service};

#[test]
fn storing_and_fetching() {
    check("set a 5 0 5\nhello\nget a\n", "STORED\nVALUE a 5 5\nhello\nEND\n");
    check("get a\nget a b c \n", "END\nEND\n");
    check(
        "set a 0 0 1\nx\nset b 4294967295 0 0\n\nget a none b a\n",
        "STORED\nSTORED\nVALUE a 0 1\nx\nVALUE b 4294967295 0\n\nVALUE a 0 1\nx\nEND\n",
    );
    check("add a 0 0 1\nx\nadd a 0 0 1\ny\nget a\n", "STORED\nNOT_STORED\nVALUE a 0 1\nx\nEND\n");
    check(
        "replace a 0 0 1\nx\nset a 0 0 1\ny\nreplace a 1 0 1\nz\nget a\n",
        "NOT_STORED\nSTORED\nSTORED\nVALUE a 1 1\nz\nEND\n",
    );
    check(
        "append a 0 0 1\nx\nprepend a 0 0 1\nx\nset a 7 0 1\n-\nappend a 1 1 2\n>>\nprepend a 1 1 2\n<<\nget a\n",
        "NOT_STORED\nNOT_STORED\nSTORED\nSTORED\nSTORED\nVALUE a 7 5\n<<->>\nEND\n",
    );
}

#[test]
fn cas_stores_only_over_what_was_seen() {
    let mut client = Client::new(plain());
    client.expect("cas a 0 0 1 1\nx\n", "NOT_FOUND\n");
    client.expect("set a 0 0 1\nx\ncas a 0 0 1 0\ny\n", "STORED\nEXISTS\n");
    let cas = client.cas("a");
    client.expect(format!("cas a 3 0 1 {cas}\nz\ncas a 0 0 1 {cas}\ny\n"), "STORED\nEXISTS\n");
    assert!(client.cas("a") > cas);
    client.expect("get a\n", "VALUE a 3 1\nz\nEND\n");
    let seen = client.cas("a");
    client.expect("touch a 100\n", "TOUCHED\n");
    assert_eq!(client.cas("a"), seen);
    assert_eq!(client.stat("", "cas_hits"), "1");
    assert_eq!(client.stat("", "cas_misses"), "1");
    assert_eq!(client.stat("", "cas_badval"), "2");
}

#[test]
fn without_cas() {
    let make = || service(1 << 20, |settings| settings.items.has_cas = false);
    check_with(
        make,
        "set a 0 0 1\nx\ngets a\ncas a 0 0 1 0\ny\ncas b 0 0 1 0\ny\n",
        "STORED\nVALUE a 0 1 0\nx\nEND\nEXISTS\nNOT_FOUND\n",
    );
}

#[test]
fn deleting_and_counting() {
    check("delete a\nset a 0 0 1\n1\ndelete a 0\ndelete a\n", "NOT_FOUND\nSTORED\nDELETED\nNOT_FOUND\n");
    check(
        "incr a 1\nset a 3 0 2\n10\nincr a 5\ndecr a 6\ndecr a 100\nget a\n",
        "NOT_FOUND\nSTORED\n15\n9\n0\nVALUE a 3 1\n0\nEND\n",
    );
    check("set a 0 0 20\n18446744073709551615\nincr a 1\n", "STORED\n0\n");
    for value in ["12 ab", "12\0", "12\0ab"] {
        let input = format!("set a 0 0 {}\n{value}\nincr a 1\nma a MD v\n", value.len());
        check(input, "STORED\n13\nVA 2\n12\n");
    }
    let not_a_number = "CLIENT_ERROR cannot increment or decrement non-numeric value\n";
    for value in ["x", "", "\0", "-1", "18446744073709551616"] {
        let input = format!("set a 0 0 {}\n{value}\nincr a 1\ndecr a 1\n", value.len());
        check(input, format!("STORED\n{not_a_number}{not_a_number}"));
    }
    check("incr a x\ndecr a -1\nincr a\n", format!("{BAD_DELTA}{BAD_DELTA}{BAD_FORMAT}"));
    let long = "1".repeat(5000);
    check_with(plain, format!("set a 0 0 5000\n{long}\nincr a 1\n"), format!("STORED\n{not_a_number}"));
}

const BAD_FORMAT: &str = "CLIENT_ERROR bad command line format\n";
const BAD_DELTA: &str = "CLIENT_ERROR invalid numeric delta argument\n";

#[test]
fn expiring() {
    let mut client = Client::new(plain());
    client.expect("set a 0 2 1\na\nset b 0 -1 1\nb\nset c 0 0 1\nc\n", "STORED\nSTORED\nSTORED\n");
    client.expect("get a b c\n", "VALUE a 0 1\na\nVALUE c 0 1\nc\nEND\n");
    client.wait_s(1);
    client.expect("get a\ntouch c 1\ntouch b 1\n", "VALUE a 0 1\na\nEND\nTOUCHED\nNOT_FOUND\n");
    client.wait_s(1);
    client.expect("get a c\n", "END\n");
    let now_s = client.harness.now().unix_s;
    client.expect(
        format!("set a 0 {} 1\na\nset b 0 2592001 1\nb\nset c 0 2592000 1\nc\n", now_s + 3),
        "STORED\nSTORED\nSTORED\n",
    );
    client.expect("get a b c\n", "VALUE a 0 1\na\nVALUE c 0 1\nc\nEND\n");
    client.wait_s(3);
    client.expect("get a b c\n", "VALUE c 0 1\nc\nEND\n");
    client.expect("gat 1 c\ngat 0 none\n", "VALUE c 0 1\nc\nEND\nEND\n");
    client.wait_s(1);
    client.expect("get c\n", "END\n");
    assert_eq!(client.stat("", "cmd_touch"), "4");
    assert_eq!(client.stat("", "touch_hits"), "2");
    assert_eq!(client.stat("", "get_hits"), "6");
}

#[test]
fn touching_fetches() {
    check(
        "set a 1 10 1\nx\ngat 0 a b\ntouch a x\ntouch a\ngat x a\ntouch a 5 noreply\ngat 10\n",
        "STORED\nVALUE a 1 1\nx\nEND\nCLIENT_ERROR invalid exptime argument\n\
         CLIENT_ERROR bad command line format\nCLIENT_ERROR invalid exptime argument\n\
         CLIENT_ERROR bad command line format\n",
    );
    let mut client = Client::new(plain());
    client.expect("set a 0 0 1\nx\n", "STORED\n");
    let cas = client.cas("a");
    client.expect("gats 100 a\n", &format!("VALUE a 0 1 {cas}\nx\nEND\n"));
    client.wait_s(101);
    client.expect("get a\n", "END\n");
    client.expect("set a 0 0 1\na\nset b 0 0 1\nb\n", "STORED\nSTORED\n");
    client.expect("gat 2 a b\n", "VALUE a 0 1\na\nVALUE b 0 1\nb\nEND\n");
    client.wait_s(2);
    client.expect("get a b\n", "END\n");
}

#[test]
fn no_answer_is_wanted() {
    check(
        "set a 0 0 1 noreply\n1\nadd a 0 0 1 noreply\n2\nincr a 1 noreply\ndecr b 1 noreply\ntouch a 0 noreply\n\
         append a 0 0 1 noreply\nx\nget a\ndelete a noreply\ndelete a 0 noreply\nget a\nverbosity 0 noreply\n\
         flush_all noreply\nverbosity noreply\nflush_all x noreply\nversion\n",
        "VALUE a 0 2\n2x\nEND\nEND\nVERSION 1.6.45\n",
    );
    check("set a 0 0 -1 noreply\nversion\n", format!("{BAD_FORMAT}VERSION 1.6.45\n"));
    check("set a 0 0 1 noreply\nxyzversion\n", "VERSION 1.6.45\n");
    check("delete noreply\nversion\n", "VERSION 1.6.45\n");
    let long = "k".repeat(251);
    check(format!("set {long} 0 0 1 noreply\nx\ndelete {long} noreply\nversion\n"), "VERSION 1.6.45\n");
}

#[test]
fn staying_in_step() {
    check(
        "set a x 0 7\nversion\nset a 0 0 -1\nversion\nset a 0 0 x\nfoo\nversion\n",
        format!("{BAD_FORMAT}{BAD_FORMAT}VERSION 1.6.45\n{BAD_FORMAT}ERROR\nVERSION 1.6.45\n"),
    );
    check(
        "set a 0 0 2\nabcdeversion\nversion\nget a\n",
        "CLIENT_ERROR bad data chunk\nERROR\nVERSION 1.6.45\nEND\n",
    );
    check(
        "set a 0 0 1\nx\nset a 0 0 1\nyz\n\nget a\n",
        format!("STORED\nCLIENT_ERROR bad data chunk\n{BAD_FORMAT}{BAD_FORMAT}VALUE a 0 1\nx\nEND\n"),
    );
    let long = "k".repeat(251);
    check(
        format!("get {long}\nversion\nget a {long} b\nset {long} 0 0 3\nfoo\nversion\n"),
        format!("{BAD_FORMAT}VERSION 1.6.45\n{BAD_FORMAT}{BAD_FORMAT}VERSION 1.6.45\n"),
    );
    check("bogus\nGET a\n\nget\nmn\nquit\nversion\n", format!("ERROR\nERROR\n{BAD_FORMAT}{BAD_FORMAT}MN\n"));
}

#[test]
fn ends_of_connections() {
    for (input, answer) in [
        ("version\nquit\nversion\n", "VERSION 1.6.45\n"),
        ("GET / HTTP/1.1\nHost: x\n\n", ""),
        (&"x".repeat(3000), ""),
    ] {
        let mut client = Client::new(plain());
        client.expect(input, answer);
        assert!(!client.is_open(), "{input}");
    }
    let mut client = Client::new(plain());
    client.expect("get / HTTP/1.1\n", "END\n");
    assert!(client.is_open());
}

#[test]
fn flushing() {
    let mut client = Client::new(plain());
    client.expect(
        "set a 0 0 1\na\nflush_all\nget a\nset a 0 0 1\nb\nget a\n",
        "STORED\nOK\nEND\nSTORED\nVALUE a 0 1\nb\nEND\n",
    );
    assert_eq!(client.stat("", "get_flushed"), "1");
    client.expect("flush_all 2\nget a\n", "OK\nVALUE a 0 1\nb\nEND\n");
    client.wait_s(1);
    client.expect("set b 0 0 1\nb\nget a b\n", "STORED\nVALUE a 0 1\nb\nVALUE b 0 1\nb\nEND\n");
    client.wait_s(1);
    client.expect("get a b\nset b 0 0 1\nb\nget b\n", "END\nSTORED\nVALUE b 0 1\nb\nEND\n");
    client.expect("flush_all 1\nflush_all 100\n", "OK\nOK\n");
    client.wait_s(2);
    client.expect("get b\nflush_all -1\nget b\n", "VALUE b 0 1\nb\nEND\nOK\nEND\n");
    assert_eq!(client.stat("", "cmd_flush"), "5");
    client.expect("flush_all x\n", "CLIENT_ERROR invalid exptime argument\n");
    // A date that is over, but not before the server's start.
    client
        .expect("set a 0 0 1\na\nflush_all 1000000001\nget a\nset a 0 0 1\nb\n", "STORED\nOK\nEND\nSTORED\n");
    client.wait_s(1);
    client.expect("get a\nflush_all 999999999\nget a\n", "VALUE a 0 1\nb\nEND\nOK\nVALUE a 0 1\nb\nEND\n");
    let forbidden = || service(1 << 20, |settings| settings.allowed.flush = false);
    check_with(forbidden, "flush_all\nflush_all 0 noreply\n", "CLIENT_ERROR flush_all not allowed\n");
}

#[test]
fn many_keys_and_many_requests() {
    let mut client = Client::new(service(8 << 20, |_| {}));
    let mut expected = String::new();
    let mut line = "get".to_owned();
    for number in 0..5000 {
        client.expect(format!("set key-{number} 0 0 10\nvalue{number:05}\n"), "STORED\n");
        expected.push_str(&format!("VALUE key-{number} 0 10\nvalue{number:05}\n"));
        line.push_str(&format!(" key-{number} none-{number}"));
    }
    expected.push_str("END\n");
    client.expect(format!("{line}\n"), &expected);
    let pipelined: String = (0..5000).map(|number| format!("get key-{number}\nversion\n")).collect();
    let expected: String = (0..5000)
        .map(|number| format!("VALUE key-{number} 0 10\nvalue{number:05}\nEND\nVERSION 1.6.45\n"))
        .collect();
    client.expect(pipelined, &expected);
    assert_eq!(client.stat("", "get_misses"), "5000");
    assert_eq!(client.stat("", "get_hits"), "10000");
    assert_eq!(client.stat("", "cmd_set"), "5000");
}
