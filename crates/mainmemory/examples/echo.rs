//! An echo server of tasks: what comes in goes out.
//!
//! `cargo run --release --example echo -- 127.0.0.1:7007`, then `nc 127.0.0.1 7007`.

use std::io;

use mm_runtime::net::{Listener, Stream};
use mm_runtime::sys::socket::ListenAddress;
use mm_runtime::task::spawn;

/// Echoes until the peer has finished or been silent for ten minutes.
async fn echo(mut stream: Stream) -> io::Result<()> {
    stream.set_read_timeout_ms(Some(600_000));
    let mut space = [0; 4096];
    loop {
        match stream.read(&mut space).await? {
            0 => return Ok(()),
            received => stream.write_all(&space[..received]).await?,
        }
    }
}

/// Serves each connection by a task of its own.
pub(crate) async fn serve(mut listener: Listener) -> io::Result<()> {
    loop {
        spawn(echo(listener.accept().await?)).detach();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7007".into());
    let address = ListenAddress::Ip(address.parse()?);
    mm_runtime::block_on(async move { serve(Listener::bind(&address)?).await })??;
    Ok(())
}
