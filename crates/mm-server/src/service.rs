//! The seam between a server and what it serves.

use std::any::Any;
use std::sync::Arc;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_runtime::driver::Address;

use crate::{Ready, Stats, Token};

/// A protocol bound to an application, as one shard runs it: bytes in, bytes out.
///
/// There is one service per shard, made on the shard's thread by the factory given to the server, and its
/// methods are only called from there. It performs no I/O and never waits; for what takes time it
/// [starts a task](mm_runtime::task::spawn) of its shard. The server drives it as follows.
///
/// - [`connect`](Service::connect) when a connection has been accepted, [`disconnect`](Service::disconnect) when it has
///   ended, for whatever reason, once. One that [may move](Service::may_move) may instead [`depart`](Service::depart)
///   here and [`arrive`](Service::arrive) at another shard's service.
/// - In each turn, for all connections that have input: [`prepare`](Service::prepare) with pass 0 for every one of
///   them, then with pass 1 for every one, then [`run`](Service::run) for every one. The passes let the service overlap
///   the cache misses of requests of different connections; one connection alone is not prepared.
/// - While a connection is in [`Step::ReadInto`]: [`space`](Service::space) and [`filled`](Service::filled).
/// - [`background`](Service::background) at the end of every turn.
///
/// A panic in `run`, `space` or `filled` ends the connection it happened in and nothing else. One in `background` is
/// written to the log, and `background` is not called for a second; where the service is then in no state to go on, it
/// is for the service to end the process.
///
/// # How a connection ends
///
/// - The peer has finished sending: the connection is closed as soon as it waits for input and its output has been
///   sent. A request that was parked or waits for room in the output is answered before. The service is not told; what
///   it has left unconsumed is dropped, and [`disconnect`](Service::disconnect) follows.
/// - [`Step::Close`], a time-out, a limit, an error of the socket. The time-outs count from the last byte that went
///   either way, for parked requests too: the idle time-out is to be longer than those take.
/// - A graceful stop: at once where it waits for input and has consumed all, else when what it has begun has been
///   answered. A parked one is waited for, until the stop's deadline. So a subscriber, which may wait for ever, returns
///   [`Step::Read`], not [`Step::Park`]: a wake has it run all the same.
///
/// # What takes time
///
/// A request that needs a file, say, is parked, and a task of the shard wakes it:
///
/// ```
/// use std::path::PathBuf;
///
/// use mm_runtime::{offload, task};
/// use mm_server::{Ready, Token};
///
/// /// The file's bytes, as a task whose [result](task::JoinHandle::take_result) is there when the connection is run.
/// fn read(path: PathBuf, ready: Ready, token: Token) -> task::JoinHandle<std::io::Result<Vec<u8>>> {
///     task::spawn(async move {
///         let bytes = offload::run(move || std::fs::read(path)).await;
///         ready.wake(token);
///         bytes?
///     })
/// }
/// ```
pub trait Service {
    /// The protocol's state of one connection. Every idle connection has one: keep it small.
    type Connection;

    /// A connection has been accepted. `peer.token` is what to give to [`Ready::wake`] to have it run later.
    fn connect(&mut self, peer: &Peer) -> Self::Connection;

    /// Looks at input that [`run`](Service::run) will get in this turn, without effect on what it will do:
    /// pass 0 hashes the keys and prefetches their buckets, pass 1 prefetches the items found in them.
    ///
    /// Optional. The input may end in the middle of a request, and more may have arrived by the time of the
    /// run. `false`, as by default: the service prepares nothing, and is not shown what it would be shown next.
    fn prepare(&mut self, connection: &mut Self::Connection, input: &[u8], pass: u8) -> bool {
        let _ = (connection, input, pass);
        false
    }

    /// Serves the requests at the start of `input` and writes the responses to `output`.
    ///
    /// It is called when input has arrived, when the output, having been full, has drained, when the space
    /// asked for has been filled, and when the connection has been woken. It must bear being called for no
    /// reason, with the input it has left unconsumed or with none.
    ///
    /// `input` starts with the first byte not yet consumed and holds at most
    /// [`INPUT_BYTES_MAX`](crate::limits::INPUT_BYTES_MAX) bytes. The service consumes every complete request
    /// in it, unless `output.is_full()`, which is to be looked at after each response (and within a long
    /// one): it then returns [`Step::Read`] with what it has consumed, and is run again with the rest,
    /// without a wait for new input, when the peer has taken enough. Where it was within a long response is
    /// the connection's state to remember.
    ///
    /// What is consumed will not be shown again; what is not will, with more behind it. A request longer than
    /// the bound must be consumed in parts; if `input` has reached the bound and nothing of it is consumed,
    /// the server closes the connection.
    fn run(&mut self, connection: &mut Self::Connection, input: &[u8], output: &mut Output, now: Now)
    -> Step;

