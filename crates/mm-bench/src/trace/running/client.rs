//! The client of a cache: looks aside, writes what it missed, and has many requests under way.
//!
//! Requests go out in flights. What a get missed is written at the begin of the next flight; a get that missed a key
//! which an earlier one of its flight missed too is asked again after that write, as it would have come after it. So
//! the hits are those of a client that waits for each answer, but for the order of different keys within a flight.

use std::thread;
use std::time::{Duration, Instant};

use crate::peer::{KEY_BYTES, Peer, Request as Wire};
use crate::trace::number::to_usize;
use crate::trace::request::{Operation, Request, Trace};
use crate::trace::simulate::{Expiry, Outcome};

/// A replay takes seconds, where the trace takes hours: the client removes items in the second of the trace in which
/// they expire. To the server none has less time to live than this, so that it does not remove items earlier.
const TTL_MIN_S: u32 = 600;
/// Requests between two reports of how far it is.
const REPORT_EVERY: usize = 1 << 15;

/// What is asked: a server, or in tests a map.
pub(super) trait Cache {
    /// See [`Peer::queue`].
    fn queue(&mut self, request: Wire);
    /// See [`Peer::is_full`].
    fn is_full(&self) -> bool;
    /// See [`Peer::flush`].
    fn flush(&mut self, answered: &mut impl FnMut(Wire, bool)) -> Result<(), String>;
}

impl Cache for Peer {
    fn queue(&mut self, request: Wire) {
        Self::queue(self, request);
    }

    fn is_full(&self) -> bool {
        Self::is_full(self)
    }

    fn flush(&mut self, answered: &mut impl FnMut(Wire, bool)) -> Result<(), String> {
        Self::flush(self, answered)
    }
}

/// A replay on its way.
pub(super) struct Client<'a, C> {
    peer: &'a mut C,
    trace: &'a Trace,
    /// Requests in a second.
    rate: Option<u32>,
    outcome: Outcome,
    expiry: Expiry,
    /// For each object the last flight that asked for it, and the last one in which it was missed.
    asked: Vec<u32>,
    missed: Vec<u32>,
    flight: u32,
    /// What was asked for in this flight, by position in the trace; none for writes.
    sent: Vec<Option<usize>>,
    /// Missed: to be written, and to be asked again after that.
    fills: Vec<usize>,
    again: Vec<usize>,
}

impl<'a, C: Cache> Client<'a, C> {
    pub(super) fn new(peer: &'a mut C, trace: &'a Trace, rate: Option<u32>) -> Self {
        Self {
            peer,
            trace,
            rate,
            outcome: Outcome::default(),
            expiry: Expiry::new(trace.objects),
            asked: vec![0; trace.objects as usize],
            missed: vec![0; trace.objects as usize],
            flight: 0,
            sent: Vec::new(),
            fills: Vec::new(),
            again: Vec::new(),
        }
    }

    /// Replays the whole trace; `report` is told now and then how many requests were sent.
    ///
    /// # Errors
    /// The server breaks off or answers what it should not.
    pub(super) fn replay(mut self, report: &mut impl FnMut(usize)) -> Result<Outcome, String> {
        let (mut position, mut reported) = (0, 0);
        let began = Instant::now();
        while position < self.trace.requests.len() || !self.fills.is_empty() || !self.again.is_empty() {
            position = self.fly(position)?;
            if position >= reported {
                report(position);
                reported = position + REPORT_EVERY;
            }
            if let Some(rate) = self.rate {
                let due = Duration::from_secs_f64(position as f64 / f64::from(rate.max(1)));
                thread::sleep(due.saturating_sub(began.elapsed()));
            }
        }
        Ok(self.outcome)
    }

    /// One flight, of requests from this position on. The position behind them.
    fn fly(&mut self, mut position: usize) -> Result<usize, String> {
        self.flight += 1;
        for fill in std::mem::take(&mut self.fills) {
            self.set(self.trace.requests[fill], self.trace.requests[position.saturating_sub(1)].time_s);
        }
        for again in std::mem::take(&mut self.again) {
            self.get(again);
        }
        while let Some(&request) = self.trace.requests.get(position) {
            let writes = matches!(request.operation, Operation::Set | Operation::Delete);
            // A write comes after what an earlier miss of the same key has to write.
            if self.peer.is_full() || writes && self.asked[request.object as usize] == self.flight {
                break;
            }
            self.expire(request.time_s);
            match request.operation {
                Operation::Get | Operation::Peek => self.get(position),
                Operation::Set => self.set(request, request.time_s),
                Operation::Delete => self.delete(request.object),
            }
            position += 1;
        }
        self.land()?;
        Ok(position)
    }

    fn get(&mut self, position: usize) {
        let object = self.trace.requests[position].object;
        self.asked[object as usize] = self.flight;
        self.peer.queue(Wire::Get { key: u64::from(object) });
        self.sent.push(Some(position));
    }

