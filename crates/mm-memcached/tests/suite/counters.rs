//! Every counter of `stats` moves when it should, and no other does.

use std::collections::BTreeMap;

use crate::world::{Client, plain, service};

/// What changes with time, or with the bytes of a question.
const IGNORED: &[&str] =
    &["uptime", "time", "rusage_user", "rusage_system", "bytes_read", "bytes_written", "hash_bytes"];

fn stats(client: &mut Client) -> BTreeMap<String, i64> {
    let answer = client.ask("stats\n");
    let stats = answer.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("STAT ")?.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    stats.filter(|(name, _)| !IGNORED.contains(&name.as_str())).collect()
}

/// Checks that `input`, after `before`, changes these counters and no others. `changes` is NAME or NAME=CHANGE between
/// spaces.
#[track_caller]
fn counts(client: Client, before: &str, input: &str, changes: &str) {
    let mut client = client;
    client.ask(before);
    let start = stats(&mut client);
    client.ask(input);
    let mut found: BTreeMap<String, i64> = stats(&mut client);
    for (name, value) in &start {
        *found.get_mut(name).unwrap() -= value;
    }
    found.retain(|_, change| *change != 0);
    // What an item takes is another test's.
    found.remove("bytes");
    let expected: BTreeMap<String, i64> = changes
        .split_whitespace()
        .map(|change| {
            let (name, by) = change.split_once('=').unwrap_or((change, "1"));
            (name.to_owned(), by.parse().unwrap())
        })
        .collect();
    assert_eq!(found, expected, "{before:?}, then {input:?}");
}

const A: &str = "set a 0 0 1\n5\n";

#[test]
fn fetching() {
    let counts =
        |before: &str, input: &str, changes: &str| counts(Client::new(plain()), before, input, changes);
    counts(A, "get a\n", "cmd_get get_hits");
    counts(A, "gets a b a\n", "cmd_get=3 get_hits=2 get_misses");
    counts(A, "mg a v\n", "cmd_get get_hits");
    counts(A, "mg b v\n", "cmd_get get_misses");
    counts(A, "mg b q\n", "cmd_get get_misses");
    counts(A, "mg a T60\n", "cmd_touch touch_hits");
    counts(A, "mg b T60\n", "cmd_get get_misses");
    counts(A, "mg b N60\n", "cmd_get get_hits total_items curr_items");
    counts(A, "gat 60 a b\n", "cmd_touch=2 touch_hits touch_misses");
    counts(A, "touch a 60\n", "cmd_touch touch_hits");
    counts(A, "touch b 60\n", "cmd_touch touch_misses");
    counts(A, "me a\nme b\n", "cmd_meta=2");
    // Both at once: what has expired is looked for between requests, too.
    counts(
        "",
        "set a 0 -1 1\nx\nget a\n",
        "cmd_set total_items cmd_get get_misses get_expired reclaimed expired_unfetched",
    );
    counts(
        A,
        "flush_all\nget a\n",
        "cmd_get get_misses get_flushed cmd_flush curr_items=-1 reclaimed expired_unfetched",
    );
}

#[test]
fn storing() {
    let counts =
        |before: &str, input: &str, changes: &str| counts(Client::new(plain()), before, input, changes);
    for command in ["set b 0 0 1", "add b 0 0 1", "ms b 1", "ms b 1 ME", "ms b 1 MA N0"] {
        counts(A, &format!("{command}\nx\n"), "cmd_set total_items curr_items");
    }
    for command in ["set a 0 0 1", "replace a 0 0 1", "append a 0 0 1", "prepend a 0 0 1", "ms a 1 MR"] {
        counts(A, &format!("{command}\nx\n"), "cmd_set total_items");
    }
    for command in ["add a 0 0 1", "replace b 0 0 1", "append b 0 0 1", "ms a 1 ME", "ms b 1 MP"] {
        counts(A, &format!("{command}\nx\n"), "cmd_set");
    }
    counts("ms a 1 E5\nx\n", "cas a 0 0 1 5\ny\n", "cmd_set cas_hits total_items");
    counts("ms a 1 E5\nx\n", "cas a 0 0 1 6\ny\n", "cmd_set cas_badval");
    counts("ms a 1 E5\nx\n", "cas b 0 0 1 6\ny\n", "cmd_set cas_misses");
    counts("ms a 1 E5\nx\n", "ms a 1 C5\ny\n", "cmd_set cas_hits total_items");
    counts("ms a 1 E5\nx\n", "ms a 1 C6\ny\n", "cmd_set cas_badval");
    counts("ms a 1 E5\nx\n", "ms a 1 C4 I\ny\n", "cmd_set cas_hits total_items");
    counts(A, "set a 0 0 1\nxyz\n", "cmd_set");
}

