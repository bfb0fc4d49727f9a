//! Several threads over one store: what clients of one do, clients of all see; what each counts is told as a sum.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::world::{Client, Server, eventually, processors_in, processors_of_shards};

const CLIENTS: usize = 6;

fn clients(name: &str) -> (Server, Vec<Client>) {
    let server = Server::start(name, "mmem -p -1 -t 3 -m 64");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::connect(&server)).collect();
    for client in &mut clients {
        assert_eq!(client.ask("version\n"), "VERSION 1.6.45\n");
    }
    (server, clients)
}

#[test]
fn counters_are_the_sums_of_all_threads() {
    let (_server, mut clients) = clients("sums");
    for (number, client) in clients.iter_mut().enumerate() {
        let key = format!("key-{number}");
        client.send(format!(
            "set {key} 0 0 1\n1\nget {key} none\nincr {key} 1\nincr none 1\ndecr {key} 1\ntouch {key} 0\n\
             touch none 0\ngat 0 {key}\ncas {key} 0 0 1 1\n1\ncas none 0 0 1 1\n1\ndelete none\nmg {key} v\nme {key}\n\
             set {key}- 0 0 1\nx\ndelete {key}-\nflush_all 1000\nmn\n"
        ));
        while client.line() != "MN\n" {}
    }
    let count = i64::try_from(CLIENTS).unwrap();
    for client in &mut clients {
        for (name, each) in [
            ("cmd_get", 3),
            ("get_hits", 2),
            ("get_misses", 1),
            ("cmd_set", 4),
            ("incr_hits", 1),
            ("incr_misses", 1),
            ("decr_hits", 1),
            ("decr_misses", 0),
            ("cmd_touch", 3),
            ("touch_hits", 2),
            ("touch_misses", 1),
            ("cas_badval", 1),
            ("cas_misses", 1),
            ("cas_hits", 0),
            ("delete_hits", 1),
            ("delete_misses", 1),
            ("cmd_meta", 1),
            ("cmd_flush", 1),
            ("curr_items", 1),
            ("total_items", 2),
            ("curr_connections", 1),
            ("total_connections", 1),
        ] {
            assert_eq!(client.stat("", name), (each * count).to_string(), "{name}");
        }
        assert_eq!(client.stat("", "threads"), "3");
    }
    assert_eq!(clients[0].ask("stats reset\n"), "RESET\n");
    for client in &mut clients {
        for name in ["cmd_get", "cmd_set", "touch_hits", "total_items", "total_connections"] {
            assert_eq!(client.stat("", name), "0", "{name}");
        }
        assert_eq!(client.stat("", "curr_items"), count.to_string());
        let listed = client.lines_of("stats conns\n");
        let states = listed.iter().filter(|line| line.contains(":resps_waiting ")).count();
        assert_eq!(states, CLIENTS);
    }
}

#[test]
fn values_that_are_refused_or_come_in_pieces() {
    let (_server, mut clients) = clients("pieces");
    let large = "v".repeat(900_000);
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask(format!("set small-{number} 0 0 1\nx\n")), "STORED\n");
        // All of them at once, none of them whole.
        client.send(format!("set large-{number} 0 0 900000\n{}", &large[..500_000]));
    }
    for client in &mut clients {
        client.send(format!("{}\nversion\n", &large[500_000..]));
        assert_eq!((client.line().as_str(), client.line().as_str()), ("STORED\n", "VERSION 1.6.45\n"));
    }
    let too_large = "w".repeat(1_100_000);
    for (number, client) in clients.iter_mut().enumerate() {
        let (other, third) = ((number + 1) % CLIENTS, (number + 2) % CLIENTS);
        let requests = [
            format!("set small-{number} 0 0 1100000\n{too_large}\nget small-{number}\n"),
            format!("add large-{other} 0 0 1100000 noreply\n{too_large}\nms none 1100000 q\n{too_large}\n"),
            format!("set large-{other} 0 0 900000\n{large}xyzabc\nget large-{third}\nmn\n"),
        ];
        client.send(requests.concat());
        for line in [
            "SERVER_ERROR object too large for cache\n",
            "END\n",
            "SERVER_ERROR object too large for cache\n",
            "CLIENT_ERROR bad data chunk\n",
            "ERROR\n",
            &format!("VALUE large-{third} 0 900000\n"),
            &format!("{large}\n"),
            "END\n",
            "MN\n",
        ] {
            assert!(client.line() == line, "{}", &line[..line.len().min(60)]);
        }
    }
    let count = CLIENTS.to_string();
    assert_eq!(clients[0].stat("", "store_too_large"), (3 * CLIENTS).to_string());
    assert_eq!(clients[0].stat("", "curr_items"), count);
    assert_eq!(clients[0].stat("", "store_no_memory"), "0");
}

/// How many descriptors each thread of a process has that is not the first.
fn descriptors_of_others(pid: u32) -> Vec<usize> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|thread| thread.unwrap());
    let others = threads.filter(|thread| thread.file_name() != pid.to_string().as_str());
    others.map(|thread| fs::read_dir(thread.path().join("fd")).unwrap().count()).collect()
}

#[test]
fn an_only_shard_shares_its_descriptors_with_no_other_thread() {
    let server = Server::start("descriptors", "mmem -p -1 -t 1");
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("version\n"), "VERSION 1.6.45\n");
    let counts = eventually(|| {
        let counts = descriptors_of_others(server.child.id());
        counts.iter().all(|&count| count <= 3).then_some(counts)
    });
    assert!(!counts.is_empty(), "there are helpers to look at");
}

#[test]
fn threads_that_serve_stay_on_a_processor_each_when_asked_to() {
    let all = processors_in(Path::new("/proc/self/status")).unwrap();
    let started = |options: &str| {
        let server = Server::start("pinned", &format!("mmem -p -1 -t 2 {options}"));
        assert_eq!(Client::connect(&server).ask("version\n"), "VERSION 1.6.45\n");
        processors_of_shards(server.child.id())
    };
    assert_eq!(started("--driver epoll"), [all.as_str(); 2]);
    let pinned = started("--pin");
    let (first, has_more) =
        all.split_once([',', '-']).map_or((all.as_str(), false), |(first, _)| (first, true));
    assert_eq!(pinned.len(), 2);
    assert_eq!(pinned[0], first);
    assert!(pinned[1].parse::<u32>().is_ok(), "{pinned:?}");
    assert_eq!(pinned[0] != pinned[1], has_more, "{pinned:?}");
}

#[test]
fn signals_that_come_together_are_all_heard() {
    for _ in 0..5 {
        let mut server = Server::start("together", "mmem -p -1 -t 1");
        let pid = server.child.id();
        let mut client = Client::connect(&server);
        assert_eq!(client.ask("version\n"), "VERSION 1.6.45\n");
        eventually(|| descriptors_of_others(pid).iter().all(|&count| count <= 3).then_some(()));
        // The second one of two finds the first thread about to handle the first.
        let both = format!("kill -HUP {pid}; kill -TERM {pid}");
        assert!(Command::new("sh").args(["-c", &both]).status().unwrap().success());
        let ended = eventually(|| server.child.try_wait().unwrap());
        assert_eq!(ended.code(), Some(0));
    }
}
