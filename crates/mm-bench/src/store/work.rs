//! The kinds of work.

use crate::load::{Keys, Random};

/// Bytes of each key.
pub(super) const KEY_BYTES: usize = 20;

/// Requests made beforehand for each shard, which are worked through again and again.
const REQUESTS: usize = 1 << 20;

/// One kind of work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    /// What `--only` matches.
    pub(super) name: &'static str,
    /// What it is, for people.
    pub(super) title: &'static str,
    /// Share of requests that store.
    writes: f64,
    /// Exponent of a Zipf distribution; 0 is uniform.
    zipf: f64,
    /// All requests are for one key.
    is_hot: bool,
}

const READ: Work =
    Work { name: "uniform-read", title: "5 % sets, uniform", writes: 0.05, zipf: 0.0, is_hot: false };

/// All kinds.
pub(super) const WORKS: &[Work] = &[
    Work { name: "get", title: "gets only, uniform", writes: 0.0, ..READ },
    READ,
    Work { name: "uniform-write", title: "50 % sets, uniform", writes: 0.5, ..READ },
    Work { name: "set", title: "sets only, uniform", writes: 1.0, ..READ },
    Work { name: "zipf-read", title: "5 % sets, Zipf 0.99", zipf: 0.99, ..READ },
    Work { name: "zipf-write", title: "50 % sets, Zipf 0.99", zipf: 0.99, writes: 0.5, ..READ },
    Work { name: "hot-read", title: "gets of one key", writes: 0.0, is_hot: true, ..READ },
    Work { name: "hot-write", title: "sets of one key", writes: 1.0, is_hot: true, ..READ },
];

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) key: [u8; KEY_BYTES],
    pub(super) stores: bool,
}

impl Work {
    /// Its requests for keys below `items`.
    pub(super) fn requests(&self, items: u64, seed: u64) -> Vec<Request> {
        let keys = Keys::new(if self.is_hot { 1 } else { items }, self.zipf);
        let mut random = Random::new(seed);
        let request = |_| {
            let key = key(keys.next(&mut random));
            Request { key, stores: random.unit() < self.writes }
        };
        (0..REQUESTS).map(request).collect()
    }
}

/// Key number `number`.
pub(super) fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut bytes = *b"key:0000000000000000";
    let mut rest = number;
    for byte in bytes[4..].iter_mut().rev() {
        *byte = b'0' + (rest % 10).to_le_bytes()[0];
        rest /= 10;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_share_of_sets_it_says() {
        for work in WORKS {
            let requests = work.requests(1_000, 1);
            let stores = requests.iter().filter(|request| request.stores).count() as f64;
            assert!((stores / REQUESTS as f64 - work.writes).abs() < 0.01, "{}", work.name);
            let is_one = requests.iter().all(|request| request.key == key(0));
            assert_eq!(is_one, work.is_hot, "{}", work.name);
        }
    }
}
