//! `-vv`: what the operator is shown of requests and answers.

use std::sync::{Arc, Mutex};

use mm_memcached::{Host, Memcached, Settings, Shared, Shutdown};
use mm_server::harness::{Harness, every_cut};
use mm_store::{Config, Store};

use crate::world::Client;

/// A host that keeps what it is to say.
#[derive(Clone, Default)]
struct Listening(Arc<Mutex<String>>);

impl Host for Listening {
    fn process_id(&self) -> u32 {
        1
    }

    fn processor_us(&self) -> (u64, u64) {
        (0, 0)
    }

    fn shut_down(&self, _mode: Shutdown) {}

    fn say(&self, lines: &str) {
        self.0.lock().unwrap().push_str(lines);
    }
}

impl Listening {
    fn heard(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn service(verbosity: u32) -> (Harness<Memcached>, Listening) {
    let host = Listening::default();
    let shared = Shared::new(Settings { verbosity, ..Settings::default() }, 1, Box::new(host.clone()));
    let store = Store::open(&Config::new(4 << 20, 1)).unwrap();
    (Harness::new(|start| Memcached::new(start, &shared, store)), host)
}

#[test]
fn requests_and_answers_are_shown_and_values_are_not() {
    let (harness, host) = service(2);
    let mut client = Client::new(harness);
    client.expect(
        "set a 5 0 5\nhello\nget a b\nmg a v t\nincr a 1\nbogus \x1b[2J\nset b 0 0 1 noreply\nx\n",
        "STORED\nVALUE a 5 5\nhello\nEND\nVA 5 t-1\nhello\n\
         CLIENT_ERROR cannot increment or decrement non-numeric value\nERROR\n",
    );
    assert_eq!(
        host.heard(),
        "<32 new auto-negotiating client connection\n\
         <32 set a 5 0 5\n<32 get a b\n<32 mg a v t\n<32 incr a 1\n<32 bogus \\x1b[2J\n\
         <32 set b 0 0 1 noreply\n\
         >32 STORED\n>32 sending key a\n>32 END\n>32 VA 5 t-1\n\
         >32 CLIENT_ERROR cannot increment or decrement non-numeric value\n>32 ERROR\n"
    );
    drop(client.ask("quit\n"));
    assert_eq!(host.heard(), "<32 quit\n<32 connection closed.\n");
}

#[test]
fn each_request_is_shown_once_however_it_arrives() {
    let value = "v".repeat(5000);
    let input = format!("set a 0 0 3\r\nabc\r\nset b 0 0 5000\r\n{value}\r\nget a\r\nversion\r\n");
    for step in [1, 7, 1000, input.len()] {
        let (mut harness, host) = service(2);
        let client = harness.connect();
        for piece in input.as_bytes().chunks(step) {
            harness.send(client, piece);
        }
        harness.receive(client, usize::MAX);
        let heard = host.heard();
        let asked: Vec<&str> = heard.lines().filter(|line| line.starts_with("<32 ")).skip(1).collect();
        assert_eq!(asked, ["<32 set a 0 0 3", "<32 set b 0 0 5000", "<32 get a", "<32 version"], "{step}");
        let answered: Vec<&str> = heard.lines().filter(|line| line.starts_with(">32 ")).collect();
        let expected = [">32 STORED", ">32 STORED", ">32 sending key a", ">32 END", ">32 VERSION 1.6.45"];
        assert_eq!(answered, expected, "{step}");
    }
}

#[test]
fn what_is_answered_does_not_depend_on_it() {
    let input = "set a 0 0 3\r\nabc\r\nget a\r\nstats conns\r\nlru_crawler metadump all\r\nmn\r\n";
    let answers = [0, 2].map(|verbosity| every_cut(|| service(verbosity).0, input.as_bytes()).unwrap());
    assert_eq!(String::from_utf8_lossy(&answers[0]), String::from_utf8_lossy(&answers[1]));
}

#[test]
fn packets_are_shown_by_their_heads_and_keys() {
    let (mut harness, host) = service(2);
    let client = harness.connect();
    let get = [&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 12], b"k"].concat();
    harness.exchange(client, &get);
    assert_eq!(
        host.heard(),
        "<32 new auto-negotiating client connection\n<32 binary opcode 0x00 key k\n\
         >32 binary opcode 0x00 status 0x01 key \n"
    );
}

#[test]
fn verbosity_turns_it_on_and_off() {
    let (harness, host) = service(0);
    let mut client = Client::new(harness);
    client.expect("get a\nverbosity 2\n", "END\nOK\n");
    assert_eq!(host.heard(), "");
    client.expect("get a\n", "END\n");
    assert_eq!(host.heard(), "<32 get a\n>32 END\n");
    client.expect("verbosity 1\n", "OK\n");
    client.expect("get a\n", "END\n");
    assert_eq!(host.heard(), "<32 verbosity 1\n>32 OK\n");
}
