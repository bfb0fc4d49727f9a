//! What a completion of an accept names.
//!
//! Linux 6.6 to 6.8-rc3 lose a connection that is accepted while the completion queue is full: the last completion of
//! that accept then gives what the wait for connections has found, `POLLIN` and its like, most often 195. To close what
//! has that number would be to close anything. All other kernels give the connection, whatever its number.

use io_uring::Parameters;
use rustix::event::PollFlags;

/// What tells of a connection in each case.
const FOUND: PollFlags = PollFlags::IN.union(PollFlags::RDNORM);

/// What may come with it.
const BESIDE: PollFlags = PollFlags::PRI
    .union(PollFlags::RDBAND)
    .union(PollFlags::ERR)
    .union(PollFlags::HUP)
    .union(PollFlags::RDHUP);

/// Whether the kernel may be one that gives something else than a descriptor. They have no bundles, which came with
/// 6.10.
pub(super) fn may_be_events(kernel: &Parameters) -> bool {
    !kernel.is_feature_recvsend_bundle()
}

/// Whether the result of an accept is a descriptor. Where that is not `sure`, as in a last completion of a kernel of
/// which [`may_be_events`] is true, one that could be what a wait has found is taken for that: if it was a descriptor
/// after all, one connection is lost, and nobody else's is closed.
pub(super) fn is_descriptor(number: i32, sure: bool) -> bool {
    let Ok(bits) = u16::try_from(number) else { return number >= 0 };
    let flags = PollFlags::from_bits_retain(bits);
    sure || !(flags.contains(FOUND) && FOUND.union(BESIDE).contains(flags))
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
