//! The binary protocol and UDP: -B, -U.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use crate::world::{Client, DRIVERS, Server, eventually, file, program, send_signal, status_of};

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

/// What a `set` of the binary protocol begins with, for the key `k` and a value of so many bytes.
fn head_of_a_set(len: usize) -> Vec<u8> {
    let (extras, key) = ([0; 8], b"k");
    let body = u32::try_from(extras.len() + key.len() + len).unwrap();
    let mut head = vec![0x80, 0x01, 0, 1, 8, 0, 0, 0];
    head.extend_from_slice(&body.to_be_bytes());
    head.extend_from_slice(&[0; 12]);
    [&head[..], &extras, key].concat()
}

/// Sends bytes so that the server finds all of them at once that the socket has room for.
fn write_behind_its_back(server: &Server, stream: &mut UnixStream, bytes: &[u8]) {
    let pid = server.child.id();
    send_signal(pid, "-STOP");
    eventually(|| status_of(pid, "State").filter(|state| state.starts_with('T')));
    stream.set_nonblocking(true).unwrap();
    let taken = stream.write(bytes).unwrap();
    stream.set_nonblocking(false).unwrap();
    send_signal(pid, "-CONT");
    stream.write_all(&bytes[taken..]).unwrap();
}

fn values_come_at_once_behind_their_heads(driver: &str) {
    const SHARE_BYTES: usize = 128 * 1024;
    let path = file(&format!("value-{driver}"));
    // With as much memory as this a value of such a length lies in one piece.
    let line = format!("mmem -m 1024 -u root -s {} --driver {driver}", path.display());
    let child = program(&line).stderr(Stdio::null()).spawn().unwrap();
    let server = Server { child, port: 0, udp_port: 0 };
    let mut stream = eventually(|| UnixStream::connect(&path).ok());
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for len in [SHARE_BYTES - 1, SHARE_BYTES, SHARE_BYTES + 1, 2 * SHARE_BYTES] {
        for _ in 0..3 {
            // By the answer to the one the other has been served, too.
            stream.write_all(&[&NOOP[..], &head_of_a_set(len)].concat()).unwrap();
            let mut answer = [0; 24];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, NOOP_DONE);
            write_behind_its_back(&server, &mut stream, &vec![b'v'; len]);
            if let Err(error) = stream.read_exact(&mut answer) {
                panic!("{driver}: {len} bytes were not answered: {error}");
            }
            assert_eq!(answer[..12], [0x81, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "{driver}: {len} bytes");
        }
    }
    drop(fs::remove_file(&path));
}

#[test]
fn a_value_as_long_as_the_share_of_a_turn_is_stored() {
    DRIVERS.iter().copied().for_each(values_come_at_once_behind_their_heads);
}
