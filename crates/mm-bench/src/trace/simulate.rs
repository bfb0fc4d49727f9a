//! Replays a trace against a policy and counts.

use std::collections::BTreeMap;

use super::number::{ratio, to_u32};
use super::policy::Policy;
use super::request::{Operation, Trace};

/// What came of a replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) reads: u64,
    pub(crate) hits: u64,
    pub(crate) read_bytes: u64,
    pub(crate) hit_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) copied_bytes: u64,
}

impl Outcome {
    /// Hits per read.
    pub(crate) fn hit_ratio(&self) -> f64 {
        ratio(self.hits, self.reads)
    }

    /// Bytes hit per byte read.
    pub(crate) fn byte_hit_ratio(&self) -> f64 {
        ratio(self.hit_bytes, self.read_bytes)
    }

    /// Bytes the engine copied per byte written by clients.
    pub(crate) fn copy_ratio(&self) -> f64 {
        ratio(self.copied_bytes, self.written_bytes)
    }
}

/// Replays the whole trace. Every model forgets items in the second in which they expire.
pub(crate) fn replay(trace: &Trace, policy: &mut dyn Policy) -> Outcome {
    let mut outcome = Outcome::default();
    let mut expiry = Expiry::new(trace.objects);
    for (at, request) in trace.requests.iter().enumerate() {
        let at = to_u32(at);
        policy.advance(request.time_s);
        expiry.advance(request.time_s, |object| policy.expire(object));
        let bytes = u64::from(request.bytes);
        let writes = match request.operation {
            Operation::Get | Operation::Peek => {
                let hit = policy.get(at, request.object);
                outcome.reads += 1;
                outcome.read_bytes += bytes;
                outcome.hits += u64::from(hit);
                outcome.hit_bytes += if hit { bytes } else { 0 };
                !hit && request.operation == Operation::Get
            }
            Operation::Set => true,
            Operation::Delete => {
                policy.remove(request.object);
                false
            }
        };
        if writes {
            outcome.written_bytes += bytes;
            policy.put(at, request);
            expiry.schedule(request.object, request.time_s, request.ttl_s);
        }
    }
    outcome.copied_bytes = policy.copied_bytes();
    outcome
}

/// When which object expires; an object written anew is only found dead at its last date.
#[derive(Debug)]
pub(super) struct Expiry {
    dates: Vec<u32>,
    due: BTreeMap<u32, Vec<u32>>,
}

impl Expiry {
    /// Nothing expires yet.
    pub(super) fn new(objects: u32) -> Self {
        Self { dates: vec![0; objects as usize], due: BTreeMap::new() }
    }

    /// The object was written; a time to live of 0 is none.
    pub(super) fn schedule(&mut self, object: u32, now_s: u32, ttl_s: u32) {
        let date = if ttl_s == 0 { 0 } else { now_s + ttl_s };
        let previous = std::mem::replace(&mut self.dates[object as usize], date);
        if date != 0 && date != previous {
            self.due.entry(date).or_default().push(object);
        }
    }

    /// Names all whose time is over.
    pub(super) fn advance(&mut self, now_s: u32, mut expired: impl FnMut(u32)) {
        while let Some(entry) = self.due.first_entry().filter(|entry| *entry.key() <= now_s) {
            let (date, objects) = entry.remove_entry();
            for object in objects {
                if self.dates[object as usize] == date {
                    expired(object);
                }
            }
        }
    }
}
