//! The `memcache` crate in its text mode.

use std::thread;
use std::time::{Duration, Instant};

use memcache::{Client, MemcacheError};

/// The largest value that a default server must take.
const LARGEST_VALUE: usize = 1_047_552;

fn client() -> Client {
    let address = std::env::var("MMEM_ADDRESS").expect("MMEM_ADDRESS says where the server is");
    memcache::connect(format!("memcache://{address}?protocol=ascii&timeout=10")).unwrap()
}

fn get(client: &Client, key: &str) -> Option<String> {
    client.get(key).unwrap()
}

fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        thread::sleep(Duration::from_millis(50));
    }
    false
}

#[test]
fn values_come_back() {
    let client = client();
    assert_eq!(get(&client, "rust-a"), None);
    client.set("rust-a", "1", 0).unwrap();
    assert_eq!(get(&client, "rust-a").as_deref(), Some("1"));
    // In its text mode the crate does not tell its caller that an item was there already.
    client.add("rust-a", "2", 0).unwrap();
    assert_eq!(get(&client, "rust-a").as_deref(), Some("1"));
    client.replace("rust-a", "3", 0).unwrap();
    client.append("rust-a", "4").unwrap();
    client.prepend("rust-a", "2").unwrap();
    assert_eq!(get(&client, "rust-a").as_deref(), Some("234"));
    assert!(client.delete("rust-a").unwrap());
    assert!(!client.delete("rust-a").unwrap());
}

#[test]
fn many_keys_at_once() {
    let client = client();
    let keys: Vec<String> = (0..300).map(|number| format!("rust-many-{number}")).collect();
    for key in &keys {
        client.set(key, key.as_str(), 0).unwrap();
    }
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let found: std::collections::HashMap<String, String> = client.gets(&names).unwrap();
    assert_eq!(found.len(), keys.len());
    assert!(found.iter().all(|(key, value)| key == value));
}

#[test]
fn cas_takes_only_the_first() {
    let client = client();
    client.set("rust-cas", "1", 0).unwrap();
    let found: std::collections::HashMap<String, (Vec<u8>, u32, Option<u64>)> =
        client.gets(&["rust-cas"]).unwrap();
    let cas = found["rust-cas"].2.unwrap();
    assert!(client.cas("rust-cas", "2", 0, cas).unwrap());
    assert!(!client.cas("rust-cas", "3", 0, cas).unwrap());
    assert_eq!(get(&client, "rust-cas").as_deref(), Some("2"));
}

#[test]
fn numbers_are_counted() {
    let client = client();
    client.set("rust-number", "10", 0).unwrap();
    assert_eq!(client.increment("rust-number", 5).unwrap(), 15);
    assert_eq!(client.decrement("rust-number", 20).unwrap(), 0);
    client.set("rust-number", "word", 0).unwrap();
    assert!(client.increment("rust-number", 1).is_err());
}

#[test]
fn items_expire_and_can_be_touched() {
    let client = client();
    client.set("rust-short", "1", 1000).unwrap();
    client.set("rust-long", "1", 1).unwrap();
    assert!(client.touch("rust-short", 1).unwrap());
    assert!(client.touch("rust-long", 1000).unwrap());
    assert!(eventually(|| get(&client, "rust-short").is_none()));
    assert_eq!(get(&client, "rust-long").as_deref(), Some("1"));
}

#[test]
fn large_values_come_back_and_larger_ones_are_refused() {
    let client = client();
    let value: Vec<u8> = (0..LARGEST_VALUE).map(|index| (index % 251) as u8).collect();
    client.set("rust-large", value.as_slice(), 0).unwrap();
    let found: Option<Vec<u8>> = client.get("rust-large").unwrap();
    assert!(found == Some(value));
    let larger = vec![0_u8; 1_100_000];
    let error = client.set("rust-large", larger.as_slice(), 0).unwrap_err();
    assert!(matches!(error, MemcacheError::ServerError(_)), "{error}");
    client.set("rust-large", "in step", 0).unwrap();
    assert_eq!(get(&client, "rust-large").as_deref(), Some("in step"));
}
