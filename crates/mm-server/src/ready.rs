//! How a service has a connection run that no input came for.

use std::cell::RefCell;
use std::rc::Rc;

use mm_base::slab::Key;

use crate::limits::WAKES_MAX;

/// Names a connection of one shard. Stays harmless after the connection has ended: it then names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub(crate) Key);

impl Token {
    /// The token as a number, for logs and statistics. Unique among the open connections of a shard.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        self.0.to_u64()
    }
}

/// Makes connections of the service's own shard run: parked ones, and those that shall send without having
/// been asked.
///
/// Given to the service at its start; cheap to clone; stays on its thread. A wake is a hint, not a message:
/// several of them may cause one run, and a run may come without any.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    wakes: Rc<RefCell<Wakes>>,
}

/// The connections to be run.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    /// In the order of their first wake.
    pub(crate) tokens: Vec<Token>,
    /// More were woken than can be queued: run all.
    pub(crate) all: bool,
}

impl Ready {
    /// Has the connection run in this turn or the next, whatever it waits for. Does nothing once it has
    /// ended.
    pub fn wake(&self, token: Token) {
        let mut wakes = self.wakes.borrow_mut();
        if wakes.tokens.last() == Some(&token) {
            return;
        }
        if wakes.tokens.len() < WAKES_MAX {
            wakes.tokens.push(token);
        } else {
            wakes.all = true;
        }
    }

    /// Whether a connection waits to be run.
    pub(crate) fn is_empty(&self) -> bool {
        let wakes = self.wakes.borrow();
        wakes.tokens.is_empty() && !wakes.all
    }

    /// Exchanges the queue for an empty one, whose memory is thus used again.
    pub(crate) fn swap(&self, with: &mut Wakes) {
        with.tokens.clear();
        with.all = false;
        std::mem::swap(&mut *self.wakes.borrow_mut(), with);
    }
}
