//! The classic commands.

use super::*;

fn store<'a>(verb: StoreVerb, bytes: u32) -> Store<'a> {
    Store { key: b"k", verb, noreply: false, flags: 0, exptime: 0, bytes, cas: 0 }
}

fn stored(store: Store<'_>) -> Parsed<'_> {
    Parsed::Request(Request::Store(store))
}

fn admin(verb: AdminVerb, arguments: &str, noreply: bool) -> Parsed<'_> {
    Parsed::Request(Request::Admin(Admin { verb, arguments: arguments.as_bytes(), noreply }))
}

#[test]
fn fetching() {
    use Fetch::{Gat, Gats, Get as Plain, Gets};
    check(b"get a\r\n", &[get(Plain, "a", true)]);
    check(b"get a\n", &[get(Plain, "a", true)]);
    check(
        b"get a b  c \r\nversion\r\n",
        &[get(Plain, "a", false), get(Plain, "b", false), get(Plain, "c", false), END, VERSION],
    );
    check(b"get   a\r\n", &[get(Plain, "a", true)]);
    check(b"gets a b\r\n", &[get(Gets, "a", false), get(Gets, "b", true)]);
    check(b"get noreply\r\n", &[get(Plain, "noreply", true)]);
    check(b"get / HTTP/1.1\r\n", &[get(Plain, "/", false), get(Plain, "HTTP/1.1", true)]);
    check(b"get a\rb \x01\t\r\r\n", &[get(Plain, "a\rb", false), get(Plain, "\x01\t\r", true)]);
    let touched = |fetch, key: &'static str, last, exptime| {
        Parsed::Request(Request::Get(Get { key: key.as_bytes(), fetch, last, exptime }))
    };
    check(b"gat 10 a b\r\n", &[touched(Gat, "a", false, 10), touched(Gat, "b", true, 10)]);
    check(b"gats  -1  a\r\n", &[touched(Gats, "a", true, -1)]);
}

#[test]
fn fetching_without_sense() {
    for line in
        ["get\r\n", "get \r\n", "get   \n", "gets\r\n", "gets \r\n", "gat\r\n", "gat 10\r\n", "gat x\r\n"]
    {
        check(format!("{line}version\r\n").as_bytes(), &[malformed(lines::BAD_FORMAT), VERSION]);
    }
    check(b"gat 10 \r\nversion\r\n", &[malformed(lines::BAD_FORMAT), VERSION]);
    check(b"gat x \r\nversion\r\n", &[malformed(lines::BAD_FORMAT), VERSION]);
    check(b"gat x a b\r\nversion\r\n", &[malformed(lines::BAD_EXPTIME), VERSION]);
    check(b"gats 2147483648 a\r\nversion\r\n", &[malformed(lines::BAD_EXPTIME), VERSION]);
    check(b"get\tfoo\r\n", &[Parsed::Unsupported]);
    check(b"GET foo\r\n", &[Parsed::Unsupported]);
    check(b" get foo\r\n", &[Parsed::Unsupported]);
}

#[test]
fn keys_of_the_longest_length_and_longer() {
    let (key, long) = ("k".repeat(250), "k".repeat(251));
    check(format!("get {key}\r\n").as_bytes(), &[get(Fetch::Get, &key, true)]);
    check(
        format!("get a {key} b\r\n").as_bytes(),
        &[get(Fetch::Get, "a", false), get(Fetch::Get, &key, false), get(Fetch::Get, "b", true)],
    );
    let refused = [malformed(lines::BAD_FORMAT), VERSION];
    for line in [
        format!("get {long}"),
        format!("get {long} a b"),
        format!("get {long}{long}{long}"),
        format!("gat 0 {long}"),
        format!("delete {long}"),
        format!("touch {long} 0"),
        format!("incr {long} 1"),
        format!("set {long} 0 0 4\r\nget "),
    ] {
        check(format!("{line}\r\nversion\r\n").as_bytes(), &refused);
    }
    check(format!("get a {long} b\r\nversion\r\n").as_bytes(), &refused);
    check(format!("gat 1 a b {long}\r\nversion\r\n").as_bytes(), &refused);
    check(format!("get {key} {key} {long}\nversion\r\n").as_bytes(), &refused);
    let mut streamed = vec![get(Fetch::Get, &key, false); 8];
    streamed.extend(refused);
    let keys = [key.as_str(); 8].join(" ");
    check(format!("get {keys} {long} b\r\nversion\r\n").as_bytes(), &streamed);
    for line in [
        format!("delete {long} noreply"),
        format!("touch {long} 0 noreply"),
        format!("incr {long} 1 noreply"),
        format!("set {long} 0 0 4 noreply\r\nget "),
    ] {
        check(format!("{line}\r\nversion\r\n").as_bytes(), &[silent(lines::BAD_FORMAT), VERSION]);
    }
}

