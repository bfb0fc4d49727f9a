//! What tasks' sockets promise, on the real network of the machine.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use mm_runtime::driver::epoll::EpollDriver;
use mm_runtime::driver::poll::PollDriver;
use mm_runtime::net::{Datagrams, Endpoint, Listener, Stream};
use mm_runtime::sys::socket::{ListenAddress, StreamOptions};
use mm_runtime::task::{JoinHandle, spawn, yield_now};
use mm_runtime::timers::{sleep, timeout};
use mm_runtime::{Runtime, offload};

/// Runs a test's task, which fails by an error or a panic, on each driver.
pub(crate) fn test<F: Future<Output = io::Result<()>> + 'static>(body: impl Fn() -> F) {
    test_on_calls(&body);
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    on_uring(body);
}

/// The same, on the drivers that make a system call for each receive and send.
pub(crate) fn test_on_calls<F: Future<Output = io::Result<()>> + 'static>(body: impl Fn() -> F) {
    let options = StreamOptions::default();
    Runtime::on(EpollDriver::new(options).unwrap()).block_on(body()).unwrap().unwrap();
    Runtime::on(PollDriver::new(options).unwrap()).block_on(body()).unwrap().unwrap();
}

/// Last, since the end of a ring may interrupt a system call of the thread that had it. Left out where
/// `MM_TEST_WITHOUT_URING` is set: emulators do not have it.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn on_uring<F: Future<Output = io::Result<()>> + 'static>(body: impl Fn() -> F) {
    use mm_runtime::driver::uring::UringDriver;

    if std::env::var_os("MM_TEST_WITHOUT_URING").is_some() {
        return;
    }
    let driver = UringDriver::new(StreamOptions::default()).unwrap();
    Runtime::on(driver).block_on(body()).unwrap().unwrap();
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn listen() -> io::Result<(Listener, SocketAddr)> {
    let listener = Listener::bind(&ListenAddress::Ip(loopback()))?;
    match *listener.address() {
        ListenAddress::Ip(address) => Ok((listener, address)),
        ListenAddress::Unix(..) => Err(ErrorKind::InvalidInput.into()),
    }
}

/// Both ends of a TCP connection.
pub(crate) async fn pair() -> io::Result<(Stream, Stream)> {
    let (mut listener, address) = listen()?;
    let accepted: JoinHandle<io::Result<Stream>> = spawn(async move { listener.accept().await });
    let client = Stream::connect(address).await?;
    Ok((client, accepted.await.unwrap()?))
}

#[test]
fn bytes_go_there_and_back() {
    test(|| async {
        let (mut client, mut server) = pair().await?;
        client.write_all(b"there").await?;
        let mut space = [0; 16];
        let received = server.read(&mut space).await?;
        assert_eq!(&space[..received], b"there");
        server.write_all_vectored(&[IoSlice::new(b"and "), IoSlice::new(b""), IoSlice::new(b"back")]).await?;
        let mut answer = [0; 8];
        client.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"and back");
        Ok(())
    });
}

#[test]
fn what_has_come_is_read_into_one_space_after_the_other() {
    test(|| async {
        let (mut client, mut server) = pair().await?;
        let (mut head, mut none, mut body) = ([0; 4], [0; 0], [0; 16]);
        server.set_read_timeout_ms(Some(10));
        let spaces = &mut [&mut head[..], &mut none, &mut body].map(IoSliceMut::new);
        assert_eq!(server.read_vectored(spaces).await.unwrap_err().kind(), ErrorKind::TimedOut);
        server.set_read_timeout_ms(None);
        client.write_all(b"headbody").await?;
        let mut done = 0;
        while done < 8 {
            let mut left = done;
            let mut spaces = Vec::new();
            for space in [&mut head[..], &mut none, &mut body] {
                let skipped = left.min(space.len());
                left -= skipped;
                spaces.push(IoSliceMut::new(&mut space[skipped..]));
            }
            done += server.read_vectored(&mut spaces).await?;
        }
        assert_eq!((&head, &body[..4], done), (b"head", &b"body"[..], 8));
        drop(client);
        assert_eq!(server.read_vectored(&mut [IoSliceMut::new(&mut body)]).await?, 0);
        Ok(())
    });
}