    /// After [`Step::ReadInto`]: where the next bytes from the peer go. An empty slice says that the space is
    /// full, or that it is no longer wanted, and the service is run again. Never called otherwise.
    fn space<'a>(&'a mut self, connection: &'a mut Self::Connection) -> &'a mut [u8] {
        let _ = connection;
        &mut []
    }

    /// The first `bytes` bytes of the slice last returned by [`space`](Service::space) now hold the peer's
    /// bytes.
    fn filled(&mut self, connection: &mut Self::Connection, bytes: usize) {
        let _ = (connection, bytes);
    }

    /// Whether a connection that is between two requests may go on on another shard. By default none does.
    fn may_move(&self, connection: &Self::Connection) -> bool {
        let _ = connection;
        false
    }

    /// A connection that [may move](Self::may_move) leaves this shard: what its next service has to know of it.
    fn depart(&mut self, connection: Self::Connection) -> Luggage {
        drop(connection);
        Box::new(())
    }

    /// A connection has come from another shard, whose service has given this for it.
    fn arrive(&mut self, peer: &Peer, luggage: Luggage) -> Self::Connection {
        drop(luggage);
        self.connect(peer)
    }

    /// What another service, in another process perhaps, has to know to go on with a connection; `None` while it
    /// is in the
    /// middle of a request, or its kind cannot move. Input and output of the connection move by themselves.
    fn pack(&self, connection: &Self::Connection) -> Option<Vec<u8>> {
        let _ = connection;
        None
    }

    /// Goes on with a connection that another service has [packed](Service::pack); `None` where that is not
    /// possible, and the connection is closed.
    fn unpack(&mut self, peer: &Peer, packed: &[u8]) -> Option<Self::Connection> {
        let _ = (peer, packed);
        None
    }

    /// The connection has ended. Reservations it holds are to be given up here. (Pinned ranges are unpinned
    /// by themselves.)
    fn disconnect(&mut self, connection: Self::Connection) {
        drop(connection);
    }

    /// Whether a request was refused since the last call for want of memory that others hold which have not arrived
    /// whole. The server then closes the connection in [`Step::ReadInto`] that is furthest behind the slowest pace
    /// ([`PACE_BYTES_PER_MS`](crate::limits::PACE_BYTES_PER_MS)), if it is so by a second at least. Called once per
    /// turn.
    fn lacks_memory(&mut self) -> bool {
        false
    }

    /// Does a bounded step (about 100 microseconds at most) of the work that no request asks for, and says
    /// when it wants to be called again. Called at the end of every turn, before the shard sleeps.
    fn background(&mut self, now: Now) -> Background {
        let _ = now;
        Background::Idle
    }
}

/// What goes along with a connection that moves to another shard.
pub type Luggage = Box<dyn Any + Send>;

/// What a connection waits for after a run. `consumed` is the number of bytes of the input that are done
/// with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// For more input, or, if the output is full, for room in it.
    Read {
        /// Bytes of input done with.
        consumed: usize,
    },
    /// For its next turn, which comes at once: it has had its share of this one, though there are requests left in
    /// the input. Whoever waits for something else parks.
    Yield {
        /// Bytes of input done with.
        consumed: usize,
    },
    /// For bytes that belong in the service's own space (a large value on its way into the store). Unconsumed
    /// input is the first of them; the server copies it there, then receives straight into the space.
    ReadInto {
        /// Bytes of input done with, which do not belong in the space.
        consumed: usize,
    },
    /// For [`Ready::wake`]. No input is received until then, nor is it noticed that the peer has gone.
    Park {
        /// Bytes of input done with.
        consumed: usize,
    },
    /// For nothing: the output is sent, then the connection is closed. Where it is not to be sent, such as to a
    /// subscriber that is too slow, [`Output::clear`] comes first.
    Close {
        /// Bytes of input done with. Further input is dropped.
        consumed: usize,
    },
}

/// When [`Service::background`] wants to be called next, if no traffic causes a turn before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// Not before the next turn that something else causes.
    Idle,
    /// At this reading of [`Now::monotonic_ms`].
    At(u64),
    /// At once: there is more to do than one step. Requests still go first.
    More,
}

/// Where a connection comes from.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Names the connection to [`Ready::wake`].
    pub token: Token,
    /// The other end's address.
    pub address: Address,
    /// Which of the server's listeners accepted it, in the order they were given, from nought; those for datagrams
    /// come behind the others.
    pub listener: usize,
    /// Whether it is the conversation of one [datagram](crate::datagrams), which will not be run again.
    pub is_datagram: bool,
}

/// What a service is given when its shard starts.
#[derive(Clone, Debug)]
pub struct Start {
    /// The shard that the service will run on, from nought.
    pub shard: usize,
    /// How many shards there are.
    pub shards: usize,
    /// Why the shard's driver is not the server's; the server's log says so already.
    pub notice: Option<String>,
    /// Makes connections of this shard run.
    pub ready: Ready,
    /// What every shard's connections have done so far, by shard. Readable from each of them.
    pub stats: Arc<[Stats]>,
}
