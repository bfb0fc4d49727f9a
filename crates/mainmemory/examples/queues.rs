//! Named queues: `put NAME TEXT`, and `take NAME MS`, which waits so many milliseconds for something to take.
//!
//! `cargo run --release --example queues -- 127.0.0.1:7012`, then several `nc 127.0.0.1 7012`. There is one shard.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::rc::Rc;

use mainmemory::runtime::net::BufferedReader;
use mainmemory::runtime::shards::Sharded;
use mainmemory::runtime::sync::{Condition, Either, select};
use mainmemory::runtime::timers::timeout;
use mainmemory::{Config, Server, Stream};

/// The queues a server keeps, and the texts in each of them; more are refused.
const MAX: usize = 1000;

#[derive(Default)]
pub(crate) struct Queue {
    texts: RefCell<VecDeque<String>>,
    filled: Condition,
}

type Queues = RefCell<HashMap<String, Rc<Queue>>>;

/// The queue of this name; None where there are too many.
fn named(queues: &Queues, name: &str) -> Option<Rc<Queue>> {
    let mut queues = queues.borrow_mut();
    if queues.len() >= MAX {
        // Without those that are empty and that nobody waits for.
        queues.retain(|_, queue| Rc::strong_count(queue) > 1 || !queue.texts.borrow().is_empty());
    }
    (queues.len() < MAX || queues.contains_key(name))
        .then(|| Rc::clone(queues.entry(name.into()).or_default()))
}

impl Queue {
    fn put(&self, text: &str) -> &'static str {
        if self.texts.borrow().len() >= MAX {
            return "full\n";
        }
        self.texts.borrow_mut().push_back(text.into());
        self.filled.signal();
        "ok\n"
    }

    /// Waits for a text and takes it.
    async fn take(&self) -> io::Result<String> {
        loop {
            if let Some(text) = self.texts.borrow_mut().pop_front() {
                return Ok(text);
            }
            self.filled.wait().await?;
        }
    }

    /// The answer to a `take`. A stop of the server does not wait for it, and who has gone takes nothing.
    async fn answer(&self, wait_ms: u64, reader: &mut BufferedReader) -> io::Result<String> {
        match select(timeout(wait_ms, self.take()), reader.finished()).await {
            Either::Left(Ok(text)) => Ok(format!("text {}\n", text?)),
            Either::Left(Err(_elapsed)) => Ok("none\n".into()),
            Either::Right(ended) => ended.map(|()| "none\n".into()),
        }
    }
}

pub(crate) async fn talk(stream: Stream, queues: &Sharded<Queues>) -> io::Result<()> {
    let (mut reader, mut writer) = stream.buffered();
    let queues = queues.local()?;
    loop {
        let length = reader.read_until(b'\n').await?;
        let line = String::from_utf8_lossy(&reader.buffered()[..length]).into_owned();
        reader.consume(length);
        // What is left at the end is no line.
        let Some(line) = line.strip_suffix('\n') else { return Ok(()) };
        let mut words = line.splitn(3, ' ');
        let words = (words.next(), words.next(), words.next());
        let queue = words.1.and_then(|name| named(&queues, name));
        let answer = match (words, queue) {
            ((Some("put" | "take"), Some(_), Some(_)), None) => "too many queues\n".into(),
            ((Some("put"), _, Some(text)), Some(queue)) => queue.put(text).into(),
            ((Some("take"), _, Some(wait_ms)), Some(queue)) => match wait_ms.trim_end().parse() {
                Ok(wait_ms) => queue.answer(wait_ms, &mut reader).await?,
                Err(_) => "how long?\n".into(),
            },
            _ => "what?\n".into(),
        };
        writer.write_all(answer.as_bytes()).await?;
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7012".into());
    let server = Server::new(Config::default()).listen(&address.parse()?)?;
    writeln!(io::stdout(), "{server}")?;
    let queues = Sharded::new(Queues::default);
    server.serve(async move |stream| talk(stream, &queues).await)?;
    Ok(())
}
