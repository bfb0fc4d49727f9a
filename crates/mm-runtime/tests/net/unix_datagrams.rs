//! What Unix datagram sockets promise, as a task for any driver of the machine's sockets.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use mm_runtime::net::UnixDatagrams;
use mm_runtime::task::{spawn, yield_now};
use mm_runtime::timers::sleep;

fn new_path() -> PathBuf {
    static PATHS: AtomicU32 = AtomicU32::new(0);
    let number = PATHS.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("mm-datagrams-{}-{number}.sock", std::process::id()))
}

/// Each of the promises, one after the other.
pub(crate) async fn promises() -> io::Result<()> {
    let (here, there) = (new_path(), new_path());
    bounds_and_senders(&here, &there).await?;
    closed(&there).await?;
    full_receiver(&there).await?;
    closed(&here).await?;
    paths(&here).await?;
    std::fs::remove_file(here)?;
    std::fs::remove_file(there)
}

/// Waits until nobody takes datagrams here any more: a socket is closed at the latest with the driver's next wait.
async fn closed(path: &Path) -> io::Result<()> {
    let mut nameless = UnixDatagrams::nameless()?;
    loop {
        match nameless.send_to(b"", path).await {
            Ok(()) => sleep(1).await?,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

async fn bounds_and_senders(here: &PathBuf, there: &PathBuf) -> io::Result<()> {
    let (mut one, mut other) = (UnixDatagrams::bind(here, 0o700)?, UnixDatagrams::bind(there, 0o700)?);
    one.send_to(b"first", there).await?;
    UnixDatagrams::nameless()?.send_to(b"nameless", there).await?;
    let mut space = [0; 64];
    assert_eq!(other.receive_from(&mut space).await?, (5, Some(here.clone())));
    assert_eq!(other.receive_from(&mut space).await?, (8, None));
    assert_eq!(&space[..8], b"nameless");
    other.set_timeout_ms(Some(10));
    assert_eq!(other.receive_from(&mut space).await.unwrap_err().kind(), ErrorKind::TimedOut);
    one.send_to(b"", there).await?;
    assert_eq!(other.receive_from(&mut space).await?, (0, Some(here.clone())), "a time-out leaves it usable");
    other.set_timeout_ms(None);
    let receiving = spawn(async move { other.receive_from(&mut [0; 2]).await });
    yield_now().await;
    one.send_to(b"too long", there).await?;
    assert_eq!(receiving.await.unwrap()?, (2, Some(here.clone())), "what does not fit is lost");
    let receiving = spawn(async move { one.receive_from(&mut [0; 2]).await });
    yield_now().await;
    receiving.interrupt();
    assert_eq!(receiving.await.unwrap().unwrap_err().kind(), ErrorKind::Interrupted);
    Ok(())
}

async fn full_receiver(there: &PathBuf) -> io::Result<()> {
    let (mut one, mut other) = (UnixDatagrams::nameless()?, UnixDatagrams::bind(there, 0o700)?);
    one.set_timeout_ms(Some(10));
    let mut sent = 0_u32;
    let error = loop {
        match one.send_to(&sent.to_be_bytes(), there).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut, "it fills up after {sent}");
    one.set_timeout_ms(None);
    let path = there.clone();
    let last = sent;
    let sending = spawn(async move { one.send_to(&last.to_be_bytes(), &path).await });
    yield_now().await;
    for number in 0..=sent {
        let mut space = [0; 4];
        assert_eq!(other.receive_from(&mut space).await?.0, 4);
        assert_eq!(space, number.to_be_bytes(), "each once and in order");
    }
    sending.await.unwrap()
}

async fn paths(here: &PathBuf) -> io::Result<()> {
    let held = UnixDatagrams::bind(here, 0o700)?;
    let taken = UnixDatagrams::bind(here, 0o700).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    assert!(taken.to_string().contains(&*here.to_string_lossy()), "{taken}");
    drop(held);
    Ok(())
}
