//! An echo server as a service: what comes in goes out.
//!
//! `cargo run --release --example echo_service -- 127.0.0.1:7007`, then `nc 127.0.0.1 7007`.

use std::error::Error;

use mm_base::Now;
use mm_base::buffer::Output;
use mm_server::{Config, ListenAddress, Peer, Server, Service, Step};

struct Echo;

impl Service for Echo {
    type Connection = ();

    fn connect(&mut self, _peer: &Peer) {}

    fn run(&mut self, _: &mut (), input: &[u8], output: &mut Output, _now: Now) -> Step {
        output.write(input);
        Step::Read { consumed: input.len() }
    }
}

#[expect(clippy::print_stdout, reason = "says where it listens")]
fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7007".into());
    let server = Server::new(Config::default()).listen(&ListenAddress::Ip(address.parse()?))?;
    println!("{server}");
    server.serve(|_start| Echo)?;
    Ok(())
}