#[test]
fn storing() {
    use StoreVerb::{Add, Append, Cas, Prepend, Replace, Set};
    for (name, verb) in
        [("set", Set), ("add", Add), ("replace", Replace), ("append", Append), ("prepend", Prepend)]
    {
        let bytes = format!("{name} k 0 0 5\r\nhello\r\n{name}  k  0 0 0  noreply \n\r\nversion\r\n");
        check(
            bytes.as_bytes(),
            &[stored(store(verb, 5)), stored(Store { noreply: true, ..store(verb, 0) }), VERSION],
        );
    }
    check(b"cas k 1 2 3 4\r\nabc\r\n", &[stored(Store { flags: 1, exptime: 2, cas: 4, ..store(Cas, 3) })]);
    check(
        b"cas k 0 0 0 18446744073709551615 noreply\r\n\r\n",
        &[stored(Store { cas: u64::MAX, noreply: true, ..store(Cas, 0) })],
    );
    check(b"set k 4294967296 -1 0\r\n\r\n", &[stored(Store { exptime: -1, ..store(Set, 0) })]);
    check(b"set k 1\t2 +60 0\r\n\r\n", &[stored(Store { flags: 1, exptime: 60, ..store(Set, 0) })]);
    check(b"set k 0 0 5 more\r\nhello\r\n", &[stored(store(Set, 5))]);
    check(
        b"set k 4294967295 999999999 1\r\nx\r\n",
        &[stored(Store { flags: u32::MAX, exptime: 999_999_999, ..store(Set, 1) })],
    );
}

#[test]
fn a_data_block_is_ignored_exactly_when_its_length_could_be_read() {
    for line in ["set k -1 0 8", "set k 0 x 8", "set k 0 1.5 8", "cas k 0 0 8 x", "cas k 0 0 8 -1"] {
        let bytes = format!("{line}\r\nversion\n\r\nversion\r\n");
        check(bytes.as_bytes(), &[malformed(lines::BAD_FORMAT), VERSION]);
    }
    check(b"set k x 0 8 noreply\r\nversion\n\r\nversion\r\n", &[silent(lines::BAD_FORMAT), VERSION]);
    for line in [
        "set",
        "set k",
        "set k 0",
        "set k 0 0",
        "set k 0 0 -1",
        "set k 0 0 x",
        "set k 0 0 2147483646",
        "set k 0 0 +8",
        "set k 0 0 -1 noreply",
        "set k 0 0 noreply",
        "cas k 0 0",
        "cas k 0 0 8",
    ] {
        check(format!("{line}\r\nversion\r\n").as_bytes(), &[malformed(lines::BAD_FORMAT), VERSION]);
    }
}

#[test]
fn the_longest_data_block() {
    let Next { parsed, .. } = Parser::new().next(b"set k 0 0 2147483645\r\n");
    assert_eq!(parsed, stored(store(StoreVerb::Set, limits::VALUE_MAX_BYTES)));
}

#[test]
fn deleting_counting_touching() {
    let delete = |noreply| Parsed::Request(Request::Delete(Delete { key: b"k", noreply }));
    check(b"delete k\r\n", &[delete(false)]);
    check(b"delete k 0\r\ndelete k bar baz\r\n", &[delete(false), delete(false)]);
    check(b"delete k noreply\r\ndelete k 0 noreply\r\n", &[delete(true), delete(true)]);
    let named = Delete { key: b"noreply", noreply: true };
    check(b"delete noreply\r\n", &[Parsed::Request(Request::Delete(named))]);
    check(b"delete\r\n", &[malformed(lines::BAD_FORMAT)]);

    let count = |delta, decrement, noreply| {
        Parsed::Request(Request::Arithmetic(Arithmetic { key: b"k", delta, decrement, noreply }))
    };
    check(b"incr k 1\r\ndecr k 20 noreply\r\n", &[count(1, false, false), count(20, true, true)]);
    check(b"incr k 18446744073709551615\r\n", &[count(u64::MAX, false, false)]);
    for delta in ["-1", "+1", "x", "18446744073709551616", "00000000000000000000001"] {
        check(format!("incr k {delta}\r\n").as_bytes(), &[malformed(lines::BAD_DELTA)]);
        check(format!("decr k {delta} noreply\r\n").as_bytes(), &[silent(lines::BAD_DELTA)]);
    }
    check(b"incr k\r\ndecr\r\n", &[malformed(lines::BAD_FORMAT), malformed(lines::BAD_FORMAT)]);

    let touch = |exptime, noreply| Parsed::Request(Request::Touch(Touch { key: b"k", exptime, noreply }));
    check(b"touch k 10\r\ntouch k -1 noreply\r\n", &[touch(10, false), touch(-1, true)]);
    check(b"touch k x\r\ntouch k noreply\r\n", &[malformed(lines::BAD_EXPTIME), silent(lines::BAD_EXPTIME)]);
    check(b"touch k\r\n", &[malformed(lines::BAD_FORMAT)]);
}

