//! What can be sent.

use std::io::IoSlice;

use mm_base::buffer::Output;

/// Bytes to be sent, from the front: a connection's [`Output`], or a slice of somebody's memory, which is sent from
/// where it lies.
pub trait Unsent {
    /// How many bytes are left.
    fn left(&self) -> usize;

    /// All of them as one slice, where they are one.
    fn contiguous(&self) -> Option<&[u8]>;

    /// Fills `slices` from the front with what is to be sent next. Returns how many were filled.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize;

    /// The number of bytes that [`gather`](Self::gather) finds for so many slices.
    fn gathered_len(&self, slices: usize) -> usize;

    /// The first `bytes` bytes, of those there are, have been sent.
    fn advance(&mut self, bytes: usize);
}

impl Unsent for Output {
    #[inline]
    fn left(&self) -> usize {
        self.len()
    }

    #[inline]
    fn contiguous(&self) -> Option<&[u8]> {
        Self::contiguous(self)
    }

    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        Self::gather(self, slices)
    }

    #[inline]
    fn gathered_len(&self, slices: usize) -> usize {
        Self::gathered_len(self, slices)
    }

    #[inline]
    fn advance(&mut self, bytes: usize) {
        Self::advance(self, bytes);
    }
}

impl Unsent for &[u8] {
    #[inline]
    fn left(&self) -> usize {
        self.len()
    }

    #[inline]
    fn contiguous(&self) -> Option<&[u8]> {
        Some(self)
    }

    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let [first, ..] = slices else { return 0 };
        *first = IoSlice::new(self);
        1
    }

    #[inline]
    fn gathered_len(&self, slices: usize) -> usize {
        if slices > 0 { self.len() } else { 0 }
    }

    #[inline]
    fn advance(&mut self, bytes: usize) {
        *self = self.get(bytes..).unwrap_or_default();
    }
}

/// Several slices, in order.
#[derive(Clone, Copy, Debug)]
pub struct Pieces<'a> {
    slices: &'a [IoSlice<'a>],
    /// Bytes of the first that have been sent.
    begun: usize,
    left: usize,
}

impl<'a> Pieces<'a> {
    /// All of these.
    #[must_use]
    pub fn new(slices: &'a [IoSlice<'a>]) -> Self {
        Self { slices, begun: 0, left: slices.iter().map(|slice| slice.len()).sum() }
    }
}

impl Unsent for Pieces<'_> {
    fn left(&self) -> usize {
        self.left
    }

    fn contiguous(&self) -> Option<&[u8]> {
        match self.slices {
            [] => Some(&[]),
            [only] => only.get(self.begun..),
            _ => None,
        }
    }

    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut begun = self.begun;
        let mut filled = 0;
        for (slice, place) in self.slices.iter().zip(slices) {
            *place = IoSlice::new(slice.get(begun..).unwrap_or_default());
            begun = 0;
            filled += 1;
        }
        filled
    }

    fn gathered_len(&self, slices: usize) -> usize {
        let gathered = self.slices.iter().take(slices).map(|slice| slice.len()).sum::<usize>();
        gathered.saturating_sub(self.begun)
    }

    fn advance(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
        self.begun += bytes;
        while let [first, others @ ..] = self.slices
            && self.begun >= first.len()
        {
            self.begun -= first.len();
            self.slices = others;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent when so much of what is offered is taken at a time.
    fn send(unsent: &mut impl Unsent, step: usize, slices_max: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while unsent.left() > 0 {
            let mut slices = [IoSlice::new(&[]); 4];
            let count = unsent.gather(&mut slices[..slices_max]);
            let offered: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            assert_eq!(offered.len(), unsent.gathered_len(slices_max));
            if let Some(all) = unsent.contiguous() {
                assert_eq!((all.len(), all), (unsent.left(), &offered[..]));
            }
            let part = step.min(offered.len());
            sent.extend_from_slice(&offered[..part]);
            unsent.advance(part);
        }
        sent
    }

    #[test]
    fn everything_is_sent_once_however_it_is_cut() {
        let bytes: Vec<u8> = (0..20).collect();
        let slices = [&bytes[..0], &bytes[..7], &bytes[7..8], &[], &bytes[8..]].map(IoSlice::new);
        for step in 1..=bytes.len() {
            assert_eq!(send(&mut &bytes[..], step, 4), bytes);
            for slices_max in 2..=4 {
                assert_eq!(send(&mut Pieces::new(&slices), step, slices_max), bytes);
                assert_eq!(send(&mut Pieces::new(&slices[4..]), step, slices_max), bytes[8..]);
            }
        }
        assert_eq!(Pieces::new(&[]).contiguous(), Some(&[][..]));
    }
}
