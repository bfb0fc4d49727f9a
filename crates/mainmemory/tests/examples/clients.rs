//! One client per example.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mainmemory::runtime::net::Datagrams;
use mainmemory::runtime::shards::Sharded;
use mainmemory::server::Summary;
use mainmemory::{Config, ListenAddress, Server, Stop};

#[path = "../../examples/chat.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod chat;
#[path = "../../examples/echo.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod echo;
#[path = "../../examples/echo_service.rs"]
#[expect(dead_code, reason = "its main is not called")]
pub(crate) mod echo_service;
#[path = "../../examples/files.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod files;
#[path = "../../examples/http.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod http;
#[path = "../../examples/lines.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod lines;
#[path = "../../examples/proxy.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod proxy;
#[path = "../../examples/queues.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod queues;
#[path = "../../examples/udp_echo.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod udp_echo;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Starts a server that lives as long as the test's process, and gives its address.
fn start(shards: usize, serve: impl FnOnce(Server) -> io::Result<Summary> + Send + 'static) -> SocketAddr {
    let shards = NonZeroUsize::new(shards).unwrap();
    let config = Config { shards, signals: false, ..Config::default() };
    let server = Server::new(config).listen(&loopback().into()).unwrap();
    let address = server.addresses().next().cloned();
    thread::spawn(move || serve(server).unwrap());
    match address {
        Some(ListenAddress::Ip(address)) => address,
        _ => unreachable!(),
    }
}

/// Says something, and reads as much as is expected back.
fn ask(stream: &mut TcpStream, question: &[u8], answer: &str) {
    stream.write_all(question).unwrap();
    let mut space = vec![0; answer.len()];
    stream.read_exact(&mut space).unwrap();
    assert_eq!(String::from_utf8_lossy(&space), answer);
}

#[test]
fn echo_gives_back_what_it_gets() {
    let address = start(2, |server| server.serve(echo::echo));
    let mut clients: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
    for (name, client) in clients.iter_mut().enumerate() {
        let text = format!("client {name}");
        ask(client, text.as_bytes(), &text);
    }
}

#[test]
fn the_echo_service_gives_back_what_it_gets() {
    let address = start(2, |server| server.serve_with(|_start| echo_service::Echo));
    for round in 0..10 {
        let mut client = TcpStream::connect(address).unwrap();
        let text = format!("round {round}");
        ask(&mut client, text.as_bytes(), &text);
    }
}

/// Reads lines of a chat until one ends like this, and gives all of them.
fn listen_until(member: &mut BufReader<TcpStream>, end: &str) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.last().is_none_or(|line: &String| !line.ends_with(end)) {
        let mut line = String::new();
        assert!(member.read_line(&mut line).unwrap() > 0, "the chat ended after {heard:?}");
        heard.push(line);
    }
    heard
}

#[test]
fn chat_reaches_everybody_on_every_shard() {
    let chat = chat::Chat::new();
    let address = start(3, |server| server.serve(async move |stream| chat.talk(stream).await));
    let mut members: Vec<_> = (0..9)
        .map(|_| {
            let mut member = BufReader::new(TcpStream::connect(address).unwrap());
            let own = format!("{} is here\n", member.get_ref().local_addr().unwrap());
            listen_until(&mut member, &own);
            member
        })
        .collect();
    for speaker in 0..members.len() {
        let name = members[speaker].get_ref().local_addr().unwrap();
        let said = format!("{name}: hello from {speaker}\n");
        members[speaker].get_mut().write_all(format!("hello from {speaker}\n").as_bytes()).unwrap();
        members.iter_mut().for_each(|member| drop(listen_until(member, &said)));
    }
    let gone = members.pop().unwrap().get_ref().local_addr().unwrap();
    members.iter_mut().for_each(|member| drop(listen_until(member, &format!("{gone} has left\n"))));
    // One that goes without having read everything breaks its connection.
    let broken = members.pop().unwrap();
    let name = broken.get_ref().local_addr().unwrap();
    members[0].get_mut().write_all(b"the last line\n").unwrap();
    members.iter_mut().for_each(|member| drop(listen_until(member, "the last line\n")));
    assert_eq!(broken.get_ref().peek(&mut [0]).unwrap(), 1);
    drop(broken);
    members.iter_mut().for_each(|member| drop(listen_until(member, &format!("{name} has left\n"))));
    // What is said last may have no end.
    let last = members.pop().unwrap();
    let name = last.get_ref().local_addr().unwrap();
    (&mut last.get_ref()).write_all(b"bye").unwrap();
    last.get_ref().shutdown(Shutdown::Write).unwrap();
    let heard = listen_until(&mut members[0], &format!("{name} has left\n"));
    assert_eq!(heard, [format!("{name}: bye\n"), format!("{name} has left\n")]);
}

