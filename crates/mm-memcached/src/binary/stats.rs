//! stat: the lines of the text protocol's `stats`, a packet each.

use mm_base::buffer::Output;
use mm_proto::memcached::binary::{Head, Request, Response, Status};
use mm_store::Sharing;

use super::{length, refuse, respond};
use crate::long::{Long, Progress};
use crate::service::{Call, Memcached};

/// The name of the one packet of `stat detail dump`.
const DETAILED: &[u8] = b"detailed";

impl<S: Sharing> Memcached<S> {
    /// stat. As in memcached, what is wanted may have more behind it where it is reset, settings or detail.
    pub(super) fn binary_stats(&mut self, request: &Request<'_>, call: &mut Call<'_>) {
        let (head, wanted) = (request.head, request.key);
        let allowed = self.shared.settings.allowed.dumps;
        let group: &[u8] = match wanted {
            b"" | b"items" | b"slabs" | b"sizes" => wanted,
            _ if wanted.starts_with(b"reset") => b"reset",
            _ if wanted.starts_with(b"settings") => b"settings",
            _ => match wanted.strip_prefix(b"detail") {
                Some(switch) if allowed && switch.starts_with(b" dump") => b"detail dump",
                Some(switch) if allowed && switch.starts_with(b" on") => b"detail on",
                Some(switch) if allowed && switch.starts_with(b" off") => b"detail off",
                _ => return refuse(call.output, head, Status::NotFound),
            },
        };
        // Asked for by hand, now and then: memory of its own will do.
        let mut packets =
            Packets { head, is_detail_dump: group == b"detail dump", long: None, text: Vec::new() };
        let mut output = call.output.another();
        let mut inner = call.with_output(&mut output);
        self.stats(group, &mut inner);
        packets.long = inner.long.take();
        output.drain_into(&mut packets.text);
        if packets.long.is_some() {
            call.long = Some(Box::new(Long::Packets(packets)));
        } else {
            packets.write(call.output);
        }
    }

    /// Goes on with an answer that is given in steps. Its packets go out together at its end.
    pub(crate) fn resume_packets(&mut self, packets: &mut Packets, call: &mut Call<'_>) -> Progress {
        let Some(mut long) = packets.long.take() else { return Progress::Over };
        let mut output = call.output.another();
        let progress = self.step_long(&mut long, &mut call.with_output(&mut output));
        output.drain_into(&mut packets.text);
        if progress == Progress::Over {
            packets.write(call.output);
            return Progress::Over;
        }
        packets.long = Some(long);
        Progress::More
    }
}

/// Statistics in text, on their way to become packets.
#[derive(Debug)]
pub(crate) struct Packets {
    head: Head,
    /// The text is one statistic.
    is_detail_dump: bool,
    /// What still produces text.
    long: Option<Box<Long>>,
    text: Vec<u8>,
}

impl Packets {
    fn write(&self, output: &mut Output) {
        let head = self.head;
        if self.is_detail_dump {
            packet(output, head, (DETAILED, &self.text));
        } else {
            let lines = self.text.split(|&byte| byte == b'\n').filter_map(|line| line.strip_prefix(b"STAT "));
            for line in lines {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
                packet(output, head, (&line[..end], line.get(end + 1..).unwrap_or_default()));
            }
        }
        packet(output, head, (b"", b""));
    }
}

/// Writes one statistic; without name and value, the end of them.
fn packet(output: &mut Output, head: Head, (name, value): (&[u8], &[u8])) {
    let key = u16::try_from(name.len()).unwrap_or(u16::MAX);
    let response = Response { key, value: length(value.len()), ..Response::OK };
    respond(output, head, &response, &[name]);
    output.write(value);
}
