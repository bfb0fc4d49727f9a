//! The driver on `io_uring`: the suite, with a ring as servers have it and with one in which every queue is full and
//! every buffer taken most of the time.

mod ends;
mod rules;

use mm_base::Now;
use mm_runtime::driver::uring::{Sizes, UringDriver};
use mm_runtime::driver::{
    Address, Driver, Event, Kind, Owner, Received, Sent, SourceId, Span, Unsent, Waker,
};
use mm_runtime::sys::socket::{Listener, StreamOptions};

use crate::real::{Real, Tcp, Unix, options_are_set_on_what_is_accepted};

impl Real for UringDriver {
    fn make(options: StreamOptions) -> Self {
        Self::new(options).expect("this kernel has io_uring")
    }
}

/// A driver with the smallest ring there can be.
pub(crate) struct Tiny(UringDriver);

impl Real for Tiny {
    fn make(options: StreamOptions) -> Self {
        let sizes = Sizes { submissions: 1, completions: 2, buffers: 1, send_bytes: 4096 };
        Self(UringDriver::with_sizes(options, sizes).expect("this kernel has io_uring"))
    }
}

#[test]
fn options_are_set() {
    options_are_set_on_what_is_accepted::<UringDriver>();
}

mod tcp {
    crate::driver_suite!(super::Tcp<super::UringDriver>);
    crate::driver_suite! { super::Tcp<super::UringDriver>:
        urgent_bytes_keep_nothing_back
        looking_before_sleeping_misses_nothing
        looking_before_sleeping_ends_in_time
        a_released_stream_goes_on_elsewhere
        a_stream_whose_peer_has_finished_and_is_behind_goes_on_elsewhere
    }
}

mod unix {
    crate::unix_driver_suite!(super::Unix<super::UringDriver>);
    crate::driver_suite! { super::Unix<super::UringDriver>:
        a_stream_whose_peer_has_finished_and_is_behind_goes_on_elsewhere
    }
}

mod tiny_tcp {
    crate::driver_suite!(super::Tcp<super::Tiny>);
    crate::driver_suite! { super::Tcp<super::Tiny>:
        a_released_stream_goes_on_elsewhere
        a_stream_whose_peer_has_finished_and_is_behind_goes_on_elsewhere
    }
}

mod tiny_unix {
    crate::unix_driver_suite!(super::Unix<super::Tiny>);
}

impl Driver for Tiny {
    type Socket = std::os::fd::OwnedFd;
    type Listener = Listener;

    fn kind(&self) -> Kind {
        self.0.kind()
    }

    fn now(&mut self) -> Now {
        self.0.now()
    }

    fn waker(&self) -> Waker {
        self.0.waker()
    }

    fn poll(&mut self, timeout_ms: Option<u64>, events: &mut Vec<Event>) -> std::io::Result<()> {
        self.0.poll(timeout_ms, events)
    }

    fn add_listener(&mut self, listener: Listener, owner: Owner) -> std::io::Result<SourceId> {
        self.0.add_listener(listener, owner)
    }

    fn accept(&mut self, listener: SourceId) -> std::io::Result<Option<(Self::Socket, Address)>> {
        self.0.accept(listener)
    }

    fn add_stream(&mut self, socket: Self::Socket, owner: Owner) -> std::io::Result<SourceId> {
        self.0.add_stream(socket, owner)
    }

    fn receive(&mut self, stream: SourceId) -> std::io::Result<Received<Span>> {
        self.0.receive(stream)
    }

    fn bytes(&self, span: Span) -> &[u8] {
        self.0.bytes(span)
    }

    fn inbox_has_room(&self) -> bool {
        self.0.inbox_has_room()
    }

    fn clear_inbox(&mut self) {
        self.0.clear_inbox();
    }

    fn receive_into(&mut self, stream: SourceId, space: &mut [u8]) -> std::io::Result<Received<usize>> {
        self.0.receive_into(stream, space)
    }

    fn leave_listener(&mut self, listener: SourceId) -> Option<Vec<(Self::Socket, Address)>> {
        self.0.leave_listener(listener)
    }

    fn receive_head(&mut self, stream: SourceId) -> std::io::Result<Received<Span>> {
        self.0.receive_head(stream)
    }

    fn receive_past(
        &mut self,
        stream: SourceId,
        space: &mut [u8],
    ) -> std::io::Result<Received<(usize, Option<Span>)>> {
        self.0.receive_past(stream, space)
    }

    fn may_have_input(&self, stream: SourceId) -> bool {
        self.0.may_have_input(stream)
    }

    fn send(&mut self, stream: SourceId, output: &mut impl Unsent) -> std::io::Result<Sent> {
        self.0.send(stream, output)
    }

    fn has_rest(&self, stream: SourceId) -> bool {
        self.0.has_rest(stream)
    }

    fn has_unsent(&self) -> bool {
        self.0.has_unsent()
    }

    fn shutdown_output(&mut self, stream: SourceId) -> std::io::Result<()> {
        self.0.shutdown_output(stream)
    }

    fn close(&mut self, source: SourceId) {
        self.0.close(source);
    }

    fn release(&mut self, stream: SourceId) -> Option<(Self::Socket, Address)> {
        self.0.release(stream)
    }

    fn release_with_rest(&mut self, stream: SourceId) -> Option<(Self::Socket, Address, Vec<u8>)> {
        self.0.release_with_rest(stream)
    }

    fn reset(&mut self, stream: SourceId) {
        self.0.reset(stream);
    }
}
