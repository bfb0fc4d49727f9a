//! What all shards of a server tell together.

use mm_base::Now;
use mm_memcached::{Memcached, NoHost, Settings, Shared};
use mm_server::Start;
use mm_server::harness::Harness;
use mm_store::{Config, Store, StoreHandles};

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
        .filter_map(|line| line.strip_prefix("STAT ")?.strip_suffix(":resps_waiting 0")?.into())
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

#[test]
fn the_limit_of_before_is_set_once_however_many_shards_come() {
    let begin = || {
        let handles = StoreHandles::open(&Config::new(64 << 20, 1), 2).unwrap();
        (handles, Shared::new(Settings::default(), 2, Box::new(NoHost)))
    };
    // A shard comes, and is asked.
    let come = |(handles, shared): &(StoreHandles, _), shard, input: &str| {
        let store = handles.take().unwrap();
        let mut harness =
            Harness::new(|start| Memcached::new(&Start { shard, shards: 2, ..start.clone() }, shared, store));
        let id = harness.connect();
        String::from_utf8(harness.exchange(id, input.as_bytes())).unwrap()
    };
    let (before, after) = (begin(), begin());
    assert_eq!(come(&before, 0, "cache_memlimit 20\r\n"), "OK\r\n");
    assert!(after.1.resume(&before.1.note(Now::default())));
    let told = come(&after, 0, "stats\r\ncache_memlimit 30\r\n");
    assert!(told.contains(&format!("STAT limit_maxbytes {}\r\n", 20 << 20)) && told.ends_with("OK\r\n"));
    let told = come(&after, 1, "stats\r\n");
    assert!(told.contains(&format!("STAT limit_maxbytes {}\r\n", 30 << 20)), "{told}");
}
