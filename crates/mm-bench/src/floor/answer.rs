//! What a floor answers, apart from how the bytes travel.

use memchr::{memchr, memrchr};

use super::answers::Answers;
use crate::limits::{CARRY_BYTES, SHARED_BYTES};

/// Turns input into answers without keeping anything.
pub(super) trait Answer {
    /// Answers every whole request at the start of `input` by appending to `output`; gives the bytes used up.
    fn answer(&self, input: &[u8], output: &mut Answers) -> usize;

    /// The answer that outputs refer to; empty if they do not.
    fn shared(&self) -> &[u8] {
        &[]
    }
}

/// Sends back what came in.
pub(super) struct Echo;

impl Answer for Echo {
    fn answer(&self, input: &[u8], output: &mut Answers) -> usize {
        output.bytes.extend_from_slice(input);
        input.len()
    }
}

/// Answers memcached's text commands: a hit for every key of a retrieval, `STORED` for a storage command.
///
/// Only as much is looked at as decides how long a request is: its first letter, its spaces and, for a storage
/// command, its last number.
pub(super) struct Canned {
    hit: Vec<u8>,
    /// A large hit is sent from where it is, as a server would send it from its store.
    is_shared: bool,
}

impl Canned {
    /// Answers whose values are `value_bytes` long.
    pub(super) fn new(value_bytes: usize) -> Self {
        let mut hit = format!("VALUE key:123456 0 {value_bytes}\r\n").into_bytes();
        hit.resize(hit.len() + value_bytes, b'a');
        hit.extend_from_slice(b"\r\n");
        Self { is_shared: hit.len() >= SHARED_BYTES, hit }
    }

    fn hit(&self, output: &mut Answers) {
        if self.is_shared {
            output.push_shared(&self.hit);
        } else {
            output.bytes.extend_from_slice(&self.hit);
        }
    }
}

impl Answer for Canned {
    fn shared(&self) -> &[u8] {
        if self.is_shared { &self.hit } else { &[] }
    }

    fn answer(&self, input: &[u8], output: &mut Answers) -> usize {
        let mut rest = input;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            if line.first() == Some(&b's') {
                let block = value_length(line) + b"\r\n".len();
                let Some(next) = after.get(block..) else { break };
                output.bytes.extend_from_slice(b"STORED\r\n");
                rest = next;
                continue;
            }
            for byte in line {
                if *byte == b' ' {
                    self.hit(output);
                }
            }
            output.bytes.extend_from_slice(b"END\r\n");
            rest = after;
        }
        input.len() - rest.len()
    }
}

/// The number that ends a storage command's line; 0 if there is none.
fn value_length(line: &[u8]) -> usize {
    let start = memrchr(b' ', line).map_or(0, |space| space + 1);
    let digits = line[start..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_usize, |value, digit| value.saturating_mul(10).saturating_add(usize::from(digit - b'0')))
}

/// The cut request a connection keeps between two reads.
#[derive(Default)]
pub(super) struct Carry {
    bytes: Vec<u8>,
}

impl Carry {
    /// Answers what has arrived, keeping what is not yet whole. False: the client sent more than a floor keeps.
    pub(super) fn answer(&mut self, answer: &impl Answer, input: &[u8], output: &mut Answers) -> bool {
        if self.bytes.is_empty() {
            let used = answer.answer(input, output);
            self.bytes.extend_from_slice(&input[used..]);
        } else {
            self.bytes.extend_from_slice(input);
            let used = answer.answer(&self.bytes, output);
            self.bytes.drain(..used);
        }
        self.bytes.len() <= CARRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: &[u8] = b"get a b\r\nset key:7 0 0 5\r\nhello\r\nget c\r\n";
    const ANSWERS: &[u8] = b"VALUE key:123456 0 2\r\naa\r\nVALUE key:123456 0 2\r\naa\r\nEND\r\nSTORED\r\n\
        VALUE key:123456 0 2\r\naa\r\nEND\r\n";

    #[test]
    fn a_hit_per_key_and_stored_per_set() {
        let mut output = Answers::default();
        assert_eq!(Canned::new(2).answer(REQUESTS, &mut output), REQUESTS.len());
        assert_eq!(output.bytes, ANSWERS);
    }

    #[test]
    fn every_cut_gives_the_same_answers() {
        let canned = Canned::new(2);
        for cut in 0..=REQUESTS.len() {
            let (mut carry, mut output) = (Carry::default(), Answers::default());
            assert!(carry.answer(&canned, &REQUESTS[..cut], &mut output));
            assert!(carry.answer(&canned, &REQUESTS[cut..], &mut output));
            assert_eq!(output.bytes, ANSWERS, "cut at {cut}");
        }
    }

    #[test]
    fn a_large_hit_is_not_copied() {
        let (canned, mut output) = (Canned::new(SHARED_BYTES), Answers::default());
        canned.answer(REQUESTS, &mut output);
        assert_eq!(output.bytes, b"END\r\nSTORED\r\nEND\r\n");
        let hit = format!("VALUE key:123456 0 16384\r\n{}\r\n", "a".repeat(SHARED_BYTES));
        let parts: Vec<u8> = output.parts(canned.shared()).flatten().copied().collect();
        assert_eq!(parts, format!("{hit}{hit}END\r\nSTORED\r\n{hit}END\r\n").into_bytes());
    }
}