#[test]
fn changing() {
    let counts =
        |before: &str, input: &str, changes: &str| counts(Client::new(plain()), before, input, changes);
    counts(A, "incr a 1\n", "incr_hits");
    counts(A, "incr a 1000\n", "incr_hits");
    counts(A, "incr b 1\n", "incr_misses");
    counts(A, "decr a 1\ndecr b 1\n", "decr_hits decr_misses");
    counts(A, "ma a\nma a MD\nma b\nma b MD\n", "incr_hits decr_hits incr_misses decr_misses");
    counts(A, "ma b N0 J5\n", "total_items curr_items");
    counts("set a 0 0 1\nx\n", "incr a 1\n", "");
    let (dead, gone) = ("set a 0 -1 1\n5\n", "cmd_set total_items get_expired reclaimed expired_unfetched");
    for (command, changes) in [
        ("incr a 1\n", "incr_misses"),
        ("ma a MD\n", "decr_misses"),
        ("touch a 0\n", "cmd_touch touch_misses"),
        ("delete a\n", "delete_misses"),
        ("md a I\n", "delete_misses"),
        ("me a\n", "cmd_meta"),
    ] {
        counts("", &format!("{dead}{command}"), &format!("{gone} {changes}"));
    }
    let (dead, gone) = ("set a 0 -1 1\n5\n", "cmd_set=2 get_expired reclaimed expired_unfetched");
    for command in ["set a 0 0 1\n6\n", "add a 0 0 1\n6\n"] {
        counts("", &format!("{dead}{command}"), &format!("{gone} total_items=2 curr_items"));
    }
    for command in ["replace a 0 0 1\n6\n", "append a 0 0 1\n6\n"] {
        counts("", &format!("{dead}{command}"), &format!("{gone} total_items"));
    }
    counts(
        A,
        "flush_all\ndelete a\n",
        "cmd_flush delete_misses get_flushed curr_items=-1 reclaimed expired_unfetched",
    );
    counts(A, "delete a\ndelete a\n", "delete_hits delete_misses curr_items=-1");
    counts(A, "md a\nmd a\n", "delete_hits delete_misses curr_items=-1");
    counts("ms a 1 E5\nx\n", "md a C6\n", "delete_misses");
    counts(A, "md a I\n", "");
    counts(A, "md a x\n", "delete_hits total_items");
    counts(A, "flush_all 100\n", "cmd_flush");
}

#[test]
fn refusing() {
    let small = || Client::new(service(1 << 20, |settings| settings.items.item_size_max = 5000));
    let value = "v".repeat(5000);
    for (command, changes) in [
        ("set a 0 0 5000", "store_too_large curr_items=-1"),
        ("set b 0 0 5000", "store_too_large"),
        ("add a 0 0 5000", "store_too_large"),
        ("replace a 0 0 5000 noreply", "store_too_large"),
        ("append a 0 0 5000", "store_too_large"),
        ("cas a 0 0 5000 1", "store_too_large"),
        ("ms a 5000 ME", "store_too_large curr_items=-1"),
        ("ms YQ== 5000 b q", "store_too_large curr_items=-1"),
    ] {
        counts(small(), A, &format!("{command}\n{value}\n"), changes);
    }
    counts(Client::new(plain()), A, "get\nbogus\nset a 0 0 x\nincr a x\nmg a !\n", "");
    counts(Client::new(plain()), A, "verbosity 1\nversion\nmn\n", "");
}
