//! The meta commands and their flags.

use super::*;

fn meta<'a>(verb: MetaVerb, bytes: u32, flags: &'a str) -> Parsed<'a> {
    Parsed::Request(Request::Meta(Meta { key: b"k", flags: flags.as_bytes(), verb, bytes }))
}

#[test]
fn the_commands() {
    check(
        b"mn\r\nmn anything\r\n",
        &[Parsed::Request(Request::MetaNoop), Parsed::Request(Request::MetaNoop)],
    );
    for (name, verb) in [
        ("mg", MetaVerb::Get),
        ("md", MetaVerb::Delete),
        ("ma", MetaVerb::Arithmetic),
        ("me", MetaVerb::Debug),
    ] {
        check(
            format!("{name} k\r\n{name} k v\n{name}  k  v  T10  Oab\r\n").as_bytes(),
            &[meta(verb, 0, ""), meta(verb, 0, "v"), meta(verb, 0, "v T10 Oab")],
        );
        check(
            format!("{name}\r\n{name}  \r\nversion\r\n").as_bytes(),
            &[malformed(lines::BAD_FORMAT), malformed(lines::BAD_FORMAT), VERSION],
        );
    }
    check(
        b"ms k 2\r\nhi\r\nms k 0 T0 c\n\r\nversion\r\n",
        &[meta(MetaVerb::Set, 2, ""), meta(MetaVerb::Set, 0, "T0 c"), VERSION],
    );
    check(b" mg k v\r\n", &[Parsed::Unsupported]);
}

#[test]
fn bad_lengths_of_ms_are_not_skipped_and_good_ones_are() {
    for line in ["ms k", "ms k -1", "ms k x", "ms k 2147483646", "ms k S8", "ms k 8 T0 !x", "ms k 8 \x7f"] {
        check(format!("{line}\r\nversion\r\n").as_bytes(), &[malformed(lines::BAD_FORMAT), VERSION]);
    }
    let long = "k".repeat(251);
    check(
        format!("ms {long} 8\r\nversion\n\r\nversion\r\n").as_bytes(),
        &[malformed(lines::BAD_FORMAT), VERSION],
    );
    check(
        format!("mg {long} v\r\nmd {long}\r\nma {long}\r\n").as_bytes(),
        &[
            malformed(lines::BAD_FORMAT),
            malformed(lines::BAD_FORMAT),
            malformed(lines::META_INVALID_OR_DUPLICATE),
        ],
    );
}

fn options(verb: MetaVerb, flags: &str) -> Result<Options, &'static [u8]> {
    Meta { key: b"k", flags: flags.as_bytes(), verb, bytes: 0 }.options()
}

#[test]
fn every_flag_is_read() {
    let every = "b c f h k l q s t u v x C1 D2 E3 F4 I J5";
    let found = options(MetaVerb::Get, every).unwrap();
    for letter in *b"bcfhklqstuvxCDEFIJ" {
        assert!(found.has(letter), "{}", char::from(letter));
    }
    assert!(!found.has(b'T') && !found.has(b'z') && !found.has(b' '));
    let numbers = (found.cas, found.delta, found.new_cas, found.client_flags, found.initial);
    assert_eq!(numbers, (1, 2, 3, 4, 5));
    let found = options(MetaVerb::Get, " L9 Mset N-1  Ofoo Pany R30 T60").unwrap();
    let numbers = (found.mode, found.vivify_exptime, found.recache_exptime, found.exptime, found.delta);
    assert_eq!(numbers, (b's', -1, 30, 60, 1));
}

#[test]
fn me_looks_for_a_key_in_base64_and_for_nothing_else() {
    for flags in [" b", "  b v v", " b !"] {
        let found = options(MetaVerb::Debug, flags).unwrap();
        assert!(found.has(b'b') && !found.has(b'v'), "{flags:?}");
    }
    for flags in ["", " v", "  v", " v b", " bx", " X", " Tx", " !", " v v"] {
        assert_eq!(options(MetaVerb::Debug, flags), options(MetaVerb::Debug, ""), "{flags:?}");
    }
}

#[test]
fn faults_of_flags() {
    let cases: [(&str, &[u8]); 25] = [
        ("v v", lines::META_DUPLICATE_FLAG),
        ("T1 v T2", lines::META_DUPLICATE_FLAG),
        ("S", lines::META_INVALID_FLAG),
        ("Z", lines::META_INVALID_FLAG),
        ("m", lines::META_INVALID_FLAG),
        ("[", lines::META_INVALID_FLAG),
        ("5", lines::META_INVALID_FLAG),
        ("v !", lines::BAD_FORMAT),
        ("v v !", lines::BAD_FORMAT),
        ("\x01", lines::BAD_FORMAT),
        ("T", lines::META_BAD_TOKEN),
        ("Tx", lines::META_BAD_TOKEN),
        ("T+1", lines::META_BAD_TOKEN),
        ("N", lines::META_BAD_TOKEN),
        ("R1a", lines::META_BAD_TOKEN),
        ("C", lines::META_BAD_TOKEN),
        ("C-1", lines::META_BAD_TOKEN),
        ("E", lines::META_BAD_TOKEN),
        ("J", lines::META_BAD_INITIAL),
        ("D-1", lines::META_BAD_DELTA),
        ("F", lines::BAD_FORMAT),
        ("F-1", lines::BAD_FORMAT),
        ("F4294967296", lines::BAD_FORMAT),
        ("O01234567890123456789012345678901", lines::META_OPAQUE_TOO_LONG),
        ("Tx D-1", lines::META_BAD_DELTA),
    ];
    for (flags, line) in cases {
        assert_eq!(options(MetaVerb::Get, flags), Err(line), "{flags:?}");
        let for_ma = match line {
            lines::BAD_FORMAT if !flags.starts_with('F') => line,
            lines::META_OPAQUE_TOO_LONG => line,
            _ => lines::META_INVALID_OR_DUPLICATE,
        };
        assert_eq!(options(MetaVerb::Arithmetic, flags), Err(for_ma), "ma {flags:?}");
    }
    assert!(options(MetaVerb::Get, "O0123456789012345678901234567890").is_ok());
    assert!(options(MetaVerb::Get, "O").is_ok());
    let most = "b c f h k l q s t u v x I L P D1 J1 F1";
    assert!(options(MetaVerb::Get, most).is_ok());
    assert_eq!(options(MetaVerb::Set, most), Err(lines::META_TOO_MANY_FLAGS));
    let more = format!("{most} v");
    assert_eq!(options(MetaVerb::Get, &more), Err(lines::META_TOO_MANY_FLAGS));
}
