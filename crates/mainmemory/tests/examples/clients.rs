//! One client per example.

use std::future::Future;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;

use mm_runtime::net::{Datagrams, Listener};
use mm_runtime::sys::socket::ListenAddress;

#[path = "../../examples/echo.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod echo;
#[path = "../../examples/http.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod http;
#[path = "../../examples/lines.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod lines;
#[path = "../../examples/proxy.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod proxy;
#[path = "../../examples/udp_echo.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod udp_echo;

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Starts a server that lives as long as the test's process, and gives its address.
fn start<F: Future<Output = io::Result<()>> + 'static>(
    serve: impl FnOnce(Listener) -> F + Send + 'static,
) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        mm_runtime::block_on(async move {
            let listener = Listener::bind(&ListenAddress::Ip(loopback()))?;
            sender.send(listener.address().clone()).unwrap();
            serve(listener).await
        })
    });
    match receiver.recv().unwrap() {
        ListenAddress::Ip(address) => address,
        ListenAddress::Unix(..) => unreachable!(),
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
    let address = start(echo::serve);
    let mut clients: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
    for (name, client) in clients.iter_mut().enumerate() {
        let text = format!("client {name}");
        ask(client, text.as_bytes(), &text);
    }
}

#[test]
fn proxy_carries_both_ways_and_hands_the_end_on() {
    let echo = start(echo::serve);
    let address = start(move |listener| proxy::serve(listener, echo));
    let mut client = TcpStream::connect(address).unwrap();
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let mut writer = client.try_clone().unwrap();
    let sent = bytes.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    assert!(received == bytes);
}

#[test]
fn lines_keeps_values_and_survives_nonsense() {
    let address = start(lines::serve);
    let mut client = TcpStream::connect(address).unwrap();
    ask(&mut client, b"set a hello world\n", "ok\n");
    ask(&mut client, b"get a\nget b\n", "hello world\nnone\n");
    ask(&mut client, b"\xff\xfe\n", "what?\n");
    let mut other = TcpStream::connect(address).unwrap();
    ask(&mut other, b"del a\nquit\n", "ok\n");
    assert_eq!(other.read(&mut [0]).unwrap(), 0);
    ask(&mut client, b"get a\n", "none\n");
}

#[test]
fn udp_echo_answers_the_sender() {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        mm_runtime::block_on(async move {
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
    let address = start(http::serve);
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