#[test]
fn pieces_are_sent_together_and_none_twice() {
    test(|| async {
        let (client, mut server) = pair().await?;
        let mut writer = client.split().1.buffered();
        writer.write(b"one ").await?;
        writer.write(b"two").await?;
        assert_eq!(writer.queued(), 7);
        server.set_read_timeout_ms(Some(10));
        let mut space = [0; 7];
        assert_eq!(server.read(&mut space).await.unwrap_err().kind(), ErrorKind::TimedOut, "not yet");
        server.set_read_timeout_ms(None);
        writer.flush().await?;
        server.read_exact(&mut space).await?;
        assert_eq!((&space, writer.queued()), (b"one two", 0));
        // Until the kernel takes no more; then a flush goes on where the last one ended.
        writer.set_timeout_ms(Some(10));
        let piece: Vec<u8> = (0..=250_u8).cycle().take(10_000).collect();
        let mut written = 0;
        let incomplete = loop {
            match writer.write(&piece).await {
                Ok(()) => written += 1,
                Err(incomplete) => break incomplete,
            }
        };
        assert_eq!((incomplete.error.kind(), incomplete.done), (ErrorKind::TimedOut, 0));
        assert_eq!(writer.flush().await.unwrap_err().kind(), ErrorKind::TimedOut);
        let reader = spawn(async move {
            let mut all = vec![0; written * 10_000];
            server.read_exact(&mut all).await?;
            io::Result::Ok((all, server.read(&mut [0; 1]).await?))
        });
        writer.set_timeout_ms(None);
        writer.shutdown().await?;
        let (all, end) = reader.await.unwrap()?;
        assert!(all.chunks(10_000).all(|chunk| chunk == piece) && end == 0);
        Ok(())
    });
}

#[test]
fn a_timed_out_read_loses_nothing() {
    test(|| async {
        let (mut client, mut server) = pair().await?;
        client.set_read_timeout_ms(Some(20));
        let mut space = [0; 4];
        server.write_all(b"ab").await?;
        let incomplete = client.read_exact(&mut space).await.unwrap_err();
        assert_eq!(incomplete.error.kind(), ErrorKind::TimedOut);
        assert_eq!((incomplete.done, incomplete.left), (2, 2));
        assert_eq!(&space[..2], b"ab");
        server.write_all(b"cd").await?;
        client.read_exact(&mut space[2..]).await?;
        assert_eq!(&space, b"abcd");
        client.set_read_timeout_ms(None);
        let given_up = timeout(10, client.read(&mut space)).await;
        assert!(given_up.is_err());
        server.write_all(b"e").await?;
        assert_eq!(client.read(&mut space).await?, 1);
        Ok(())
    });
}

/// More than the kernel's buffers hold.
const LARGE: usize = 32 << 20;

#[test]
fn a_timed_out_write_says_what_is_left_and_can_go_on() {
    test(|| async {
        let (mut client, mut server) = pair().await?;
        client.set_write_timeout_ms(Some(20));
        let bytes: Vec<u8> = (0..=250_u8).cycle().take(LARGE).collect();
        let incomplete = client.write_all(&bytes).await.unwrap_err();
        assert_eq!(incomplete.error.kind(), ErrorKind::TimedOut);
        assert_eq!(incomplete.done + incomplete.left, LARGE);
        assert!(incomplete.left > 0 && incomplete.done > 0);
        let reader = spawn(async move {
            let mut space = vec![0; LARGE];
            server.read_exact(&mut space).await.map(|()| space)
        });
        client.set_write_timeout_ms(Some(10_000));
        client.write_all(&bytes[incomplete.done..]).await?;
        assert!(reader.await.unwrap()? == bytes, "every byte once and in order");
        Ok(())
    });
}

/// How often another task of the shard runs while `busy` does.
async fn turns_beside<T>(busy: impl Future<Output = T>) -> (T, u32) {
    let turns = Rc::new(Cell::new(0));
    let beside = Rc::clone(&turns);
    let others = spawn(async move {
        loop {
            beside.set(beside.get() + 1);
            yield_now().await;
        }
    });
    let done = busy.await;
    others.cancel();
    (done, turns.get())
}