#[test]
fn commands_about_the_server() {
    check(b"version\r\nversion 2\n", &[VERSION, VERSION]);
    check(b"quit\r\nquit now\r\n", &[Parsed::Request(Request::Quit), Parsed::Request(Request::Quit)]);
    use AdminVerb::{
        CacheMemlimit, Extstore, FlushAll, Lru, LruCrawler, RefreshCerts, Shutdown, Slabs, Stats, Verbosity,
        Watch,
    };
    for (name, verb) in [
        ("cache_memlimit", CacheMemlimit),
        ("extstore", Extstore),
        ("flush_all", FlushAll),
        ("lru", Lru),
        ("lru_crawler", LruCrawler),
        ("refresh_certs", RefreshCerts),
        ("shutdown", Shutdown),
        ("slabs", Slabs),
        ("verbosity", Verbosity),
    ] {
        let bytes = format!("{name}\r\n  {name}  a  b \r\n{name} 1 noreply\r\n");
        check(
            bytes.as_bytes(),
            &[admin(verb, "", false), admin(verb, "a  b", false), admin(verb, "1 noreply", true)],
        );
    }
    check(
        b"stats\r\nstats items noreply\r\n",
        &[admin(Stats, "", false), admin(Stats, "items noreply", false)],
    );
    check(b"watch\r\nwatch fetchers\r\n", &[admin(Watch, "", false), admin(Watch, "fetchers", false)]);
    check(b" stats\r\n", &[Parsed::Unsupported]);
}

#[test]
fn unknown_and_foreign() {
    for line in ["bogus", "ab", "    ", "getx a", "sets k 0 0 1", "verbosityx", "flush", "mx a"] {
        check(format!("{line}\r\nversion\r\n").as_bytes(), &[Parsed::Unsupported, VERSION]);
    }
    for line in ["\r\n", "\n", "a\n", "mn\n", "a\r\n"] {
        check(format!("{line}version\r\n").as_bytes(), &[malformed(lines::BAD_FORMAT), VERSION]);
    }
    check(b"GET / HTTP/1.1\r\nversion\r\n", &[Parsed::Foreign]);
    check(b"POST / HTTP/1.0\r\n\r\n", &[Parsed::Foreign]);
    check(b"HTTP/1.1\r\n", &[Parsed::Unsupported]);
}

#[test]
fn lines_that_never_end() {
    let limit = limits::LINE_MAX_BYTES;
    check(format!("{}\n", "a".repeat(limit)).as_bytes(), &[Parsed::Unsupported]);
    for bytes in
        ["a".repeat(limit + 1), format!("{}\n", "a".repeat(limit + 1)), format!("set {}", "k".repeat(limit))]
    {
        check(bytes.as_bytes(), &[Parsed::TooLarge]);
    }
    check(format!("gat {}", "1".repeat(limit)).as_bytes(), &[Parsed::TooLarge]);
    check(
        format!("get a{}b\r\n", " ".repeat(limit)).as_bytes(),
        &[get(Fetch::Get, "a", false), get(Fetch::Get, "b", true)],
    );
}

#[test]
fn a_line_with_very_many_keys() {
    let keys: Vec<String> = (0..30_000).map(|number| format!("key-{number:06}")).collect();
    let bytes = format!("get {}\r\nversion\r\n", keys.join(" "));
    assert!(bytes.len() > 300_000);
    let mut expected: Vec<String> = keys.iter().map(|key| told(&get(Fetch::Get, key, false))).collect();
    let last = expected.len() - 1;
    expected[last] = told(&get(Fetch::Get, &keys[last], true));
    expected.push(told(&VERSION));
    assert_eq!(transcript(bytes.as_bytes(), []), expected);
    assert_eq!(transcript(bytes.as_bytes(), (0..400).map(|number| 100 + number * 7 % 1500)), expected);
}
