//! A shard on the epoll driver: tasks, timers and work in the same turns.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mm_base::Now;
use mm_base::buffer::{Output, Pool};
use mm_base::slab::Key;
use mm_runtime::driver::epoll::EpollDriver;
use mm_runtime::driver::{Driver, Event, Owner, Received, Sent};
use mm_runtime::net::{Ledger, Stream};
use mm_runtime::shard::{Io, Next, Shard, Work};
use mm_runtime::sys::socket::{self, ListenAddress, Listener, StreamOptions};
use mm_runtime::task::JoinHandle;
use mm_runtime::{net, task, timers};

/// Ends the shard when told to; else leaves it to its tasks.
struct UntilDone(Rc<Cell<bool>>);

impl Work<EpollDriver> for UntilDone {
    fn event(&mut self, _event: &Event) {}

    fn serve(&mut self, _driver: &mut EpollDriver, _now: Now) {}

    fn finish(&mut self, _driver: &mut EpollDriver, _now: Now) -> Next {
        if self.0.get() { Next::Stop } else { Next::Never }
    }
}

#[cfg(test)]
fn shard() -> (Shard<EpollDriver>, UntilDone) {
    let driver = EpollDriver::new(StreamOptions::default()).unwrap();
    (Shard::new(driver), UntilDone(Rc::default()))
}

#[test]
fn tasks_sleep_and_are_woken_from_other_threads() {
    let (mut shard, mut work) = shard();
    let done = Rc::clone(&work.0);
    let order = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&order);
    let task = shard.executor().spawn(async move {
        let slow = Rc::clone(&seen);
        let other = task::spawn(async move {
            timers::sleep(30).await.unwrap();
            slow.borrow_mut().push("slow");
        });
        timers::sleep(5).await.unwrap();
        seen.borrow_mut().push("fast");
        let mut asked = false;
        poll_fn(|context| {
            if std::mem::replace(&mut asked, true) {
                return Poll::Ready(());
            }
            let waker = context.waker().clone();
            std::thread::spawn(move || waker.wake());
            Poll::Pending
        })
        .await;
        seen.borrow_mut().push("woken");
        other.await.unwrap();
        done.set(true);
    });
    task.detach();
    shard.run(&mut work).unwrap();
    assert_eq!(*order.borrow(), ["fast", "woken", "slow"]);
}

/// Echoes what the first connection sends, until its end.
#[cfg(test)]
async fn echo(io: Io<EpollDriver>, listener: Listener) {
    let listener = io.driver().add_listener(listener, Owner::Task).unwrap();
    let (socket, _) = poll_fn(|context| {
        io.wake_when_readable(listener, context.waker());
        io.driver().accept(listener).unwrap().map_or(Poll::Pending, Poll::Ready)
    })
    .await;
    let stream = io.driver().add_stream(socket, Owner::Task).unwrap();
    let mut output = Output::new(&Pool::new(1 << 20), 1 << 20);
    loop {
        let mut space = [0; 100];
        let received = poll_fn(|context| {
            io.wake_when_readable(stream, context.waker());
            match io.driver().receive_into(stream, &mut space).unwrap() {
                Received::Blocked => Poll::Pending,
                received => Poll::Ready(received),
            }
        });
        let Received::Bytes(bytes) = received.await else { break };
        output.write(&space[..bytes]);
        let sent = io.driver().send(stream, &mut output).unwrap();
        assert_eq!(sent, Sent::All);
    }
    io.close(stream);
    io.close(listener);
}

#[test]
fn tasks_do_input_and_output() {
    let (mut shard, mut work) = shard();
    let listener = Listener::bind(&ListenAddress::Ip("127.0.0.1:0".parse().unwrap()), 8).unwrap();
    let ListenAddress::Ip(address) = *listener.address() else { panic!("another kind of address") };
    let peer = std::thread::spawn(move || {
        let mut peer = TcpStream::connect(address).unwrap();
        for _ in 0..10 {
            let mut answer = [0; 5];
            peer.write_all(b"hello").unwrap();
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"hello");
        }
    });
    let (io, done) = (shard.io(), Rc::clone(&work.0));
    let task = shard.executor().spawn(async move {
        echo(io, listener).await;
        done.set(true);
    });
    task.detach();
    shard.run(&mut work).unwrap();
    peer.join().unwrap();
}

