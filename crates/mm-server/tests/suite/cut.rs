//! Connections that are ended before their time, most of them of handlers: whoever has the stream, and in the middle of
//! an answer.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_runtime::task::spawn;
use mm_runtime::timers::{sleep, timeout};
use mm_server::{Config, DriverChoice, Peer, Service, Stats, Step, Stop, Stream, StreamOptions};

use crate::running::{Running, Settings, on_each_driver, rest};

/// More than the kernel takes.
const LONG: usize = 1 << 22;

/// Begins an answer and breaks it off, as it is asked to; `resume` goes on with it when that has failed.
async fn broken_off(mut stream: Stream) -> std::io::Result<()> {
    let mut how = [0; 6];
    stream.read_exact(&mut how).await?;
    let long = vec![b'x'; LONG];
    match &how {
        b"giveup" => {
            timeout(1, stream.write_all(&long)).await.unwrap_err();
            assert_eq!(stream.shutdown().unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
        b"toslow" => {
            stream.set_write_timeout_ms(Some(1));
            stream.write_all(&long).await?;
        }
        b"queued" => {
            let mut writer = stream.split().1.buffered();
            writer.set_timeout_ms(Some(1));
            loop {
                writer.write(&long[..4096]).await?;
            }
        }
        b"twice." => {
            stream.set_write_timeout_ms(Some(1));
            stream.write_all(&long).await.unwrap_err();
            // None of it.
            stream.write_all(&long).await?;
        }
        b"resume" => {
            stream.set_write_timeout_ms(Some(1));
            let mut left = LONG;
            while let Err(error) = stream.write_all(&long[LONG - left..]).await {
                assert_eq!(error.error.kind(), ErrorKind::TimedOut);
                left = error.left;
            }
        }
        b"panics" => {
            stream.write_all(b"half").await?;
            panic!("as asked");
        }
        _ => stream.write_all(&long).await?,
    }
    Ok(())
}

fn small() -> StreamOptions {
    StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() }
}

fn an_answer_that_is_not_whole_does_not_look_so(config: Settings) {
    let server = Running::of(Config { stream: small(), write_timeout_ms: Some(200), ..config() }, |server| {
        server.serve(broken_off)
    });
    for (number, how) in (1..).zip(["giveup", "toslow", "twice.", "queued", "server", "panics"]) {
        let mut client = server.connect();
        client.write_all(how.as_bytes()).unwrap();
        server.wait_for(|stats| stats.connections_total.get(), number);
        server.wait_for(|stats| stats.connections.get(), 0);
        let end = client.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{how}");
    }
    // Taken up again, it is whole.
    let mut client = server.connect();
    client.write_all(b"resume").unwrap();
    assert_eq!(rest(&mut client).len(), LONG);
}

/// Asked for 4 MiB, four pieces of them in a run, and then for a panic, if there is to be one.
struct Long {
    panics: bool,
}

impl Service for Long {
    type Connection = usize;

    fn connect(&mut self, _peer: &Peer) -> usize {
        0
    }

    fn run(&mut self, written: &mut usize, input: &[u8], output: &mut Output, _now: Now) -> Step {
        while *written < LONG && !input.is_empty() {
            if output.is_full() {
                return Step::Read { consumed: 0 };
            }
            output.write(&[b'x'; 4096]);
            *written += 4096;
            assert!(!self.panics || *written < LONG / 2, "as asked");
        }
        Step::Read { consumed: 0 }
    }
}

fn an_answer_of_a_service_that_is_not_whole_does_not_look_so(config: Settings) {
    type Way = (Config, fn(&Running));
    let usual = || Config { stream: small(), ..config() };
    let ways: [Way; 5] = [
        (Config { write_timeout_ms: Some(100), ..usual() }, |_| ()),
        (Config { output_cap_bytes: LONG, ..usual() }, |_| ()),
        (Config { drain_ms: 0, ..usual() }, |server| server.handle.stop(Stop::Gracefully)),
        (Config { hand_over_ms: 0, ..usual() }, |server| server.handle.stop(Stop::HandOver)),
        (usual(), |server| server.handle.stop(Stop::AtOnce)),
    ];
    for (number, (config, end)) in ways.into_iter().enumerate() {
        let server = Running::of(config, move |server| server.serve_with(|_| Long { panics: number == 1 }));
        let mut client = server.connect();
        client.write_all(b"x").unwrap();
        server.wait_for_at_least(|stats| stats.bytes_read.get() + stats.panics.get(), 1);
        end(&server);
        server.wait_for(|stats| stats.connections_total.get(), 1);
        server.wait_for(|stats| stats.connections.get(), 0);
        let end = client.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{number}");
    }
}

fn a_write_that_was_too_slow_is_counted_as_one(config: Settings) {
    let server = Running::of(Config { stream: small(), ..config() }, |server| server.serve(broken_off));
    for (number, how) in (1..).zip(["toslow", "queued"]) {
        let mut client = server.connect();
        client.write_all(how.as_bytes()).unwrap();
        server.wait_for(|stats| stats.connections_total.get(), number);
        server.wait_for(|stats| stats.connections.get(), 0);
    }
    server.wait_for(|stats| stats.write_timeouts.get(), 2);
    assert_eq!(server.total(|stats| stats.idle_timeouts.get()), 0);
}

fn a_stream_that_a_task_keeps_is_closed_in_time(config: Settings) {
    let told = Arc::new(AtomicBool::new(false));
    let (failed, failures) = mpsc::channel();
    let is_told = Arc::clone(&told);
    let limits = Config { idle_timeout_ms: Some(100), connections_max: 1, ..config() };
    let server = Running::of(limits, |server| {
        server.serve(async move |mut stream: Stream| {
            let (told, failed) = (Arc::clone(&is_told), failed.clone());
            spawn(async move {
                while !told.load(Ordering::Relaxed) {
                    sleep(1).await.unwrap();
                }
                let write = stream.write_all(b"late").await.unwrap_err().error.kind();
                failed.send([write, stream.shutdown().unwrap_err().kind()]).unwrap();
            })
            .detach();
            Ok(())
        })
    });
    for _ in 0..2 {
        // The second one takes the place of the first.
        assert_eq!(rest(&mut server.connect()), b"");
    }
    server.wait_for(|stats| stats.idle_timeouts.get(), 2);
    server.wait_for(|stats| stats.connections.get(), 0);
    told.store(true, Ordering::Relaxed);
    assert_eq!(failures.recv().unwrap(), [ErrorKind::ConnectionAborted; 2]);
    assert_eq!(failures.recv().unwrap(), [ErrorKind::ConnectionAborted; 2]);
    assert_eq!(server.stop(Stop::Gracefully).connections_total, 2);
}

fn a_handler_lingers_as_long_as_is_set(config: Settings) {
    let lingered: fn(&Stats) -> u64 = |stats| stats.lingered.get();
    for (linger_ms, end) in [(0, Err(ErrorKind::ConnectionReset)), (60_000, Ok(5))] {
        let server = Running::of(Config { linger_ms, ..config() }, |server| {
            server.serve(async |mut stream: Stream| {
                stream.read_exact(&mut [0; 5]).await?;
                // What is not read is there.
                sleep(20).await?;
                Ok(stream.write_all(b"bye.\n").await?)
            })
        });
        let mut client = server.connect();
        client.write_all(b"hello, and more").unwrap();
        server.wait_for(|stats| stats.bytes_written.get(), 5);
        server.wait_for(|stats| stats.connections.get(), 0);
        let read = client.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
        // io_uring has received what nobody reads, so there is nothing to reset the connection for.
        if linger_ms > 0 || config().driver != DriverChoice::Uring {
            assert_eq!(read, end, "{linger_ms} ms");
        }
        server.wait_for(lingered, u64::from(linger_ms > 0));
    }
}

on_each_driver! {
    an_answer_of_a_service_that_is_not_whole_does_not_look_so
    an_answer_that_is_not_whole_does_not_look_so
    a_write_that_was_too_slow_is_counted_as_one
    a_stream_that_a_task_keeps_is_closed_in_time
    a_handler_lingers_as_long_as_is_set
}
