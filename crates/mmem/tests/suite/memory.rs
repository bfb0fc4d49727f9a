//! `cache_memlimit`: the limit of memory, changed while the server runs.

use std::fs;
use std::process::{Command, Output};

use crate::world::{Client, Server, by_nobody_else, eventually, status_of};

/// What the process may take beside its limit, in KiB.
const ALLOWANCE_KIB: u64 = 8 << 10;

/// Values of 1,000 bytes that fill a MiB and more.
const WRITES_PER_MIB: u32 = 1024;

/// Resident memory less what the program's file stands behind, of which an unoptimised build has a lot.
fn resident_kib(server: &Server) -> u64 {
    let kib = |name| -> u64 {
        let text = status_of(server.child.id(), name).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    };
    kib("RssAnon") + kib("RssShmem")
}

/// The user who runs this: what root may, the user that it becomes may not.
fn user_name() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether a process may lock any amount of memory.
fn may_lock_memory(server: &Server) -> bool {
    const CAP_IPC_LOCK: u64 = 1 << 14;
    let pid = server.child.id();
    let rights = u64::from_str_radix(&status_of(pid, "CapEff").unwrap(), 16).unwrap();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let limit = limits.lines().find(|line| line.starts_with("Max locked memory")).unwrap();
    rights & CAP_IPC_LOCK != 0 || limit.contains("unlimited")
}

/// Writes so many MiB, and checks that no write is refused.
fn fill(client: &mut Client, mib: u32) {
    let value = "v".repeat(1000);
    for start in 0..mib {
        let number = |index: u32| start * WRITES_PER_MIB + index;
        let write = |index| format!("set key-{} 0 0 1000\n{value}\n", number(index));
        client.send((0..WRITES_PER_MIB).map(write).collect::<String>());
        for _ in 0..WRITES_PER_MIB {
            assert_eq!(client.line(), "STORED\n");
        }
    }
}

/// What a start takes does not depend on the limit, nor therefore does its time: nothing is populated.
#[cfg(target_pointer_width = "64")]
#[test]
fn a_large_limit_is_address_space_only_at_the_start() {
    let server = Server::start("large-limit", "mmem -p -1 -m 16384");
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("version\n"), "VERSION 1.6.45\n");
    let reserved = status_of(server.child.id(), "VmSize").unwrap();
    let reserved_kib: u64 = reserved.split(' ').next().unwrap().parse().unwrap();
    assert!(reserved_kib >= 16 << 20, "{reserved_kib} KiB of address space");
    let resident_kib = resident_kib(&server);
    assert!(resident_kib <= ALLOWANCE_KIB, "{resident_kib} KiB at the start");
}

#[test]
fn too_little_address_space_is_refused_in_one_line() {
    let program = env!("CARGO_BIN_EXE_mmem");
    // Less than the limit, enough for the rest.
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -v 300000; exec {program} -p -1 -m 1024 -u {}", user_name())]);
    by_nobody_else(&mut shell);
    let Output { status, stderr, .. } = shell.output().unwrap();
    let told = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(71), "{told}");
    assert!(told.starts_with("mmem: -m 1024: ") && told.lines().count() == 1, "{told}");
}

#[test]
fn a_lower_limit_gives_memory_back() {
    let server = Server::start("memlimit", "mmem -p -1 -m 64");
    let mut client = Client::connect(&server);
    fill(&mut client, 80);
    let full_kib = resident_kib(&server);
    assert!(full_kib > 56 << 10, "{full_kib} KiB");
    assert_eq!(client.ask("cache_memlimit 16\n"), "OK\n");
    assert_eq!(client.stat("", "limit_maxbytes"), (16 << 20).to_string());
    let limit_kib = (16 << 10) + ALLOWANCE_KIB;
    eventually(|| (resident_kib(&server) <= limit_kib).then_some(()));
    fill(&mut client, 20);
    assert!(resident_kib(&server) <= limit_kib);
    assert_eq!(client.stat("", "store_no_memory"), "0");
}

