//! Arguments in; a configuration, or the exact sentence and exit code, out.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;

use mainmemory::server::DriverChoice;
use mm_memcached::Protocol;

use super::flags::Meaning;
use super::{Request, Surroundings, flags, help, parse};
use crate::config::{Config, Endpoint, Host, Shown, Transport};
use crate::refusal::Refusal;

const USER: Surroundings = Surroundings { is_root: false, port_file: None };
const ROOT: Surroundings = Surroundings { is_root: true, port_file: None };

/// What a command line, its words between spaces, asks for.
fn request(line: &str, surroundings: &Surroundings) -> Result<Request, Refusal> {
    let words: Vec<OsString> = line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect();
    parse(&words, surroundings)
}

#[track_caller]
fn config(line: &str) -> Config {
    match request(line, &USER) {
        Ok(Request::Serve(config)) => *config,
        other => panic!("{line}: {other:?}"),
    }
}

/// Asserts that the command line means what the second argument does to the defaults.
#[track_caller]
fn means(line: &str, change: impl FnOnce(&mut Config)) {
    let found = config(line);
    let mut expected = Config::new(found.name);
    change(&mut expected);
    assert_eq!(found, expected, "{line}");
}

#[track_caller]
fn refused(line: &str, code: u8, message: &str) {
    refused_in(&USER, line, code, message);
}

#[track_caller]
fn refused_in(surroundings: &Surroundings, line: &str, code: u8, message: &str) {
    match request(line, surroundings) {
        Err(refusal) => assert_eq!((refusal.to_string().as_str(), refusal.code()), (message, code), "{line}"),
        Ok(request) => panic!("{line}: {request:?}"),
    }
}

