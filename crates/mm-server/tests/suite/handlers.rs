//! Connections as sequential code, under the same rules as those of a service.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use mm_runtime::net::Datagrams;
use mm_runtime::shards::{self, Sharded};
use mm_runtime::task::spawn;
use mm_runtime::timers::{sleep, timeout};
use mm_server::{Config, ListenAddress, Server, Stop, Stream, StreamOptions};

use crate::running::{PATIENCE, Running, Settings, exchange, expect, on_each_driver, rest};

/// Answers lines: `slow`, `panic` and `long` as they say, `queue` as `long` through a queue, `give up` by the beginning
/// of an answer, others by themselves. What comes behind `sink` is dropped.
async fn lines(stream: Stream) -> std::io::Result<()> {
    let (mut reader, mut writer) = stream.buffered();
    loop {
        let length = reader.read_until(b'\n').await?;
        let line = reader.buffered()[..length].to_vec();
        reader.consume(length);
        match &line[..] {
            b"" => return Ok(()),
            b"slow\n" => {
                sleep(100).await?;
                writer.write_all(b"slow\n").await?;
            }
            b"long\n" => loop {
                writer.write_all(&[b'x'; 4096]).await?;
            },
            b"queue\n" => {
                let mut writer = writer.buffered();
                loop {
                    writer.write(&[b'x'; 4096]).await?;
                }
            }
            b"sink\n" => while reader.read(&mut [0; 16]).await? > 0 {},
            b"give up\n" => {
                timeout(1, writer.write_all(&vec![b'x'; 1 << 20])).await.ok();
            }
            b"panic\n" => panic!("as asked"),
            line => writer.write_all(line).await?,
        }
    }
}

fn start(config: Config) -> Running {
    Running::of(config, |server| server.serve(lines))
}

fn lines_come_back_on_every_shard(config: Settings) {
    let server = start(Config { shards: NonZeroUsize::new(3).unwrap(), ..config() });
    let mut clients: Vec<TcpStream> = (0..30).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        exchange(client, format!("client {number}\n").as_bytes(), &format!("client {number}\n"));
    }
    assert!(server.handle.stats().iter().all(|stats| stats.connections.get() == 10), "{:?}", server.handle);
    drop(clients);
    server.wait_for(|stats| stats.connections.get(), 0);
    server.wait_for(|stats| stats.bytes_read.get(), 10 * 9 + 20 * 10);
    server.wait_for(|stats| stats.bytes_written.get(), 10 * 9 + 20 * 10);
    assert_eq!(server.stop(Stop::Gracefully).connections_total, 30);
}

fn a_panic_ends_its_connection_and_nothing_else(config: Settings) {
    let server = start(config());
    let mut other = server.connect();
    let mut client = server.connect();
    client.write_all(b"panic\n").unwrap();
    assert_eq!(rest(&mut client), b"");
    server.wait_for(|stats| stats.panics.get(), 1);
    exchange(&mut other, b"hello\n", "hello\n");
    server.wait_for(|stats| stats.connections.get(), 1);
}

fn above_the_limit_connections_wait(config: Settings) {
    let server = start(Config { connections_max: 2, ..config() });
    let mut first = server.connect();
    let mut second = server.connect();
    exchange(&mut first, b"1\n", "1\n");
    exchange(&mut second, b"2\n", "2\n");
    let mut third = server.connect();
    third.write_all(b"3\n").unwrap();
    exchange(&mut first, b"1\n", "1\n");
    assert_eq!(server.total(|stats| stats.connections.get()), 2);
    drop(first);
    expect(&mut third, "3\n");
}

fn the_silent_and_those_who_never_read_are_closed_in_time(config: Settings) {
    let stream = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    let times = Config { idle_timeout_ms: Some(500), write_timeout_ms: Some(600), stream, ..config() };
    let server = start(times);
    let mut silent = server.connect();
    let mut greedy = server.connect();
    greedy.write_all(b"long\n").unwrap();
    let mut talkative = server.connect();
    while server.total(|stats| stats.idle_timeouts.get()) == 0 {
        exchange(&mut talkative, b"hello\n", "hello\n");
    }
    assert_eq!(rest(&mut silent), b"");
    server.wait_for(|stats| stats.write_timeouts.get(), 1);
    server.wait_for(|stats| stats.connections.get(), 0);
    server.wait_for(|stats| stats.idle_timeouts.get(), 2);
}

