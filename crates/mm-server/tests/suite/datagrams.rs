//! The service over datagrams: without sockets, on real ones, and on an unkind network.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroUsize;

use mm_base::buffer::Output;
use mm_runtime::driver::sim::Faults;
use mm_server::datagrams::{Bare, Framing, Part};
use mm_server::harness::Harness;
use mm_server::simulation::{Simulation, Stepped};
use mm_server::{ListenAddress, Server, Stop};

use crate::running::{PATIENCE, config};
use crate::toy::Toy;

/// A number of the client's, then the part and how many there are, a byte each.
struct Numbered;

impl Framing for Numbered {
    fn open<'a>(&self, datagram: &'a [u8]) -> Option<(u64, &'a [u8])> {
        let (mark, request) = datagram.split_first()?;
        (*mark != 0).then_some((u64::from(*mark), request))
    }

    fn header_bytes(&self) -> usize {
        3
    }

    fn seal(&self, part: &Part, header: &mut [u8]) {
        let numbers = [part.mark, part.number.into(), part.total.into()];
        for (place, number) in header.iter_mut().zip(numbers) {
            *place = u8::try_from(number).unwrap();
        }
    }

    fn datagram_bytes_max(&self) -> usize {
        103
    }

    fn reply_bytes_max(&self) -> usize {
        1000
    }

    fn refuse(&self, request: &[u8], output: &mut Output) {
        output.write(b"too long: ");
        output.write(request);
    }
}

/// Puts the parts of a reply in order. `None` where some are missing.
fn join(datagrams: &[Vec<u8>]) -> Option<(u8, Vec<u8>)> {
    let mut parts: Vec<&Vec<u8>> = datagrams.iter().collect();
    parts.sort();
    parts.dedup();
    let total = usize::from(parts.first()?[2]);
    (parts.len() == total).then(|| (parts[0][0], parts.iter().flat_map(|part| part[3..].to_vec()).collect()))
}

#[test]
fn a_datagram_is_a_conversation_of_its_own() {
    let mut harness = Harness::new(Toy::new);
    assert_eq!(harness.exchange_datagram(&Numbered, b"\x07echo one\n"), [b"\x07\x00\x01one\n"]);
    // The rest of a request does not become a part of the next datagram's.
    assert!(harness.exchange_datagram(&Numbered, b"\x08echo cut").is_empty());
    assert_eq!(harness.exchange_datagram(&Numbered, b"\x09echo two\n"), [b"\x09\x00\x01two\n"]);
    // What is not framed so is not looked at.
    assert!(harness.exchange_datagram(&Numbered, b"\x00echo three\n").is_empty());
    assert!(harness.exchange_datagram(&Numbered, b"").is_empty());
    // Nobody runs a datagram that waits again.
    assert!(harness.exchange_datagram(&Numbered, b"\x0await\n").is_empty());
    assert_eq!(harness.exchange_datagram(&Numbered, b"\x0bpost x\n"), [b"\x0b\x00\x01ok\n"]);
    let yielding = harness.exchange_datagram(&Numbered, b"\x0eecho a\nyield\necho b\nyield\n");
    assert_eq!(yielding, [b"\x0e\x00\x01a\nb\n"]);
    // A panic is no answer, and the end of nothing else.
    assert!(harness.exchange_datagram(&Numbered, b"\x0cpanic\n").is_empty());
    assert_eq!(harness.exchange_datagram(&Numbered, b"\x0decho four\n"), [b"\x0d\x00\x01four\n"]);
    assert_eq!((harness.service().disconnected, harness.buffered_bytes()), (8, 0));
}

#[test]
fn a_reply_is_cut_into_parts_and_bounded() {
    let mut harness = Harness::new(Toy::new);
    let reply = harness.exchange_datagram(&Numbered, b"\x01repeat 40 abcd\n");
    assert_eq!(reply.iter().map(Vec::len).collect::<Vec<_>>(), [103, 103]);
    assert_eq!(join(&reply), Some((1, b"abcd\n".repeat(40))));
    for (request, refused) in [("repeat 201 abcd\n", true), ("repeat 200 abcd\n", false)] {
        let reply = harness.exchange_datagram(&Numbered, format!("\x01{request}").as_bytes());
        let expected =
            if refused { format!("too long: {request}").into_bytes() } else { b"abcd\n".repeat(200) };
        assert_eq!(join(&reply), Some((1, expected)));
    }
    // So is what the service would send from where it lies, and what it would go on with after a pause.
    let mut store = b"\x01store 40000\n".to_vec();
    store.resize(store.len() + 40_000, b'a');
    assert_eq!(join(&harness.exchange_datagram(&Numbered, &store)).unwrap().1, b"stored 40000 sum 3880000\n");
    for request in ["load\n", "repeat 1000000 abcd\n"] {
        let reply = harness.exchange_datagram(&Numbered, format!("\x01{request}").as_bytes());
        assert_eq!(join(&reply).unwrap().1, format!("too long: {request}").into_bytes());
    }
    assert_eq!((harness.service().values.pins.get(), harness.buffered_bytes()), (0, 0));
    assert!(harness.exchange_datagram(&Bare { bytes_max: 100 }, b"repeat 21 abcd\n").is_empty());
    assert_eq!(harness.exchange_datagram(&Bare { bytes_max: 100 }, b"echo a\n"), [b"a\n"]);
}

