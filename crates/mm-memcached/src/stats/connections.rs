//! `stats conns`.

use mm_store::Sharing;
use std::fmt::Display;

use mm_base::buffer::Output;
use mm_server::Address;

use super::stat;
use crate::clock::Time;
use crate::registry::{Entry, Registered, Registry};
use crate::service::Memcached;

/// The numbers of connections begin here, as if they were descriptors.
const FIRST_NUMBER: usize = 32;

impl<S: Sharing> Memcached<S> {
    /// One group of lines for each listener and each connection of this shard. `asking` is the one that asks.
    pub(super) fn stats_connections(&self, asking: Registered, output: &mut Output, time: &Time) {
        for (number, listener) in self.shared.settings.listeners().iter().enumerate() {
            line(output, number + 1, "addr", listener);
            line(output, number + 1, "state", "conn_listening");
        }
        let listeners = self.shared.settings.listeners();
        for (number, entry) in self.registry.iter() {
            let is_asking = number == Registry::number(asking);
            let number = FIRST_NUMBER + number;
            self.address(number, entry, output);
            if let Some(listener) = listeners.get(entry.listener).or_else(|| listeners.first()) {
                line(output, number, "listen_addr", listener);
            }
            line(
                output,
                number,
                "state",
                match (is_asking, entry.is_storing) {
                    (true, _) => "conn_parse_cmd",
                    (_, true) => "conn_nread",
                    _ => "conn_read",
                },
            );
            let asked_s = if is_asking || entry.last_s == 0 { time.now_s } else { entry.last_s };
            line(output, number, "secs_since_last_cmd", time.now_s.saturating_sub(asked_s));
        }
    }

    fn address(&self, number: usize, entry: &Entry, output: &mut Output) {
        match entry.address {
            Address::Ip(address) => {
                let kind = if address.is_ipv6() { "tcp6" } else { "tcp" };
                line(output, number, "addr", format_args!("{kind}:{address}"));
            }
            Address::Unix => {
                let path = self.shared.settings.unix_socket.as_deref().unwrap_or_default();
                line(output, number, "addr", format_args!("unix:{path}"));
            }
        }
    }
}

fn line(output: &mut Output, number: usize, name: &str, value: impl Display) {
    stat(output, &format!("{number}:{name}"), value);
}