fn a_write_that_was_given_up_waits_no_more(config: Settings) {
    let stream = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    let times = Config { idle_timeout_ms: Some(1000), write_timeout_ms: Some(500), stream, ..config() };
    let server = start(times);
    let mut client = server.connect();
    client.write_all(b"give up\n").unwrap();
    server.wait_for(|stats| stats.connections_total.get(), 1);
    server.wait_for(|stats| stats.connections.get(), 0);
    assert_eq!(server.total(|stats| stats.write_timeouts.get()), 0);
    assert_eq!(server.total(|stats| stats.idle_timeouts.get()), 1);
}

fn a_firehose_does_not_starve_the_others(config: Settings) {
    let server = start(config());
    let mut hose = server.connect();
    // Gone at the end of the test, however it ends.
    let (_open, open) = mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        hose.write_all(b"sink\n").unwrap();
        let bytes = vec![b'x'; 1 << 16];
        while open.try_recv() == Err(TryRecvError::Empty) && hose.write_all(&bytes).is_ok() {}
    });
    server.wait_for_at_least(|stats| stats.bytes_read.get(), 1 << 20);
    let mut modest = server.connect();
    for _ in 0..200 {
        exchange(&mut modest, b"me too\n", "me too\n");
    }
    server.stop(Stop::AtOnce);
    writer.join().unwrap();
}

fn those_who_never_read_are_bounded_in_memory_and_closed(config: Settings) {
    let stream = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    let server = start(Config { stream, buffer_bytes_max: 128 * 1024, ..config() });
    let mut greedy: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    for client in &mut greedy {
        client.write_all(b"queue\n").unwrap();
    }
    let mut modest = server.connect();
    for _ in 0..100 {
        exchange(&mut modest, b"me too\n", "me too\n");
    }
    server.wait_for_at_least(|stats| stats.memory_timeouts.get(), 1);
    assert!(server.total(|stats| stats.connections.get()) > 1);
}

fn a_write_that_waits_holds_no_memory(config: Settings) {
    let stream = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    let server = start(Config { stream, buffer_bytes_max: 128 * 1024, ..config() });
    let mut greedy: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    for client in &mut greedy {
        client.write_all(b"long\n").unwrap();
    }
    server.wait_for(|stats| stats.bytes_read.get(), 50 * 5);
    let mut modest = server.connect();
    for _ in 0..100 {
        exchange(&mut modest, b"me too\n", "me too\n");
    }
    assert_eq!(server.total(|stats| stats.memory_timeouts.get()), 0);
    assert_eq!(server.total(|stats| stats.connections.get()), 51);
}

fn a_graceful_stop_answers_what_has_begun(config: Settings) {
    // However long it takes.
    let (drain_ms, never) = (u64::MAX, Some(u64::MAX));
    let server = start(Config { drain_ms, idle_timeout_ms: never, write_timeout_ms: never, ..config() });
    let mut idle = server.connect();
    exchange(&mut idle, b"hello\n", "hello\n");
    let mut half = server.connect();
    exchange(&mut half, b"one\ntw", "one\n");
    let mut slow = server.connect();
    slow.write_all(b"slow\n").unwrap();
    server.wait_for(|stats| stats.bytes_read.get(), 6 + 6 + 5);
    server.handle.stop(Stop::Gracefully);
    assert_eq!(rest(&mut idle), b"");
    assert_eq!(rest(&mut slow), b"slow\n");
    half.write_all(b"o\n").unwrap();
    assert_eq!(rest(&mut half), b"two\n");
    assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 0);
}

fn a_graceful_stop_leaves_the_shards_that_requests_need(config: Settings) {
    let two = NonZeroUsize::new(2).unwrap();
    let stopping = Arc::new(AtomicBool::new(false));
    let (told, counts) = (Arc::clone(&stopping), Sharded::new(|| Cell::new(0)));
    let server = Running::of(Config { shards: two, drain_ms: u64::MAX, ..config() }, |server| {
        server.serve(async move |mut stream: Stream| {
            stream.read_exact(&mut [0; 4]).await?;
            while !told.load(Ordering::Relaxed) {
                sleep(1).await?;
            }
            let other = 1 - shards::current().map_or(0, |shards| shards.index());
            // For a while: a shard that should not end takes its time for it.
            for _ in 0..100 {
                counts.on(other, async |count| count.set(count.get() + 1)).await?;
                sleep(1).await?;
            }
            let count = counts.on(other, async |count| count.get()).await?;
            stream.write_all(format!("{count}\n").as_bytes()).await?;
            Ok(())
        })
    });
    let mut client = server.connect();
    client.write_all(b"ask\n").unwrap();
    server.wait_for(|stats| stats.bytes_read.get(), 4);
    server.handle.stop(Stop::Gracefully);
    stopping.store(true, Ordering::Relaxed);
    assert_eq!(rest(&mut client), b"100\n");
    assert_eq!(server.total(|stats| stats.faults.get()), 0);
    assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 0);
}

