//! A tiny HTTP/1.1 responder: answers every GET with its path, and keeps the connection. It does not read the body of a
//! request, so that one that is no GET, or says that it has one, is the last of its connection.
//!
//! `cargo run --release --example http -- 127.0.0.1:8080`, then `curl http://127.0.0.1:8080/hello`.

use std::io::{self, Write};

use mainmemory::runtime::net::BufferedReader;
use mainmemory::{Config, Server, Stream};

/// The next line without its end; None when the peer has finished, though it be within a line.
async fn line(reader: &mut BufferedReader) -> io::Result<Option<String>> {
    let length = reader.read_until(b'\n').await?;
    let line = String::from_utf8_lossy(&reader.buffered()[..length]).into_owned();
    reader.consume(length);
    Ok(line.strip_suffix('\n').map(|line| line.trim_end().to_owned()))
}

/// Whether this header says that nothing can follow its request here.
fn is_last(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    header == "connection: close"
        || header.starts_with("transfer-encoding:")
        || header.strip_prefix("content-length:").is_some_and(|length| length.trim() != "0")
}

/// The status and text for a request line.
fn respond(request: &str) -> (&'static str, String) {
    let mut words = request.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some("GET"), Some(path), Some("HTTP/1.1" | "HTTP/1.0")) => {
            ("200 OK", format!("you asked for {path}\n"))
        }
        (Some(_), Some(_), Some("HTTP/1.1" | "HTTP/1.0")) => ("405 Method Not Allowed", "only GET\n".into()),
        _ => ("400 Bad Request", "that was no HTTP\n".into()),
    }
}

pub(crate) async fn talk(stream: Stream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.buffered();
    reader.set_timeout_ms(Some(10_000));
    while let Some(request) = line(&mut reader).await? {
        let mut keep = request.ends_with("HTTP/1.1");
        loop {
            match line(&mut reader).await? {
                Some(header) if header.is_empty() => break,
                Some(header) => keep &= !is_last(&header),
                None => return Ok(()),
            }
        }
        let (status, body) = respond(&request);
        keep &= status.starts_with("200");
        let connection = if keep { "keep-alive" } else { "close" };
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n");
        writer
            .write_all_vectored(&[io::IoSlice::new(head.as_bytes()), io::IoSlice::new(body.as_bytes())])
            .await?;
        if !keep {
            break;
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let server = Server::new(Config::default()).listen(&address.parse()?)?;
    writeln!(io::stdout(), "{server}")?;
    server.serve(talk)?;
    Ok(())
}
