//! Connections that go to another shard or another process.

use mm_proto::memcached::Parser;
use mm_server::Peer;

use super::Connection;
use crate::binary::Wire;
use crate::registry::{Registered, Registry};

/// What is known of a connection that goes from one shard to another.
pub(super) struct Departed {
    parser: Parser,
    wire: Wire,
    registered: Registered,
}

impl From<Connection> for Departed {
    fn from(connection: Connection) -> Self {
        let Connection { parser, wire, registered, .. } = connection;
        Self { parser, wire, registered }
    }
}

impl Departed {
    /// The connection, as `peer` on this shard.
    pub(super) fn arrive(self, peer: &Peer, registry: &Registry) -> Connection {
        let Self { parser, wire, registered } = self;
        let (token, registered) = (peer.token, registry.adopt(registered));
        Connection { parser, wire, prepared: None, incoming: None, long: None, token, registered }
    }
}

impl Connection {
    /// Whether neither a value nor an answer in steps is under way.
    pub(super) fn may_move(&self) -> bool {
        self.incoming.is_none() && self.long.is_none()
    }

    /// What another process has to know of it; `None` in the middle of a request.
    pub(super) fn pack(&self) -> Option<Vec<u8>> {
        let is_between_requests = self.may_move() && self.parser == Parser::new();
        if is_between_requests { self.wire.pack().map(|byte| vec![byte]) } else { None }
    }
}
