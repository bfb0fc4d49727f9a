//! Entry points of the fuzz targets, and what they share with the tests.

use super::limits::LINE_MAX_BYTES;
use super::{MetaVerb, Next, Parsed, Parser, Request};

/// The most bytes given at a time by [`fuzz_cuts`].
const CUT_MAX_BYTES: usize = 64;

/// What a connection's bytes are, told as one text for each thing found, when they arrive in pieces of the
/// lengths that `cuts` gives and then in one last piece.
///
/// # Panics
///
/// When the parser breaks a promise: consumes what it does not have, or waits for more than a line.
pub fn transcript(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) -> Vec<String> {
    let mut parser = Parser::new();
    let mut found = Vec::new();
    let mut start = 0;
    let mut end = 0;
    for cut in cuts.into_iter().chain([bytes.len()]) {
        end = bytes.len().min(end + cut);
        loop {
            let Next { parsed, consumed } = parser.next(&bytes[start..end]);
            assert!(consumed <= end - start, "{consumed} bytes consumed of {}", end - start);
            start += consumed;
            match parsed {
                Parsed::Incomplete => {
                    assert!(end - start <= LINE_MAX_BYTES, "{} bytes carried over", end - start);
                    break;
                }
                Parsed::TooLarge | Parsed::Foreign => {
                    found.push(format!("{parsed:?}"));
                    return found;
                }
                _ => found.push(describe(&parsed)),
            }
            if let Parsed::Request(request) = parsed {
                skip_data_block(&mut parser, &request);
            }
        }
    }
    found
}

fn skip_data_block(parser: &mut Parser, request: &Request<'_>) {
    match request {
        Request::Store(store) => parser.skip(u64::from(store.bytes) + 2),
        Request::Meta(meta) if meta.verb == MetaVerb::Set => parser.skip(u64::from(meta.bytes) + 2),
        _ => {}
    }
}

pub(super) fn describe(parsed: &Parsed<'_>) -> String {
    match parsed {
        Parsed::Request(Request::Meta(meta)) => {
            let flags: Vec<String> = meta.flags().map(|flag| format!("{flag:?}")).collect();
            format!("{:?} {} {:?} {:?} {flags:?}", meta.verb, meta.bytes, meta.key, meta.options())
        }
        _ => format!("{parsed:?}"),
    }
}

/// However the bytes are cut, the same is found in them. The first half of `data` says where to cut the
/// second.
///
/// # Panics
///
/// When something else is found.
pub fn fuzz_cuts(data: &[u8]) {
    let (cuts, bytes) = data.split_at(data.len() / 2);
    let cuts = cuts.iter().map(|&cut| usize::from(cut) % CUT_MAX_BYTES);
    assert_eq!(transcript(bytes, []), transcript(bytes, cuts));
}

/// The quick parser finds what the one for whole lines finds.
///
/// # Panics
///
/// When it finds something else.
pub fn fuzz_quick(data: &[u8]) {
    let mut quick = Parser::new();
    let mut rest = data;
    loop {
        let mut slow = quick;
        let found = slow.next_slowly(rest);
        match quick.next_quickly(rest) {
            Some(quickly) => assert_eq!((quickly.next(), quick), (found, slow)),
            None => quick = slow,
        }
        rest = &rest[found.consumed..];
        match found.parsed {
            Parsed::Incomplete | Parsed::TooLarge | Parsed::Foreign => return,
            Parsed::Request(request) => skip_data_block(&mut quick, &request),
            _ => {}
        }
    }
}
