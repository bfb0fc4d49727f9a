//! The same bytes, cut at every place.

use std::fmt;

use super::Harness;
use crate::Service;

/// Some way of cutting the input changed the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The lengths of the pieces sent before the last.
    pub cuts: Vec<usize>,
    /// What is answered when all is sent at once.
    pub whole: Vec<u8>,
    /// What was answered to the pieces.
    pub pieces: Vec<u8>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cut after {:?}: {:?} instead of {:?}",
            self.cuts,
            String::from_utf8_lossy(&self.pieces),
            String::from_utf8_lossy(&self.whole),
        )
    }
}

impl std::error::Error for Difference {}

/// Sends `input` to a new service at once; then, each time to another new service, in two pieces cut at every
/// place, byte by byte, and with output capped at one byte and read one by one. Returns what is answered,
/// which must always be the same.
///
/// # Errors
/// The first way of cutting that was answered differently.
pub fn every_cut<S: Service>(make: impl Fn() -> Harness<S>, input: &[u8]) -> Result<Vec<u8>, Difference> {
    let whole = answer(make(), input, &[]);
    let bytes = vec![1; input.len().saturating_sub(1)];
    let pairs = (1..input.len()).map(|cut| vec![cut]);
    for cuts in pairs.chain([bytes]) {
        let pieces = answer(make(), input, &cuts);
        if pieces != whole {
            return Err(Difference { cuts, whole, pieces });
        }
    }
    let pieces = slowly(make(), input, whole.len());
    if pieces != whole {
        return Err(Difference { cuts: Vec::new(), whole, pieces });
    }
    Ok(whole)
}

fn answer<S: Service>(mut harness: Harness<S>, mut input: &[u8], cuts: &[usize]) -> Vec<u8> {
    let client = harness.connect();
    let mut answered = Vec::new();
    for cut in cuts {
        let (piece, rest) = input.split_at((*cut).min(input.len()));
        answered.extend(harness.exchange(client, piece));
        input = rest;
    }
    answered.extend(harness.exchange(client, input));
    answered
}

/// The answer to a peer that reads a byte at a time from an output with room for one.
fn slowly<S: Service>(mut harness: Harness<S>, input: &[u8], expected: usize) -> Vec<u8> {
    harness.set_output_cap(1);
    let client = harness.connect();
    harness.send(client, input);
    let mut answered = Vec::new();
    while answered.len() <= expected {
        let piece = harness.receive(client, 1);
        if piece.is_empty() {
            break;
        }
        answered.extend(piece);
    }
    answered
}
