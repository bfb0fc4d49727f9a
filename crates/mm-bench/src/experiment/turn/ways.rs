//! The ways of serving that are compared.

use crate::floor::ring::{RingOptions, TaskWork};
use crate::limits::EVENTS_PER_WAIT;

/// In which order the connections of a turn are served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Order {
    /// Receive, run and send for one, then for the next.
    OneByOne,
    /// Receive for all, prepare all, run all, send for all.
    Staged,
    /// Receive for all, prepare all, then run and send for one after the other.
    StagedSendEach,
    /// Receive for all, run all, send for all, without preparing: what the order alone does.
    Unprepared,
}

/// How a connection is registered with epoll.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trigger {
    /// Level-triggered, one read per event.
    Level,
    /// Edge-triggered; a short read ends the reading.
    Edge,
    /// Edge-triggered; reading goes on until the kernel says there is no more.
    EdgeProbe,
}

/// The system calls that move the bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Calls {
    /// read and write.
    ReadWrite,
    /// recv and send with `MSG_DONTWAIT` and `MSG_NOSIGNAL`.
    RecvSend,
    /// read and writev with two pieces.
    Writev,
}

/// An epoll server.
#[derive(Clone, Copy, Debug)]
pub(super) struct EpollWay {
    pub(super) order: Order,
    pub(super) trigger: Trigger,
    pub(super) calls: Calls,
    /// Events taken in one wait.
    pub(super) events: usize,
    /// How often to look without sleeping before sleeping.
    pub(super) looks: u32,
}

/// An io_uring server.
#[derive(Clone, Copy, Debug)]
pub(super) struct UringWay {
    pub(super) order: Order,
    pub(super) ring: RingOptions,
    /// Send by a system call of its own instead of with the next wait.
    pub(super) send_at_once: bool,
}

/// One of the ways.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// Readiness.
    Epoll(EpollWay),
    /// Completion.
    Uring(UringWay),
}

const EPOLL: EpollWay = EpollWay {
    order: Order::Staged,
    trigger: Trigger::Level,
    calls: Calls::ReadWrite,
    events: EVENTS_PER_WAIT,
    looks: 0,
};

const RING: RingOptions = RingOptions {
    task_work: TaskWork::Deferred,
    registered_ring: false,
    registered_files: false,
    batch: 1,
    patience_us: 0,
};

const URING: UringWay = UringWay { order: Order::Staged, ring: RING, send_at_once: false };

/// All ways by name, in the order of the table.
pub(super) const WAYS: &[(&str, Way)] = &[
    ("epoll-one", Way::Epoll(EpollWay { order: Order::OneByOne, ..EPOLL })),
    ("epoll-one-edge", Way::Epoll(EpollWay { order: Order::OneByOne, trigger: Trigger::Edge, ..EPOLL })),
    (
        "epoll-one-probe",
        Way::Epoll(EpollWay { order: Order::OneByOne, trigger: Trigger::EdgeProbe, ..EPOLL }),
    ),
    ("epoll-unprepared", Way::Epoll(EpollWay { order: Order::Unprepared, ..EPOLL })),
    ("epoll-staged", Way::Epoll(EPOLL)),
    ("epoll-staged-edge", Way::Epoll(EpollWay { trigger: Trigger::Edge, ..EPOLL })),
    ("epoll-staged-probe", Way::Epoll(EpollWay { trigger: Trigger::EdgeProbe, ..EPOLL })),
    ("epoll-each", Way::Epoll(EpollWay { order: Order::StagedSendEach, ..EPOLL })),
    (
        "epoll-each-edge",
        Way::Epoll(EpollWay { order: Order::StagedSendEach, trigger: Trigger::Edge, ..EPOLL }),
    ),
    ("epoll-edge-8-events", Way::Epoll(EpollWay { trigger: Trigger::Edge, events: 8, ..EPOLL })),
    ("epoll-edge-32-events", Way::Epoll(EpollWay { trigger: Trigger::Edge, events: 32, ..EPOLL })),
    (
        "epoll-edge-recv-send",
        Way::Epoll(EpollWay { trigger: Trigger::Edge, calls: Calls::RecvSend, ..EPOLL }),
    ),
    ("epoll-edge-writev", Way::Epoll(EpollWay { trigger: Trigger::Edge, calls: Calls::Writev, ..EPOLL })),
    ("epoll-edge-looks", Way::Epoll(EpollWay { trigger: Trigger::Edge, looks: 20, ..EPOLL })),
    ("uring-one", Way::Uring(UringWay { order: Order::OneByOne, ..URING })),
    ("uring-unprepared", Way::Uring(UringWay { order: Order::Unprepared, ..URING })),
    ("uring-staged", Way::Uring(URING)),
    ("uring-send-at-once", Way::Uring(UringWay { send_at_once: true, ..URING })),
    ("uring-interrupting", Way::Uring(UringWay { ring: task_work(TaskWork::Interrupting), ..URING })),
    ("uring-cooperative", Way::Uring(UringWay { ring: task_work(TaskWork::Cooperative), ..URING })),
    ("uring-reg-ring", Way::Uring(UringWay { ring: RingOptions { registered_ring: true, ..RING }, ..URING })),
    (
        "uring-reg-files",
        Way::Uring(UringWay { ring: RingOptions { registered_files: true, ..RING }, ..URING }),
    ),
    (
        "uring-batch-8",
        Way::Uring(UringWay { ring: RingOptions { batch: 8, patience_us: 20, ..RING }, ..URING }),
    ),
    (
        "uring-batch-32",
        Way::Uring(UringWay { ring: RingOptions { batch: 32, patience_us: 50, ..RING }, ..URING }),
    ),
];

const fn task_work(task_work: TaskWork) -> RingOptions {
    RingOptions { task_work, ..RING }
}

/// The way of that name.
///
/// # Errors
/// There is none; the message lists the names.
pub(super) fn find(name: &str) -> Result<Way, String> {
    match WAYS.iter().find(|(known, _)| *known == name) {
        Some((_, way)) => Ok(*way),
        None => {
            let names: Vec<&str> = WAYS.iter().map(|(name, _)| *name).collect();
            Err(format!("there is no way '{name}'; there are {}", names.join(", ")))
        }
    }
}
