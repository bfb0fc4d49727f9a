//! What is found in which bytes, for every command and every fault, at every cut.

mod classic;
mod meta;
mod properties;

use super::fuzzing::transcript;
use super::*;

/// Checks that `bytes` hold exactly `expected`, whole and however they are cut in two or into single bytes.
#[track_caller]
fn check(bytes: &[u8], expected: &[Parsed<'_>]) {
    let shown = String::from_utf8_lossy(bytes);
    let expected: Vec<String> = expected.iter().map(told).collect();
    assert_eq!(transcript(bytes, []), expected, "whole {shown:?}");
    assert_eq!(transcript(bytes, vec![1; bytes.len()]), expected, "single bytes {shown:?}");
    for cut in 1..bytes.len().min(600) {
        assert_eq!(transcript(bytes, [cut]), expected, "cut at {cut} {shown:?}");
    }
}

/// One thing found, told as [`transcript`] tells it.
fn told(parsed: &Parsed<'_>) -> String {
    if matches!(parsed, Parsed::Request(Request::Meta(_))) {
        fuzzing::describe(parsed)
    } else {
        format!("{parsed:?}")
    }
}

fn get<'a>(fetch: Fetch, key: &'a str, last: bool) -> Parsed<'a> {
    Parsed::Request(Request::Get(Get { key: key.as_bytes(), fetch, last, exptime: 0 }))
}

fn malformed<'a>(line: &'static [u8]) -> Parsed<'a> {
    Parsed::Malformed(Malformed { line, noreply: false })
}

fn silent<'a>(line: &'static [u8]) -> Parsed<'a> {
    Parsed::Malformed(Malformed { line, noreply: true })
}

const END: Parsed<'static> = Parsed::Request(Request::GetEnd);
const VERSION: Parsed<'static> = Parsed::Request(Request::Version);