fn a_graceful_stop_has_a_deadline_and_a_stop_at_once_none(config: Settings) {
    let server = start(Config { drain_ms: 100, ..config() });
    let mut half = server.connect();
    exchange(&mut half, b"one\ntw", "one\n");
    server.wait_for(|stats| stats.bytes_read.get(), 6);
    assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 1);

    let server = start(config());
    let mut half = server.connect();
    exchange(&mut half, b"one\ntw", "one\n");
    assert_eq!(server.stop(Stop::AtOnce).drain_timeouts, 0);
    assert_eq!(half.read(&mut [0]).unwrap_or(0), 0);
}

fn a_handler_cut_at_the_deadline_is_no_fault_though_it_waits_for_another_shard(config: Settings) {
    let two = NonZeroUsize::new(2).unwrap();
    let (begins, begun) = mpsc::channel();
    let none = Sharded::new(|| ());
    let server = Running::of(Config { shards: two, drain_ms: 20, ..config() }, |server| {
        server.serve(async move |mut stream: Stream| {
            stream.read_exact(&mut [0; 4]).await?;
            let other = 1 - shards::current().map_or(0, |shards| shards.index());
            let (begins, (gone, other_is_gone)) = ([(); 2].map(|()| begins.clone()), mpsc::channel::<()>());
            let [blocks, works] = begins;
            spawn(async move {
                // The other shard goes first, if it goes without this one.
                blocks.send(()).unwrap();
                other_is_gone.recv_timeout(Duration::from_millis(300)).unwrap_err();
            })
            .detach();
            let wait = move |_| async move {
                works.send(()).unwrap();
                let _gone = gone;
                pending::<()>().await;
            };
            Ok(none.on(other, wait).await?)
        })
    });
    let mut client = server.connect();
    client.write_all(b"wait").unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    let handle = server.handle.clone();
    assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 1);
    assert!(handle.stats().iter().all(|stats| stats.faults.get() == 0));
    assert_eq!(rest(&mut client), b"");
}

fn half_a_close_still_gets_all_answers(config: Settings) {
    let server = start(config());
    let mut client = server.connect();
    client.write_all(b"slow\nlast\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), b"slow\nlast\n");
}

fn a_stream_given_to_another_task_is_ended_with_the_server(config: Settings) {
    let server = Running::of(Config { drain_ms: 50, ..config() }, |server| {
        server.serve(async |mut stream: Stream| {
            spawn(async move {
                let mut space = [0; 8];
                let mut seen = Vec::new();
                loop {
                    match stream.read(&mut space).await {
                        Ok(0) => return assert_eq!(seen, b"ab"),
                        Ok(read) => seen.extend_from_slice(&space[..read]),
                        Err(error) => return assert_eq!(error.kind(), ErrorKind::ConnectionAborted),
                    }
                }
            })
            .detach();
            Ok(())
        })
    });
    let mut client = server.connect();
    client.write_all(b"ab").unwrap();
    server.wait_for(|stats| stats.bytes_read.get(), 2);
    assert_eq!(server.total(|stats| stats.connections.get()), 1);
    assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 1);
    assert_eq!(rest(&mut client), b"");
}

thread_local! {
    /// A stream whose handler has left it here.
    static HELD: Cell<Option<Stream>> = const { Cell::new(None) };
}

/// Closes the stream that is held when it wakes.
struct Closing(Waker);

impl Wake for Closing {
    fn wake(self: Arc<Self>) {
        drop(HELD.take());
        self.0.wake_by_ref();
    }
}

/// Waits for `future` with a waker that closes the held stream.
async fn with_closing<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let waker = Waker::from(Arc::new(Closing(context.waker().clone())));
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}

