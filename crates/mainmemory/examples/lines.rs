//! A line-based key-value server: `set KEY VALUE`, `get KEY`, `del KEY`, `quit`.
//!
//! `cargo run --release --example lines -- 127.0.0.1:7009`, then `nc 127.0.0.1 7009`. The tasks of a shard share a map
//! without a lock: between two awaits nobody else runs. There is one shard, hence one map.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Write};

use mainmemory::runtime::shards::Sharded;
use mainmemory::{Config, Server, Stream};

type Map = RefCell<HashMap<String, String>>;

/// The keys a server keeps; more are refused.
const KEYS_MAX: usize = 100_000;

/// The answer to a line; None ends the connection.
fn answer(map: &Map, line: &str) -> Option<String> {
    let mut words = line.trim_end().splitn(3, ' ');
    let mut map = map.borrow_mut();
    Some(match (words.next(), words.next(), words.next()) {
        (Some("set"), Some(key), Some(value)) if map.len() < KEYS_MAX || map.contains_key(key) => {
            map.insert(key.into(), value.into());
            "ok\n".into()
        }
        (Some("set"), Some(_), Some(_)) => "full\n".into(),
        (Some("get"), Some(key), None) => {
            map.get(key).map_or_else(|| "none\n".into(), |value| format!("{value}\n"))
        }
        (Some("del"), Some(key), None) => if map.remove(key).is_some() { "ok\n" } else { "none\n" }.into(),
        (Some("quit"), None, None) => return None,
        _ => "what?\n".into(),
    })
}

pub(crate) async fn talk(stream: Stream, maps: &Sharded<Map>) -> io::Result<()> {
    let (mut reader, mut writer) = stream.buffered();
    reader.set_timeout_ms(Some(60_000));
    let map = maps.local()?;
    loop {
        let length = reader.read_until(b'\n').await?;
        let line = String::from_utf8_lossy(&reader.buffered()[..length]);
        // What is left at the end is no line: nobody knows what it was to become.
        let answer = if line.ends_with('\n') { answer(&map, &line) } else { None };
        drop(line);
        reader.consume(length);
        match answer {
            Some(answer) => writer.write_all(answer.as_bytes()).await?,
            None => return Ok(()),
        }
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7009".into());
    let server = Server::new(Config::default()).listen(&address.parse()?)?;
    writeln!(io::stdout(), "{server}")?;
    let maps = Sharded::new(Map::default);
    server.serve(async move |stream| talk(stream, &maps).await)?;
    Ok(())
}
