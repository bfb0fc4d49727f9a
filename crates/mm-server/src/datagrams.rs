//! A service over datagrams: each datagram is a conversation of its own.
//!
//! Somebody who sends a datagram gets a connection for it: the service is given what is in it, what it answers goes
//! back, and the connection ends. Nothing of a datagram is left for the next one. What the service would still wait for
//! (more input, a wake) does not come. How a protocol wraps its bytes for this is its [`Framing`].
//!
//! The sender's address may be forged, so the size of a reply is bounded, and those who cannot be clients get none: an
//! answer to another server could be answered by it, and so on for ever.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mm_base::buffer::Output;

use crate::connection::{Context, Machine, Want};
use crate::limits::INPUT_BYTES_MAX;
use crate::{Peer, Service};

/// How a protocol's bytes travel in datagrams.
pub trait Framing: Send + Sync {
    /// What is in a datagram: a mark by which the client will know the reply, and the request. `None` for a datagram
    /// that gets no reply.
    fn open<'a>(&self, datagram: &'a [u8]) -> Option<(u64, &'a [u8])>;

    /// Bytes at the start of each datagram of a reply that [`seal`](Framing::seal) fills.
    fn header_bytes(&self) -> usize;

    /// Fills the header of a part of a reply.
    fn seal(&self, part: &Part, header: &mut [u8]);

    /// Bytes of a datagram of a reply at most, its header included.
    fn datagram_bytes_max(&self) -> usize;

    /// Bytes of a reply at most, over all its datagrams, without their headers. The output cap bounds it too.
    fn reply_bytes_max(&self) -> usize;

    /// Writes what is answered to `request` instead of a reply that would be longer. Nothing, unless it says so.
    fn refuse(&self, request: &[u8], output: &mut Output) {
        let _ = (request, output);
    }
}

/// One datagram of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The mark of the request.
    pub mark: u64,
    /// Which of the reply's datagrams it is, from nought.
    pub number: u16,
    /// How many there are.
    pub total: u16,
}

/// A request in a datagram and its reply in another, as they are.
#[derive(Clone, Copy, Debug)]
pub struct Bare {
    /// Bytes of a reply at most.
    pub bytes_max: usize,
}

impl Framing for Bare {
    fn open<'a>(&self, datagram: &'a [u8]) -> Option<(u64, &'a [u8])> {
        Some((0, datagram))
    }

    fn header_bytes(&self) -> usize {
        0
    }

    fn seal(&self, _part: &Part, _header: &mut [u8]) {}

    fn datagram_bytes_max(&self) -> usize {
        self.bytes_max
    }

    fn reply_bytes_max(&self) -> usize {
        self.bytes_max
    }
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handled {
    /// It was not looked at any further.
    pub(crate) refused: bool,
    /// The service has panicked.
    pub(crate) panicked: bool,
    /// Datagrams of the reply that were sent, and their bytes.
    pub(crate) sent: u64,
    pub(crate) sent_bytes: u64,
    /// Datagrams of the reply that could not be sent.
    pub(crate) unsent: u64,
}

/// Whether this may be a client. A port that belongs to a well-known service does not, nor does our own: both may be
/// forged to have two servers answer each other.
pub(crate) fn is_plausible(from: SocketAddr, own_port: u16) -> bool {
    from.port() >= WELL_KNOWN_PORTS && from.port() != own_port
}

/// Ports below this are not given to clients.
const WELL_KNOWN_PORTS: u16 = 1024;

/// What a datagram is handled with.
pub(crate) struct Desk<'a> {
    pub(crate) framing: &'a dyn Framing,
    pub(crate) context: Context<'a>,
    /// Empty, before and after.
    pub(crate) output: &'a mut Output,
    /// Room for one datagram.
    pub(crate) scratch: &'a mut Vec<u8>,
}

/// Has the service answer a datagram, and sends the reply. `send` says whether it could.
pub(crate) fn handle<S: Service>(
    service: &mut S,
    peer: &Peer,
    datagram: &[u8],
    desk: &mut Desk<'_>,
    mut send: impl FnMut(&[u8]) -> bool,
) -> Handled {
    let mut handled = Handled::default();
    let Some((mark, request)) = desk.framing.open(datagram) else {
        return Handled { refused: true, ..handled };
    };
    match catch_unwind(AssertUnwindSafe(|| Machine::new(service.connect(peer)))) {
        Err(_) => return Handled { panicked: true, ..handled },
        Ok(mut machine) => {
            let ran = catch_unwind(AssertUnwindSafe(|| feed(service, &mut machine, request, desk)));
            // More was to be said: when there is room, or when it is woken.
            let is_cut = match machine.want() {
                Want::Drain => true,
                Want::Wake => !desk.output.is_empty(),
                _ => false,
            };
            let state = machine.into_state();
            let ended = catch_unwind(AssertUnwindSafe(|| service.disconnect(state)));
            handled.panicked = ran.is_err() || ended.is_err();
            if handled.panicked {
                desk.output.clear();
            } else if is_cut || desk.output.len() > desk.framing.reply_bytes_max() {
                mm_base::mark!("reply in datagrams refused");
                desk.output.clear();
                desk.framing.refuse(request, desk.output);
            }
        }
    }
    let payload = desk.framing.datagram_bytes_max().saturating_sub(desk.framing.header_bytes()).max(1);
    let total = u16::try_from(desk.output.len().div_ceil(payload)).unwrap_or(u16::MAX);
    for number in 0..total {
        desk.scratch.clear();
        desk.scratch.resize(desk.framing.header_bytes(), 0);
        desk.framing.seal(&Part { mark, number, total }, desk.scratch);
        take(desk.output, payload, desk.scratch);
        if !send(desk.scratch) {
            // Without this one the others are of no use.
            handled.unsent = u64::from(total - number);
            desk.output.clear();
            break;
        }
        handled.sent += 1;
        handled.sent_bytes += u64::try_from(desk.scratch.len()).unwrap_or(u64::MAX);
    }
    handled
}

/// Runs the service on the request, in pieces of what it is shown at once.
fn feed<S: Service>(
    service: &mut S,
    machine: &mut Machine<S::Connection>,
    mut rest: &[u8],
    desk: &mut Desk<'_>,
) {
    loop {
        let pool = desk.context.pool;
        let goes_on = machine.want() == Want::Drain && !desk.output.is_full();
        if goes_on {
            // Others do not wait for it: a datagram is short.
            machine.run(service, &[], desk.output, &desk.context);
        } else if rest.is_empty() || !matches!(machine.want(), Want::Input | Want::Space) {
            return;
        } else if machine.has_carry() {
            let room = machine.carry_room(pool);
            let part = room.len().min(rest.len());
            room[..part].copy_from_slice(&rest[..part]);
            machine.carry_received(part);
            rest = &rest[part..];
            machine.run(service, &[], desk.output, &desk.context);
        } else {
            let (piece, after) = rest.split_at(rest.len().min(INPUT_BYTES_MAX));
            rest = after;
            machine.run(service, piece, desk.output, &desk.context);
        }
    }
}

/// Moves at most `bytes` bytes from the output behind what is in `datagram`.
fn take(output: &mut Output, bytes: usize, datagram: &mut Vec<u8>) {
    let mut left = bytes.min(output.len());
    while left > 0 {
        let mut slices = [IoSlice::new(&[]); 16];
        let count = output.gather(&mut slices);
        let before = datagram.len();
        for slice in &slices[..count] {
            let part = slice.len().min(left);
            datagram.extend_from_slice(&slice[..part]);
            left -= part;
        }
        output.advance(datagram.len() - before);
    }
}