/// Answers bytes by themselves. After `h` the stream is held; the read after `w` waits with a waker that closes the
/// held one; with `b` the shard stands still until `go_on`.
async fn bytes(
    mut stream: Stream,
    stands: Sender<()>,
    go_on: Arc<Mutex<Receiver<()>>>,
) -> std::io::Result<()> {
    let mut byte = [0];
    while stream.read(&mut byte).await? > 0 {
        stream.write_all(&byte).await?;
        match &byte {
            b"h" => {
                HELD.set(Some(stream));
                return Ok(());
            }
            b"w" => {
                with_closing(stream.read(&mut byte)).await?;
                stream.write_all(&byte).await?;
            }
            b"b" => {
                stands.send(()).unwrap();
                go_on.lock().unwrap().recv().unwrap_or(());
            }
            _ => {}
        }
    }
    Ok(())
}

fn a_connection_may_have_the_place_of_one_that_a_waker_has_closed_in_its_turn(config: Settings) {
    let (stands, it_stands) = mpsc::channel();
    let (go_on, told) = mpsc::channel();
    let told = Arc::new(Mutex::new(told));
    let one_shard = Config { shards: NonZeroUsize::MIN, linger_ms: 0, ..config() };
    let server = Running::of(one_shard, move |server| {
        server.serve(move |stream| bytes(stream, stands.clone(), Arc::clone(&told)))
    });
    let [mut held, mut waker, mut stopper] = [(); 3].map(|()| server.connect());
    exchange(&mut held, b"h", "h");
    exchange(&mut waker, b"w", "w");
    stopper.write_all(b"b").unwrap();
    it_stands.recv_timeout(PATIENCE).unwrap();
    // One turn sees both, the wake first.
    waker.write_all(b".").unwrap();
    let mut newer = server.connect();
    go_on.send(()).unwrap();
    assert_eq!(rest(&mut held), b"");
    expect(&mut waker, ".");
    exchange(&mut newer, b".", ".");
    server.wait_for(|stats| stats.connections_total.get(), 4);
    server.wait_for(|stats| stats.connections.get(), 3);
    drop(newer);
    server.wait_for(|stats| stats.connections.get(), 2);
    assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 0);
}

fn a_shard_has_tasks_and_sockets_of_its_own_from_its_start(config: Settings) {
    let (bound, addresses) = mpsc::channel();
    let any = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
    let server = Server::new(Config { shards: NonZeroUsize::new(2).unwrap(), ..config() });
    let server = server.listen(&any).unwrap().on_start(move |_start| {
        let mut socket = Datagrams::bind("127.0.0.1:0".parse().unwrap())?;
        bound.send(socket.address()).unwrap();
        let echo = async move {
            let mut space = [0; 64];
            while let Ok((received, sender)) = socket.receive_from(&mut space).await {
                socket.send_to(&space[..received], sender).await.unwrap();
            }
        };
        spawn(echo).detach();
        Ok(())
    });
    let server = Running::on(server, |server| server.serve(lines));
    exchange(&mut server.connect(), b"hello\n", "hello\n");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..2 {
        client.send_to(b"hello", addresses.recv_timeout(PATIENCE).unwrap()).unwrap();
        assert_eq!(client.recv(&mut [0; 64]).unwrap(), 5);
    }
    server.stop(Stop::Gracefully);
}

fn a_shard_that_cannot_start_ends_the_server(config: Settings) {
    let server = Server::new(Config { shards: NonZeroUsize::new(2).unwrap(), ..config() });
    let server = server.on_start(|start| match start.shard {
        1 => Err(ErrorKind::AddrInUse.into()),
        _ => Ok(()),
    });
    assert_eq!(server.serve(lines).unwrap_err().kind(), ErrorKind::AddrInUse);
}

on_each_driver! {
    lines_come_back_on_every_shard
    a_panic_ends_its_connection_and_nothing_else
    above_the_limit_connections_wait
    the_silent_and_those_who_never_read_are_closed_in_time
    a_write_that_was_given_up_waits_no_more
    a_firehose_does_not_starve_the_others
    those_who_never_read_are_bounded_in_memory_and_closed
    a_write_that_waits_holds_no_memory
    a_graceful_stop_answers_what_has_begun
    a_graceful_stop_leaves_the_shards_that_requests_need
    a_graceful_stop_has_a_deadline_and_a_stop_at_once_none
    a_handler_cut_at_the_deadline_is_no_fault_though_it_waits_for_another_shard
    half_a_close_still_gets_all_answers
    a_stream_given_to_another_task_is_ended_with_the_server
    a_connection_may_have_the_place_of_one_that_a_waker_has_closed_in_its_turn
    a_shard_has_tasks_and_sockets_of_its_own_from_its_start
    a_shard_that_cannot_start_ends_the_server
}
