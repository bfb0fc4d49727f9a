//! `watch`: what is told to those who watch, and what is not.

use mm_memcached::Memcached;
use mm_server::harness::{ClientId, Harness};

use crate::shards::two_shards;
use crate::world::{Client, check, check_with, plain, service};

/// A connection that watches.
fn watcher(harness: &mut Harness<Memcached>, kinds: &str) -> ClientId {
    let watcher = harness.connect();
    assert_eq!(harness.exchange(watcher, format!("watch{kinds}\r\n").as_bytes()), b"OK\r\n");
    watcher
}

/// What a watcher is sent, each line without its time and number, which are checked.
fn told(harness: &mut Harness<Memcached>, watcher: ClientId) -> Vec<String> {
    lines(&harness.receive(watcher, usize::MAX))
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with('\n') && !text.contains('\r'), "{text:?}");
    let mut last = 0;
    text.lines()
        .map(|line| {
            let Some(rest) = line.strip_prefix("ts=") else { return line.to_owned() };
            let (time, rest) = rest.split_once(" gid=").unwrap();
            let (seconds, micros) = time.split_once('.').unwrap();
            assert!(seconds.parse::<u64>().unwrap() >= 1_000_000_000 && micros.len() == 6, "{line}");
            let (number, rest) = rest.split_once(' ').unwrap();
            let number: u64 = number.parse().unwrap();
            assert!(number > last, "{line} after number {last}");
            last = number;
            rest.to_owned()
        })
        .collect()
}

#[test]
fn look_ups() {
    let mut harness = plain();
    let watcher = watcher(&mut harness, "");
    let client = harness.connect();
    harness.exchange(client, b"set a%b 3 0 2\r\nhi\r\nset e 0 -1 1\r\nx\r\nset f 0 0 1\r\nx\r\n");
    assert!(told(&mut harness, watcher).is_empty());
    harness.exchange(
        client,
        b"get a%b none\r\ngat 0 a%b\r\nmg a%b v\r\nmg none\r\nget e\r\nflush_all\r\nget f\r\n",
    );
    assert_eq!(
        told(&mut harness, watcher),
        [
            "type=item_get key=a%25b status=found clsid=1 cfd=33 size=2",
            "type=item_get key=none status=not_found clsid=0 cfd=33 size=0",
            "type=item_get key=a%25b status=found clsid=1 cfd=33 size=2",
            "type=item_get key=a%25b status=found clsid=1 cfd=33 size=2",
            "type=item_get key=none status=not_found clsid=0 cfd=33 size=0",
            "type=item_get key=e status=expired clsid=0 cfd=33 size=0",
            "type=item_get key=f status=flushed clsid=0 cfd=33 size=0",
        ]
    );
}

#[test]
fn what_stays_is_not_told_as_deleted() {
    let mut harness = service(1 << 20, |_| {});
    let watcher = watcher(&mut harness, " deletions");
    let [client, binary] = [(); 2].map(|()| harness.connect());
    let input = b"set k 0 0 1\r\n1\r\nmd k C1\r\nmd k I\r\n";
    assert_eq!(harness.exchange(client, input), b"STORED\r\nEX\r\nHD\r\n");
    let mut delete = [&[0x80, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0][..], &[0; 8], b"k"].concat();
    delete[23] = 99;
    let refused = harness.exchange(binary, &delete);
    assert_eq!(refused[6..8], [0, 2], "exists with another CAS value");
    assert!(told(&mut harness, watcher).is_empty());
    delete[23] = 0;
    harness.exchange(binary, &delete);
    assert_eq!(told(&mut harness, watcher), ["type=deleted key=k cmd=delete clsid=1 size=1"]);
}

#[test]
fn stores_and_deletions() {
    let mut harness = service(1 << 20, |settings| settings.items.item_size_max = 10_000);
    let watcher = watcher(&mut harness, " mutations deletions");
    let client = harness.connect();
    let long = "v".repeat(5000);
    let input = format!(
        "set a 0 100 2\nhi\nadd a 0 0 1\nx\ncas a 0 0 1 7\nx\ncas b 0 0 1 7\nx\nappend a 0 0 1\n!\nprepend n 0 0 1\n!\n\
         replace a 0 0 5000\n{long}\nset t 0 0 20000\n{long}{long}{long}{long}\nms m 3 T10\nabc\nms m 1 C5\nx\n\
         ms s 5000\n{long}\nmd m\nmd m\ndelete a\ndelete a\nget a\n"
    );
    harness.exchange(client, input.replace('\n', "\r\n").as_bytes());
    assert_eq!(
        told(&mut harness, watcher),
        [
            "type=item_store key=a status=stored cmd=set ttl=100 clsid=1 cfd=33 size=2",
            "type=item_store key=a status=not_stored cmd=add ttl=0 clsid=1 cfd=33 size=1",
            "type=item_store key=a status=exists cmd=cas ttl=0 clsid=1 cfd=33 size=1",
            "type=item_store key=b status=not_found cmd=cas ttl=0 clsid=1 cfd=33 size=1",
            "type=item_store key=a status=stored cmd=append ttl=100 clsid=1 cfd=33 size=3",
            "type=item_store key=n status=not_stored cmd=prepend ttl=0 clsid=1 cfd=33 size=1",
            "type=item_store key=a status=stored cmd=replace ttl=0 clsid=19 cfd=33 size=5000",
            "type=item_store key=t status=too_large cmd=set ttl=0 clsid=1 cfd=33 size=0",
            "type=item_store key=m status=stored cmd=set ttl=10 clsid=1 cfd=33 size=3",
            "type=item_store key=m status=exists cmd=cas ttl=0 clsid=1 cfd=33 size=1",
            "type=item_store key=s status=stored cmd=set ttl=0 clsid=19 cfd=33 size=5000",
            "type=deleted key=m cmd=md clsid=1 size=3",
            "type=deleted key=a cmd=delete clsid=19 size=5000",
        ]
    );
}

