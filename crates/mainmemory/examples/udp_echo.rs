//! A UDP echo server: each datagram goes back to its sender.
//!
//! `cargo run --release --example udp_echo -- 127.0.0.1:7010`, then `nc -u 127.0.0.1 7010`.

use std::io;

use mainmemory::runtime::net::Datagrams;

/// Echoes for ever.
pub(crate) async fn serve(mut datagrams: Datagrams) -> io::Result<()> {
    let mut space = vec![0; 64 * 1024];
    loop {
        let (received, sender) = datagrams.receive_from(&mut space).await?;
        datagrams.send_to(&space[..received], sender).await?;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7010".into());
    let address = address.parse()?;
    mainmemory::runtime::block_on(async move { serve(Datagrams::bind(address)?).await })??;
    Ok(())
}
