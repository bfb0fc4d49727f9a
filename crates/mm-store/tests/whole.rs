//! A panic while the store is being changed ends the process, also where somebody contains panics; one beside a change
//! does not. What ends runs in a process of its own: this program again, with one test of it.

#![expect(clippy::unwrap_used, clippy::panic, clippy::exit, reason = "a test")]

use std::env;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};

#[cfg(feature = "smp")]
use mm_store::StoreHandles;
use mm_store::{Config, Cursor, Key, Mode, Put, Sharing, Store, Untouched};

const NOW_S: u32 = 1;
const LIMIT_BYTES: usize = 16 << 20;
/// Bytes of a value that goes into extents.
const LARGE_BYTES: usize = 1 << 20;
/// How many shards the store of a child has.
const SHARDS: &[&str] = if cfg!(feature = "smp") { &["one", "two"] } else { &["one"] };
/// In the environment of a child: which change is to panic.
const CHANGE: &str = "MM_CHANGE";
/// In the environment of a child that puts another panic hook in the place of the store's: what the store does next.
const AFTER: &str = "MM_AFTER";
/// Changes in which a child's store calls something of the caller's.
const CHANGES: [&str; 5] = ["note", "set", "put", "upload", "await"];

fn panic_in_store(_memory: Untouched) {
    panic!("made on purpose");
}

fn config(populates: bool) -> Config {
    let populate: Option<fn(Untouched)> = if populates { Some(panic_in_store) } else { None };
    Config { populate, ..Config::new(LIMIT_BYTES, 1) }
}

fn key<'a, S: Sharing>(store: &Store<S>, name: &'a [u8]) -> Key<'a> {
    store.key(name).unwrap()
}

/// Does what `change` names, over and over, until something of the caller's that the store calls has panicked.
fn change<S: Sharing>(store: &mut Store<S>, change: &str) {
    for number in 0..100_000 {
        let name = format!("key {number}");
        let key = key(store, name.as_bytes());
        match change {
            "note" => {
                store.set(key, b"value", NOW_S).unwrap();
                let _noted = store.get_touching_noting(key, 0, NOW_S, |_, _| panic!("made on purpose"));
            }
            "set" => drop(store.set(key, &[0; 1000], NOW_S)),
            "put" => drop(store.put(key, &Put { mode: Mode::Add, ..Put::default() }, &[0; 1000], NOW_S)),
            "upload" => {
                let mut upload = store.reserve(key, &Put::default(), LARGE_BYTES, NOW_S).unwrap();
                while upload.missing() != 0 {
                    let len = store.space(&mut upload, NOW_S).unwrap().len();
                    store.filled(&mut upload, len);
                }
                store.commit(upload, NOW_S).unwrap();
            }
            "await" => {
                let _awaits = store.awaits_memory_for(LARGE_BYTES);
                // Nothing that would populate by itself: it fills what is open.
                store.set(key, b"value", NOW_S).unwrap();
            }
            _ => panic!("no change has this name"),
        }
    }
}

/// The child: contains whatever panics, as a server does, and says that it lives.
#[test]
fn a_child_that_contains_panics() {
    let Ok(named) = env::var(CHANGE) else { return };
    let (shards, name) = named.split_once(' ').unwrap();
    let config = config(name != "note");
    match shards {
        "one" => contain(Store::open(&config).unwrap(), name),
        #[cfg(feature = "smp")]
        "two" => contain(StoreHandles::open(&config, 2).unwrap().take().unwrap(), name),
        _ => panic!("no store has {shards} shards"),
    }
    std::process::exit(0);
}

fn contain<S: Sharing>(mut store: Store<S>, name: &str) {
    let after = env::var(AFTER);
    if after.is_ok() {
        std::panic::set_hook(Box::new(|_| {
            let _told = std::io::stderr().write_all(b"made on purpose");
        }));
    }
    let contained = catch_unwind(AssertUnwindSafe(|| change(&mut store, name))).is_err();
    assert!(contained, "nothing has panicked");
    match after.as_deref() {
        Ok("drop") => drop(store),
        // Not dropped: that ends the process as well.
        Ok("rest") => ManuallyDrop::new(store).rest(),
        _ => {}
    }
}

/// A child with this environment is ended by its store, and tells why.
fn assert_ended(environment: &[(&str, &str)]) {
    const SIGABRT: i32 = 6;
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "a_child_that_contains_panics", "--nocapture"]).envs(environment.iter().copied());
    let ended = child.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.signal(), Some(SIGABRT), "{environment:?}: {:?}: {told}", ended.status);
    for text in ["made on purpose", "while the store was being changed"] {
        assert!(told.contains(text), "{environment:?}: not told: {text}: {told}");
    }
}

#[test]
fn a_panic_in_a_change_ends_the_process() {
    for named in SHARDS.iter().flat_map(|shards| CHANGES.map(|name| format!("{shards} {name}"))) {
        assert_ended(&[(CHANGE, &named)]);
    }
}

#[test]
fn where_another_hook_is_in_the_place_of_the_stores_the_process_ends_when_the_turn_does() {
    for shards in SHARDS {
        for after in ["rest", "drop"] {
            assert_ended(&[(CHANGE, &format!("{shards} set")), (AFTER, after)]);
        }
    }
}

type Panic<'a, S> = &'a mut dyn FnMut(&mut Store<S>);

/// Panics of who uses the store, between its calls and in what it only shows.
fn panic_beside_changes<S: Sharing>(store: &mut Store<S>) {
    let (first, second) = (key(store, b"first"), key(store, b"second"));
    store.set(first, b"value", NOW_S).unwrap();
    let mut upload = store.reserve(second, &Put::default(), LARGE_BYTES, NOW_S).unwrap();
    let mut cursor = Cursor::default();
    let panics: [Panic<'_, S>; 3] = [
        &mut |store| {
            let item = store.get(first, NOW_S).unwrap();
            assert_eq!(item.value(), None, "made on purpose");
        },
        &mut |store| {
            while store.scan(&mut cursor, 100, NOW_S, |_| panic!("made on purpose")) {}
        },
        &mut |store| {
            store.space(&mut upload, NOW_S).unwrap()[0] = 1;
            panic!("made on purpose");
        },
    ];
    for panic in panics {
        assert!(catch_unwind(AssertUnwindSafe(|| panic(store))).is_err());
        store.verify().unwrap();
    }
    store.abort(upload);
    store.set(first, b"other", NOW_S).unwrap();
    assert_eq!(store.get(first, NOW_S).unwrap().value(), Some(&b"other"[..]));
    store.verify().unwrap();
}

#[test]
fn a_panic_beside_a_change_ends_nothing() {
    panic_beside_changes(&mut Store::open(&config(false)).unwrap());
    #[cfg(feature = "smp")]
    panic_beside_changes(&mut StoreHandles::open(&config(false), 2).unwrap().take().unwrap());
}
