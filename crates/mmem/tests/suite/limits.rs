//! What bounds connections, requests and items: -c, -R, -C, -M, and the idle time-out.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::{Client, Server, by_nobody_else, eventually, is_root};

/// What a connection beyond the limit is told.
const REFUSAL: &str = "ERROR Too many open connections\n";

#[test]
fn connections_beyond_the_limit_are_told_so() {
    let server = Server::start("refusal", "mmem -p -1 -c 3");
    let mut first = Client::connect(&server);
    let others = [Client::connect(&server), Client::connect(&server)];
    let served = others.map(|mut other| {
        assert_eq!(other.ask("version\n"), "VERSION 1.6.45\n");
        other
    });
    assert_eq!(first.stat("", "curr_connections"), "3");
    for rejected in ["1", "2"] {
        let mut refused = Client::connect(&server);
        assert_eq!((refused.line().as_str(), refused.line().as_str()), (REFUSAL, ""));
        assert_eq!(first.stat("", "rejected_connections"), rejected);
    }
    drop(served);
    // There is a place again as soon as the server has seen one of them go.
    eventually(|| (Client::connect(&server).ask("version\n") == "VERSION 1.6.45\n").then_some(()));
    assert_eq!(first.stat(" settings", "maxconns_fast"), "yes");
}

#[test]
fn without_maxconns_fast_they_wait() {
    let server = Server::start("waiting", "mmem -p -1 -c 2 -o no_maxconns_fast");
    let mut first = Client::connect(&server);
    let mut second = Client::connect(&server);
    assert_eq!(second.ask("version\n"), "VERSION 1.6.45\n");
    let mut third = Client::connect(&server);
    third.send("version\n");
    eventually(|| (first.stat("", "listen_disabled_num") != "0").then_some(()));
    let paused = Instant::now();
    while paused.elapsed() < Duration::from_millis(10) {
        assert_eq!(first.stat("", "accepting_conns"), "0");
    }
    drop(second);
    assert_eq!(third.line(), "VERSION 1.6.45\n");
    assert_eq!(first.stat("", "curr_connections"), "2");
    drop(third);
    eventually(|| (first.stat("", "accepting_conns") == "1").then_some(()));
    let disabled_us: u64 = first.stat("", "time_in_listen_disabled_us").parse().unwrap();
    assert!(disabled_us >= 9_000, "{disabled_us}");
}

#[test]
fn shards_that_pause_together_count_once() {
    let server = Server::start("together", "mmem -p -1 -t 4 -c 2 -o no_maxconns_fast");
    let mut first = Client::connect(&server);
    assert_eq!(first.stat("", "listen_disabled_num"), "0");
    let _others: Vec<Client> = (0..40).map(|_| Client::connect(&server)).collect();
    eventually(|| {
        let mut count = |group: &str, name: &str| first.stat(group, name).parse::<u64>().unwrap();
        let before = count("", "listen_disabled_num");
        let pauses_of_all = count(" server", "accept_pauses");
        // What changes while it is asked for tells nothing.
        let is_steady = count("", "listen_disabled_num") == before;
        (is_steady && before >= 1 && pauses_of_all > before).then_some(())
    });
}

#[test]
fn the_idle_are_closed_and_the_others_are_not() {
    let server = Server::start("idle", "mmem -p -1 -o idle_timeout=1");
    let mut active = Client::connect(&server);
    assert_eq!(active.stat("", "idle_kicks"), "0");
    let mut idle = Client::connect(&server);
    assert_eq!(idle.ask("version\n"), "VERSION 1.6.45\n");
    eventually(|| (active.stat("", "idle_kicks") == "1").then_some(()));
    assert_eq!(idle.line(), "");
    assert_eq!(active.stat(" settings", "idle_timeout"), "1");
}

#[test]
fn a_share_of_requests() {
    let requests = "set a 0 0 1\n1\nmg a v\nget a\n".repeat(4);
    for (flag, yields) in [("-R 1", 11), ("-R 4", 2), ("-R 5", 2), ("-R 12", 0), ("-b 9", 0)] {
        let server = Server::start(&format!("share{}", flag.replace(' ', "")), &format!("mmem -p -1 {flag}"));
        let mut client = Client::connect(&server);
        client.send(&requests);
        for _ in 0..4 {
            for line in ["STORED\n", "VA 1\n", "1\n", "VALUE a 0 1\n", "1\n", "END\n"] {
                assert_eq!(client.line(), line, "{flag}");
            }
        }
        assert_eq!(client.stat("", "conn_yields"), yields.to_string(), "{flag}");
    }
}

