//! Dumps of keys, connections and prefixes.

use crate::world::{Client, check, plain, service};

#[test]
fn statistics_by_prefix() {
    check(
        "stats detail dump\nstats detail on\nset foo:1 0 0 1\nx\nget foo:1 foo:2 bar\ndelete bar:1\nstats d d\n\
         stats reset\nstats detail dump\nstats detail off\nget foo:1\nstats detail dump\n",
        "END\nOK\nSTORED\nVALUE foo:1 0 1\nx\nEND\nNOT_FOUND\nPREFIX bar get 0 hit 0 set 0 del 1\n\
         PREFIX foo get 2 hit 1 set 1 del 0\nEND\nRESET\nEND\nOK\nVALUE foo:1 0 1\nx\nEND\nEND\n",
    );
}

#[test]
fn the_keys_of_a_class() {
    check(
        "set a 0 0 1\nx\nset b 0 100 2\nxy\nset c 0 0 90\nCVAL\nms Zm9v 1 b\nx\nstats cachedump 1 0\nversion\n"
            .replace("CVAL", &"c".repeat(90)),
        "STORED\nSTORED\nSTORED\nHD\nITEM a [1 b; 0 s]\nITEM b [2 b; 1000000100 s]\nEND\nVERSION 1.6.45\n",
    );
    let mut client = Client::new(plain());
    client.expect("set a 0 0 1\nx\nset b 0 0 1\nx\n", "STORED\nSTORED\n");
    assert_eq!(client.ask("stats cachedump 1 1\n").lines().count(), 2);
    client.expect("stats cachedump 2 0\nstats cachedump 0 0\n", "END\nEND\n");
}

#[test]
fn all_keys_with_what_is_known_of_them() {
    let mut client = Client::new(plain());
    client.expect("ms a%20b~ 1 F7 T100 E5\nx\n", "HD\n");
    client.wait_s(1);
    client.expect("mg a%20b~\n", "HD\n");
    client.expect(
        "lru_crawler metadump all\nversion\n",
        "OK\nkey=a%2520b~ exp=1000000100 la=1000000001 cas=5 fetch=yes cls=1 size=70 flags=7 \nEND\nVERSION 1.6.45\n",
    );
    client.expect("delete a%20b~\nms Zm9v 1 b\nx\nms a 1\nx\n", "DELETED\nHD\nHD\n");
    client.expect("lru_crawler mgdump hash\nmn\n", "OK\nmg Zm9v b\nmg a\nEN\nMN\n");
    client.expect("lru_crawler mgdump 2\nlru_crawler metadump 0\n", "OK\nEN\nBADCLASS invalid class id\n");
}

#[test]
fn a_dump_of_many_keys_waits_for_its_reader() {
    let mut harness = service(16 << 20, |_| {});
    let client = harness.connect();
    let keys = 30_000;
    for number in 0..keys {
        harness.exchange(client, format!("set key-{number} 0 0 1 noreply\r\nx\r\n").as_bytes());
    }
    harness.send(client, b"lru_crawler metadump all\r\nversion\r\n");
    assert!(harness.buffered_bytes() < 256 * 1024, "{} bytes held", harness.buffered_bytes());
    let answer = String::from_utf8(harness.receive(client, usize::MAX)).unwrap();
    assert!(answer.ends_with("END\r\nVERSION 1.6.45\r\n"));
    let mut shown: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("key=")).collect();
    shown.sort_unstable();
    shown.dedup();
    assert_eq!(shown.len(), keys);
}

#[test]
fn connections() {
    let mut harness = plain();
    let storing = harness.connect();
    harness.exchange(storing, b"set a 0 0 10\r\nabc");
    let uploading = harness.connect();
    harness.exchange(uploading, b"set a 0 0 10000\r\nabc");
    let silent = harness.connect();
    // The turn in which it has come ends.
    harness.advance_ms(0);
    harness.advance_ms(3000);
    let asking = harness.connect();
    let answer = String::from_utf8(harness.exchange(asking, b"stats conns\r\n")).unwrap();
    let count = |text: &str| answer.matches(text).count();
    assert_eq!(count(":state conn_listening"), 1, "{answer}");
    assert_eq!(count(":state conn_nread"), 2, "{answer}");
    assert_eq!(count(":state conn_parse_cmd"), 1, "{answer}");
    // The listener has been there for as long as the first three.
    assert_eq!(count(":secs_since_last_cmd 3"), 4, "{answer}");
    assert_eq!(count(":resps_waiting 0"), 4, "{answer}");
    assert_eq!(count(":addr tcp:127.0.0."), 4, "{answer}");
    assert_eq!(count(":listen_addr tcp:0.0.0.0:11211"), 4, "{answer}");
    harness.reset(silent);
    harness.reset(storing);
    harness.reset(uploading);
    let answer = String::from_utf8(harness.exchange(asking, b"stats conns\r\n")).unwrap();
    assert_eq!(answer.matches(":resps_waiting").count(), 1, "{answer}");
}
