//! `cache_memlimit`: the limit of memory, changed while the server runs.

use crate::world::{Client, Server, eventually, status_of};

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
