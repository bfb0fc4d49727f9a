//! What an idle connection of a handler consists of: it is small because each of these is.

#![cfg(target_pointer_width = "64")]

use std::io;

use super::handle::Handle;
use super::{BufferedReader, Stream};
use crate::shard::WAITING_BYTES;
use crate::task::raw::HEADER_BYTES;

async fn echo(stream: Stream) -> io::Result<()> {
    let (mut reader, mut writer) = stream.buffered();
    while reader.fill().await? {
        writer.write_all(reader.buffered()).await?;
        reader.consume(usize::MAX);
    }
    Ok(())
}

fn bytes_of_future<A, F: Future>(_function: impl Fn(A) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn an_idle_connection_is_small() {
    // Besides two counts of references.
    assert_eq!(size_of::<Handle>(), 48);
    assert_eq!(HEADER_BYTES, 72);
    assert_eq!(WAITING_BYTES, 24);
    assert_eq!((size_of::<Stream>(), size_of::<BufferedReader>()), (8, 40));
    assert_eq!(bytes_of_future(echo), 104);
}