#[test]
fn a_task_that_never_has_to_wait_lets_others_go_on() {
    test(|| async {
        let (mut client, mut server) = pair().await?;
        let (written, turns) = turns_beside(async {
            for _ in 0..1000 {
                client.write_all(b"x").await?;
            }
            io::Result::Ok(())
        })
        .await;
        written?;
        assert!(turns > 10, "{turns} turns while a task writes");
        server.read_exact(&mut [0; 100]).await?;
        let (read, turns) = turns_beside(async {
            for _ in 0..900 {
                server.read_exact(&mut [0; 1]).await?;
            }
            io::Result::Ok(())
        })
        .await;
        read?;
        assert!(turns > 10, "{turns} turns while a task reads");
        Ok(())
    });
}

#[test]
fn a_task_that_goes_from_one_ready_socket_to_the_next_lets_others_go_on() {
    test(|| async {
        let mut pairs = Vec::new();
        for _ in 0..40 {
            pairs.push(pair().await?);
        }
        let (written, turns) = turns_beside(async {
            for _ in 0..10 {
                for (client, _) in &mut pairs {
                    client.write_all(b"x").await?;
                }
            }
            io::Result::Ok(())
        })
        .await;
        written?;
        assert!(turns > 10, "{turns} turns while a task writes to many");
        Ok(())
    });
}

#[test]
fn a_write_given_up_in_its_middle_breaks_the_half() {
    test(|| async {
        let (mut client, _server) = pair().await?;
        let bytes = vec![7; LARGE];
        assert!(timeout(20, client.write_all(&bytes)).await.is_err());
        let refused = client.write_all(b"after").await.unwrap_err();
        assert_eq!((refused.error.kind(), refused.done, refused.left), (ErrorKind::BrokenPipe, 0, 5));
        Ok(())
    });
}

#[test]
fn an_interrupt_ends_a_read_and_leaves_the_connection() {
    test(|| async {
        let (mut client, mut server) = pair().await?;
        let reading = spawn(async move {
            let mut space = [0; 8];
            let first = client.read(&mut space).await.map_err(|error| error.kind());
            (first, client.read(&mut space).await.unwrap())
        });
        yield_now().await;
        reading.interrupt();
        yield_now().await;
        server.write_all(b"later").await?;
        assert_eq!(reading.await.unwrap(), (Err(ErrorKind::Interrupted), 5));
        Ok(())
    });
}

#[test]
fn the_end_is_told_after_the_last_byte() {
    test(|| async {
        let (mut client, mut server) = pair().await?;
        server.write_all(b"last").await?;
        server.shutdown()?;
        let mut space = [0; 8];
        let incomplete = client.read_exact(&mut space).await.unwrap_err();
        assert_eq!((incomplete.error.kind(), incomplete.done), (ErrorKind::UnexpectedEof, 4));
        client.write_all(b"still open").await?;
        let mut answer = [0; 10];
        server.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"still open");
        Ok(())
    });
}

#[test]
fn halves_work_at_once_and_close_together() {
    test(|| async {
        let (client, server) = pair().await?;
        let (mut server_read, mut server_write) = server.split();
        let echo = spawn(async move {
            let mut space = [0; 1024];
            loop {
                match server_read.read(&mut space).await? {
                    0 => return io::Result::Ok(()),
                    received => server_write.write_all(&space[..received]).await?,
                }
            }
        });
        let (mut read, mut write) = client.split();
        let bytes = vec![3; 1 << 20];
        let writing = spawn(async move {
            write.write_all(&bytes).await?;
            write.shutdown()
        });
        let mut space = vec![0; 1 << 20];
        read.read_exact(&mut space).await?;
        writing.await.unwrap()?;
        assert_eq!(read.read(&mut space).await?, 0, "the echo has ended and closed");
        echo.await.unwrap()
    });
}

#[test]
fn lines_come_whole_however_they_are_sent() {
    test(|| async {
        let (client, mut server) = pair().await?;
        let writing = spawn(async move {
            for piece in ["on", "e\ntwo\nth", "ree\n", "rest"] {
                server.write_all(piece.as_bytes()).await?;
                sleep(1).await.unwrap();
            }
            io::Result::Ok(())
        });
        let (mut reader, _write) = client.buffered();
        let mut lines = Vec::new();
        loop {
            let length = reader.read_until(b'\n').await?;
            if length == 0 {
                break;
            }
            lines.push(String::from_utf8_lossy(&reader.buffered()[..length]).into_owned());
            reader.consume(length);
        }
        assert_eq!(lines, ["one\n", "two\n", "three\n", "rest"]);
        writing.await.unwrap()
    });
}

