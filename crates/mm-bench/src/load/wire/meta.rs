//! memcached's meta protocol: one key per command, so a request of several keys is several commands.

use super::{Answer, Progress, Wire, line, value};
use crate::load::report::Tally;

pub(super) fn write_get(wire: &Wire, ids: &[u64], output: &mut Vec<u8>) {
    for id in ids {
        output.extend_from_slice(b"mg ");
        wire.append_key(*id, output);
        output.extend_from_slice(b" v\r\n");
    }
}

pub(super) fn write_set(wire: &Wire, id: u64, output: &mut Vec<u8>) {
    output.extend_from_slice(b"ms ");
    wire.append_key(id, output);
    output.push(b' ');
    wire.append_value(id, output);
}

/// The answer to the next of the commands.
pub(super) fn read_get(
    wire: &Wire,
    ids: &[u64],
    progress: &mut Progress,
    input: &[u8],
    tally: &mut Tally,
) -> Answer {
    let Some((line, mut used)) = line(input) else { return Answer::Incomplete };
    if let Some(rest) = line.strip_prefix(b"VA ") {
        let word = rest.split(|byte| *byte == b' ').next().unwrap_or(rest);
        match value(input, (line, used), word) {
            Err(other) => return other,
            Ok((value, end)) => {
                wire.count_hit(ids[progress.keys], value, tally);
                used = end;
            }
        }
    } else if line == b"EN" {
        tally.misses += 1;
    } else {
        tally.error(line);
    }
    progress.settle(ids.len(), used)
}
