//! Waiting for a peer to finish, beside something else.

use std::io::{self, ErrorKind};

use mm_runtime::sync::{Either, select};
use mm_runtime::task::spawn;
use mm_runtime::timers::{sleep, timeout};

use crate::sockets::{pair, test};

/// What a reader's buffer holds.
const KEPT_BYTES: usize = 16 << 10;

#[test]
fn what_comes_is_kept_until_the_peer_has_finished() {
    test(|| async {
        let (mut client, server) = pair().await?;
        let (mut reader, _writer) = server.buffered();
        // It is no read, so that a read's time-out does not end it.
        reader.set_timeout_ms(Some(1));
        for (sent, kept) in [(&b""[..], &b""[..]), (b"one\n", b"one\n"), (b"two\n", b"one\ntwo\n")] {
            client.write_all(sent).await?;
            while reader.buffered().len() < kept.len() {
                assert!(timeout(1, reader.finished()).await.is_err());
            }
            assert!(timeout(20, reader.finished()).await.is_err());
            assert_eq!(reader.buffered(), kept);
        }
        assert_eq!(reader.read_until(b'\n').await?, 4);
        let ends = spawn(async move { client.shutdown().map(|()| client) });
        reader.finished().await?;
        // However often it is asked; and what has come can still be read.
        reader.finished().await?;
        let client = ends.await.unwrap()?;
        reader.consume(4);
        assert_eq!((reader.read_until(b'\n').await?, reader.buffered()), (4, &b"two\n"[..]));
        drop(client);
        Ok(())
    });
}

#[test]
fn what_is_kept_is_bounded_and_nothing_is_lost() {
    test(|| async {
        let (mut client, server) = pair().await?;
        let (mut reader, _writer) = server.buffered();
        let bytes: Vec<u8> = (0..=250_u8).cycle().take(3 * KEPT_BYTES).collect();
        let sent = bytes.clone();
        let writing = spawn(async move {
            client.write_all(&sent).await?;
            client.shutdown()?;
            io::Result::Ok(client)
        });
        while reader.buffered().len() < KEPT_BYTES {
            assert!(timeout(1, reader.finished()).await.is_err());
        }
        match select(sleep(50), reader.finished()).await {
            Either::Left(slept) => slept?,
            Either::Right(ended) => panic!("the end is not seen behind so much: {ended:?}"),
        }
        assert_eq!(reader.buffered(), &bytes[..KEPT_BYTES]);
        let mut received = vec![0; bytes.len()];
        reader.read_exact(&mut received).await?;
        assert!(received == bytes);
        reader.finished().await?;
        drop(writing.await.unwrap()?);
        Ok(())
    });
}

#[test]
fn a_peer_that_breaks_off_is_told_as_an_error() {
    test(|| async {
        let (client, server) = pair().await?;
        let (mut reader, _writer) = server.buffered();
        let breaks = spawn(async move { client.reset() });
        assert_eq!(reader.finished().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        breaks.await.unwrap();
        Ok(())
    });
}

#[test]
fn an_interrupt_ends_the_wait() {
    test(|| async {
        let (client, server) = pair().await?;
        let (mut reader, _writer) = server.buffered();
        let waits = spawn(async move { reader.finished().await.map_err(|error| error.kind()) });
        sleep(1).await?;
        waits.interrupt();
        assert_eq!(waits.await.unwrap(), Err(ErrorKind::Interrupted));
        drop(client);
        Ok(())
    });
}
