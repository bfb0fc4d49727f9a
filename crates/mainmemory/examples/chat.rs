//! A chat: every line goes to everybody, whichever shard they are on.
//!
//! `cargo run --release --example chat -- 127.0.0.1:7011`, then several `nc 127.0.0.1 7011`.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use mainmemory::runtime::shards::Sharded;
use mainmemory::runtime::sync::{Either, Receiver, Sender, channel, select};
use mainmemory::{Config, Server, Stream, available_shards};

/// Lines that may wait for one member. More are not told: who does not read misses something.
const BACKLOG_LINES: usize = 64;

/// The members of one shard. Nobody else touches it, so it needs no lock.
type Room = RefCell<Vec<Sender<Rc<str>>>>;

/// All members, by shard.
#[derive(Clone, Debug)]
pub(crate) struct Chat {
    rooms: Sharded<Room>,
}

impl Chat {
    pub(crate) fn new() -> Self {
        Self { rooms: Sharded::new(Room::default) }
    }

    /// Tells a line to everybody, on every shard.
    async fn tell(&self, line: String) -> io::Result<()> {
        let tell = move |room: Rc<Room>| async move {
            let line: Rc<str> = line.into();
            room.borrow_mut().retain(|member| !member.is_closed());
            for member in &*room.borrow() {
                member.try_send(Rc::clone(&line)).ok();
            }
        };
        self.rooms.on_all(tell).await?;
        Ok(())
    }

    /// Serves one member until it leaves.
    pub(crate) async fn talk(&self, stream: Stream) -> io::Result<()> {
        let name = stream.peer();
        let (sender, lines) = channel(BACKLOG_LINES);
        self.rooms.local()?.borrow_mut().push(sender);
        self.tell(format!("{name} is here\n")).await?;
        let ended = self.converse(stream, lines).await;
        // However it has ended.
        self.tell(format!("{name} has left\n")).await?;
        ended
    }

    async fn converse(&self, stream: Stream, mut lines: Receiver<Rc<str>>) -> io::Result<()> {
        let name = stream.peer();
        let (mut reader, mut writer) = stream.buffered();
        loop {
            match select(lines.receive(), reader.read_until(b'\n')).await {
                Either::Left(line) => {
                    writer.write_all(line?.as_bytes()).await?;
                }
                Either::Right(length) => {
                    let length = length?;
                    if length == 0 {
                        return Ok(());
                    }
                    let line = String::from_utf8_lossy(&reader.buffered()[..length]).trim_end().to_owned();
                    reader.consume(length);
                    self.tell(format!("{name}: {line}\n")).await?;
                }
            }
        }
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7011".into());
    let config = Config { shards: available_shards(), ..Config::default() };
    let server = Server::new(config).listen(&address.parse()?)?;
    writeln!(io::stdout(), "{server}")?;
    let chat = Chat::new();
    server.serve(async move |stream| chat.talk(stream).await)?;
    Ok(())
}
