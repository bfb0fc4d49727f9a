//! What a completion of an accept names.
//!
//! Linux 6.6 to 6.8-rc3 lose a connection that is accepted while the completion queue is full: the last completion of
//! that accept then gives what the wait for connections has found, `POLLIN` and its like, most often 195. To close what
//! has that number would be to close anything.

use rustix::event::PollFlags;

/// What tells of a connection in each case.
const FOUND: PollFlags = PollFlags::IN.union(PollFlags::RDNORM);

/// What may come with it.
const BESIDE: PollFlags = PollFlags::PRI
    .union(PollFlags::RDBAND)
    .union(PollFlags::ERR)
    .union(PollFlags::HUP)
    .union(PollFlags::RDHUP);

/// Whether the result of an accept is a descriptor. In a last completion, one that could be what a wait has found is
/// taken for that: if it was a descriptor after all, one connection is lost, and nobody else's is closed.
pub(super) fn is_descriptor(number: i32, more: bool) -> bool {
    let Ok(bits) = u16::try_from(number) else { return number >= 0 };
    let flags = PollFlags::from_bits_retain(bits);
    more || !(flags.contains(FOUND) && FOUND.union(BESIDE).contains(flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_wait_has_found_is_no_descriptor() {
        for found in [0xc3, 0x41, 0x51, 0x20c3] {
            assert!(!is_descriptor(found, false), "{found}");
            assert!(is_descriptor(found, true), "{found}");
        }
        for descriptor in [0, 3, 64, 69, 194, 196, 0x1_0000, 0x1_00c3] {
            assert!(is_descriptor(descriptor, false), "{descriptor}");
        }
        assert!(!is_descriptor(-125, false) && !is_descriptor(-125, true));
    }
}
