//! Shards that are refused a ring when the server has found that it may have some.
//!
//! What is forbidden is forbidden to the thread that serves and to those it starts, so to no other test.

use std::collections::BTreeMap;
use std::env;
use std::sync::{Arc, Mutex};

use mm_runtime::driver::Kind;
use mm_server::{Config, Log, Server, Start, Stop};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::running::{Running, exchange, uring};
use crate::toy::Toy;

/// The system calls of `io_uring`, the same on all architectures.
const SETUP: i64 = 425;
const ENTER: i64 = 426;
const REGISTER: i64 = 427;

/// `IORING_REGISTER_PBUF_RING`
const BUFFER_RING: u64 = 22;

const ENOMEM: u32 = 12;

/// Has a system call fail on this thread from now on; with an operation, where its second argument is that.
fn forbid(call: i64, operation: Option<u64>) {
    let rule = |operation| {
        let is = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, operation).unwrap();
        SeccompRule::new(vec![is]).unwrap()
    };
    let rules = BTreeMap::from([(call, operation.map(rule).into_iter().collect())]);
    let architecture = env::consts::ARCH.try_into().unwrap();
    let action = SeccompAction::Errno(ENOMEM);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, architecture).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

#[test]
fn epoll_serves_on_each_shard_and_a_line_says_why() {
    if env::var_os("MM_TEST_WITHOUT_URING").is_some() {
        return;
    }
    for (call, operation, step) in [
        (SETUP, None, "io_uring_setup"),
        (REGISTER, Some(BUFFER_RING), "io_uring_register (ring of buffers)"),
        (ENTER, None, "io_uring_enter"),
    ] {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = Log::to({
            let lines = Arc::clone(&lines);
            move |line| lines.lock().unwrap().push(line.to_owned())
        });
        let shards = 2.try_into().unwrap();
        let server = Running::of(Config { shards, log, ..uring() }, move |server: Server| {
            assert_eq!((server.driver(), server.notice()), (Kind::Uring, None));
            forbid(call, operation);
            server.serve_with(|start: &Start| {
                assert!(start.notice.is_some(), "shard {} has a ring", start.shard);
                Toy::new(start)
            })
        });
        let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
        for client in &mut clients {
            exchange(client, b"echo served\n", "served\n");
        }
        server.stop(Stop::Gracefully);
        let mut lines = lines.lock().unwrap().clone();
        lines.sort();
        let why = "Cannot allocate memory (os error 12)";
        let line = |shard| {
            format!("shard {shard}: io_uring cannot be used here ({step}: {why}); using epoll instead")
        };
        assert_eq!(lines, [line(0), line(1)]);
    }
}
