//! The service under test, with everything it is given and answers shown to the world.

use std::cell::Cell;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::rc::Rc;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_memcached::Memcached;
use mm_server::{Address, Background, Luggage, Peer, Service, Step};
use mm_store::{Sharing, Stats};

use crate::limits::GATHER_MAX;
use crate::model::Counted;
use crate::stream::Phase;
use crate::world::{Done, Ran, Shared, port_of};

/// [`Memcached`] under observation.
pub(crate) struct Checked<S: Sharing> {
    inner: Memcached<S>,
    world: Shared,
    shard: usize,
    output: Vec<u8>,
    /// The connection that has been written down for another server, and is about to leave.
    packed: Cell<Option<usize>>,
}

/// A connection, and what names it.
pub(crate) struct Connection {
    inner: mm_memcached::Connection,
    of: Of,
}

/// Whose a connection is.
enum Of {
    /// That of the client with this port.
    Stream(usize),
    /// A datagram's.
    Letter(SocketAddr, Done),
}

impl<S: Sharing> Checked<S> {
    pub(crate) fn new(inner: Memcached<S>, world: &Shared, shard: usize) -> Self {
        Self { inner, world: Rc::clone(world), shard, output: Vec::new(), packed: Cell::new(None) }
    }

    pub(crate) fn inner(&self) -> &Memcached<S> {
        &self.inner
    }

    /// Shows the world what the store has counted by now. Returns how much that is over all servers so far.
    fn count(&self) -> Counted {
        let Stats { evicted, refused, moved, .. } = self.inner.store().stats();
        self.world.borrow_mut().counted.see(Counted { evicted, refused, moved })
    }
}

impl<S: Sharing> Service for Checked<S> {
    type Connection = Connection;

    fn connect(&mut self, peer: &Peer) -> Connection {
        let inner = self.inner.connect(peer);
        if let (true, Address::Ip(from)) = (peer.is_datagram, peer.address) {
            return Connection { inner, of: Of::Letter(from, Done::default()) };
        }
        let port = port_of(peer.address);
        if let Some(stream) = self.world.borrow_mut().stream(port) {
            stream.phase = Phase::Served;
        }
        Connection { inner, of: Of::Stream(port) }
    }

    fn prepare(&mut self, connection: &mut Connection, input: &[u8], pass: u8) -> bool {
        self.inner.prepare(&mut connection.inner, input, pass)
    }

    fn run(&mut self, connection: &mut Connection, input: &[u8], output: &mut Output, now: Now) -> Step {
        let counted = self.count();
        let before = output.len();
        let step = self.inner.run(&mut connection.inner, input, output, now);
        self.count();
        let (Step::Read { consumed }
        | Step::ReadInto { consumed }
        | Step::Park { consumed }
        | Step::Yield { consumed }
        | Step::Close { consumed }) = step;
        self.output.clear();
        let mut world = self.world.borrow_mut();
        if !copy_from(output, before, &mut self.output) {
            world.fail(format!("an output has more than {GATHER_MAX} pieces"));
        }
        let ran = Ran { shard: self.shard, now, input: &input[..consumed], output: &self.output, counted };
        match &mut connection.of {
            Of::Stream(port) => world.ran(*port, &ran),
            Of::Letter(from, done) => world.ran_letter((*from, done), &ran),
        }
        step
    }

    fn space<'a>(&'a mut self, connection: &'a mut Connection) -> &'a mut [u8] {
        self.inner.space(&mut connection.inner)
    }

    fn filled(&mut self, connection: &mut Connection, bytes: usize) {
        self.inner.filled(&mut connection.inner, bytes);
        let mut world = self.world.borrow_mut();
        world.passed += bytes as u64;
        match connection.of {
            Of::Stream(port) => world.stream(port).map_or((), |stream| stream.skip(bytes)),
            Of::Letter(..) => world.fail("a datagram's value was received in parts".to_owned()),
        }
    }

    fn lacks_memory(&mut self) -> bool {
        self.inner.lacks_memory()
    }

    fn may_move(&self, connection: &Connection) -> bool {
        self.inner.may_move(&connection.inner)
    }

    fn depart(&mut self, connection: Connection) -> Luggage {
        Box::new((self.inner.depart(connection.inner), connection.of))
    }

    fn arrive(&mut self, peer: &Peer, luggage: Luggage) -> Connection {
        let Ok(luggage) = luggage.downcast::<(Luggage, Of)>() else { return self.connect(peer) };
        let (luggage, of) = *luggage;
        Connection { inner: self.inner.arrive(peer, luggage), of }
    }

    fn pack(&self, connection: &Connection) -> Option<Vec<u8>> {
        let Of::Stream(port) = connection.of else { return None };
        let mut packed = self.inner.pack(&connection.inner)?;
        packed.extend(port.to_ne_bytes());
        self.packed.set(Some(port));
        Some(packed)
    }

    fn unpack(&mut self, peer: &Peer, packed: &[u8]) -> Option<Connection> {
        let (packed, &port) = packed.split_last_chunk()?;
        let inner = self.inner.unpack(peer, packed)?;
        Some(Connection { inner, of: Of::Stream(usize::from_ne_bytes(port)) })
    }

    fn disconnect(&mut self, connection: Connection) {
        self.inner.disconnect(connection.inner);
        let packed = self.packed.take();
        match connection.of {
            Of::Stream(port) if packed == Some(port) => {}
            Of::Stream(port) => self.world.borrow_mut().ended(port),
            Of::Letter(from, done) => self.world.borrow_mut().answered(from, done),
        }
    }

    fn background(&mut self, now: Now) -> Background {
        let next = self.inner.background(now);
        self.count();
        let mut world = self.world.borrow_mut();
        world.moment(now);
        next
    }
}

/// Appends what `output` holds from byte `start` on. False where it is in too many pieces.
fn copy_from(output: &Output, start: usize, bytes: &mut Vec<u8>) -> bool {
    let mut slices = [IoSlice::new(&[]); GATHER_MAX];
    let count = output.gather(&mut slices);
    let (mut skipped, mut gathered) = (0, 0);
    for slice in &slices[..count] {
        let skip = slice.len().min(start - skipped);
        bytes.extend_from_slice(&slice[skip..]);
        skipped += skip;
        gathered += slice.len();
    }
    gathered == output.len()
}
