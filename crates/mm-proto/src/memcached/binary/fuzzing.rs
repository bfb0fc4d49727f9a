//! The entry point of the fuzz target, and what it shares with the tests.

use super::super::limits::KEY_MAX_BYTES;
use super::head::REQUEST_HEAD_BYTES;
use super::{Next, Parsed, Parser, Verb};

/// The longest extras.
const EXTRAS_MAX_BYTES: usize = 20;

/// The most bytes given at a time by [`fuzz_cuts`].
const CUT_MAX_BYTES: usize = 64;

/// What a connection's bytes are, told as one text for each thing found, when they arrive in pieces of the lengths that
/// `cuts` gives and then in one last piece. Values are told by their length only.
///
/// # Panics
///
/// When the parser breaks a promise: consumes what it does not have, or waits for more than a request's parts before
/// the value.
pub fn transcript(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Vec<String> {
    let mut parser = Parser::new();
    let mut found = Vec::new();
    let (mut start, mut end) = (0, 0);
    for cut in cuts.into_iter().chain([bytes.len()]) {
        end = bytes.len().min(end + cut);
        loop {
            let Next { parsed, consumed } = parser.next(&bytes[start..end]);
            assert!(consumed <= end - start, "{consumed} bytes consumed of {}", end - start);
            start += consumed;
            match parsed {
                Parsed::Incomplete => {
                    let most = REQUEST_HEAD_BYTES + EXTRAS_MAX_BYTES + KEY_MAX_BYTES;
                    assert!(end - start < most, "{} bytes carried over", end - start);
                    break;
                }
                Parsed::Request(request) => {
                    found.push(format!("{request:?}"));
                    if let Verb::Store { bytes, .. } = request.verb {
                        parser.skip(bytes);
                    }
                }
                Parsed::Unsupported(_) => found.push(format!("{parsed:?}")),
                Parsed::Malformed(..) | Parsed::TooLarge(_) | Parsed::Foreign => {
                    found.push(format!("{parsed:?}"));
                    return found;
                }
            }
        }
    }
    found
}

/// However the bytes are cut, the same is found in them. The first half of `data` says where to cut the second.
///
/// # Panics
///
/// When something else is found.
pub fn fuzz_cuts(data: &[u8]) {
    let (cuts, bytes) = data.split_at(data.len() / 2);
    let cuts = cuts.iter().map(|&cut| usize::from(cut) % CUT_MAX_BYTES);
    assert_eq!(transcript(bytes, []), transcript(bytes, cuts));
}
