//! A TCP proxy: carries bytes between each client and one server, both ways at once.
//!
//! `cargo run --release --example proxy -- 127.0.0.1:7008 127.0.0.1:11211`

use std::io;
use std::net::SocketAddr;

use mainmemory::runtime::net::{ReadHalf, Stream, WriteHalf};
use mainmemory::runtime::sync::join;
use mainmemory::runtime::timers::timeout;
use mainmemory::{Config, Server};

/// How long the server may take to answer a connection attempt.
const CONNECT_TIMEOUT_MS: u64 = 5_000;

/// Carries bytes one way until they end, and hands the end on.
async fn carry(mut from: ReadHalf, mut to: WriteHalf) -> io::Result<()> {
    let mut space = [0; 16 * 1024];
    loop {
        match from.read(&mut space).await? {
            0 => return to.shutdown(),
            received => to.write_all(&space[..received]).await?,
        }
    }
}

pub(crate) async fn proxy(client: Stream, server: SocketAddr) -> io::Result<()> {
    let server = timeout(CONNECT_TIMEOUT_MS, Stream::connect(server)).await??;
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let (there, back) = join(carry(client_read, server_write), carry(server_read, client_write)).await;
    there.and(back)
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
