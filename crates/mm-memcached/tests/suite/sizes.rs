//! The sizes of items, as memcached's classes show them.

use std::collections::BTreeMap;

use crate::world::{Client, plain, service};

/// A group of statistics by class: each name's value in each class.
fn by_class(client: &mut Client, group: &str, prefix: &str) -> BTreeMap<(u32, String), u64> {
    let answer = client.ask(format!("stats {group}\n"));
    let start = format!("STAT {prefix}");
    let lines = answer.lines().filter_map(|line| line.strip_prefix(&start)?.split_once(':'));
    lines
        .map(|(class, rest)| {
            let (name, value) = rest.split_once(' ').unwrap();
            ((class.parse().unwrap(), name.to_owned()), value.parse().unwrap())
        })
        .collect()
}

fn set(client: &mut Client, key: &str, len: usize) {
    client.expect(format!("set {key} 0 0 {len}\n{}\n", "v".repeat(len)), "STORED\n");
}

/// Bytes by memcached's measure beside key and value.
const BESIDE_BYTES: u64 = 59;

#[test]
fn items_stand_in_the_classes_of_their_sizes() {
    let mut client = Client::new(plain());
    for number in 0..10 {
        set(&mut client, &format!("small{number}"), 10);
    }
    client.wait_s(7);
    for number in 0..5 {
        set(&mut client, &format!("large{number}"), 1000);
    }
    client.expect(
        "delete large0\nget small1\n",
        &format!("DELETED\nVALUE small1 0 10\n{}\nEND\n", "v".repeat(10)),
    );
    let items = by_class(&mut client, "items", "items:");
    let item = |class: u32, name: &str| items[&(class, name.to_owned())];
    assert_eq!([item(1, "number"), item(12, "number")], [10, 4]);
    assert_eq!(item(1, "mem_requested"), 10 * (BESIDE_BYTES + 6 + 10));
    assert_eq!(item(12, "mem_requested"), 4 * (BESIDE_BYTES + 6 + 1000));
    assert_eq!([item(1, "age"), item(12, "age")], [7, 0]);
    assert_eq!(items.keys().map(|(class, _)| *class).collect::<std::collections::BTreeSet<_>>().len(), 2);
    let slabs = by_class(&mut client, "slabs", "");
    let slab = |class: u32, name: &str| slabs[&(class, name.to_owned())];
    assert_eq!([slab(1, "chunk_size"), slab(12, "chunk_size")], [96, 1184]);
    assert_eq!([slab(1, "used_chunks"), slab(12, "used_chunks")], [10, 4]);
    assert_eq!([slab(1, "total_pages"), slab(1, "total_chunks")], [1, 10922]);
    // What requests did stands in the class with the most items.
    assert_eq!([slab(1, "cmd_set"), slab(12, "cmd_set")], [15, 0]);
    assert_eq!([slab(1, "get_hits"), slab(1, "delete_hits")], [1, 1]);
    assert_eq!(client.stat(" slabs", "active_slabs"), "2");
}

#[test]
fn how_long_the_item_evicted_last_was_not_used() {
    let mut client = Client::new(plain());
    let mut number = 0;
    let mut set_until_evicted = |client: &mut Client| {
        let evicted = client.stat("", "evictions");
        while client.stat("", "evictions") == evicted {
            number += 1;
            assert!(number < 10_000, "nothing is evicted");
            set(client, &format!("key{number}"), 1000);
        }
    };
    set_until_evicted(&mut client);
    assert_eq!(client.stat(" items", "items:12:evicted_time"), "0");
    client.wait_s(7);
    set_until_evicted(&mut client);
    assert_eq!(client.stat(" items", "items:12:evicted_time"), "7");
    client.expect("stats reset\n", "RESET\n");
    assert_eq!(client.stat(" items", "items:12:evicted_time"), "0");
}

#[test]
fn the_flags_of_memcached_make_the_classes() {
    let mut client = Client::new(service(1 << 20, |settings| {
        settings.growth_factor = 2.0;
        settings.chunk_size = 80;
    }));
    set(&mut client, "k", 100);
    assert_eq!(client.stat(" slabs", "2:chunk_size"), "256");
    assert!(client.ask("lru_crawler metadump all\n").contains(" cls=2 "));
    assert!(client.ask("me k\n").contains(" cls=2 "));
}

#[test]
fn sizes_are_told_where_that_was_asked_for() {
    let mut client = Client::new(service(1 << 20, |settings| settings.items.sizes_told = true));
    client.expect("stats sizes\n", "END\n");
    for (key, len) in [("a", 1), ("b", 2), ("c", 3), ("d", 5), ("e", 1000)] {
        set(&mut client, key, len);
    }
    client.expect("stats sizes\n", "STAT 64 3\nSTAT 96 1\nSTAT 1088 1\nEND\n");
    assert_eq!(client.stat(" settings", "track_sizes"), "yes");
}

#[test]
fn a_large_store_is_told_from_a_part_of_its_items() {
    let mut client = Client::new(service(64 << 20, |settings| settings.items.sizes_told = true));
    let (small, large) = ("v".repeat(40), "v".repeat(900));
    for number in 0..10_000 {
        let key = number * 10;
        let smalls: String =
            (1..10).map(|more| format!("set k{} 0 0 40 noreply\n{small}\n", key + more)).collect();
        client.expect(format!("{smalls}set k{key} 0 0 900 noreply\n{large}\n"), "");
    }
    let items: u64 = client.stat("", "curr_items").parse().unwrap();
    assert!(items > 80_000, "{items} items, too few for this test");
    let view = by_class(&mut client, "items", "items:");
    let numbers: Vec<u64> =
        view.iter().filter(|((_, name), _)| name == "number").map(|(_, number)| *number).collect();
    assert_eq!(numbers.iter().sum::<u64>(), items);
    assert_eq!(numbers.len(), 2, "{numbers:?}");
    let share = numbers[1] * 1000 / items;
    assert!((90..110).contains(&share), "{share} in 1,000, of which 100 are large");
    let told: u64 = client
        .ask("stats sizes\n")
        .lines()
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    assert!(told.abs_diff(items) <= 4, "{told} of {items}");
}
