//! A TCP proxy: carries bytes between each client and one server, both ways at once.
//!
//! `cargo run --release --example proxy -- 127.0.0.1:7008 127.0.0.1:11211`

use std::io;
use std::net::SocketAddr;

use mainmemory::runtime::net::{BufferedReader, Stream, WriteHalf};
use mainmemory::runtime::sync::try_join;
use mainmemory::runtime::timers::timeout;
use mainmemory::{Config, Server};

/// How long the server may take to answer a connection attempt.
const CONNECT_TIMEOUT_MS: u64 = 5_000;

/// Carries bytes one way until they end, and hands the end on. A buffer is held only while bytes wait in it.
async fn carry(mut from: BufferedReader, mut to: WriteHalf) -> io::Result<()> {
    while from.fill().await? {
        to.write_all(from.buffered()).await?;
        from.consume(usize::MAX);
    }
    to.shutdown()
}

pub(crate) async fn proxy(client: Stream, server: SocketAddr) -> io::Result<()> {
    let server = timeout(CONNECT_TIMEOUT_MS, Stream::connect(server)).await??;
    let (from_client, to_client) = client.buffered();
    let (from_server, to_server) = server.buffered();
    // One way that breaks takes the other with it.
    try_join(carry(from_client, to_server), carry(from_server, to_client)).await?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("usage: proxy LISTEN SERVER, both as ADDRESS:PORT".into());
    };
    let to = to.parse()?;
    let server = Server::new(Config::default()).listen(&listen.parse()?)?;
    server.serve(async move |client| proxy(client, to).await)?;
    Ok(())
}
