//! Workloads that need no files.

use super::sizes::Sizes;
use super::{Popularity, Scan, Workload};
use crate::trace::read::twitter;

/// Value sizes of Meta's key-value pool `kvcache_reg` (CacheLib's cachebench).
const META_KVCACHE: Sizes = Sizes::Quantiles(&[
    (0.0, 31.0),
    (0.05, 95.0),
    (0.25, 127.0),
    (0.5, 159.0),
    (0.75, 175.0),
    (0.9, 191.0),
    (0.99, 959.0),
    (0.999, 12_991.0),
    (1.0, 523_000.0),
]);
/// Value sizes of Meta's graph cache, leader, associations.
const META_GRAPH: Sizes = Sizes::Quantiles(&[
    (0.0, 16.0),
    (0.25, 31.0),
    (0.5, 63.0),
    (0.75, 159.0),
    (0.9, 895.0),
    (0.99, 25_000.0),
    (0.999, 224_000.0),
    (1.0, 1_000_000.0),
]);
/// Value sizes of Meta's content delivery cache.
const META_CDN: Sizes = Sizes::Quantiles(&[
    (0.0, 100.0),
    (0.05, 159.0),
    (0.25, 2783.0),
    (0.5, 13_000.0),
    (0.75, 41_000.0),
    (0.9, 78_000.0),
    (0.99, 274_000.0),
    (0.999, 827_000.0),
    (1.0, 1_000_000.0),
]);

/// Some of Twitter's clusters (github.com/twitter/cache-trace, March 2020, CC-BY-4.0): general, counters, long and
/// short times to live, write-heavy, delete-heavy, large and tiny values.
const TWITTER: &str = include_str!("twitter.csv");

/// A plain Zipf workload.
fn zipf(name: &str, objects: u32, alpha: f64, sizes: Sizes) -> Workload {
    Workload::plain(name, Popularity::Zipf { objects, alpha }, sizes)
}

/// Meta's sizes, by the names of their pools.
pub(crate) fn meta_sizes() -> Vec<(&'static str, Sizes)> {
    vec![("meta kvcache", META_KVCACHE), ("meta graph", META_GRAPH), ("meta cdn", META_CDN)]
}

/// One difficulty each.
pub(crate) fn patterns() -> Vec<Workload> {
    let sizes = || Sizes::with_mean(600.0, 1.0);
    let with = |workload: Workload, change: fn(&mut Workload)| {
        let mut workload = workload;
        change(&mut workload);
        workload
    };
    vec![
        zipf("zipf 1.0", 500_000, 1.0, sizes()),
        zipf("zipf 0.7", 500_000, 0.7, sizes()),
        with(zipf("churn", 500_000, 1.0, sizes()), |w| w.churn_per_h = 4.0),
        with(zipf("scans", 300_000, 0.9, sizes()), |w| w.scan = Scan { share: 0.4, objects: 700_000 }),
        with(zipf("loop", 300_000, 0.9, sizes()), |w| w.scan = Scan { share: 0.5, objects: 150_000 }),
        with(zipf("one-hit wonders", 300_000, 0.9, sizes()), |w| w.one_hit = 0.45),
        with(zipf("size drift", 300_000, 0.9, Sizes::with_mean(200.0, 0.5)), |w| {
            w.growth = 8.0;
            w.churn_per_h = 2.0;
        }),
        with(zipf("bursts", 400_000, 0.8, sizes()), |w| w.burst = 0.7),
        with(zipf("absent keys", 400_000, 0.9, sizes()), |w| w.absent = 0.55),
        with(zipf("times to live", 400_000, 0.9, sizes()), |w| {
            w.ttls = vec![(1, 0.1), (30, 0.2), (300, 0.2), (3600, 0.2), (2_592_000, 0.2), (0, 0.1)];
        }),
        with(zipf("overwrites", 300_000, 0.9, sizes()), |w| w.set = 0.29),
    ]
}

/// After the published figures of Meta's pools and Twitter's clusters.
pub(crate) fn production() -> Vec<Workload> {
    let mut kvcache = zipf("meta-like kvcache", 400_000, 0.98, META_KVCACHE);
    kvcache.one_hit = 0.015;
    kvcache.churn_per_h = 0.67;
    let mut graph = zipf("meta-like graph", 500_000, 0.87, META_GRAPH);
    graph.absent = 0.2;
    graph.set = 0.05;
    graph.delete = 0.02;
    let mut cdn = zipf("meta-like cdn", 400_000, 0.64, META_CDN);
    cdn.one_hit = 0.05;
    let mut workloads = vec![kvcache, graph, cdn];
    workloads.extend(twitter::workloads(TWITTER));
    workloads
}
