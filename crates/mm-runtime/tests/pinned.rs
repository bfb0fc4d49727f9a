//! What a pinned shard has others do is not pinned. Alone in its process, which has no thread for such work yet.

#![cfg(target_os = "linux")]

use std::thread::available_parallelism;

use mm_runtime::sys::affinity::pin;
use mm_runtime::{Runtime, offload};

#[test]
fn offloaded_work_has_all_processors() {
    let all = available_parallelism().unwrap();
    let _pin = pin(0).unwrap();
    assert_eq!(available_parallelism().unwrap().get(), 1);
    let offloaded = Runtime::new().unwrap().block_on(offload::run(available_parallelism)).unwrap();
    assert_eq!(offloaded.unwrap().unwrap(), all);
}
