//! Echo servers to be measured: on a handler and on a service of ours, and on tokio.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;

use clap::{Args, ValueEnum};
use mainmemory::{Config, ListenAddress, Now, Output, Peer, Server, Service, Step, Stream};

/// Connections each server allows.
const CONNECTIONS_MAX: usize = 100_000;

/// On what an echo server is built.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kind {
    /// A handler of ours: sequential code.
    Handler,
    /// A service of ours.
    Service,
    /// tokio, on one thread.
    Tokio,
}

/// Run an echo server to be measured.
#[derive(Args, Debug)]
pub(crate) struct EchoArguments {
    /// On what it is built.
    kind: Kind,
    /// TCP port on loopback.
    #[arg(long)]
    port: u16,
}

/// Serves until the process is killed.
///
/// # Errors
/// The port is in use, or there are no resources.
pub(crate) fn serve(arguments: &EchoArguments) -> Result<(), String> {
    raise_descriptors();
    match arguments.kind {
        Kind::Tokio => tokio_echo(arguments.port).map(|never| match never {}),
        Kind::Handler => server(arguments.port).and_then(|server| server.serve(echo).map(|_| ())),
        Kind::Service => {
            server(arguments.port).and_then(|server| server.serve_with(|_start| Echo).map(|_| ()))
        }
    }
    .map_err(|error| format!("the echo server has failed: {error}"))
}

/// Allows as many descriptors as the system lets the process have, and gives their number.
pub(crate) fn raise_descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = Some(CONNECTIONS_MAX as u64);
    let all = Rlimit { current: wanted, maximum: wanted };
    if setrlimit(Resource::Nofile, all).is_err() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        // What cannot be raised stays; connections beyond it will be missed.
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).ok();
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(allowed).unwrap_or(usize::MAX)
}

fn server(port: u16) -> io::Result<Server> {
    let config = Config { connections_max: CONNECTIONS_MAX, ..Config::default() };
    Server::new(config).listen(&ListenAddress::Ip((Ipv4Addr::LOCALHOST, port).into()))
}

async fn echo(stream: Stream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.buffered();
    while reader.fill().await? {
        writer.write_all(reader.buffered()).await?;
        reader.consume(usize::MAX);
    }
    Ok(())
}

struct Echo;

impl Service for Echo {
    type Connection = ();

    fn connect(&mut self, _peer: &Peer) {}

    fn run(&mut self, _: &mut (), input: &[u8], output: &mut Output, _now: Now) -> Step {
        output.write(input);
        Step::Read { consumed: input.len() }
    }
}

fn tokio_echo(port: u16) -> io::Result<Infallible> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(received @ 1..) = stream.read(&mut bytes).await {
                    if stream.write_all(&bytes[..received]).await.is_err() {
                        break;
                    }
                }
            });
        }
    })
}
