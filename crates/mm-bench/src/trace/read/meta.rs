//! Meta's popularity and size histograms (CacheLib's cachebench, Apache-2.0) turned into workloads.

use std::io;
use std::path::Path;

use super::{content, malformed};
use crate::trace::generate::sizes::Sizes;
use crate::trace::generate::{Popularity, Workload};
use crate::trace::number::{bytes_u32, real, to_usize, whole};
use crate::trace::random::Weighted;

/// Requests generated for a workload.
const REQUESTS: u64 = 2_000_000;
/// Values are cut here: what memcached stores unless told otherwise.
const VALUE_MAX: u64 = 1_048_000;

/// The workload described by `NAME.pop.json` and `NAME.sizes.json` in a folder.
///
/// Objects are as many fewer as requests are, so that each is asked for as often as in the original.
pub(crate) fn workload(folder: &Path, name: &str) -> io::Result<Workload> {
    let path = folder.join(format!("{name}.pop.json"));
    let text = content(&path)?;
    let counts =
        numbers(&text, "popularityBuckets").ok_or_else(|| malformed(&path, "no popularityBuckets"))?;
    let weights =
        numbers(&text, "popularityWeights").ok_or_else(|| malformed(&path, "no popularityWeights"))?;
    let path = folder.join(format!("{name}.sizes.json"));
    let text = content(&path)?;
    let sizes = numbers(&text, "valSizeRange").ok_or_else(|| malformed(&path, "no valSizeRange"))?;
    let shares = numbers(&text, "valSizeRangeProbability")
        .ok_or_else(|| malformed(&path, "no valSizeRangeProbability"))?;
    let sizes = Sizes::Histogram {
        sizes: sizes.iter().map(|&size| bytes_u32(size.min(VALUE_MAX))).collect(),
        weights: Weighted::new(shares.iter().map(|&share| real(share))),
    };
    let popularity = Popularity::Groups(scale(&counts, &weights));
    let mut workload = Workload::plain(&format!("meta {name}"), popularity, sizes);
    workload.requests = REQUESTS;
    workload.churn_per_h = 0.67;
    Ok(workload)
}

/// Fewer objects for fewer requests: neighbours in popularity are taken together until they make up one object.
fn scale(counts: &[u64], weights: &[u64]) -> Vec<(u32, f64)> {
    let total: u64 = weights.iter().sum();
    let factor = real(total.max(1)) / real(REQUESTS);
    let mut groups: Vec<(u32, f64)> = Vec::new();
    let (mut objects, mut requests) = (0.0, 0.0);
    for (&count, &weight) in counts.iter().zip(weights) {
        objects += real(count) / factor;
        requests += real(weight);
        if objects >= 1.0 {
            let whole_objects = whole(objects);
            let share = real(whole_objects) / objects;
            groups.push((bytes_u32(whole_objects), requests * share));
            objects -= real(whole_objects);
            requests *= 1.0 - share;
        }
    }
    groups
}

/// The numbers of the array with this name in a flat JSON object.
fn numbers(text: &[u8], name: &str) -> Option<Vec<u64>> {
    let text = std::str::from_utf8(text).ok()?;
    let rest = &text[text.find(&format!("\"{name}\""))?..];
    let array = &rest[rest.find('[')? + 1..rest.find(']')?];
    let value = |part: &str| part.trim().parse::<f64>().ok().map(whole);
    let values: Option<Vec<u64>> = array.split(',').map(value).collect();
    values.filter(|values| values.len() < to_usize(u64::from(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::{numbers, scale};

    #[test]
    fn arrays_are_found_by_name() {
        let text = br#"{"oneHits": 0.5, "ab": [1, 2], "a": [30,
            40.0]}"#;
        assert_eq!(numbers(text, "a"), Some(vec![30, 40]));
        assert_eq!(numbers(text, "ab"), Some(vec![1, 2]));
        assert_eq!(numbers(text, "c"), None);
    }

    #[test]
    fn scaling_keeps_requests_per_object() {
        let groups = scale(&[1, 1, 1000, 100_000], &[2_000_000, 2_000_000, 8_000_000, 8_000_000]);
        let objects: u32 = groups.iter().map(|group| group.0).sum();
        assert_eq!(objects, 10_100);
    }
}
