//! Every answer a server can give, whole and cut at every place.

use super::{Answer, Progress, Protocol, Question, Wire};
use crate::load::Sizes;
use crate::load::report::Tally;
use crate::load::values::Values;

fn wire(protocol: Protocol) -> Wire {
    Wire::new(protocol, "k:", Values::new(Sizes::fixed(5)), true)
}

fn value(id: u64) -> Vec<u8> {
    let mut value = Vec::new();
    Values::new(Sizes::fixed(5)).write(id, &mut value);
    value
}

/// Reads one answer that arrives a byte more at a time; gives the count and how it ended.
fn read(protocol: Protocol, question: Question<'_>, input: &[u8]) -> (Tally, Result<usize, String>) {
    let (wire, mut tally, mut progress) = (wire(protocol), Tally::default(), Progress::default());
    let (mut start, mut end) = (0, 0);
    while end <= input.len() {
        match wire.read(question, &mut progress, &input[start..end], &mut tally) {
            Answer::Incomplete => end += 1,
            Answer::Part(used) => start += used,
            Answer::Whole(used) => return (tally, Ok(start + used)),
            Answer::Broken(complaint) => return (tally, Err(complaint)),
        }
    }
    (tally, Err("incomplete".to_owned()))
}

fn answer(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn text_hits_and_misses_are_told_apart_by_key() {
    let input =
        answer(&[b"VALUE k:2 0 5\r\n", &value(2), b"\r\nVALUE k:4 0 5\r\n", &value(4), b"\r\nEND\r\n"]);
    let (tally, end) = read(Protocol::Text, Question::Get(&[1, 2, 3, 4, 5]), &input);
    assert_eq!(end, Ok(input.len()));
    assert_eq!((tally.hits, tally.misses, tally.wrong, tally.errors), (2, 3, 0, 0));
}

#[test]
fn a_value_of_another_key_is_wrong_and_an_unasked_key_breaks() {
    let input = answer(&[b"VALUE k:2 0 5\r\n", &value(3), b"\r\nEND\r\n"]);
    let (tally, end) = read(Protocol::Text, Question::Get(&[2]), &input);
    assert_eq!(end, Ok(input.len()));
    assert_eq!(tally.wrong, 1);
    let (_, end) = read(Protocol::Text, Question::Get(&[1]), &input);
    assert!(end.unwrap_err().contains("k:2"));
}

#[test]
fn values_out_of_order_break() {
    let input =
        answer(&[b"VALUE k:2 0 5\r\n", &value(2), b"\r\nVALUE k:1 0 5\r\n", &value(1), b"\r\nEND\r\n"]);
    let (_, end) = read(Protocol::Text, Question::Get(&[1, 2]), &input);
    assert!(end.unwrap_err().contains("k:1"));
}

#[test]
fn server_errors_are_counted_and_kept() {
    for (protocol, question) in [
        (Protocol::Text, Question::Set),
        (Protocol::Text, Question::Get(&[1])),
        (Protocol::Meta, Question::Set),
        (Protocol::Meta, Question::Get(&[1])),
    ] {
        let input = b"SERVER_ERROR out of memory storing object\r\n";
        let (tally, end) = read(protocol, question, input);
        assert_eq!(end, Ok(input.len()));
        assert_eq!(tally.errors, 1);
        assert_eq!(tally.first_error.as_deref(), Some("SERVER_ERROR out of memory storing object"));
    }
    let (tally, _) = read(Protocol::Resp, Question::Get(&[1, 2]), b"-OOM command not allowed\r\n");
    assert_eq!(tally.errors, 1);
}

#[test]
fn meta_commands_answer_one_by_one() {
    let input = answer(&[b"VA 5\r\n", &value(7), b"\r\nEN\r\n"]);
    let (tally, end) = read(Protocol::Meta, Question::Get(&[7, 8]), &input);
    assert_eq!(end, Ok(input.len()));
    assert_eq!((tally.hits, tally.misses, tally.wrong), (1, 1, 0));
    assert_eq!(read(Protocol::Meta, Question::Set, b"HD\r\n").0.sets, 1);
}

#[test]
fn resp_arrays_and_bulk_strings() {
    let input = answer(&[b"*2\r\n$5\r\n", &value(7), b"\r\n$-1\r\n"]);
    let (tally, end) = read(Protocol::Resp, Question::Get(&[7, 8]), &input);
    assert_eq!(end, Ok(input.len()));
    assert_eq!((tally.hits, tally.misses, tally.wrong), (1, 1, 0));
    let input = answer(&[b"$5\r\n", &value(7), b"\r\n"]);
    let (tally, end) = read(Protocol::Resp, Question::Get(&[7]), &input);
    assert_eq!((end, tally.hits), (Ok(input.len()), 1));
}

#[test]
fn requests_have_the_form_the_protocols_ask_for() {
    let stored = value(12);
    let cases: [(Protocol, &[u8], Vec<u8>); 3] = [
        (Protocol::Text, b"get k:12 k:3\r\n", answer(&[b"set k:12 0 0 5\r\n", &stored, b"\r\n"])),
        (Protocol::Meta, b"mg k:12 v\r\nmg k:3 v\r\n", answer(&[b"ms k:12 5\r\n", &stored, b"\r\n"])),
        (
            Protocol::Resp,
            b"*3\r\n$4\r\nMGET\r\n$4\r\nk:12\r\n$3\r\nk:3\r\n",
            answer(&[b"*3\r\n$3\r\nSET\r\n$4\r\nk:12\r\n$5\r\n", &stored, b"\r\n"]),
        ),
    ];
    for (protocol, get, set) in cases {
        let (wire, mut output) = (wire(protocol), Vec::new());
        wire.write_get(&[12, 3], &mut output);
        assert_eq!(output.escape_ascii().to_string(), get.escape_ascii().to_string());
        output.clear();
        wire.write_set(12, &mut output);
        assert_eq!(output.escape_ascii().to_string(), set.escape_ascii().to_string());
    }
}
