//! An echo server as a service: what comes in goes out.
//!
//! `cargo run --release --example echo_service -- 127.0.0.1:7007`, then `nc 127.0.0.1 7007`.

use std::io::{self, Write};

use mainmemory::{Config, Now, Output, Peer, Server, Service, Step};

pub(crate) struct Echo;

impl Service for Echo {
    type Connection = ();

    fn connect(&mut self, _peer: &Peer) {}

    fn run(&mut self, _: &mut (), input: &[u8], output: &mut Output, _now: Now) -> Step {
        output.write(input);
        Step::Read { consumed: input.len() }
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7007".into());
    let server = Server::new(Config::default()).listen(&address.parse()?)?;
    writeln!(io::stdout(), "{server}")?;
    server.serve_with(|_start| Echo)?;
    Ok(())
}
