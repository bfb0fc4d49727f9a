//! A graceful stop and handlers: what has begun goes on until it has been answered, and no longer.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use mm_runtime::net::BufferedReader;
use mm_runtime::sync::channel;
use mm_runtime::task::spawn;
use mm_runtime::timers::{sleep, timeout};
use mm_server::{Config, Server, Stats, Stop, Stream, StreamOptions};

use crate::running::{PATIENCE, Running, Settings, exchange, expect, on_each_driver, rest};

/// The next line without its end.
async fn line(reader: &mut BufferedReader) -> std::io::Result<String> {
    let length = reader.read_until(b'\n').await?;
    let line = String::from_utf8_lossy(&reader.buffered()[..length]).trim_end().to_owned();
    reader.consume(length);
    Ok(line)
}

/// Answers `wait` when there is nothing more to wait for, `look and wait` so, too, after a look for more, `body` by the
/// four bytes that follow, `pieces` by the four that follow, read one by one, `ask` so, too, but after a word that is
/// no answer, `note` not at all, and others by themselves.
async fn bodies(stream: Stream) -> std::io::Result<()> {
    let (mut reader, mut writer) = stream.buffered();
    loop {
        let line = line(&mut reader).await?;
        let mut body = [0; 4];
        match &*line {
            "" => return Ok(()),
            "note" => {
                reader.set_busy(false);
                continue;
            }
            "wait" | "look and wait" => {
                if line != "wait" {
                    timeout(1, reader.fill()).await.ok();
                }
                reader.finished().await?;
                writer.write_all(b"gave up\n").await?;
                continue;
            }
            "pieces" => {
                for byte in &mut body {
                    assert_eq!(reader.read(std::slice::from_mut(byte)).await?, 1);
                }
            }
            "body" => reader.read_exact(&mut body).await?,
            "ask" => {
                writer.write_all(b"go on\n").await?;
                writer.set_busy(true);
                reader.read_exact(&mut body).await?;
            }
            line => {
                writer.write_all(format!("{line}\n").as_bytes()).await?;
                continue;
            }
        }
        writer.write_all(&body).await?;
    }
}

/// A server that waits for what has begun, and should not have to wait so long.
fn start(config: Settings) -> Running {
    Running::of(Config { drain_ms: 10_000, ..config() }, |server| server.serve(bodies))
}

fn a_request_that_came_with_the_one_before_is_answered(config: Settings) {
    for begun in ["body\nab", "body\n", "pieces\nab", "pieces\na", "pieces\n"] {
        let server = start(config);
        let mut client = server.connect();
        exchange(&mut client, format!("one\n{begun}").as_bytes(), "one\n");
        server.handle.stop(Stop::Gracefully);
        server.wait_for_stop();
        let (_, had) = begun.split_once('\n').unwrap();
        client.write_all(&b"abcd"[had.len()..]).unwrap();
        assert_eq!(rest(&mut client), b"abcd", "{begun:?}");
        assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 0);
    }
}

fn a_word_before_the_answer_ends_no_request(config: Settings) {
    let server = start(config);
    let mut client = server.connect();
    exchange(&mut client, b"ask\n", "go on\n");
    server.handle.stop(Stop::Gracefully);
    server.wait_for_stop();
    client.write_all(b"abcd").unwrap();
    assert_eq!(rest(&mut client), b"abcd");
    assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 0);
}

fn what_has_no_answer_holds_up_no_stop(config: Settings) {
    let server = start(config);
    let mut client = server.connect();
    client.write_all(b"note\n").unwrap();
    server.wait_for(|stats| stats.bytes_read.get(), 5);
    assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 0);
    assert_eq!(rest(&mut client), b"");
}

fn a_request_that_waits_holds_up_no_stop(config: Settings) {
    // However much has come behind it; that is answered, too.
    for behind in ["", "one\n", "one\nbody\nab", "wait\n"] {
        let server = start(config);
        let mut client = server.connect();
        client.write_all(format!("wait\n{behind}").as_bytes()).unwrap();
        server.wait_for(|stats| stats.bytes_read.get(), 5 + u64::try_from(behind.len()).unwrap());
        server.handle.stop(Stop::Gracefully);
        expect(&mut client, "gave up\n");
        match behind {
            "" => {}
            "wait\n" => expect(&mut client, "gave up\n"),
            _ => expect(&mut client, "one\n"),
        }
        if behind.ends_with("ab") {
            client.write_all(b"cd").unwrap();
            expect(&mut client, "abcd");
        }
        assert_eq!(rest(&mut client), b"", "{behind:?}");
        assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 0);
    }
}

fn a_request_that_waits_sees_its_peer_finish(config: Settings) {
    let server = start(config);
    let mut client = server.connect();
    client.write_all(b"wait\none\n").unwrap();
    server.wait_for(|stats| stats.bytes_read.get(), 9);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), b"gave up\none\n");
}

