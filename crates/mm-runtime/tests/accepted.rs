//! Connections whose descriptors have numbers that a wait's result could have, too. Alone in its process, whose lowest
//! free descriptors it chooses.

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::fs::File;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::IoUring;
use mm_base::slab::Key;
use mm_runtime::driver::uring::{Sizes, UringDriver};
use mm_runtime::driver::{Driver, Owner};
use mm_runtime::sys::socket::{ListenAddress, Listener, StreamOptions};
use rustix::io::fcntl_dupfd_cloexec;

/// `POLLIN` with `POLLRDNORM`, alone and beside others.
const LIKE_EVENTS: [i32; 8] = [65, 67, 73, 75, 81, 83, 89, 91];

/// Takes every number below 100 that is free.
#[cfg(test)]
fn plugs() -> Vec<OwnedFd> {
    let null = File::open("/dev/null").unwrap();
    let plug = |number| {
        let plug = fcntl_dupfd_cloexec(&null, number).unwrap();
        (plug.as_raw_fd() == number).then_some(plug)
    };
    let mut plugs: Vec<_> = (0..100).filter_map(plug).collect();
    plugs.push(null.into());
    plugs
}

#[test]
fn every_connection_arrives_though_the_completion_queue_is_full() {
    if std::env::var_os("MM_TEST_WITHOUT_URING").is_some() {
        return;
    }
    // Of kernels before 6.10, which have no bundles, the driver does not know whether they give the connection.
    if !IoUring::new(1).unwrap().params().is_feature_recvsend_bundle() {
        return;
    }
    // With the next one, a queue of two is full.
    let sizes = Sizes { submissions: 1, completions: 2, buffers: 1, send_bytes: 4096 };
    let mut driver = UringDriver::with_sizes(StreamOptions::default(), sizes).unwrap();
    let listener = Listener::bind(&ListenAddress::Ip("127.0.0.1:0".parse().unwrap()), 1024).unwrap();
    let ListenAddress::Ip(address) = *listener.address() else { panic!("another kind of address") };
    let peers = LIKE_EVENTS.map(|_| TcpStream::connect(address).unwrap());
    let mut plugs = plugs();
    plugs.retain(|plug| !LIKE_EVENTS.contains(&plug.as_raw_fd()));
    let listener = driver.add_listener(listener, Owner::Work(Key::reserved(0))).unwrap();
    let (mut accepted, mut events) = (Vec::new(), Vec::new());
    loop {
        while let Some((socket, _)) = driver.accept(listener).unwrap() {
            accepted.push(socket);
        }
        if accepted.len() == LIKE_EVENTS.len() {
            break;
        }
        driver.poll(Some(5_000), &mut events).unwrap();
        assert!(!events.is_empty(), "only these have come: {accepted:?}");
        events.clear();
    }
    let numbers: Vec<_> = accepted.iter().map(AsRawFd::as_raw_fd).collect();
    assert_eq!(numbers, LIKE_EVENTS);
    drop(peers);
}
