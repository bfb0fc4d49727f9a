//! An echo server: what comes in goes out.
//!
//! `cargo run --release --example echo -- 127.0.0.1:7007`, then `nc 127.0.0.1 7007`.

use std::io::{self, Write};

use mainmemory::{Config, Server, Stream};

/// Echoes until the peer has finished. The buffer is the shard's, and held only while bytes wait in it.
pub(crate) async fn echo(stream: Stream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.buffered();
    while reader.fill().await? {
        writer.write_all(reader.buffered()).await?;
        reader.consume(usize::MAX);
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7007".into());
    let server = Server::new(Config::default()).listen(&address.parse()?)?;
    writeln!(io::stdout(), "{server}")?;
    server.serve(echo)?;
    Ok(())
}
