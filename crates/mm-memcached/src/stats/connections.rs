//! `stats conns`.

use mm_store::Sharing;
use std::fmt::Display;

use mm_base::buffer::Output;
use mm_proto::memcached::lines;
use mm_server::Address;

use super::stat;
use crate::clock::{START_S, Time};
use crate::long::{Long, Progress};
use crate::registry::{Known, Place};
use crate::service::{Call, Memcached};

/// A list of connections under way.
#[derive(Debug)]
pub(crate) struct Listing {
    place: Place,
    /// The number of the connection that asks.
    asking: usize,
}

impl<S: Sharing> Memcached<S> {
    /// One group of lines for each listener and each connection of all shards.
    pub(super) fn stats_connections(&self, call: &mut Call<'_>) {
        let listening_s = self.shared.uptime_s(&call.time).saturating_sub(START_S);
        for (number, listener) in self.shared.settings.listeners.iter().enumerate() {
            line(call.output, number + 1, "addr", listener);
            if listener.starts_with("udp") {
                line(call.output, number + 1, "UDP", "UDP");
                line(call.output, number + 1, "state", "conn_read");
            } else {
                line(call.output, number + 1, "state", "conn_listening");
            }
            line(call.output, number + 1, "secs_since_last_cmd", listening_s);
        }
        let listing = Listing { place: Place::default(), asking: call.asking };
        call.long = Some(Box::new(Long::Connections(listing)));
    }

    /// Goes on with a list.
    pub(crate) fn resume_connections(&self, listing: &mut Listing, call: &mut Call<'_>) -> Progress {
        loop {
            let mut show = |known: Known| {
                let is_asking = known.number == listing.asking;
                self.show_connection(&known, is_asking, (call.output, &call.time));
            };
            let Some(next) = self.shared.registry.next_few(listing.place, &mut show) else {
                call.output.write(lines::END);
                return Progress::Over;
            };
            listing.place = next;
            if call.output.is_full() {
                return Progress::Full;
            }
        }
    }

    fn show_connection(&self, known: &Known, is_asking: bool, (output, time): (&mut Output, &Time)) {
        let number = known.number;
        match known.address {
            Address::Ip(address) => {
                let kind = if address.is_ipv6() { "tcp6" } else { "tcp" };
                line(output, number, "addr", format_args!("{kind}:{address}"));
            }
            Address::Unix => {
                let path = self.shared.settings.unix_socket.as_deref().unwrap_or_default();
                line(output, number, "addr", format_args!("unix:{path}"));
            }
        }
        let listeners = &self.shared.settings.listeners;
        if let Some(listener) = listeners.get(known.listener).or_else(|| listeners.first()) {
            line(output, number, "listen_addr", listener);
        }
        let state = match (is_asking, known.is_storing) {
            (true, _) => "conn_parse_cmd",
            (_, true) => "conn_nread",
            _ => "conn_read",
        };
        line(output, number, "state", state);
        // They wait for nothing but the client.
        line(output, number, "resps_waiting", 0);
        let asked_s = if is_asking || known.last_s == 0 { time.now_s } else { known.last_s };
        line(output, number, "secs_since_last_cmd", time.now_s.saturating_sub(asked_s));
    }
}

fn line(output: &mut Output, number: usize, name: &str, value: impl Display) {
    stat(output, &format!("{number}:{name}"), value);
}
