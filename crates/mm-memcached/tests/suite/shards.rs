//! What all shards of a server tell together.

use mm_memcached::{Memcached, NoHost, Settings, Shared};
use mm_server::Start;
use mm_server::harness::Harness;
use mm_store::{Config, Store};

use crate::world::Client;

/// A client of each of two shards of one server.
pub(crate) fn two_shards() -> [Client; 2] {
    let shared = Shared::new(Settings::default(), 2, Box::new(NoHost));
    [0, 1].map(|shard| {
        let store = Store::open(&Config::new(1 << 20, 1)).unwrap();
        Client::new(Harness::new(|start| {
            Memcached::new(&Start { shard, shards: 2, ..start.clone() }, &shared, store)
        }))
    })
}

#[test]
fn connections_are_told_of_all_shards() {
    let [mut one, mut other] = two_shards();
    one.expect("set a 0 0 10\nabc", "");
    let listed = other.ask("stats conns\n");
    let numbers: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("STAT ")?.strip_suffix(":secs_since_last_cmd 0")?.into())
        .collect();
    assert_eq!(numbers, ["32", "33"], "{listed}");
    assert!(listed.contains("STAT 32:state conn_nread\n"), "{listed}");
    assert!(listed.contains("STAT 33:state conn_parse_cmd\n"), "{listed}");
}

#[test]
fn prefixes_are_counted_for_all_shards() {
    let [mut one, mut other] = two_shards();
    one.expect("stats detail on\nget a:1 b:1\n", "OK\nEND\n");
    other.expect("get a:1\ndelete c:1\n", "END\nNOT_FOUND\n");
    let sums = "PREFIX a get 2 hit 0 set 0 del 0\nPREFIX b get 1 hit 0 set 0 del 0\n\
                PREFIX c get 0 hit 0 set 0 del 1\nEND\n";
    one.expect("stats detail dump\n", sums);
    other.expect("stats detail dump\nstats reset\n", &format!("{sums}RESET\n"));
    one.expect("stats detail dump\n", "END\n");
}

#[test]
fn counters_are_sums_and_set_back_together() {
    let [mut one, mut other] = two_shards();
    one.expect("get a\nset a 0 0 1\nx\nget a\n", "END\nSTORED\nVALUE a 0 1\nx\nEND\n");
    other.expect("get a\nget b\n", "END\nEND\n");
    for (name, value) in [("get_misses", "3"), ("get_hits", "1"), ("cmd_get", "4"), ("cmd_set", "1")] {
        assert_eq!(one.stat("", name), value, "{name}");
        assert_eq!(other.stat("", name), value, "{name}");
    }
    other.expect("stats reset\n", "RESET\n");
    assert_eq!(one.stat("", "cmd_get"), "0");
}