/// There is no address space to reserve for a higher limit where an address has 32 bits.
#[cfg(target_pointer_width = "64")]
#[test]
fn a_higher_limit_is_used() {
    let server = Server::start("memlimit-higher", "mmem -p -1 -m 64");
    let mut client = Client::connect(&server);
    assert_eq!(client.ask("cache_memlimit 96\n"), "OK\n");
    fill(&mut client, 110);
    let resident_kib = resident_kib(&server);
    assert!(resident_kib > 84 << 10 && resident_kib <= (96 << 10) + ALLOWANCE_KIB, "{resident_kib} KiB");
    assert_eq!(
        client.ask("cache_memlimit 257\n"),
        "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\n"
    );
    assert_eq!(client.stat(" settings", "maxbytes"), (96 << 20).to_string());
}

/// The counters of what has left the store, in the order of [`what_leaves_is_told_apart`].
fn left(client: &mut Client) -> [u64; 5] {
    ["evictions", "evicted_unfetched", "reclaimed", "crawler_reclaimed", "expired_unfetched"]
        .map(|name| client.stat("", name).parse().unwrap())
}

#[test]
fn what_leaves_is_told_apart() {
    let server = Server::start("what-leaves", "mmem -p -1 -m 8");
    let mut client = Client::connect(&server);
    let value = "v".repeat(5000);
    let store = |client: &mut Client, key: &str| {
        assert_eq!(client.ask(format!("set {key} 0 0 5000\n{value}\n")), "STORED\n");
    };
    let read = |client: &mut Client, key: &str| assert_eq!(client.ask(format!("mg {key}\n")), "HD\n");
    for number in 0..100 {
        store(&mut client, &format!("read-{number}"));
        store(&mut client, &format!("unread-{number}"));
        read(&mut client, &format!("read-{number}"));
        for kind in ["read", "unread"] {
            assert_eq!(client.ask(format!("mg {kind}-{number} T-1 u\n")), "HD\n");
        }
    }
    // Nobody asks for them: the search finds them, if it takes some time.
    eventually(|| (client.stat("", "curr_items") == "0").then_some(()));
    assert_eq!(left(&mut client), [0, 0, 200, 200, 100]);

    for number in 0..4000 {
        store(&mut client, &format!("new-{number}"));
    }
    let [evictions, evicted_unfetched, ..] = left(&mut client);
    assert!(evictions > 2000 && evicted_unfetched == evictions, "{evictions}, {evicted_unfetched} unfetched");

    for number in 0..8000 {
        store(&mut client, &format!("used-{number}"));
        read(&mut client, &format!("used-{number}"));
    }
    let [evictions, evicted_unfetched, expired @ ..] = left(&mut client);
    assert!(evictions > 10_000 && evicted_unfetched <= 4000, "{evictions}, {evicted_unfetched} unfetched");
    assert_eq!(expired, [200, 200, 100]);
}

#[test]
fn memory_is_locked_as_it_is_used_and_not_before() {
    // A shard alone opens its store elsewhere than several do.
    for threads in [1, 2] {
        let mut server =
            Server::start("locked", &format!("mmem -p -1 -u {} -m 64 -k -t {threads}", user_name()));
        let refused = server.next_line().starts_with("mmem: -k: ");
        let mut client = Client::connect(&server);
        fill(&mut client, 16);
        assert!(resident_kib(&server) < 48 << 10, "{} KiB", resident_kib(&server));
        let locked = status_of(server.child.id(), "VmLck").unwrap();
        assert_eq!(locked == "0 kB", refused, "{locked}");
        assert_eq!(may_lock_memory(&server), !refused);
    }
}

#[test]
fn all_memory_is_there_at_the_start_where_that_is_asked_for() {
    for threads in ["1", "2"] {
        let server = Server::start("populated", &format!("mmem -p -1 -m 64 -L -t {threads}"));
        // It may begin to serve another shard's connections before the first shard is ready.
        eventually(|| (resident_kib(&server) > 48 << 10).then_some(()));
    }
}
