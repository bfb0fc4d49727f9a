//! A shard on the epoll driver: tasks, timers and work in the same turns.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::Write;
use std::net::TcpStream;
use std::rc::Rc;
use std::task::Poll;

use mm_base::Now;
use mm_base::buffer::{Output, Pool};
use mm_base::slab::Key;
use mm_runtime::driver::epoll::EpollDriver;
use mm_runtime::driver::{Driver, Event, Owner, Received, Sent};
use mm_runtime::shard::{Io, Next, Shard, Work};
use mm_runtime::sys::socket::{ListenAddress, Listener, StreamOptions};
use mm_runtime::{task, timers};

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
            std::io::Read::read_exact(&mut peer, &mut answer).unwrap();
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
