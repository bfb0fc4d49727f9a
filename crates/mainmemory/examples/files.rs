//! Files: `put NAME LENGTH` and so many bytes (1 MiB at most), `get NAME`. A service whose slow requests are parked.
//!
//! `cargo run --release --example files -- 127.0.0.1:7012 FOLDER`, then `nc 127.0.0.1 7012`.

use std::io::{self, Write};
use std::path::PathBuf;

use mainmemory::runtime::{offload, task};
use mainmemory::{Config, Now, Output, Peer, Ready, Server, Service, Step, Token};

pub(crate) struct Files {
    pub(crate) folder: PathBuf,
    pub(crate) ready: Ready,
}

pub(crate) enum State {
    Idle,
    /// Receives a file for this path, of which so many bytes are there.
    Upload(PathBuf, Vec<u8>, usize),
    /// A file is being read or written by another thread.
    Waiting(task::JoinHandle<io::Result<Vec<u8>>>),
}

impl Files {
    /// Begins what may take long; the connection is run again when that has been done.
    fn begin<W: FnOnce() -> io::Result<Vec<u8>> + Send + 'static>(&self, token: Token, work: W) -> State {
        let ready = self.ready.clone();
        State::Waiting(task::spawn(async move {
            let done = offload::run(work).await;
            ready.wake(token);
            done?
        }))
    }

    fn request(&self, token: Token, line: &str) -> Option<State> {
        let mut words = line.split_ascii_whitespace();
        let (what, name) = (words.next()?, words.next().filter(|name| !name.contains(['/', '.']))?);
        let path = self.folder.join(name);
        match (what, words.next().map(str::parse)) {
            ("get", None) => Some(self.begin(token, move || std::fs::read(path))),
            ("put", Some(Ok(length @ ..=1_048_576))) => Some(State::Upload(path, vec![0; length], 0)),
            _ => None,
        }
    }
}

impl Service for Files {
    type Connection = (Token, State);

    fn connect(&mut self, peer: &Peer) -> (Token, State) {
        (peer.token, State::Idle)
    }

    fn run(&mut self, (token, state): &mut (Token, State), input: &[u8], out: &mut Output, _: Now) -> Step {
        let mut consumed = 0;
        loop {
            match state {
                State::Idle => {
                    let end = input[consumed..].iter().position(|&byte| byte == b'\n');
                    let Some(end) = end else { return Step::Read { consumed } };
                    let line = String::from_utf8_lossy(&input[consumed..consumed + end]);
                    consumed += end + 1;
                    let Some(begun) = self.request(*token, &line) else { return Step::Close { consumed } };
                    *state = begun;
                }
                State::Upload(_, all, filled) if *filled < all.len() => return Step::ReadInto { consumed },
                State::Upload(path, bytes, _) => {
                    let (path, bytes) = (std::mem::take(path), std::mem::take(bytes));
                    *state = self.begin(*token, move || std::fs::write(path, bytes).map(|()| vec![]));
                }
                State::Waiting(task) => {
                    let Some(done) = task.take_result() else { return Step::Park { consumed } };
                    let file = done.map_err(io::Error::from).flatten();
                    let file = file.unwrap_or_else(|error| error.to_string().into());
                    out.write(format!("{}\n", file.len()).as_bytes());
                    out.write(&file);
                    *state = State::Idle;
                }
            }
        }
    }

    fn space<'a>(&'a mut self, (_, state): &'a mut (Token, State)) -> &'a mut [u8] {
        if let State::Upload(_, bytes, filled) = state { &mut bytes[*filled..] } else { &mut [] }
    }

    fn filled(&mut self, (_, state): &mut (Token, State), bytes: usize) {
        let State::Upload(.., filled) = state else { return };
        *filled += bytes;
    }
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7012".into());
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| ".".into()));
    let server = Server::new(Config::default()).listen(&address.parse()?)?;
    writeln!(io::stdout(), "{server}")?;
    server.serve_with(|start| Files { folder: folder.clone(), ready: start.ready.clone() }).map(drop)
}
