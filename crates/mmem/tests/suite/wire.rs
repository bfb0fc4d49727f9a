//! The binary protocol and UDP: -B, -U.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use crate::world::{Client, DRIVERS, Server};

/// A request of the binary protocol without parts, and the answer to it.
const NOOP: [u8; 24] = [0x80, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0];
const NOOP_DONE: [u8; 24] = [0x81, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0];

/// What is answered until the server closes the connection.
fn answer(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answered = Vec::new();
    // The server may close without having read everything.
    drop(stream.read_to_end(&mut answered));
    answered
}

#[test]
fn a_connection_speaks_the_protocol_of_its_first_byte_or_of_the_flag() {
    let quit = [&[0x80, 0x17], &[0; 22][..]].concat();
    let binary = [&NOOP[..], &quit].concat();
    let version = b"VERSION 1.6.45\r\n";
    for (flag, to_text, to_binary) in [
        ("-B auto", &version[..], &NOOP_DONE[..]),
        ("-B ascii", version, b""),
        ("-B binary", b"", &NOOP_DONE),
        ("-l proto[binary]:127.0.0.1", b"", &NOOP_DONE),
    ] {
        let name = format!("protocol{}", flag.replace([' ', ':'], ""));
        let server = Server::start(&name, &format!("mmem -p -1 {flag}"));
        assert_eq!(answer(&server, b"version\r\nquit\r\n"), to_text, "{flag}");
        if !to_binary.is_empty() {
            assert_eq!(answer(&server, &binary), to_binary, "{flag}");
        }
    }
    let server = Server::start("protocol-refused", "mmem -p -1 -B ascii");
    assert_eq!(answer(&server, b"\x80\x0b\0\0\0\r\nquit\r\n"), b"ERROR\r\n");
}

#[test]
fn datagrams_are_answered_in_both_protocols() {
    for driver in DRIVERS {
        let line = format!("mmem -p -1 -U -1 --driver {driver}");
        let mut server = Server::start(&format!("datagrams-{driver}"), &line);
        let first_line = server.next_line();
        assert!(first_line.contains(&format!("UDP 127.0.0.1:{}", server.udp_port)), "{first_line}");
        let mut client = Client::connect(&server);
        assert_eq!(client.ask(format!("set long 0 0 5000\n{}\n", "x".repeat(5000))), "STORED\n");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", server.udp_port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let ask = |number: u8, request: &[u8]| {
            socket.send(&[&[0, number, 0, 0, 0, 1, 0, 0][..], request].concat()).unwrap();
            let (mut reply, mut space) = (Vec::new(), [0; 2000]);
            for part in 0.. {
                let bytes = socket.recv(&mut space).unwrap();
                assert_eq!(space[..4], [0, number, 0, part]);
                reply.extend_from_slice(&space[8..bytes]);
                if part + 1 == space[5] {
                    break;
                }
            }
            reply
        };
        assert_eq!(ask(1, b"set a 0 0 1\r\n1\r\n"), b"STORED\r\n");
        let expected = format!("VALUE a 0 1\r\n1\r\nVALUE long 0 5000\r\n{}\r\nEND\r\n", "x".repeat(5000));
        assert_eq!(ask(2, b"get a long\r\n"), expected.as_bytes());
        assert_eq!(ask(3, &NOOP), NOOP_DONE);
        let address = format!(":addr udp:127.0.0.1:{}\n", server.udp_port);
        assert!(client.lines_of("stats conns\n").iter().any(|line| line.ends_with(&address)), "{driver}");
        assert_eq!(client.stat("", "curr_connections"), "1");
    }
}
