//! The driver on kqueue, with a model in the kernel's place.

mod changes;
mod model;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mm_base::slab::Key;
use mm_runtime::Runtime;
use mm_runtime::driver::kqueue::Kqueue;
use mm_runtime::driver::readiness::{Poller, ReadinessDriver, Role, System, Table};
use mm_runtime::driver::{Event, Kind, Waker};
use mm_runtime::sys::socket::StreamOptions;
use rustix::event::Timespec;

use crate::real::{Tcp, Unix, options_are_set_on_what_is_accepted};
use model::Model;

/// The logic of the driver over a model of the kernel. It shows the model each socket that is opened and closed, as a
/// kernel sees them anyway. `USER`: whether the model has user events, as OpenBSD's has not.
struct Modelled<const USER: bool> {
    kqueue: Kqueue<Model>,
    model: Model,
}

impl<const USER: bool> Poller for Modelled<USER> {
    const KIND: Kind = Kind::Kqueue;

    fn new() -> io::Result<Self> {
        let model = Model::new(USER);
        Ok(Self { kqueue: Kqueue::over(model.clone())?, model })
    }

    fn waker(&self) -> Waker {
        self.kqueue.waker()
    }

    fn watch(&mut self, socket: &OwnedFd, key: Key, role: Role) -> io::Result<()> {
        self.model.open(socket);
        self.kqueue.watch(socket, key, role)
    }

    fn unwatch(&mut self, socket: &OwnedFd, key: Key, role: Role) {
        self.kqueue.unwatch(socket, key, role);
        self.model.close(socket.as_raw_fd());
    }

    fn forget(&mut self, socket: &OwnedFd, key: Key) -> bool {
        let forgotten = self.kqueue.forget(socket, key);
        if forgotten {
            self.model.give_away(socket.as_raw_fd());
        }
        forgotten
    }

    fn wait(
        &mut self,
        timeout: Option<&Timespec>,
        table: &mut Table<OwnedFd>,
        events: &mut Vec<Event>,
    ) -> io::Result<()> {
        self.kqueue.wait(timeout, table, events)
    }
}

type Driver<const USER: bool> = ReadinessDriver<System<Modelled<USER>>>;

mod tcp {
    crate::driver_suite!(super::Tcp<super::Driver<true>>);
    crate::driver_suite! { super::Tcp<super::Driver<true>>:
        a_released_stream_goes_on_elsewhere
        a_stream_whose_peer_has_finished_and_is_behind_goes_on_elsewhere
    }
}

mod unix {
    crate::unix_driver_suite!(super::Unix<super::Driver<true>>);
}

#[path = "../net/unix_datagrams.rs"]
mod unix_datagrams;

#[test]
fn options_are_set() {
    options_are_set_on_what_is_accepted::<Driver<true>>();
}

#[test]
fn unix_datagrams_keep_their_promises() {
    let driver = Driver::<true>::new(StreamOptions::default()).unwrap();
    Runtime::on(driver).block_on(unix_datagrams::promises()).unwrap().unwrap();
}

mod tcp_without_user_events {
    crate::driver_suite!(super::Tcp<super::Driver<false>>);
    crate::driver_suite! { super::Tcp<super::Driver<false>>:
        a_released_stream_goes_on_elsewhere
        a_stream_whose_peer_has_finished_and_is_behind_goes_on_elsewhere
    }
}