#[test]
fn a_handler_answers_none() {
    let mut server = Server::new(config());
    server.try_listen_datagrams("127.0.0.1:0".parse().unwrap(), &Numbered).unwrap();
    let address = server.datagram_addresses().next().unwrap().to_string();
    // So that it ends, if it begins.
    server.handle().stop(Stop::AtOnce);
    let error = server.serve(async |_stream| Ok(())).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains(&address), "{error}");
}

#[test]
fn on_real_sockets_beside_connections() {
    let mut server = Server::new(config());
    server.try_listen_datagrams("127.0.0.1:0".parse().unwrap(), &Numbered).unwrap();
    let Some(ListenAddress::Ip(address)) = server.datagram_addresses().next().cloned() else { panic!() };
    let text = server.to_string();
    assert!(text.starts_with(&format!("listening on UDP {address} (")), "{text}");
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.serve_with(Toy::new));
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut space = [0; 2000];
    for number in 1..=200_u8 {
        client.send_to(&[&[number], b"repeat 30 abcd\n".as_slice()].concat(), address).unwrap();
        let mut parts = Vec::new();
        for _ in 0..2 {
            let (bytes, from) = client.recv_from(&mut space).unwrap();
            assert_eq!(from, address);
            parts.push(space[..bytes].to_vec());
        }
        assert_eq!(join(&parts), Some((number, b"abcd\n".repeat(30))));
    }
    // Counted after they are sent, so not looked at before the server has ended.
    handle.stop(Stop::Gracefully);
    thread.join().unwrap().unwrap();
    let stats = &handle.stats()[0];
    let seen = (stats.datagrams_received.get(), stats.datagrams_sent.get(), stats.datagrams_unsent.get());
    assert_eq!(seen, (200, 400, 0));
}

#[test]
fn whoever_cannot_be_a_client_gets_no_answer() {
    let mut simulation = Simulation::new(&config(), 1, Faults::default(), Toy::new);
    let port = simulation.listen_datagrams(&Numbered);
    let peers = [53, 1023, 1024].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
    for peer in peers {
        simulation.network().send_datagram(port, peer, b"\x01echo a\n");
    }
    while simulation.step() != Stepped::Idle {}
    let answered = peers.map(|peer| simulation.network().receive_datagram(port, peer).is_some());
    assert_eq!(answered, [false, false, true]);
    assert_eq!(simulation.handle().stats()[0].datagrams_refused.get(), 2);
}

/// Requests of many clients, lost, doubled and late: each reply that comes whole is the right one.
#[test]
fn in_simulation() {
    for seed in 0..50 {
        let faults =
            Faults { delay_ms_max: 20, lost_datagrams: 5, doubled_datagrams: 5, ..Faults::default() };
        let shards = NonZeroUsize::new(3).unwrap();
        let mut simulation =
            Simulation::new(&mm_server::Config { shards, ..config() }, seed, faults, Toy::new);
        let port = simulation.listen_datagrams(&Numbered);
        let peers: Vec<SocketAddr> = (2000..2040).map(|port| ([192, 0, 2, 1], port).into()).collect();
        let expected = |peer: &SocketAddr| format!("{peer}\n").repeat(8).into_bytes();
        for peer in &peers {
            let request = format!("\x01repeat 8 {peer}\n");
            simulation.network().send_datagram(port, *peer, request.as_bytes());
        }
        while simulation.step() != Stepped::Idle {}
        let mut whole = HashMap::new();
        for peer in &peers {
            let arrived = || simulation.network().receive_datagram(port, *peer);
            let parts: Vec<Vec<u8>> = std::iter::from_fn(arrived).collect();
            if let Some((_, reply)) = join(&parts) {
                assert_eq!(reply, expected(peer), "seed {seed}");
                whole.insert(*peer, ());
            }
        }
        assert!(!whole.is_empty() && simulation.buffered_bytes() == 0, "seed {seed}");
    }
}