#[test]
fn a_line_longer_than_the_buffer_is_an_error() {
    test(|| async {
        let (client, mut server) = pair().await?;
        let writing =
            spawn(async move { server.write_all(&vec![b'x'; 40_000]).await.map_err(io::Error::from) });
        let (mut reader, _write) = client.buffered();
        assert_eq!(reader.read_until(b'\n').await.unwrap_err().kind(), ErrorKind::StorageFull);
        writing.await.unwrap()
    });
}

#[test]
fn both_ends_know_their_own_address() {
    test(|| async {
        let (client, server) = pair().await?;
        assert_eq!(server.local_address()?, client.peer());
        assert_eq!(client.local_address()?, server.peer());
        Ok(())
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    test(|| async {
        let (listener, address) = listen()?;
        drop(listener);
        assert_eq!(Stream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        Ok(())
    });
}

#[test]
fn unix_streams_work_alike() {
    test(|| async {
        let path = std::env::temp_dir().join(format!("mm-net-{}.sock", std::process::id()));
        let mut listener = Listener::bind(&ListenAddress::Unix(path.clone(), 0o700))?;
        let server = spawn(async move {
            let mut stream = listener.accept().await?;
            stream.write_all(b"unix").await.map_err(io::Error::from)
        });
        let mut client = Stream::connect(Endpoint::Unix(PathBuf::from(&path))).await?;
        let mut space = [0; 4];
        client.read_exact(&mut space).await?;
        assert_eq!(&space, b"unix");
        std::fs::remove_file(path)?;
        server.await.unwrap()
    });
}

#[test]
fn datagrams_keep_their_bounds_and_their_sender() {
    test(|| async {
        let (mut one, mut other) = (Datagrams::bind(loopback())?, Datagrams::bind(loopback())?);
        one.send_to(b"first", other.address()).await?;
        one.send_to(b"second", other.address()).await?;
        let mut space = [0; 64];
        assert_eq!(other.receive_from(&mut space).await?, (5, one.address()));
        assert_eq!(other.receive_from(&mut space).await?, (6, one.address()));
        other.set_timeout_ms(Some(10));
        assert_eq!(other.receive_from(&mut space).await.unwrap_err().kind(), ErrorKind::TimedOut);
        Ok(())
    });
}

#[test]
fn unix_datagrams_keep_their_promises() {
    test(crate::unix_datagrams::promises);
}

#[test]
fn an_accept_can_time_out_and_go_on() {
    test(|| async {
        let (mut listener, address) = listen()?;
        listener.set_timeout_ms(Some(10));
        assert_eq!(listener.accept().await.unwrap_err().kind(), ErrorKind::TimedOut);
        let connecting = spawn(Stream::connect(address));
        listener.set_timeout_ms(Some(10_000));
        listener.accept().await?;
        connecting.await.unwrap()?;
        Ok(())
    });
}

#[test]
fn offloaded_work_comes_back_and_its_panic_is_told() {
    test(|| async {
        assert_eq!(offload::run(|| 6 * 7).await, Ok(42));
        assert_eq!(offload::run(|| panic!("offloaded")).await, Err::<(), _>(offload::OffloadError::Failed));
        Ok(())
    });
}

#[test]
fn tasks_go_on_between_calls_and_end_with_the_runtime() {
    struct Told(Rc<Cell<bool>>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let ended = Rc::new(Cell::new(false));
    let told = Told(Rc::clone(&ended));
    let mut runtime = Runtime::new().unwrap();
    let steps = Rc::new(Cell::new(0));
    let counted = Rc::clone(&steps);
    runtime
        .executor()
        .spawn(async move {
            let _told = told;
            loop {
                counted.set(counted.get() + 1);
                yield_now().await;
            }
        })
        .detach();
    runtime.block_on(yield_now()).unwrap();
    let before = steps.get();
    runtime.block_on(yield_now()).unwrap();
    assert!(steps.get() > before && !ended.get());
    drop(runtime);
    assert!(ended.get());
}

#[test]
fn sockets_outside_a_shard_are_refused() {
    assert!(Listener::bind(&ListenAddress::Ip(loopback())).is_err());
}
