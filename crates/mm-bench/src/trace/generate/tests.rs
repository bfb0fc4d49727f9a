//! The generator gives what its workload asks for.

use std::collections::HashSet;

use super::sizes::Sizes;
use super::{Popularity, Scan, Workload};
use crate::trace::request::Operation;

fn plain() -> Workload {
    let sizes = Sizes::with_mean(300.0, 1.0);
    let mut workload = Workload::plain("test", Popularity::Zipf { objects: 1000, alpha: 0.9 }, sizes);
    workload.requests = 20_000;
    workload
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let workload = plain();
    assert_eq!(workload.generate(5).requests, workload.generate(5).requests);
    assert_ne!(workload.generate(5).requests, workload.generate(6).requests);
}

#[test]
fn objects_keep_their_size_and_are_numbered_below_the_count() {
    let trace = plain().generate(1);
    let mut sizes = vec![0; trace.objects as usize];
    for request in &trace.requests {
        let size = &mut sizes[request.object as usize];
        assert!(*size == 0 || *size == request.bytes);
        *size = request.bytes;
    }
}

#[test]
fn shares_come_out_as_asked() {
    let mut workload = plain();
    workload.scan = Scan { share: 0.2, objects: 500 };
    workload.one_hit = 0.3;
    workload.absent = 0.1;
    let trace = workload.generate(1);
    let count = |test: &dyn Fn(u32, Operation) -> bool| {
        trace.requests.iter().filter(|request| test(request.object, request.operation)).count()
    };
    let near = |count: usize, share: f64| {
        let want = share * 20_000.0;
        assert!(
            (crate::trace::number::real(count as u64) - want).abs() < 5.0 * want.sqrt(),
            "{count} {want}"
        );
    };
    near(count(&|object, _| (1000..1500).contains(&object)), 0.2);
    near(count(&|object, _| object > 1500), 0.3);
    near(count(&|_, operation| operation == Operation::Peek), 0.1);
    // Nobody writes the object that is asked for in vain.
    let absent = count(&|object, _| object == 1500);
    assert_eq!(count(&|object, operation| (object, operation) == (1500, Operation::Peek)), absent);
    near(absent, 0.1);
}

#[test]
fn churn_replaces_the_hot_objects() {
    let hottest = |churn_per_h: f64| {
        let mut workload = plain();
        workload.churn_per_h = churn_per_h;
        workload.per_s = 5.0;
        let trace = workload.generate(1);
        let tenth = |range: std::ops::Range<usize>| {
            let mut counts = vec![0; trace.objects as usize];
            trace.requests[range].iter().for_each(|request| counts[request.object as usize] += 1);
            let mut objects: Vec<usize> = (0..counts.len()).collect();
            objects.sort_by_key(|&object| std::cmp::Reverse(counts[object]));
            objects.into_iter().take(10).collect::<HashSet<_>>()
        };
        tenth(0..5000).intersection(&tenth(15_000..20_000)).count()
    };
    assert!(hottest(0.0) >= 8);
    assert!(hottest(4.0) <= 4);
}
