//! What a trace is: requests against objects numbered densely from 0.

use super::number::to_usize;

/// One request, in a form small enough to keep millions of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    /// Which object, below [`Trace::objects`].
    pub(crate) object: u32,
    /// Key and value bytes of the object at this moment.
    pub(crate) bytes: u32,
    /// Seconds since the trace began; never decreases.
    pub(crate) time_s: u32,
    /// Time to live given when the object is written; 0 for none.
    pub(crate) ttl_s: u32,
    /// What is done.
    pub(crate) operation: Operation,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Reads; after a miss the object is written (a look-aside cache).
    Get,
    /// Reads; nothing follows a miss (there is nothing behind the cache, or somebody else writes).
    Peek,
    /// Writes, replacing what is there.
    Set,
    /// Removes.
    Delete,
}

/// A named list of requests.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    /// What the table calls it.
    pub(crate) name: String,
    /// In order of time.
    pub(crate) requests: Vec<Request>,
    /// How many objects there are: ids are below this.
    pub(crate) objects: u32,
}

impl Trace {
    /// The sum over objects of their largest key and value bytes: the memory, overhead apart, in which nothing
    /// would ever be evicted (expiration apart).
    pub(crate) fn footprint_bytes(&self) -> u64 {
        let mut largest = vec![0_u32; self.objects as usize];
        for request in &self.requests {
            if request.operation == Operation::Get || request.operation == Operation::Set {
                let size = &mut largest[request.object as usize];
                *size = request.bytes.max(*size);
            }
        }
        largest.iter().map(|&size| u64::from(size)).sum()
    }

    /// For every request the position of the next one to the same object, `u32::MAX` when there is none.
    pub(crate) fn next_uses(&self) -> Vec<u32> {
        let mut upcoming = vec![u32::MAX; self.objects as usize];
        let mut next = vec![u32::MAX; self.requests.len()];
        for (position, request) in self.requests.iter().enumerate().rev() {
            let object = request.object as usize;
            next[position] = upcoming[object];
            upcoming[object] = super::number::to_u32(position);
        }
        next
    }

    /// Keeps the first requests, as many as read or write at most `bytes` together, and says so in the name when that
    /// leaves some out.
    pub(crate) fn truncate_to_bytes(&mut self, bytes: u64) {
        let mut sum = 0;
        let more = self.requests.iter().position(|request| {
            sum += u64::from(request.bytes);
            sum > bytes
        });
        if let Some(count) = more {
            self.requests.truncate(count);
            self.name = format!("{} (first {} k)", self.name, count / 1000);
        }
    }

    /// Keeps the first `count` requests and says so in the name when that leaves some out.
    pub(crate) fn truncate(&mut self, count: u64) {
        let count = to_usize(count);
        if self.requests.len() > count {
            self.requests.truncate(count);
            self.name = format!("{} (first {} M)", self.name, count / 1_000_000);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Operation, Request, Trace};

    #[test]
    fn a_trace_is_cut_before_it_exceeds_so_many_bytes() {
        let request = Request { object: 0, bytes: 100, time_s: 0, ttl_s: 0, operation: Operation::Get };
        let mut cut = Trace { name: "test".to_owned(), requests: vec![request; 5000], objects: 1 };
        cut.truncate_to_bytes(500_000);
        assert_eq!((cut.requests.len(), cut.name.as_str()), (5000, "test"));
        cut.truncate_to_bytes(499_999);
        assert_eq!((cut.requests.len(), cut.name.as_str()), (4999, "test (first 4 k)"));
    }
}