#[test]
fn proxy_carries_both_ways_and_hands_the_end_on() {
    let echo = start(1, |server| server.serve(echo::echo));
    let address = start(2, move |server| server.serve(async move |client| proxy::proxy(client, echo).await));
    let mut client = TcpStream::connect(address).unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let mut writer = client.try_clone().unwrap();
    let sent = bytes.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert!(received == bytes);
}

#[test]
fn a_proxy_whose_server_breaks_closes_its_client() {
    let broken = start(1, |server| {
        server.serve(async |stream| {
            stream.reset();
            Ok(())
        })
    });
    let address =
        start(1, move |server| server.serve(async move |client| proxy::proxy(client, broken).await));
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let ended = client.read(&mut [0; 1]);
    assert!(matches!(&ended, Ok(0)) || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
}

#[test]
fn files_keeps_what_it_is_given_while_others_are_served() {
    let folder = std::env::temp_dir().join(format!("mm-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let place = folder.clone();
    let address = start(1, move |server| {
        server.serve_with(|start| files::Files { folder: place.clone(), ready: start.ready.clone() })
    });
    let mut client = TcpStream::connect(address).unwrap();
    let long = vec![b'x'; 1 << 20];
    client.write_all(b"put long 1048576\n").unwrap();
    client.write_all(&long).unwrap();
    ask(&mut client, b"put short 5\nhello", "0\n0\n");
    let mut other = TcpStream::connect(address).unwrap();
    other.write_all(b"get long\nget short\nget none\n").unwrap();
    other.shutdown(Shutdown::Write).unwrap();
    let mut answers = Vec::new();
    other.read_to_end(&mut answers).unwrap();
    assert!(answers.starts_with(b"1048576\nxx"), "{}", answers.len());
    let rest = String::from_utf8_lossy(&answers[8 + long.len()..]);
    assert!(rest.starts_with("5\nhello") && rest.ends_with("(os error 2)"), "{rest:?}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn lines_keeps_values_and_survives_nonsense() {
    let maps = Sharded::new(Default::default);
    let address = start(1, |server| server.serve(async move |stream| lines::talk(stream, &maps).await));
    let mut client = TcpStream::connect(address).unwrap();
    ask(&mut client, b"set a hello world\n", "ok\n");
    ask(&mut client, b"get a\nget b\n", "hello world\nnone\n");
    ask(&mut client, b"\xff\xfe\n", "what?\n");
    let mut other = TcpStream::connect(address).unwrap();
    ask(&mut other, b"del a\nquit\n", "ok\n");
    assert_eq!(other.read(&mut [0]).unwrap(), 0);
    ask(&mut client, b"get a\n", "none\n");
    // What ends within a line says nothing.
    let mut other = TcpStream::connect(address).unwrap();
    other.write_all(b"set account 1000\nset account 100").unwrap();
    other.shutdown(Shutdown::Write).unwrap();
    ask(&mut other, b"", "ok\n");
    assert_eq!(other.read(&mut [0]).unwrap(), 0);
    ask(&mut client, b"get account\n", "1000\n");
}

#[test]
fn queues_give_each_text_to_one_who_waits_and_a_stop_waits_for_nobody() {
    let config = Config { signals: false, drain_ms: 60_000, ..Config::default() };
    let server = Server::new(config).listen(&loopback().into()).unwrap();
    let handle = server.handle();
    let address = server.addresses().next().unwrap().to_string();
    let tables = Sharded::new(Default::default);
    let serving =
        thread::spawn(move || server.serve(async move |stream| queues::talk(stream, &tables).await));
    let connect = || TcpStream::connect(&address).unwrap();
    let mut putter = connect();
    ask(&mut putter, b"put a one\nput a two words\n", "ok\nok\n");
    let mut taker = connect();
    ask(&mut taker, b"take a 0\ntake a 60000\ntake a 1\n", "text one\ntext two words\nnone\n");
    ask(&mut taker, b"take a\ntake a soon\nput a", "what?\nhow long?\n");
    drop(taker);
    // Who has gone takes nothing.
    let mut gone = connect();
    gone.write_all(b"take a 60000\n").unwrap();
    gone.shutdown(Shutdown::Write).unwrap();
    ask(&mut gone, b"", "none\n");
    let mut waiting = connect();
    waiting.write_all(b"take a 60000\n").unwrap();
    ask(&mut putter, b"put a three\n", "ok\n");
    ask(&mut waiting, b"", "text three\n");
    let read = || handle.stats()[0].bytes_read.get();
    let before = read();
    waiting.write_all(b"take a 60000\n").unwrap();
    while read() < before + 13 {
        thread::yield_now();
    }
    handle.stop(Stop::Gracefully);
    ask(&mut waiting, b"", "none\n");
    assert_eq!(waiting.read(&mut [0]).unwrap(), 0);
    assert_eq!(serving.join().unwrap().unwrap().drain_timeouts, 0);
}

#[test]
fn udp_echo_answers_the_sender() {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        mainmemory::block_on(async move {
            let datagrams = Datagrams::bind(loopback())?;
            sender.send(datagrams.address()).unwrap();
            udp_echo::serve(datagrams).await
        })
    });
    let address = receiver.recv().unwrap();
    let client = UdpSocket::bind(loopback()).unwrap();
    client.send_to(b"datagram", address).unwrap();
    let mut space = [0; 64];
    let (received, from) = client.recv_from(&mut space).unwrap();
    assert_eq!((&space[..received], from), (&b"datagram"[..], address));
}

#[test]
fn http_answers_two_requests_on_one_connection() {
    let address = start(2, |server| server.serve(http::talk));
    let mut client = TcpStream::connect(address).unwrap();
    client
        .write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut lines = BufReader::new(client).lines().map(Result::unwrap).filter(|line| line.starts_with("you"));
    assert_eq!(lines.next().as_deref(), Some("you asked for /a"));
    assert_eq!(lines.next().as_deref(), Some("you asked for /b"));
    assert_eq!(lines.next(), None);
    let mut client = TcpStream::connect(address).unwrap();
    let expected =
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 17\r\nConnection: close\r\n\r\nthat was no HTTP\n";
    ask(&mut client, b"nonsense\r\n\r\n", expected);
}

#[test]
fn http_takes_no_body_for_a_request_and_no_half_of_one_for_a_whole() {
    let address = start(2, |server| server.serve(http::talk));
    let whole = |said: &[u8]| {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(said).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).unwrap();
        heard
    };
    let inner = "GET /inner HTTP/1.1\r\n\r\n";
    for head in ["POST /a HTTP/1.1", "GET /a HTTP/1.1", "BREW"] {
        let said = format!("{head}\r\nContent-Length: {}\r\n\r\n{inner}", inner.len());
        let heard = whole(said.as_bytes());
        assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{head}: {heard}");
        assert!(heard.contains("\r\nConnection: close\r\n") && !heard.contains("inner"), "{head}: {heard}");
    }
    for half in
        ["GET /a", "GET /a HTTP/1.1\r\n", "GET /a HTTP/1.1\r\nHost: x\r\n", "GET /a HTTP/1.1\r\nHost: x"]
    {
        assert_eq!(whole(half.as_bytes()), "", "{half:?}");
    }
}
