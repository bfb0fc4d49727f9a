//! No protocol: the server must send back what it was sent.

use super::{Answer, Wire};
use crate::load::report::Tally;

pub(super) fn read(wire: &Wire, id: u64, input: &[u8], tally: &mut Tally) -> Answer {
    let length = wire.values.length(id);
    let Some(value) = input.get(..length) else { return Answer::Incomplete };
    wire.count_hit(id, value, tally);
    Answer::Whole(length)
}
