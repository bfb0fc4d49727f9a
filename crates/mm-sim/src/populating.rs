//! Memory that the store has given away to be made resident, and that is so after a while, or never.
//!
//! No memory is touched: what matters to the server is when it is told that some is there.

use std::cell::RefCell;
use std::collections::VecDeque;

use mm_store::Untouched;

thread_local! {
    static GIVEN: RefCell<VecDeque<Untouched>> = const { RefCell::new(VecDeque::new()) };
}

/// Takes memory from the store of the run in this thread.
pub(crate) fn take(memory: Untouched) {
    GIVEN.with_borrow_mut(|given| given.push_back(memory));
}

/// The piece that was given away first is done with, if there is one.
pub(crate) fn finish_one() {
    let first = GIVEN.with_borrow_mut(VecDeque::pop_front);
    // Who drops it is done with it.
    drop(first);
}

/// There was no server before.
pub(crate) fn forget() {
    GIVEN.take();
}
