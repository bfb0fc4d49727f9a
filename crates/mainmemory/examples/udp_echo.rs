//! A UDP echo server: each datagram goes back to its sender.
//!
//! `cargo run --release --example udp_echo -- 127.0.0.1:7010`, then `nc -u 127.0.0.1 7010`.

use std::io;

use mainmemory::runtime::net::Datagrams;

/// Echoes until its task is interrupted.
pub(crate) async fn serve(mut datagrams: Datagrams) -> io::Result<()> {
    let mut space = vec![0; 64 * 1024];
    loop {
        match datagrams.receive_from(&mut space).await {
            // Anybody may send from where no answer can go.
            Ok((received, sender)) => drop(datagrams.send_to(&space[..received], sender).await),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            // What an earlier datagram met on its way, such as a port that nobody has.
            Err(_) => {}
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7010".into());
    let address = address.parse()?;
    mainmemory::runtime::block_on(async move { serve(Datagrams::bind(address)?).await })??;
    Ok(())
}
