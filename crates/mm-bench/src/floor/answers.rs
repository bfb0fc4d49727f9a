//! Answers on their way out: what is large is not copied.

use std::io::IoSlice;

/// Most answers by reference in one output. What comes after them is copied, so that [`PARTS_MAX`] parts are enough.
const SHARED_MAX: usize = 15;

/// Most parts of an output.
pub(crate) const PARTS_MAX: usize = 2 * SHARED_MAX + 1;

/// Bytes, and places among them at which one and the same answer stands that is kept elsewhere: the *shared* answer,
/// which whoever sends these has to hand.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// What is sent from here.
    pub(crate) bytes: Vec<u8>,
    /// How many of `bytes` stand before each shared answer, in order.
    shared: Vec<usize>,
}

impl Answers {
    /// Appends the shared answer.
    pub(super) fn push_shared(&mut self, shared: &[u8]) {
        if self.shared.len() < SHARED_MAX {
            self.shared.push(self.bytes.len());
        } else {
            self.bytes.extend_from_slice(shared);
        }
    }

    /// Whether shared answers are among these.
    pub(crate) fn has_shared(&self) -> bool {
        !self.shared.is_empty()
    }

    /// Bytes in all, with a shared answer of so many.
    pub(crate) fn len(&self, shared_bytes: usize) -> usize {
        self.bytes.len() + self.shared.len() * shared_bytes
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.shared.is_empty()
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.shared.clear();
    }

    /// The parts, in order; some may be empty.
    pub(crate) fn parts<'a>(&'a self, shared: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let mut start = 0;
        let before = self
            .shared
            .iter()
            .flat_map(move |&end| [&self.bytes[std::mem::replace(&mut start, end)..end], shared]);
        before.chain([&self.bytes[self.shared.last().copied().unwrap_or(0)..]])
    }

    /// The parts but for the first `sent` bytes, for a vectored write; gives how many there are.
    pub(super) fn slices<'a>(
        &'a self,
        shared: &'a [u8],
        mut sent: usize,
        room: &mut [IoSlice<'a>; PARTS_MAX],
    ) -> usize {
        let mut count = 0;
        for part in self.parts(shared) {
            let skipped = sent.min(part.len());
            sent -= skipped;
            if skipped < part.len() {
                room[count] = IoSlice::new(&part[skipped..]);
                count += 1;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: &[u8] = b"shared";

    fn answers(count: usize) -> (Answers, Vec<u8>) {
        let (mut answers, mut flat) = (Answers::default(), Vec::new());
        for number in 0..count {
            answers.push_shared(SHARED);
            flat.extend_from_slice(SHARED);
            if number % 3 == 0 {
                answers.bytes.extend_from_slice(b"own");
                flat.extend_from_slice(b"own");
            }
        }
        (answers, flat)
    }

    #[test]
    fn parts_come_in_order_however_much_is_sent() {
        for count in [0, 1, 2, 7, SHARED_MAX, SHARED_MAX + 40] {
            let (answers, flat) = answers(count);
            assert_eq!(answers.len(SHARED.len()), flat.len());
            assert_eq!(answers.is_empty(), flat.is_empty());
            for sent in 0..=flat.len() {
                let mut room = [IoSlice::new(&[]); PARTS_MAX];
                let parts = answers.slices(SHARED, sent, &mut room);
                let rest: Vec<u8> = room[..parts].iter().flat_map(|part| part.to_vec()).collect();
                assert_eq!(rest, flat[sent..], "{count} answers, {sent} bytes sent");
            }
        }
    }
}