#[test]
fn items_without_cas() {
    let server = Server::start("no-cas", "mmem -p -1 -C");
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("set a 0 0 1\n1\n"), "STORED\n");
    assert_eq!(client.ask("gets a\n"), "VALUE a 0 1 0\n");
    assert_eq!((client.line().as_str(), client.line().as_str()), ("1\n", "END\n"));
    assert_eq!(client.ask("cas a 0 0 1 0\n2\n"), "EXISTS\n");
    assert_eq!(client.stat(" settings", "cas_enabled"), "no");
}

#[test]
fn a_full_memory_without_evictions() {
    let server = Server::start("no-evictions", "mmem -p -1 -M -m 8");
    let mut client = Client::connect(&server);
    let value = "v".repeat(10_000);
    let mut stored = 0;
    loop {
        match client.ask(format!("set key-{stored} 0 0 10000\n{value}\n")).as_str() {
            "STORED\n" => stored += 1,
            line => {
                assert_eq!(line, "SERVER_ERROR out of memory storing object\n");
                break;
            }
        }
    }
    assert!(stored > 600, "{stored} of 10,000 bytes in 8 MiB");
    assert_eq!(client.ask("get key-0\n"), "VALUE key-0 0 10000\n");
    client.line();
    assert_eq!(client.line(), "END\n");
    assert_eq!(client.stat("", "evictions"), "0");
    assert_eq!(client.stat("", "store_no_memory"), "1");
    assert_eq!(client.stat(" settings", "evictions"), "off");
}

#[test]
fn values_that_stop_coming_or_trickle_in_give_way_to_others() {
    for (threads, trickles) in [(1, false), (2, false), (1, true), (2, true)] {
        let server = Server::start("stalled", &format!("mmem -p -1 -m 2 -t {threads}"));
        let mut client = Client::connect(&server);
        let mut set = || client.ask("set a 0 0 1\n1\n") == "STORED\n";
        let mut stalled = Vec::new();
        while set() {
            let mut other = Client::connect(&server);
            other.send("set b 0 0 900000\nbegun");
            stalled.push(other);
            assert!(stalled.len() < 500, "it takes no memory");
        }
        eventually(|| {
            // Those that were closed already cannot send.
            for other in stalled.iter_mut().filter(|_| trickles) {
                let _sent = other.try_send("x");
            }
            set().then_some(())
        });
        let closed: usize = client.stat(" server", "memory_timeouts").parse().unwrap();
        assert!((1..stalled.len()).contains(&closed), "{closed} of {}", stalled.len());
    }
}

#[test]
fn a_large_answer_is_sent_in_shares() {
    let server = Server::start("shares", "mmem -p -1 -m 64 -I 8m");
    let mut client = Client::connect(&server);
    let len = 6_000_000;
    assert_eq!(client.ask(format!("set a 0 0 {len}\n{}\n", "v".repeat(len))), "STORED\n");
    let yields = |client: &mut Client| client.stat(" server", "yields").parse::<usize>().unwrap();
    let before = yields(&mut client);
    assert_eq!(client.ask("get a\n"), format!("VALUE a 0 {len}\n"));
    assert_eq!(client.line(), format!("{}\n", "v".repeat(len)));
    assert_eq!(client.line(), "END\n");
    assert!(yields(&mut client) > before, "others had no turn in between");
}

/// Starts the program where it may have 300 files open, with `-c` of so many; what it says first.
fn said_with_300_files(connections: u32) -> String {
    let serve = "ulimit -n 300 && exec setpriv --reuid=65534 --clear-groups \"$0\" -p -1 -c \"$1\"";
    let not_root = "ulimit -n 300 && exec \"$0\" -p -1 -c \"$1\"";
    let mut shell = Command::new("sh");
    let script = if is_root() { serve } else { not_root };
    shell.args(["-c", script, env!("CARGO_BIN_EXE_mmem"), &connections.to_string()]);
    by_nobody_else(&mut shell);
    let mut child = shell.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

#[test]
fn where_few_files_may_be_open_there_are_fewer_connections() {
    let said = said_with_300_files(300);
    assert_eq!(said, "mmem: -c 300: the system allows 300 open files, so 236 connections\n");
    let said = said_with_300_files(301);
    let expected = "mmem: -c 301: the system allows 300 open files (ulimit -n, LimitNOFILE= of systemd)\n";
    assert_eq!(said, expected);
}
