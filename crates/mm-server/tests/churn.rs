//! Ten thousand connections opened, used and closed leave descriptors and memory where they were.
//!
//! Alone in its process, since both are the process's.

#[path = "echo/service.rs"]
mod echo;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use mm_server::{Config, ListenAddress, Server, Stop, Stream};

use echo::Echo;

async fn echo(stream: Stream) -> std::io::Result<()> {
    let (mut reader, mut writer) = stream.buffered();
    while reader.fill().await? {
        writer.write_all(reader.buffered()).await?;
        reader.consume(usize::MAX);
    }
    Ok(())
}

/// Connections open at a time: both ends are in this process.
const AT_A_TIME: usize = 250;

#[cfg(test)]
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[cfg(test)]
fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[cfg(test)]
fn exchange(client: &mut TcpStream) {
    let mut answer = [0; 5];
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut answer).unwrap();
}

#[cfg(test)]
fn churn(address: SocketAddr, times: usize) {
    for _ in 0..times / AT_A_TIME {
        let mut clients: Vec<TcpStream> =
            (0..AT_A_TIME).map(|_| TcpStream::connect(address).unwrap()).collect();
        clients.iter_mut().for_each(exchange);
    }
}

#[test]
fn ten_thousand_connections_leave_nothing_behind() {
    for handler in [false, true] {
        let config = Config { signals: false, ..Config::default() };
        let any = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
        let server = Server::new(config).listen(&any).unwrap();
        let Some(ListenAddress::Ip(address)) = server.addresses().next().cloned() else {
            panic!("no address")
        };
        let handle = server.handle();
        let thread =
            std::thread::spawn(
                move || {
                    if handler { server.serve(echo) } else { server.serve_with(|_start| Echo) }
                },
            );
        let mut first = TcpStream::connect(address).unwrap();
        exchange(&mut first);
        // Without both ends of this connection.
        let own = descriptors() - 2;
        drop(first);
        let settle = || {
            let start = Instant::now();
            // A driver may close a socket some time after the connection has ended.
            while handle.stats()[0].connections.get() > 0 || descriptors() > own {
                assert!(start.elapsed() < Duration::from_secs(30), "{handle:?}");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        // What a server keeps for the next connections is kept after the first ones.
        churn(address, 2 * AT_A_TIME);
        settle();
        let before_kib = anonymous_kib();
        churn(address, 10_000);
        settle();
        let after_kib = anonymous_kib();
        assert!(after_kib <= before_kib + 1024, "{after_kib} KiB, {before_kib} before");
        handle.stop(Stop::Gracefully);
        assert_eq!(thread.join().unwrap().unwrap().connections_total, 10_501);
    }
}
