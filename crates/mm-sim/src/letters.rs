//! Requests in datagrams, which may be lost, late, or carried out twice.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use mm_base::choice::Choices;
use mm_memcached::limits::DATAGRAM_REPLY_MAX_BYTES;
use mm_proto::memcached::datagram::{DATAGRAM_MAX_BYTES, FRAME_BYTES, frame};
use mm_runtime::driver::sim::{Network, Port};

use crate::answer::shown;
use crate::limits::LETTERS_OPEN_MAX;
use crate::op::What;
use crate::requests::{Requests, Surroundings};
use crate::stream::Stream;
use crate::world::World;

/// What is answered in text where a reply would be too long.
const TOO_LONG: &[u8] = b"SERVER_ERROR response too large for UDP\r\n";

/// The first byte of a response of the binary protocol.
const BINARY: u8 = 0x81;

/// A request in a datagram, from an address of its own.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) stream: Stream,
    /// What it was answered each time that it came.
    pub(crate) replies: Vec<Reply>,
    number: u16,
}

/// What the service has said to a datagram.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    /// Everything was carried out.
    pub(crate) is_whole: bool,
}

/// Whoever sends them.
#[derive(Debug)]
pub(crate) struct Writer {
    port: Port,
    sent: u32,
    /// The addresses at which replies may still arrive.
    open: VecDeque<SocketAddr>,
    /// A reply of so many bytes is refused.
    reply_bytes_max: usize,
}

impl Writer {
    pub(crate) fn new(port: Port, sent: u32, output_cap_bytes: usize) -> Self {
        let reply_bytes_max = output_cap_bytes.min(DATAGRAM_REPLY_MAX_BYTES);
        Self { port, sent, open: VecDeque::new(), reply_bytes_max }
    }

    /// How many were sent: another number for the next.
    pub(crate) fn sent(&self) -> u32 {
        self.sent
    }

    /// Sends a request.
    pub(crate) fn write(
        &mut self,
        network: &Network,
        (world, requests): (&mut World, &mut Requests),
        choices: &mut Choices,
    ) {
        let moment = world.client_moment(network.now());
        let mut stream = Stream::default();
        stream.is_binary = choices.one_in(3);
        let keys = std::mem::take(&mut world.fixed.keys);
        requests.make(choices, &mut Surroundings { keys: &keys, moment, stream: &mut stream });
        world.fixed.keys = keys;
        let is_long = |what: &What| matches!(what, What::Stats(_) | What::Dump(_) | What::Watch | What::Quit);
        let request = stream.unwritten();
        if request.len() > DATAGRAM_MAX_BYTES - FRAME_BYTES || stream.ops.iter().any(|op| is_long(&op.what)) {
            return;
        }
        self.sent += 1;
        let [_, a, b, c] = self.sent.to_be_bytes();
        let from = SocketAddr::from((Ipv4Addr::new(10, a, b, c), 40_000));
        let number = u16::try_from(self.sent % 60_000).unwrap_or(0);
        let datagram = [&frame(number, 0, 1)[..], request].concat();
        world.letters.insert(from, Letter { stream, replies: Vec::new(), number });
        network.send_datagram(self.port, from, &datagram);
        self.open.push_back(from);
        if self.open.len() > LETTERS_OPEN_MAX {
            self.open.pop_front();
        }
    }

    /// Receives replies, each of which must be what was answered.
    pub(crate) fn read(&mut self, network: &Network, world: &mut World) {
        for from in &self.open {
            while let Some(datagram) = network.receive_datagram(self.port, *from) {
                world.note([u64::from(from.port()), 1 << 33], &datagram);
                let Some(letter) = world.letters.get(from) else { continue };
                if !letter.is_answered_by(&datagram, self.reply_bytes_max) {
                    let replies = letter.replies.iter().map(|reply| shown(&reply.bytes));
                    let replies: Vec<String> = replies.collect();
                    world.fail(format!("datagram {} is of none of {replies:?}", shown(&datagram)));
                }
            }
        }
    }
}

impl Letter {
    /// Whether a datagram is a part of a reply.
    fn is_answered_by(&self, datagram: &[u8], bytes_max: usize) -> bool {
        let Some((&[n0, n1, p0, p1, t0, t1, 0, 0], text)) = datagram.split_first_chunk() else {
            return false;
        };
        let (part, total) = (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([t0, t1]));
        u16::from_be_bytes([n0, n1]) == self.number
            && part < total
            && self.replies.iter().any(|reply| reply.has_part((part, total), text, bytes_max))
    }
}

impl Reply {
    fn has_part(&self, (part, total): (u16, u16), text: &[u8], bytes_max: usize) -> bool {
        let is_refusal = text == TOO_LONG || text.first() == Some(&BINARY);
        if is_refusal && (!self.is_whole || self.bytes.len() >= bytes_max) {
            return true;
        }
        let payload = DATAGRAM_MAX_BYTES - FRAME_BYTES;
        let due = self.bytes.chunks(payload).nth(usize::from(part));
        usize::from(total) == self.bytes.len().div_ceil(payload) && due == Some(text)
    }
}
