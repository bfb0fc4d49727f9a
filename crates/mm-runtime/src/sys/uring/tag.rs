//! What names an operation to the kernel and back.

use mm_base::slab::Key;

/// The greatest index of a key that a tag has room for.
pub(crate) const INDEX_MAX: usize = (1 << INDEX_BITS) - 1;

const INDEX_BITS: u32 = 28;

/// The kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Receiving from a stream.
    Receive,
    /// Accepting from a listener.
    Accept,
    /// Waiting for input.
    Readable,
    /// Waiting for room for output.
    Writable,
    /// Waiting for room for the last output of what has been closed.
    Linger,
    /// Waiting for other threads.
    Wake,
    /// A send of the current round.
    Send,
    /// Nothing, behind the sends of a round.
    Fence,
    /// Whatever nobody waits for.
    Cancel,
}

impl Operation {
    const ALL: [Self; 9] = [
        Self::Receive,
        Self::Accept,
        Self::Readable,
        Self::Writable,
        Self::Linger,
        Self::Wake,
        Self::Send,
        Self::Fence,
        Self::Cancel,
    ];

    /// Whether it has a last completion in every case.
    pub(super) fn is_counted(self) -> bool {
        !matches!(self, Self::Send | Self::Cancel)
    }
}

/// An operation and whom it is for. The key has a serial number, so that late news cannot reach a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) operation: Operation,
    pub(crate) key: Key,
}

impl Tag {
    /// A tag; the key's index must be at most [`INDEX_MAX`].
    pub(crate) fn new(operation: Operation, key: Key) -> Self {
        debug_assert!(key.index() <= INDEX_MAX, "{key:?} has no room in a tag");
        Self { operation, key }
    }

    /// A tag for nobody in particular.
    pub(crate) fn none(operation: Operation) -> Self {
        Self { operation, key: Key::reserved(0) }
    }

    #[inline]
    pub(super) fn to_u64(self) -> u64 {
        self.key.to_u64() | (self.operation as u64) << INDEX_BITS
    }

    /// Whether the tag that this number was made of names this operation.
    #[inline]
    pub(super) fn is_of(number: u64, operation: Operation) -> bool {
        (number >> INDEX_BITS) & 0xf == operation as u64
    }

    #[inline]
    pub(super) fn from_u64(number: u64) -> Self {
        let place = (number >> INDEX_BITS) & 0xf;
        let operation = usize::try_from(place).ok().and_then(|place| Operation::ALL.get(place));
        Self {
            operation: operation.copied().unwrap_or(Operation::Cancel),
            key: Key::from_u64(number & !(0xf << INDEX_BITS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_comes_back_as_it_was() {
        for operation in Operation::ALL {
            for number in [0, 7 << 32 | 5, u64::from(u32::MAX) << 32 | u64::try_from(INDEX_MAX).unwrap()] {
                let tag = Tag::new(operation, Key::from_u64(number));
                assert_eq!(Tag::from_u64(tag.to_u64()), tag);
                assert!(Operation::ALL.iter().all(|&it| Tag::is_of(tag.to_u64(), it) == (it == operation)));
            }
        }
    }
}