#[test]
fn evictions() {
    let mut harness = plain();
    let watcher = watcher(&mut harness, " evictions");
    let client = harness.connect();
    let value = "v".repeat(1000);
    harness.exchange(client, format!("set first 0 500 1000\r\n{value}\r\nget first\r\n").as_bytes());
    harness.advance_ms(5000);
    let mut lines = Vec::new();
    for number in 0..2000 {
        harness.exchange(client, format!("set k{number} 0 0 1000\r\n{value}\r\n").as_bytes());
        lines.extend(told(&mut harness, watcher));
    }
    let mut client = Client::new(harness);
    assert_eq!(client.stat("", "evictions"), lines.len().to_string());
    assert!(lines.iter().all(|line| line.starts_with("type=eviction key=")), "{lines:?}");
    assert!(lines.contains(&"type=eviction key=first fetch=yes ttl=495 la=5 clsid=12 size=1000".to_owned()));
    assert!(lines.contains(&"type=eviction key=k0 fetch=no ttl=-1 la=0 clsid=12 size=1000".to_owned()));
}

#[test]
fn connections_that_come_and_go() {
    let mut harness = plain();
    let watcher = watcher(&mut harness, " connevents");
    let client = harness.connect();
    harness.exchange(client, b"quit\r\n");
    let client = harness.connect();
    harness.reset(client);
    assert_eq!(
        told(&mut harness, watcher),
        [
            "type=conn_new rip=127.0.0.1 rport=2 transport=tcp cfd=33",
            "type=conn_close rip=127.0.0.1 rport=2 transport=tcp reason=normal cfd=33",
            "type=conn_new rip=127.0.0.1 rport=3 transport=tcp cfd=33",
            "type=conn_close rip=127.0.0.1 rport=3 transport=tcp reason=normal cfd=33",
        ]
    );
}

#[test]
fn the_command_and_its_answers() {
    check("watch\nversion\nget a\n", "OK\n");
    check(
        "version\nwatch rawcmds proxyreqs proxyevents proxyuser sysevents\nversion\n",
        "VERSION 1.6.45\nOK\n",
    );
    check("watch bogus\nwatch fetchers bogus\nversion\n", "ERROR\nERROR\nVERSION 1.6.45\n");
    let closed = || service(1 << 20, |settings| settings.allowed.watch = false);
    check_with(closed, "watch\nversion\n", "CLIENT_ERROR watch commands not allowed\nVERSION 1.6.45\n");
}

#[test]
fn twenty_may_watch() {
    let mut harness = plain();
    let watchers: Vec<ClientId> = (0..20).map(|_| watcher(&mut harness, "")).collect();
    let another = harness.connect();
    let refused = b"WATCHER_TOO_MANY log watcher limit reached\r\n";
    assert_eq!(
        harness.exchange(another, b"watch\r\nversion\r\n"),
        [refused.as_slice(), b"VERSION 1.6.45\r\n"].concat()
    );
    harness.exchange(another, b"get a\r\n");
    for watcher in &watchers {
        assert_eq!(told(&mut harness, *watcher).len(), 1);
    }
    harness.reset(watchers[7]);
    assert_eq!(harness.exchange(another, b"watch\r\n"), b"OK\r\n");
    let mut client = Client::new(harness);
    assert_eq!(client.stat("", "log_watchers"), "20");
    assert_eq!(client.stat("", "log_watcher_sent"), "20");
    assert_eq!(client.stat("", "log_worker_written"), "1");
}

#[test]
fn a_slow_watcher_misses_lines_and_is_told_how_many() {
    let mut harness = service(1 << 20, |settings| settings.watcher_bytes = 8 << 10);
    harness.set_output_cap(4 << 10);
    let watcher = watcher(&mut harness, "");
    let client = harness.connect();
    for number in 0..1000 {
        harness.exchange(client, format!("get k{number}\r\n").as_bytes());
    }
    assert!(harness.buffered_bytes() < 32 << 10, "{} bytes held", harness.buffered_bytes());
    let first = told(&mut harness, watcher);
    harness.exchange(client, b"get last\r\n");
    let rest = told(&mut harness, watcher);
    assert_eq!(first[0], "type=item_get key=k0 status=not_found clsid=0 cfd=33 size=0");
    assert!((100..400).contains(&first.len()), "{} lines", first.len());
    let skipped = 1000 - first.len();
    assert_eq!(rest[0], format!("skipped={skipped}"));
    assert_eq!(rest[1], "type=item_get key=last status=not_found clsid=0 cfd=33 size=0");
    let mut client = Client::new(harness);
    assert_eq!(client.stat("", "log_watcher_skipped"), skipped.to_string());
}

#[test]
fn watchers_see_what_happens_on_other_shards() {
    let [mut one, mut other] = two_shards();
    one.expect("watch fetchers\n", "OK\n");
    other.expect("get a\n", "END\n");
    one.harness.advance_ms(10);
    let told = lines(&one.receive(usize::MAX));
    assert_eq!(told, ["type=item_get key=a status=not_found clsid=0 cfd=33 size=0"]);
}
