//! Redis' protocol (RESP2): GET, MGET, SET.

use super::{Answer, Progress, Wire, length, line, unexpected, value};
use crate::load::report::Tally;
use crate::load::values::append_decimal;

pub(super) fn write_get(wire: &Wire, ids: &[u64], output: &mut Vec<u8>) {
    output.push(b'*');
    append_decimal(ids.len() as u64 + 1, output);
    output.extend_from_slice(if ids.len() == 1 { b"\r\n$3\r\nGET" } else { b"\r\n$4\r\nMGET" });
    for id in ids {
        append_bulk_key(wire, *id, output);
    }
    output.extend_from_slice(b"\r\n");
}

pub(super) fn write_set(wire: &Wire, id: u64, output: &mut Vec<u8>) {
    output.extend_from_slice(b"*3\r\n$3\r\nSET");
    append_bulk_key(wire, id, output);
    output.extend_from_slice(b"\r\n$");
    wire.append_value(id, output);
}

/// A key as a bulk string, with an end of line before it and none behind.
fn append_bulk_key(wire: &Wire, id: u64, output: &mut Vec<u8>) {
    output.extend_from_slice(b"\r\n$");
    let digits = id.checked_ilog10().unwrap_or(0) as usize + 1;
    append_decimal((wire.prefix.len() + digits) as u64, output);
    output.extend_from_slice(b"\r\n");
    wire.append_key(id, output);
}

/// The array's head where several keys were asked for, then a bulk string or null per key.
pub(super) fn read_get(
    wire: &Wire,
    ids: &[u64],
    progress: &mut Progress,
    input: &[u8],
    tally: &mut Tally,
) -> Answer {
    let Some((line, mut used)) = line(input) else { return Answer::Incomplete };
    match (line.split_first(), progress.begun || ids.len() == 1) {
        (Some((b'-', _)), _) => {
            tally.error(line);
            return Answer::Whole(used);
        }
        (Some((b'*', count)), false) if length(count) == Some(ids.len()) => {
            progress.begun = true;
            return Answer::Part(used);
        }
        (Some((b'$', b"-1")), true) => tally.misses += 1,
        (Some((b'$', bytes)), true) => match value(input, (line, used), bytes) {
            Err(other) => return other,
            Ok((value, end)) => {
                wire.count_hit(ids[progress.keys], value, tally);
                used = end;
            }
        },
        _ => return unexpected(line),
    }
    progress.settle(ids.len(), used)
}