/// Counts its events, and always has more to do.
struct Busy {
    served: u32,
    woken: Rc<Cell<bool>>,
}

impl Work<EpollDriver> for Busy {
    fn event(&mut self, _event: &Event) {}

    fn serve(&mut self, _driver: &mut EpollDriver, _now: Now) {
        self.served += 1;
    }

    fn finish(&mut self, _driver: &mut EpollDriver, _now: Now) -> Next {
        if self.woken.get() { Next::Stop } else { Next::Now }
    }
}

#[test]
fn busy_work_does_not_starve_timers_and_tasks() {
    let (mut shard, _) = shard();
    let mut busy = Busy { served: 0, woken: Rc::default() };
    let woken = Rc::clone(&busy.woken);
    let task = shard.executor().spawn(async move {
        timers::sleep(10).await.unwrap();
        woken.set(true);
    });
    task.detach();
    shard.run(&mut busy).unwrap();
    assert!(busy.served > 1);
    assert!(Owner::Work(Key::reserved(0)) != Owner::Task);
}

type Connecting = JoinHandle<std::io::Result<Stream>>;

/// Holds a task that connects, and gives it up when that has been done, at one of the two times when it has the driver.
struct Parked {
    held: Option<Connecting>,
    give_up: fn(Connecting),
    in_finish: bool,
}

impl Parked {
    fn act(&mut self, in_finish: bool) {
        if in_finish == self.in_finish
            && let Some(held) = self.held.take_if(|held| held.is_finished())
        {
            (self.give_up)(held);
        }
    }
}

impl Work<EpollDriver> for Parked {
    fn event(&mut self, _event: &Event) {}

    fn serve(&mut self, _driver: &mut EpollDriver, _now: Now) {
        self.act(false);
    }

    fn finish(&mut self, _driver: &mut EpollDriver, _now: Now) -> Next {
        self.act(true);
        if self.held.is_some() { Next::Now } else { Next::Stop }
    }
}

#[cfg(test)]
fn reset(held: Connecting) {
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(Ok(stream))) = pin!(held).poll(&mut context) else { panic!("not connected") };
    stream.reset();
}

#[test]
fn a_stream_that_work_drops_or_resets_is_closed() {
    let give_ups: [(fn(Connecting), _); 2] = [(drop, Ok(0)), (reset, Err(ErrorKind::ConnectionReset))];
    for (give_up, seen) in give_ups {
        for in_finish in [false, true] {
            let (mut shard, _) = shard();
            net::attach(shard.executor(), shard.io(), Pool::new(1 << 20));
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let held = Some(shard.executor().spawn(async move { Stream::connect(address).await }));
            shard.run(&mut Parked { held, give_up, in_finish }).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            assert_eq!(peer.read(&mut [0]).map_err(|error| error.kind()), seen, "in finish: {in_finish}");
        }
    }
}

/// Takes a connection over for a handler, which there is no room for.
struct Refusing {
    accepted: Option<TcpStream>,
    ended: Rc<Cell<bool>>,
}

#[cfg(test)]
impl Work<EpollDriver> for Refusing {
    fn event(&mut self, _event: &Event) {}

    fn serve(&mut self, driver: &mut EpollDriver, _now: Now) {
        let Some(accepted) = self.accepted.take() else { return };
        let socket = accepted.into();
        let peer = socket::adopt(&socket, StreamOptions::default()).unwrap();
        let source = driver.add_stream(socket, Owner::Task).unwrap();
        drop(Ledger::new(60_000).unwrap().adopt(source, peer));
    }

    fn finish(&mut self, _driver: &mut EpollDriver, _now: Now) -> Next {
        if self.ended.get() { Next::Stop } else { Next::Now }
    }
}

#[test]
fn a_served_stream_that_work_drops_is_closed_when_its_peer_has_finished() {
    let (mut shard, _) = shard();
    net::attach(shard.executor(), shard.io(), Pool::new(1 << 20));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    peer.write_all(b"unread").unwrap();
    let mut work = Refusing { accepted: Some(accepted), ended: Rc::default() };
    let ended = Rc::clone(&work.ended);
    let lingers = shard.executor().spawn(async move {
        task::yield_now().await;
        ended.set(true);
    });
    lingers.detach();
    shard.run(&mut work).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "no reset, although it has sent");
}
