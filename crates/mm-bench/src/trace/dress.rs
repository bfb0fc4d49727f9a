//! Gives sizes, times and times to live to traces that are only ids.

use super::number::{bytes_u32, to_u32, to_usize, whole};
use super::random::{Random, mix};
use super::read::Numbering;
use super::request::{Operation, Request, Trace};

/// Where a trace has few objects their sizes are such that all together take this.
const FOOTPRINT_BYTES: f64 = 512.0 * 1024.0 * 1024.0;
/// Otherwise this is the mean size of an item.
const MEAN_BYTES: f64 = 300.0;
/// The smallest and the largest item.
const ITEM_BYTES: (f64, f64) = (32.0, 1024.0 * 1024.0);
/// How unequal sizes are: the standard deviation of their logarithm, about that of Meta's key-value pools.
const SIZE_SPREAD: f64 = 1.0;
/// A trace is taken to last a day.
const DURATION_S: u64 = 86_400;
/// With times to live, a fifth of the objects has each of these; 0 is none.
const TTLS_S: [u32; 5] = [60, 600, 3600, 43_200, 0];

/// Whether objects are given times to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ttl {
    /// None expires.
    None,
    /// From a minute to half a day, and some never.
    Mixed,
}

/// Makes a look-aside trace of the ids: equal ids keep their size and time to live throughout.
pub(crate) fn dress(name: &str, ids: &[u64], ttl: Ttl) -> Trace {
    let mut numbering = Numbering::default();
    let objects: Vec<u32> = ids.iter().map(|&id| numbering.number(id)).collect();
    let mean = (FOOTPRINT_BYTES / f64::from(numbering.count().max(1))).max(MEAN_BYTES);
    let median = mean / (SIZE_SPREAD * SIZE_SPREAD / 2.0).exp();
    let total = ids.len() as u64;
    let request = |(object, position): (u32, u64)| {
        let mut random = Random::new(mix(u64::from(object)));
        let bytes = random.log_normal(median, SIZE_SPREAD).clamp(ITEM_BYTES.0, ITEM_BYTES.1);
        let choice = to_usize(random.below(TTLS_S.len() as u64));
        Request {
            object,
            bytes: bytes_u32(whole(bytes)),
            time_s: to_u32(to_usize(position * DURATION_S / total)),
            ttl_s: if ttl == Ttl::Mixed { TTLS_S[choice] } else { 0 },
            operation: Operation::Get,
        }
    };
    let requests = objects.into_iter().zip(0..).map(request).collect();
    Trace { name: name.to_owned(), requests, objects: numbering.count() }
}

#[cfg(test)]
mod tests {
    use super::{Ttl, dress};

    #[test]
    fn few_objects_are_made_large() {
        let ids: Vec<u64> = (0..2000).collect();
        let footprint = dress("test", &ids, Ttl::None).footprint_bytes();
        assert!((400 << 20..600 << 20).contains(&footprint), "{footprint}");
    }

    #[test]
    fn an_object_keeps_its_size_and_time_to_live() {
        let trace = dress("test", &[7, 8, 7], Ttl::Mixed);
        let (first, last) = (trace.requests[0], trace.requests[2]);
        assert_eq!((first.object, first.bytes, first.ttl_s), (last.object, last.bytes, last.ttl_s));
        assert_eq!(trace.objects, 2);
    }
}