    fn set(&mut self, request: Request, now_s: u32) {
        let len = to_usize(u64::from(request.bytes)).saturating_sub(KEY_BYTES);
        let ttl_s = if request.ttl_s == 0 { 0 } else { request.ttl_s.max(TTL_MIN_S) };
        self.peer.queue(Wire::Set { key: u64::from(request.object), len, ttl_s });
        self.sent.push(None);
        self.outcome.written_bytes += u64::from(request.bytes);
        self.expiry.schedule(request.object, now_s, request.ttl_s);
    }

    fn delete(&mut self, object: u32) {
        self.peer.queue(Wire::Delete { key: u64::from(object) });
        self.sent.push(None);
    }

    fn expire(&mut self, now_s: u32) {
        let (peer, sent) = (&mut *self.peer, &mut self.sent);
        self.expiry.advance(now_s, |object| {
            peer.queue(Wire::Delete { key: u64::from(object) });
            sent.push(None);
        });
    }

    /// Takes the answers.
    fn land(&mut self) -> Result<(), String> {
        let mut sent = std::mem::take(&mut self.sent).into_iter();
        let (trace, flight) = (self.trace, self.flight);
        let (outcome, missed) = (&mut self.outcome, &mut self.missed);
        let (fills, again) = (&mut self.fills, &mut self.again);
        self.peer.flush(&mut |_, found| {
            let Some(position) = sent.next().flatten() else { return };
            let request = &trace.requests[position];
            let last_missed = &mut missed[request.object as usize];
            if !found && *last_missed == flight {
                return again.push(position);
            }
            outcome.reads += 1;
            outcome.read_bytes += u64::from(request.bytes);
            if found {
                outcome.hits += 1;
                outcome.hit_bytes += u64::from(request.bytes);
            } else if request.operation == Operation::Get {
                *last_missed = flight;
                fills.push(position);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::trace::random::Random;

    /// A cache that never evicts.
    #[derive(Default)]
    struct Endless {
        keys: HashSet<u64>,
        queued: Vec<Wire>,
    }

    impl Cache for Endless {
        fn queue(&mut self, request: Wire) {
            self.queued.push(request);
        }

        fn is_full(&self) -> bool {
            self.queued.len() >= 16
        }

        fn flush(&mut self, answered: &mut impl FnMut(Wire, bool)) -> Result<(), String> {
            for request in std::mem::take(&mut self.queued) {
                let found = match request {
                    Wire::Get { key } => self.keys.contains(&key),
                    Wire::Set { key, .. } => {
                        self.keys.insert(key);
                        true
                    }
                    Wire::Delete { key } => self.keys.remove(&key),
                };
                answered(request, found);
            }
            Ok(())
        }
    }

    /// Hits of a client that waits for each answer.
    fn one_by_one(trace: &Trace) -> (u64, u64) {
        let (mut expiry, mut keys) = (Expiry::new(trace.objects), HashSet::new());
        let (mut reads, mut hits) = (0, 0);
        for request in &trace.requests {
            expiry.advance(request.time_s, |object| {
                keys.remove(&object);
            });
            let writes = match request.operation {
                Operation::Get | Operation::Peek => {
                    let hit = keys.contains(&request.object);
                    reads += 1;
                    hits += u64::from(hit);
                    !hit && request.operation == Operation::Get
                }
                Operation::Set => true,
                Operation::Delete => {
                    keys.remove(&request.object);
                    false
                }
            };
            if writes {
                keys.insert(request.object);
                expiry.schedule(request.object, request.time_s, request.ttl_s);
            }
        }
        (reads, hits)
    }

    #[test]
    fn flights_hit_what_a_client_hits_that_waits_for_each_answer() {
        let mut random = Random::new(5);
        let requests = (0..50_000_u32).map(|position| Request {
            object: u32::try_from(random.below(40)).unwrap(),
            bytes: 100,
            // A second is longer than a flight, so that nothing expires in the middle of one that asks for it.
            time_s: position / 16 * 16 / 160,
            ttl_s: if random.chance(0.5) { 1 } else { 0 },
            operation: match random.below(20) {
                0 => Operation::Set,
                1 => Operation::Delete,
                2 => Operation::Peek,
                _ => Operation::Get,
            },
        });
        let trace = Trace { name: "test".to_owned(), requests: requests.collect(), objects: 40 };
        let mut cache = Endless::default();
        let outcome = Client::new(&mut cache, &trace, None).replay(&mut |_| {}).unwrap();
        let (reads, hits) = one_by_one(&trace);
        assert_eq!(outcome.reads, reads);
        assert!(outcome.hits.abs_diff(hits) <= reads / 200, "{} and {hits} of {reads}", outcome.hits);
    }
}
