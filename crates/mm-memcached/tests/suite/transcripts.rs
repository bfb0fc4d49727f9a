//! Transcripts: what is answered to which lines, for every row of the tables of commands, flags and errors.
//!
//! A file of them is read like this. A line `# NAME` begins a transcript; `@ FLAG...` starts the server with flags of
//! memcached; `> LINE` is sent with its line end, `>> BYTES` as it is; `< LINE` is what has to come back, and
//! `< (closed)` says that the connection ends then. `{x*N}` stands for N times x, and `\r \n \t \xHH \\` for bytes.
//! Each transcript is checked on a fresh server, at every cut of its input.

use std::collections::HashSet;

use mm_memcached::{Memcached, Settings};
use mm_server::harness::Harness;

use crate::world::{check_with, service};

const FILES: [(&str, &str); 5] = [
    ("framing", include_str!("transcripts/framing.txt")),
    ("commands", include_str!("transcripts/commands.txt")),
    ("errors", include_str!("transcripts/errors.txt")),
    ("rules", include_str!("transcripts/rules.txt")),
    ("meta", include_str!("transcripts/meta.txt")),
];

#[derive(Default)]
struct Transcript {
    name: String,
    flags: Vec<String>,
    /// `-m`, in MiB.
    limit_mib: usize,
    sent: Vec<u8>,
    expected: Vec<u8>,
    closes: bool,
}

fn read(text: &str) -> Vec<Transcript> {
    let mut all: Vec<Transcript> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("# ") {
            all.push(Transcript { name: name.to_owned(), limit_mib: 1, ..Transcript::default() });
            continue;
        }
        let Some(transcript) = all.last_mut() else { continue };
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        match mark {
            "" => {}
            "@" if rest.starts_with("-m ") => transcript.limit_mib = rest[3..].parse().unwrap(),
            "@" => transcript.flags.extend(rest.split(' ').map(str::to_owned)),
            ">" => transcript.sent.extend([bytes(rest), b"\r\n".to_vec()].concat()),
            ">>" => transcript.sent.extend(bytes(rest)),
            "<" if rest == "(closed)" => transcript.closes = true,
            "<" => transcript.expected.extend([bytes(rest), b"\r\n".to_vec()].concat()),
            "<<" => transcript.expected.extend(bytes(rest)),
            _ => panic!("line {}: {line}", number + 1),
        }
    }
    all
}

/// The bytes that a line stands for.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'{', [repeated, b'*', tail @ ..]) => {
                let end = tail.iter().position(|&byte| byte == b'}').unwrap();
                let count: usize = std::str::from_utf8(&tail[..end]).unwrap().parse().unwrap();
                bytes.extend(std::iter::repeat_n(*repeated, count));
                rest = &tail[end + 1..];
            }
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                rest = tail;
            }
            (b'\\', [escape, tail @ ..]) => {
                bytes.push(match escape {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    other => *other,
                });
                rest = tail;
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

fn set_flags(settings: &mut Settings, flags: &[String]) {
    let mut words = flags.iter().map(String::as_str);
    while let Some(flag) = words.next() {
        match flag {
            "-A" => settings.allowed.shutdown = true,
            "-C" => settings.items.has_cas = false,
            "-F" => settings.allowed.flush = false,
            "-I" => settings.items.item_size_max = words.next().unwrap().parse().unwrap(),
            "-M" => settings.items.evicts = false,
            "-W" => settings.allowed.watch = false,
            "-X" => settings.allowed.dumps = false,
            "-o" => match words.next().unwrap() {
                "relaxed_privileges" => settings.has_debug = true,
                "track_sizes" => settings.items.sizes_told = true,
                other => panic!("-o {other}"),
            },
            other => panic!("{other}"),
        }
    }
}

fn run(transcript: &Transcript) {
    let make = || -> Harness<Memcached> {
        service(transcript.limit_mib << 20, |settings| set_flags(settings, &transcript.flags))
    };
    check_with(make, &transcript.sent, &transcript.expected);
    let mut harness = make();
    let client = harness.connect();
    harness.exchange(client, &transcript.sent);
    assert_eq!(harness.is_open(client), !transcript.closes, "whether the connection stays open");
}

/// Runs the transcripts of a file; one failing says which it was.
fn run_file(name: &str) {
    let (_, text) = FILES.iter().find(|(file, _)| *file == name).unwrap();
    for transcript in read(text) {
        let result = std::panic::catch_unwind(|| run(&transcript));
        assert!(result.is_ok(), "{name}: {}", transcript.name);
    }
}

#[test]
fn framing() {
    run_file("framing");
}

#[test]
fn commands() {
    run_file("commands");
}

#[test]
fn errors() {
    run_file("errors");
}

#[test]
fn rules() {
    run_file("rules");
}

#[test]
fn meta() {
    run_file("meta");
}

#[test]
fn each_has_a_name_of_its_own_and_says_something() {
    let mut names = HashSet::new();
    for transcript in FILES.iter().flat_map(|(_, text)| read(text)) {
        assert!(!transcript.sent.is_empty(), "{}", transcript.name);
        assert!(!transcript.expected.is_empty() || transcript.closes, "{}", transcript.name);
        assert!(names.insert(transcript.name.clone()), "{} twice", transcript.name);
    }
    assert!(names.len() >= 140, "{} transcripts", names.len());
}
