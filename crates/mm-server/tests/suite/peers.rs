//! Peers that behave badly, and many at once: the others are served without an error, memory stays within its bounds,
//! and what happened is counted. On a service and on a handler alike.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use mm_server::{Config, Server, Stop, Stream, StreamOptions};

use crate::running::{PATIENCE, Running, Settings, exchange, on_each_driver, rest};
use crate::toy::Toy;

/// Answers `echo TEXT` and `repeat N TEXT` as [`Toy`] does.
async fn toy(stream: Stream) -> std::io::Result<()> {
    let (mut reader, mut writer) = stream.buffered();
    loop {
        let length = reader.read_until(b'\n').await?;
        let line = String::from_utf8_lossy(&reader.buffered()[..length]).into_owned();
        reader.consume(length);
        match line.trim_end().split_once(' ') {
            None => return Ok(()),
            Some(("repeat", rest)) => {
                let (times, text) = rest.split_once(' ').unwrap_or(("0", ""));
                let mut left = times.parse::<usize>().unwrap_or(0);
                while left > 0 {
                    let lines = left.min(400);
                    writer.write_all(format!("{text}\n").repeat(lines).as_bytes()).await?;
                    left -= lines;
                }
            }
            Some((_, text)) => writer.write_all(format!("{text}\n").as_bytes()).await?,
        }
    }
}

fn each(config: &Config, test: fn(&Running)) {
    test(&Running::of(config.clone(), |server: Server| server.serve_with(Toy::new)));
    test(&Running::of(config.clone(), |server: Server| server.serve(toy)));
}

/// Serves a well-behaved client meanwhile.
fn serve_others(server: &Running, until: impl Fn() -> bool) {
    let mut client = server.connect();
    let start = Instant::now();
    loop {
        exchange(&mut client, b"echo still served\n", "still served\n");
        if until() {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{:?}", server.handle);
    }
}

fn half_a_request_and_silence(config: Settings) {
    let limits = Config { idle_timeout_ms: Some(150), ..config() };
    each(&limits, |server| {
        let halves: Vec<TcpStream> = (0..100)
            .map(|_| {
                let mut client = server.connect();
                client.write_all(b"echo hal").unwrap();
                client
            })
            .collect();
        serve_others(server, || server.total(|stats| stats.idle_timeouts.get()) == 100);
        for mut half in halves {
            assert_eq!(rest(&mut half), b"");
        }
    });
}

fn a_byte_at_a_time_in_either_direction(config: Settings) {
    let stream = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    each(&Config { stream, ..config() }, |server| {
        let mut client = server.connect();
        let mut reader = server.connect();
        reader.write_all(b"repeat 3000 0123456789\n").unwrap();
        for (sent, byte) in b"echo slowly\n".iter().enumerate() {
            client.write_all(&[*byte]).unwrap();
            reader.read_exact(&mut [0]).unwrap();
            let read = server.total(|stats| stats.bytes_read.get());
            serve_others(server, || server.total(|stats| stats.bytes_read.get()) > read);
            assert!(sent < 20);
        }
        let mut answer = [0; 7];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"slowly\n");
        let mut left = vec![0; 3000 * 11 - 12];
        reader.read_exact(&mut left).unwrap();
        assert!(left.ends_with(b"0123456789\n"));
    });
}

fn those_who_never_read(config: Settings) {
    let stream = StreamOptions { send_buffer_bytes: Some(4096), ..StreamOptions::default() };
    each(&Config { stream, write_timeout_ms: Some(150), ..config() }, |server| {
        let greedy: Vec<TcpStream> = (0..20)
            .map(|_| {
                let mut client = server.connect();
                client.write_all(b"repeat 100000000 0123456789\n").unwrap();
                client
            })
            .collect();
        serve_others(server, || server.total(|stats| stats.write_timeouts.get()) == 20);
        drop(greedy);
    });
}