fn a_request_that_waits_is_not_idle_and_half_of_one_is(config: Settings) {
    let bodies = |server: Server| server.serve(bodies);
    let server = Running::of(Config { idle_timeout_ms: Some(100), ..config() }, bodies);
    let [mut waiting, mut looking] = [server.connect(), server.connect()];
    waiting.write_all(b"wait\n").unwrap();
    looking.write_all(b"look and wait\n").unwrap();
    server.wait_for(|stats| stats.bytes_read.get(), 5 + 14);
    // However they come to it: before, in and after a request, or when a word has been said that is no answer.
    for half in
        ["", "wai", "body\n", "body\nab", "pieces\na", "ask\n", "ask\nab", "one\n", "one\nbody\na", "note\n"]
    {
        let mut silent = server.connect();
        silent.write_all(half.as_bytes()).unwrap();
        let heard = if half.starts_with("one") {
            "one\n"
        } else if half.starts_with("ask") {
            "go on\n"
        } else {
            ""
        };
        assert_eq!(rest(&mut silent), heard.as_bytes(), "{half:?}");
    }
    server.wait_for(|stats| stats.idle_timeouts.get(), 10);
    // They have waited longer than any of those.
    for client in [&mut waiting, &mut looking] {
        client.write_all(b"one\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(client), b"gave up\none\n");
    }
    server.wait_for(|stats| stats.idle_timeouts.get(), 10);
}

fn time_for_the_next_request_begins_where_the_last_has_ended(config: Settings) {
    for has_answer in [true, false] {
        let (ends, ended) = mpsc::channel();
        let server = Running::of(Config { idle_timeout_ms: Some(200), ..config() }, move |server| {
            server.serve(async move |stream: Stream| {
                let (mut reader, mut writer) = stream.buffered();
                line(&mut reader).await?;
                // It takes longer than a peer may say nothing.
                sleep(300).await?;
                if has_answer {
                    writer.write_all(b"done\n").await?;
                } else {
                    reader.set_busy(false);
                }
                ends.send(Instant::now()).unwrap();
                line(&mut reader).await.map(drop)
            })
        });
        let mut client = server.connect();
        client.write_all(b"do\n").unwrap();
        let ended = ended.recv_timeout(PATIENCE).unwrap();
        assert_eq!(rest(&mut client), if has_answer { &b"done\n"[..] } else { b"" });
        assert!(ended.elapsed() > Duration::from_millis(150), "{:?}", ended.elapsed());
    }
}

fn an_answer_by_another_task_ends_the_wait_for_the_next_request(config: Settings) {
    let stopping = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stopping);
    let server = Running::of(Config { drain_ms: 10_000, ..config() }, |server| {
        server.serve(async move |stream: Stream| {
            let (mut reader, mut writer) = stream.buffered();
            let (requests, mut queue) = channel::<String>(8);
            let told = Arc::clone(&told);
            spawn(async move {
                while let Ok(request) = queue.receive().await {
                    while !told.load(Ordering::Relaxed) {
                        sleep(1).await.unwrap();
                    }
                    writer.write_all(format!("{request}\n").as_bytes()).await.unwrap();
                }
            })
            .detach();
            loop {
                match line(&mut reader).await? {
                    end if end.is_empty() => return Ok(()),
                    request => requests.send(request).await.map_err(std::io::Error::other)?,
                }
            }
        })
    });
    let mut client = server.connect();
    client.write_all(b"one\n").unwrap();
    server.wait_for(|stats| stats.bytes_read.get(), 4);
    server.handle.stop(Stop::Gracefully);
    server.wait_for_stop();
    stopping.store(true, Ordering::Relaxed);
    expect(&mut client, "one\n");
    assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 0);
    assert_eq!(rest(&mut client), b"");
}

/// What the kernel takes though nobody reads, and does not keep with the reader.
const ANSWER: usize = 160 << 10;

/// A stop comes when an answer has been written. The peer reads that only then, and goes on sending.
fn is_read_after_a_stop(config: Settings, request: &[u8], has_written: fn(&Stats) -> bool) {
    let stream = StreamOptions { send_buffer_bytes: Some(1 << 20), ..StreamOptions::default() };
    let times = Config { stream, linger_ms: 60_000, drain_ms: 60_000, ..config() };
    let server = Running::of(times, |server| {
        server.serve(async |mut stream: Stream| {
            let mut request = [0; 4];
            while stream.read(&mut request).await? == 4 {
                stream.write_all(&vec![b'x'; ANSWER]).await?;
                if request == *b"last" {
                    break;
                }
            }
            Ok(())
        })
    });
    let mut client = server.connect();
    client.write_all(request).unwrap();
    while !has_written(&server.handle.stats()[0]) {
        std::thread::yield_now();
    }
    server.handle.stop(Stop::Gracefully);
    server.wait_for_stop();
    server.wait_for(|stats| stats.connections.get(), 0);
    // Whoever has closed the connection answers with a reset.
    client.write_all(b"more").ok();
    assert_eq!(rest(&mut client).len(), ANSWER);
    drop(client);
    assert_eq!(server.stop(Stop::Gracefully).drain_timeouts, 0);
}

fn an_answer_before_a_stop_can_be_read(config: Settings) {
    is_read_after_a_stop(config, b"next", |stats| stats.bytes_written.get() == ANSWER as u64);
}

fn a_stop_waits_for_those_who_linger(config: Settings) {
    is_read_after_a_stop(config, b"last, and more", |stats| stats.lingered.get() == 1);
}

on_each_driver! {
    an_answer_before_a_stop_can_be_read
    a_stop_waits_for_those_who_linger
    a_request_that_came_with_the_one_before_is_answered
    a_word_before_the_answer_ends_no_request
    what_has_no_answer_holds_up_no_stop
    a_request_that_waits_holds_up_no_stop
    a_request_that_waits_sees_its_peer_finish
    a_request_that_waits_is_not_idle_and_half_of_one_is
    time_for_the_next_request_begins_where_the_last_has_ended
    an_answer_by_another_task_ends_the_wait_for_the_next_request
}
