//! Requests that are put off because other shards may be reading all memory.

use mm_proto::memcached::Parser;
use mm_server::{Step, Token};
use mm_store::Sharing;

use crate::service::{Connection, Memcached};

impl<S: Sharing> Memcached<S> {
    /// Puts a request off until shards have rested that may be reading all memory.
    #[cold]
    pub(crate) fn park(&mut self, token: Token, consumed: usize) -> Step {
        self.parked.push(token);
        Step::Park { consumed }
    }

    /// The same for what follows byte `end` of the input, where the parser is this one.
    pub(crate) fn park_after(&mut self, connection: &mut Connection, (end, parser): (usize, Parser)) -> Step {
        connection.parser = parser;
        self.park(connection.token, end)
    }

    /// Has the connections run again whose requests were put off, if they need not be any more. False if they do.
    pub(crate) fn wake_parked(&mut self) -> bool {
        if !S::IS_SHARED || self.parked.is_empty() {
            return true;
        }
        let is_over = !self.store.must_wait();
        if is_over {
            self.parked.drain(..).for_each(|token| self.ready.wake(token));
        }
        is_over
    }
}