fn resets_and_half_closes_in_the_middle(config: Settings) {
    each(&config(), |server| {
        for round in 0..50 {
            let mut client = server.connect();
            client.write_all(b"repeat 100000 0123456789\necho cut").unwrap();
            if round % 2 == 0 {
                rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
            } else {
                client.shutdown(Shutdown::Write).unwrap();
                assert_eq!(rest(&mut client).len() / 11, 100_000);
            }
        }
        serve_others(server, || server.total(|stats| stats.connections.get()) == 1);
    });
}

/// How long they are silent, and how many turns a shard may take for one of them meanwhile.
const SILENCE: Duration = Duration::from_millis(300);
const SILENT_TURNS_MAX: u64 = 200;

fn those_who_have_finished_and_do_not_read_cost_no_turns(config: Settings) {
    each(&config(), |server| {
        let mut client = server.connect();
        client.write_all(b"repeat 2000000 0123456789\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut written = 0;
        // Until the kernel takes no more.
        loop {
            let turns = server.total(|stats| stats.turns.get());
            std::thread::sleep(SILENCE);
            let more = server.total(|stats| stats.bytes_written.get());
            if more > 0 && more == written {
                let turns = server.total(|stats| stats.turns.get()) - turns;
                assert!(turns < SILENT_TURNS_MAX, "{turns} turns in {SILENCE:?}");
                break;
            }
            written = more;
        }
        assert_eq!(rest(&mut client).len(), 2_000_000 * 11);
    });
}

fn hundreds_of_idle_connections_and_a_thousand_that_come_and_go(config: Settings) {
    each(&Config { connections_max: 20_000, ..config() }, |server| {
        // As many as a process may have descriptors for in most places, both ends being here.
        let idle: Vec<TcpStream> = (0..400).map(|_| server.connect()).collect();
        for _ in 0..1_000 {
            exchange(&mut server.connect(), b"echo brief\n", "brief\n");
        }
        serve_others(server, || server.total(|stats| stats.connections.get()) == 401);
        assert_eq!(server.total(|stats| stats.connections_total.get()), 1_401);
        drop(idle);
        server.wait_for(|stats| stats.connections.get(), 0);
    });
}

fn a_stop_under_load_cuts_no_answer_short(config: Settings) {
    for handler in [false, true] {
        let server =
            Running::of(
                config(),
                move |server: Server| {
                    if handler { server.serve(toy) } else { server.serve_with(Toy::new) }
                },
            );
        let address = server.address;
        let load = |_| {
            std::thread::spawn(move || {
                let mut client = TcpStream::connect(address).unwrap();
                let mut answered = 0_u32;
                loop {
                    if client.write_all(b"repeat 2000 0123456789\n").is_err() {
                        return answered;
                    }
                    let mut left = 2_000 * 11;
                    let mut space = [0; 4096];
                    while left > 0 {
                        match client.read(&mut space[..4096.min(left)]) {
                            Ok(read @ 1..) => left -= read,
                            // Between two answers, that is: the request came after the end.
                            Ok(_) | Err(_) if left == 2_000 * 11 => return answered,
                            other => panic!("{other:?} with {left} bytes of an answer left"),
                        }
                    }
                    answered += 1;
                }
            })
        };
        let loads: Vec<_> = (0..8).map(load).collect();
        server.wait_for_at_least(|stats| stats.connections_total.get(), 8);
        server.wait_for_at_least(|stats| stats.bytes_written.get(), 50 * 22_000);
        let start = Instant::now();
        let summary = server.stop(Stop::Gracefully);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert_eq!(summary.drain_timeouts, 0);
        let answered: u32 = loads.into_iter().map(|load| load.join().unwrap()).sum();
        assert!(answered >= 40, "{answered}");
    }
}

on_each_driver! {
    half_a_request_and_silence
    a_byte_at_a_time_in_either_direction
    those_who_never_read
    resets_and_half_closes_in_the_middle
    those_who_have_finished_and_do_not_read_cost_no_turns
    hundreds_of_idle_connections_and_a_thousand_that_come_and_go
    a_stop_under_load_cuts_no_answer_short
}
