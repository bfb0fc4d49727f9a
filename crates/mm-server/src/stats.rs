//! What the connections of a shard have done, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one shard changes and every thread may read.
///
/// Changing it is a plain load and store, since nobody else writes it: no locked instruction on the request
/// path.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number. May be a moment old when read from another shard.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds to it. For the owning shard only.
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    /// Takes from it. For the owning shard only.
    pub(crate) fn sub(&self, less: u64) {
        self.0.store(self.get().wrapping_sub(less), Ordering::Relaxed);
    }
}

/// One shard's counters.
#[derive(Debug, Default)]
#[repr(align(128))] // so that two shards' counters share no cache line, nor a pair that is fetched together
pub struct Stats {
    /// Connections open now.
    pub connections: Counter,
    /// Connections accepted and served, ever.
    pub connections_total: Counter,
    /// Connections that have come from another shard, ever.
    pub connections_moved: Counter,
    /// Connections refused because of the limit, ever.
    pub connections_rejected: Counter,
    /// Connections refused because their peer had as many as it may, ever.
    pub addresses_rejected: Counter,
    /// Times that accepting was suspended: the limit was reached, or descriptors or memory had run out.
    pub accept_pauses: Counter,
    /// Times that it was taken up again.
    pub accept_resumes: Counter,
    /// How long it was suspended until it was taken up again, in milliseconds.
    pub accept_paused_ms: Counter,
    /// Accepts that failed, for whatever reason.
    pub accept_errors: Counter,
    /// Bytes received.
    pub bytes_read: Counter,
    /// Bytes sent.
    pub bytes_written: Counter,
    /// Times that [`Service::run`](crate::Service::run) was called.
    pub runs: Counter,
    /// Turns of the shard.
    pub turns: Counter,
    /// Times that a connection had more input than its share of a turn and was put off to the next.
    pub yields: Counter,
    /// Connections closed because nothing came from them for too long, or whose handlers gave up for that reason.
    pub idle_timeouts: Counter,
    /// Connections closed because they took nothing of what they had asked for for too long, or whose handlers gave up
    /// for that reason.
    pub write_timeouts: Counter,
    /// Connections closed because memory was used up and they had kept some of it for a while without getting on: of
    /// the connections' own, by output that they did not take or a part of a request, or of the service's, by a value
    /// that did not come.
    pub memory_timeouts: Counter,
    /// Connections kept for a while after their end, since their peers still sent, ever.
    pub lingered: Counter,
    /// Connections ended by an error of the socket, such as a reset, or whose handlers found one.
    pub socket_errors: Counter,
    /// Connections closed because the service did not get on with them: it found no end of a request within the input
    /// bound, or asked again and again for what it had. A defect of the service; the log has a line of it, one a second
    /// at most. For a server that has a handler: connections whose handlers ended with an error that is neither of time
    /// nor of the socket, which are not told of.
    pub faults: Counter,
    /// Panics of the service, the handler (each of which ended its connection), of background work and of what signals
    /// are for.
    pub panics: Counter,
    /// Panics of other tasks than those of a handler's connections, whether somebody waited for them or not.
    pub task_panics: Counter,
    /// Tasks refused because of their limit.
    pub tasks_refused: Counter,
    /// Times that a task, or the service, was found to keep the shard for too long.
    pub stalls: Counter,
    /// Datagrams received.
    pub datagrams_received: Counter,
    /// Datagrams sent.
    pub datagrams_sent: Counter,
    /// Datagrams received that were not what the protocol's are, or came from where no client can be, or when
    /// connection memory was used up: they got no answer.
    pub datagrams_refused: Counter,
    /// Datagrams that could not be sent.
    pub datagrams_unsent: Counter,
    /// Connections closed at a stop because they had not finished by the deadline: a request that was being served or
    /// sent, output that was not taken; at a hand-over, those that could not go along.
    pub drain_timeouts: Counter,
}

impl Stats {
    /// The shard has ended: nothing of it is open, and nothing waits.
    pub(crate) fn settle(&self) {
        self.connections.sub(self.connections.get());
        self.accept_resumes.add(self.accept_pauses.get().saturating_sub(self.accept_resumes.get()));
    }

    /// All counters with their names, in the order of the fields.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &Counter); COUNTERS] {
        [
            ("connections", &self.connections),
            ("connections_total", &self.connections_total),
            ("connections_moved", &self.connections_moved),
            ("connections_rejected", &self.connections_rejected),
            ("addresses_rejected", &self.addresses_rejected),
            ("accept_pauses", &self.accept_pauses),
            ("accept_resumes", &self.accept_resumes),
            ("accept_paused_ms", &self.accept_paused_ms),
            ("accept_errors", &self.accept_errors),
            ("bytes_read", &self.bytes_read),
            ("bytes_written", &self.bytes_written),
            ("runs", &self.runs),
            ("turns", &self.turns),
            ("yields", &self.yields),
            ("idle_timeouts", &self.idle_timeouts),
            ("write_timeouts", &self.write_timeouts),
            ("memory_timeouts", &self.memory_timeouts),
            ("lingered", &self.lingered),
            ("socket_errors", &self.socket_errors),
            ("faults", &self.faults),
            ("panics", &self.panics),
            ("task_panics", &self.task_panics),
            ("tasks_refused", &self.tasks_refused),
            ("stalls", &self.stalls),
            ("datagrams_received", &self.datagrams_received),
            ("datagrams_sent", &self.datagrams_sent),
            ("datagrams_refused", &self.datagrams_refused),
            ("datagrams_unsent", &self.datagrams_unsent),
            ("drain_timeouts", &self.drain_timeouts),
        ]
    }
}

/// How many counters a shard has.
const COUNTERS: usize = 29;