#[track_caller]
fn printed(line: &str) -> String {
    match request(line, &USER) {
        Ok(Request::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

fn tcp(host: &str, port: u16) -> Endpoint {
    on(Transport::Tcp, Host::Named(host.to_owned()), port)
}

fn on(transport: Transport, host: Host, port: u16) -> Endpoint {
    Endpoint::Port { transport, host, port, protocol: None }
}

#[track_caller]
fn listens(line: &str, expected: &[Endpoint]) {
    let config = config(line);
    assert_eq!(config.listening.endpoints(config.name), expected, "{line}");
}

#[test]
fn values_are_read_in_all_the_ways_of_getopt() {
    for line in [
        "mmem -m 100",
        "mmem -m100",
        "mmem --memory-limit 100",
        "mmem --memory-limit=100",
        "mmem --memory-l=100",
    ] {
        means(line, |config| config.memory.limit_bytes = 100 << 20);
    }
    means("mmem -vvA -v", |config| {
        config.process.verbosity = 3;
        config.commands.shutdown = true;
    });
    means("mmem -c 10 -c 20", |config| config.service.connections_max = 20);
}

#[test]
fn each_flag_sets_its_own_field() {
    means("mmem", |_| {});
    means("mmem -I 2m", |config| config.memory.item_size_max = 2 << 20);
    means("mmem -I 4096", |config| config.memory.item_size_max = 4096);
    means("mmem -m 1g -I 512k", |config| {
        config.memory.limit_bytes = 1 << 30;
        config.memory.item_size_max = 512 << 10;
    });
    means("mmem -M -C -k -L", |config| {
        config.memory.populated = true;
        config.memory.evicts = false;
        config.memory.has_cas = false;
        config.memory.locked = true;
    });
    means("mmem -t 3 -R 40 -b 16", |config| {
        config.service.threads = 3;
        config.service.are_threads_given = true;
        config.service.requests_per_turn = NonZeroU32::new(40);
        config.listening.backlog = 16;
    });
    means("mmem -F -X -W -D /", |config| {
        config.commands.watch = false;
        config.commands.prefix_delimiter = Some(b'/');
        config.commands.flush = false;
        config.commands.dump = false;
    });
    means("mmem -u www-data -d -P /run/a.pid -r", |config| {
        config.process.user = Some("www-data".to_owned());
        config.process.daemon = true;
        config.process.pid_file = Some(PathBuf::from("/run/a.pid"));
        config.process.dumps_core = true;
    });
    means("mmem --spin 50", |config| config.service.spin_us = 50);
    means("mmem --pin", |config| config.service.is_pinned = true);
    means("mmem -s /run/a.sock -a 770", |config| {
        config.listening.unix_socket = Some(PathBuf::from("/run/a.sock"));
        config.listening.unix_mode = 0o770;
    });
    means("mmem -U 0 -B auto --driver epoll", |config| config.service.driver = "epoll".to_owned());
}

#[test]
fn suboptions_are_read_from_one_list_or_many() {
    means("mmem -o idle_timeout=30,no_maxconns_fast", |config| {
        config.service.idle_timeout_s = 30;
        config.service.refuses_when_full = false;
    });
    assert_eq!(config("mmem -o idle_timeout=30").idle_timeout_ms(), Some(30_000));
    assert_eq!(config("mmem -o idle_timeout=0").idle_timeout_ms(), None);
    assert_eq!(config("mmem -s /run/a.sock -o idle_timeout=30").idle_timeout_ms(), None);
    means("mmem -o track_sizes,watcher_logbuf_size=64", |config| {
        config.shown.tracks_sizes = true;
        config.service.watcher_kib = 64;
    });
    means("mmem -o no_modern -o maxconns_fast", |config| {
        let no = ["slab_reassign", "lru_crawler", "lru_maintainer_thread", "lru_segmented"];
        let automove = ("slab_automove", "0".to_owned());
        config.shown.settings = no.map(|name| (name, "no".to_owned())).to_vec();
        config.shown.settings.insert(1, automove);
    });
    means("mmem -o modern,hashpower=20,slab_automove -o slab_automove=2", |config| {
        let shown = ["-o modern", "-o hashpower=20", "-o slab_automove", "-o slab_automove=2"];
        config.without_meaning = shown.map(str::to_owned).to_vec();
        let settings = [("hashpower_init", "20"), ("slab_automove", "1"), ("slab_automove", "2")];
        config.shown.settings = settings.map(|(name, value)| (name, value.to_owned())).to_vec();
    });
    let segmented = |line: &str| config(line).shown.text("lru_segmented").map(str::to_owned);
    assert_eq!(segmented("mmem -o no_lru_maintainer").as_deref(), Some("no"));
    assert_eq!(segmented("mmem -o no_modern,lru_maintainer").as_deref(), Some("yes"));
    assert_eq!(config("mmem -o temporary_ttl=5").shown.text("temp_lru"), Some("yes"));
    means("memcached-debug -o relaxed_privileges", |config| {
        config.for_tests = true;
    });
}

#[test]
fn what_means_nothing_here_is_accepted_and_noted() {
    means("memcached -f 1.1 -n 24 stray", |config| {
        config.shown = Shown { growth_factor: 1.1, chunk_bytes: 24, ..config.shown.clone() };
        config.without_meaning = ["-f 1.1", "-n 24", "stray"].map(str::to_owned).to_vec();
    });
}

#[test]
fn loopback_for_mmem_and_everywhere_for_memcached() {
    listens("mmem", &[on(Transport::Tcp, Host::Loopback, 11211)]);
    listens("memcached", &[on(Transport::Tcp, Host::Any, 11211)]);
    listens("/usr/bin/memcached -p 1", &[on(Transport::Tcp, Host::Any, 1)]);
    listens("mmem -p -1", &[on(Transport::Tcp, Host::Loopback, 0)]);
    let both = |tcp, udp| [on(Transport::Tcp, Host::Any, tcp), on(Transport::Udp, Host::Any, udp)];
    listens("memcached -U 5", &both(5, 5));
    listens("memcached -U -1", &both(0, 0));
    listens("memcached -U 5 -p 6", &both(6, 5));
    listens("memcached -U 5 -p 11211", &both(11211, 5));
    listens("memcached -U 0 -p 6", &both(6, 0)[..1]);
    listens("memcached -p 0 -U 5", &both(0, 5)[1..]);
    listens("memcached -p 0", &[]);
    listens(
        "mmem -U 5 -l a,b:6",
        &[
            tcp("a", 5),
            tcp("b", 6),
            on(Transport::Udp, Host::Named("a".to_owned()), 5),
            on(Transport::Udp, Host::Named("b".to_owned()), 6),
        ],
    );
    let spoken = |protocol| Endpoint::Port {
        transport: Transport::Tcp,
        host: Host::Any,
        port: 11211,
        protocol: Some(protocol),
    };
    listens("mmem -l proto[binary]:*", &[spoken(Protocol::Binary)]);
    listens(
        "mmem -l proto[ascii]:*,proto[negotiating]:*",
        &[spoken(Protocol::Ascii), spoken(Protocol::Auto)],
    );
    listens("mmem -l *", &[on(Transport::Tcp, Host::Any, 11211)]);
}

#[test]
fn lists_of_addresses_may_have_ports_tags_and_brackets() {
    listens(
        "mmem -p 5 -l 10.0.0.1,10.0.0.2:6;[::1]:7 -l ::1,[::2] -l name:8",
        &[
            tcp("10.0.0.1", 5),
            tcp("10.0.0.2", 6),
            tcp("::1", 7),
            tcp("::1", 5),
            tcp("::2", 5),
            tcp("name", 8),
        ],
    );
    let tagged =
        config("mmem -l tag[a]:10.0.0.1:5,tag_b_:10.0.0.2,notls:proto[ascii]:10.0.0.3").listening.hosts;
    let tags: Vec<Option<&str>> = tagged.iter().map(|listen| listen.tag.as_deref()).collect();
    assert_eq!(tags, [Some("a"), Some("b"), None]);
    let shown = |line: &str| config(line).listening.interface();
    let given = "proto[ascii]:10.0.0.1:5,[::1]:7,*";
    assert_eq!(shown(&format!("mmem -l {given} -l [::2]")), Some(format!("{given},[::2]")));
    assert_eq!(shown("mmem"), None);
    listens("mmem -p 0 -l 10.0.0.1:5", &[tcp("10.0.0.1", 5)]);
    let unix = Endpoint::Unix { path: PathBuf::from("/a"), mode: 0o700 };
    listens("mmem -s /a -l 10.0.0.1", &[unix]);
}

#[test]
fn root_becomes_somebody_else() {
    let user = |line| match request(line, &ROOT) {
        Ok(Request::Serve(config)) => config.process.user,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(user("mmem").as_deref(), Some("nobody"));
    assert_eq!(user("mmem -u root").as_deref(), Some("root"));
    assert_eq!(user("memcached -u memcache").as_deref(), Some("memcache"));
    let message = "-u is missing: started as root, memcached wants to be told which user to become";
    refused_in(&ROOT, "memcached", 64, message);
}

#[test]
fn unknown_flags_and_missing_values_are_named() {
    refused("mmem -y", 1, "-y: there is no such flag; -h lists them all");
    refused("mmem --frobnicate=3", 1, "--frobnicate: there is no such flag; -h lists them all");
    refused("mmem -vym 5", 1, "-y: there is no such flag; -h lists them all");
    refused("mmem -m", 1, "-m: needs a value");
    refused("mmem --daemon=yes", 1, "-d: takes no value");
    refused("mmem -o frobnicate", 1, "-o frobnicate: there is no such suboption; -h lists them all");
    refused(
        "mmem -o relaxed_privileges",
        1,
        "-o relaxed_privileges: there is no such suboption; -h lists them all",
    );
    refused("mmem -o hashpower", 1, "-o hashpower: needs a value");
    refused("mmem --list=1", 1, "--list: which of them: --listen, --listen-backlog?");
}

#[test]
fn words_that_are_no_flags_are_named() {
    let why = "not a flag, nor a flag's value; a flag begins with a dash";
    refused("mmem foo", 64, &format!("foo: {why}"));
    refused("mmem -m 64 c 4096", 64, &format!("c: {why}"));
    refused("mmem -v -- -m", 64, &format!("-m: {why}"));
    let with_empty = ["mmem", "-v", ""].map(OsString::from);
    assert!(matches!(parse(&with_empty, &USER), Ok(Request::Serve(_))));
    means("memcached c 4096", |config| config.without_meaning = vec!["c".to_owned(), "4096".to_owned()]);
}

#[test]
fn values_are_checked() {
    let size = "must be a whole number, with k, m, g or t behind it if you like";
    let memory = if usize::BITS == 32 { "must be from 1m to 4095m" } else { "must be from 1m to 16t" };
    let authentication =
        "authentication is not supported; leave it out, and let only your clients connect (-s, -l)";
    let tls = "TLS is not supported; leave it out, and put a proxy before the server that ends TLS";
    for (line, code, why) in [
        ("-t 0", 1, "must be a whole number from 1 to 256"),
        ("-t 257", 1, "must be a whole number from 1 to 256"),
        ("-c 0", 1, "must be a whole number from 1 to 1048576"),
        ("-c many", 1, "must be a whole number from 1 to 1048576"),
        ("-R 0", 1, "must be a whole number from 1 to 2147483647"),
        ("-b -1", 1, "must be a whole number from 0 to 2147483647"),
        ("-f 1.0", 1, "must be a number greater than 1"),
        ("-n 0", 1, "must be a whole number from 1 to 2147483647"),
        ("-a 999", 1, "must be an octal number"),
        ("-p 65536", 64, "must be a whole number from -1 to 65535"),
        ("-U 65536", 64, "must be a whole number from -1 to 65535"),
        ("-m lots", 64, size),
        ("-m -1", 64, size),
        ("-m 0", 64, memory),
        ("-m 99999999999999999", 64, memory),
        ("-I 1023", 64, "must be from 1k to 1g"),
        ("-I 2g", 64, "must be from 1k to 1g"),
        ("--spin x", 64, "must be a whole number from 0 to 10000"),
        ("--spin 10001", 64, "must be a whole number from 0 to 10000"),
        ("-B morse", 64, "must be auto, ascii or binary"),
        ("-S", 64, authentication),
        ("-Y /a", 64, authentication),
        ("-Z", 64, tls),
        ("-D ::", 1, "must be one character"),
        ("-l ,", 64, "names no address"),
        ("-l :5", 64, "':5': there is no address"),
        ("-l a:0", 64, "'a:0': the port '0' is not a number from 1 to 65535"),
        ("-l [::1", 64, "'[::1': the bracket is not closed"),
        ("-l [::1]5", 64, "'[::1]5': after the bracket comes a colon and a port, or nothing"),
        ("-l mtls:a", 64, &format!("'mtls:a': {tls}")),
    ] {
        refused(&format!("mmem {line}"), code, &format!("{line}: {why}"));
    }
    refused("mmem -o hash_algorithm=md5", 1, "-o hash_algorithm=md5: must be jenkins, murmur3 or xxh3");
    let sizes = "must be sizes in bytes between dashes, from small to large";
    for list in ["96-x", "0-96", "96-96", "200-100", "-96", ""] {
        refused(&format!("mmem -o slab_sizes={list}"), 64, &{
            let shown = if list.is_empty() { String::new() } else { format!("={list}") };
            format!("-o slab_sizes{shown}: {sizes}")
        });
    }
    refused("mmem -o slab_automove_ratio=2", 1, "-o slab_automove_ratio=2: must be at most 1");
    refused("mmem -o hashpower=11", 1, "-o hashpower=11: must be a whole number from 12 to 32");
    refused("mmem -o ssl_key=/a", 64, &format!("-o ssl_key=/a: {tls}"));
    let flash = "storing items on flash is not supported; leave the ext_ options out, and give -m the memory";
    refused("mmem -o ext_path=/a:1g", 64, &format!("-o ext_path=/a:1g: {flash}"));
}

#[test]
fn flags_that_do_not_go_together_are_named() {
    let message =
        "-I 1m: an item may take at most half of the memory, which is 1m; give more by -m, or a smaller -I";
    refused("mmem -m 1", 64, message);
    refused(
        "mmem -o hot_lru_pct=50,warm_lru_pct=31",
        64,
        "-o hot_lru_pct, warm_lru_pct: together at most 80",
    );
    refused("mmem -o warm_lru_pct=61", 64, "-o hot_lru_pct, warm_lru_pct: together at most 80");
    config("mmem -o hot_lru_pct=50,warm_lru_pct=30");
    let part = "must be a whole part of -I, which is 1m, and 1m";
    refused("mmem -o slab_chunk_max=3000", 64, &format!("-o slab_chunk_max=3000: {part}"));
    config("mmem -I 2m -o slab_chunk_max=16k");
    let ttl = "-o temporary_ttl: does not go with no_lru_maintainer";
    refused("mmem -o temporary_ttl=5,no_lru_maintainer", 64, ttl);
    refused("mmem -t 2 -N 3", 64, "-N 3: must not be more than -t, which is 2");
    config("mmem -N 4");
    for list in ["100-101", "100-108", "40-100", "100-600000"] {
        let why = "must be from -n, which is 48, to slab_chunk_max, which is 512k, and more than 8 apart";
        refused(&format!("mmem -o slab_sizes={list}"), 64, &format!("-o slab_sizes: {why}"));
    }
    config("mmem -n 10 -o slab_sizes=20-100-109");
    config("mmem -t 2 -N 2 -o slab_sizes=96-120-1000");
    refused("mmem -p 0", 64, "-p 0: there is nothing to listen on; give a port, or a Unix socket with -s");
}

#[test]
fn versions_differ_by_name() {
    assert_eq!(printed("memcached -V"), "memcached 1.6.45\n");
    assert_eq!(printed("./memcached-debug --version"), "memcached 1.6.45\n");
    assert_eq!(printed("mmem -V"), format!("mmem {}\n", env!("CARGO_PKG_VERSION")));
    assert!(printed("mmem -i").contains("MIT"));
    assert!(printed("memcached-debug -h").contains("relaxed_privileges"));
    assert!(!printed("memcached -h").contains("relaxed_privileges"));
}

#[test]
fn the_help_lists_every_flag_that_works() {
    for name in ["mmem", "memcached"] {
        let text = printed(&format!("{name} -h"));
        for flag in flags() {
            let listed = text.contains(&format!("--{}", flag.long));
            assert_eq!(listed, !matches!(flag.meaning, Meaning::Refused(_)), "--{}", flag.long);
        }
        assert!(text.contains("idle_timeout=VALUE") && text.contains("hashpower"));
        let widest = text.lines().map(str::len).max();
        assert!(widest <= Some(100), "{widest:?}");
    }
}

#[test]
fn the_help_lists_the_drivers_that_there_are() {
    let text = printed("mmem -h");
    let line = text.lines().find(|line| line.contains("--driver")).unwrap();
    let (_, names) = line.split_once("interface: ").unwrap();
    let names = names.strip_suffix(" (auto)").unwrap();
    assert!(!names.contains("kqueue") || !cfg!(target_os = "linux"), "{names}");
    for name in names.split(", ") {
        DriverChoice::named(name).unwrap();
    }
    assert_eq!(names.split(", ").count(), DriverChoice::HERE.len());
}

#[test]
fn memcached_tests_find_no_promise_in_the_help() {
    let text = printed("memcached -h").to_lowercase();
    for word in ["sasl", "ext_path", "proxy_config", "enable-ssl", "no_drop_privileges"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn the_version_is_one_that_clients_understand() {
    let parts: Vec<u32> = help::MEMCACHED_VERSION.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(parts.len() == 3 && parts[0] == 1 && parts[1] == 6);
}

#[test]
fn what_memcached_takes_is_taken() {
    for options in [
        "-o modern=1,no_modern=x,lru_maintainer=1,lru_crawler=1,slab_reassign=1,maxconns_fast=1,track_sizes=1",
        "-o slab_automove_freeratio=0,temporary_ttl=-1,slab_automove_ratio=1",
    ] {
        config(&format!("memcached {options}"));
    }
    assert_eq!(config("memcached -o idle_timeout=-1").idle_timeout_ms(), None);
    assert_eq!(config("memcached -o watcher_logbuf_size=100000").service.watcher_kib, 64 << 10);
    assert_eq!(config("memcached -b 0").listening.backlog, 0);
    assert_eq!(config("memcached -s /run/a.sock -a 1777").listening.unix_mode, 0o777);
}
