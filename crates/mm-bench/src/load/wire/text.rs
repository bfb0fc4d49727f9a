//! memcached's classic text protocol.

use super::{Answer, Progress, Wire, line, unexpected, value};
use crate::load::report::Tally;

pub(super) fn write_get(wire: &Wire, ids: &[u64], output: &mut Vec<u8>) {
    output.extend_from_slice(b"get");
    for id in ids {
        output.push(b' ');
        wire.append_key(*id, output);
    }
    output.extend_from_slice(b"\r\n");
}

pub(super) fn write_set(wire: &Wire, id: u64, output: &mut Vec<u8>) {
    output.extend_from_slice(b"set ");
    wire.append_key(id, output);
    output.extend_from_slice(b" 0 0 ");
    wire.append_value(id, output);
}

/// A value, or the end of the answer. Values come in the order of the keys; a key passed over is a miss.
pub(super) fn read_get(
    wire: &Wire,
    ids: &[u64],
    progress: &mut Progress,
    input: &[u8],
    tally: &mut Tally,
) -> Answer {
    let Some((line, used)) = line(input) else { return Answer::Incomplete };
    let Some(rest) = line.strip_prefix(b"VALUE ") else {
        if line == b"END" {
            tally.misses += (ids.len() - progress.hits) as u64;
        } else {
            tally.error(line);
        }
        return Answer::Whole(used);
    };
    let mut words = rest.split(|byte| *byte == b' ');
    let (Some(key), Some(_flags), Some(bytes)) = (words.next(), words.next(), words.next()) else {
        return unexpected(line);
    };
    let (value, used) = match value(input, (line, used), bytes) {
        Err(other) => return other,
        Ok(found) => found,
    };
    if progress.hits == ids.len() {
        return unexpected(line);
    }
    progress.hits += 1;
    if !wire.checked {
        tally.hits += 1;
        return Answer::Part(used);
    }
    let found = wire.key_id(key).and_then(|id| {
        let position = ids[progress.keys..].iter().position(|asked| *asked == id)?;
        Some((id, progress.keys + position))
    });
    let Some((id, position)) = found else {
        return Answer::Broken(format!(
            "a value came for key '{}', which was not asked for",
            key.escape_ascii()
        ));
    };
    progress.keys = position + 1;
    wire.count_hit(id, value, tally);
    Answer::Part(used)
}
