//! What is left when a runtime ends.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};

use mm_runtime::Runtime;
use mm_runtime::driver::epoll::EpollDriver;
use mm_runtime::driver::sockets::Sockets;
use mm_runtime::net::Stream;
use mm_runtime::sys::socket::StreamOptions;
use mm_runtime::timers::timeout;

/// As much as one write hands over at once.
const PIECE: [u8; 4000] = [7; 4000];

fn what_has_been_written_arrives<D: Sockets + 'static>(driver: D) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut runtime = Runtime::on(driver);
    let written = runtime.block_on(async move {
        let mut stream = Stream::connect(address).await?;
        let mut written = 0;
        // Nobody reads, so that one of them has to wait. Given up, it may have gone in part.
        while timeout(100, stream.write_all(&PIECE)).await.is_ok_and(|piece| piece.is_ok()) {
            written += PIECE.len();
        }
        io::Result::Ok(written)
    });
    let (mut peer, _): (TcpStream, _) = listener.accept().unwrap();
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).map(|_| bytes.len())
    });
    drop(runtime);
    let (written, read) = (written.unwrap().unwrap(), reading.join().unwrap().unwrap());
    assert!((written..written + PIECE.len()).contains(&read), "{read} bytes of {written}");
}

#[test]
fn what_has_been_written_arrives_from_epoll() {
    what_has_been_written_arrives(EpollDriver::new(StreamOptions::default()).unwrap());
}

#[test]
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn what_has_been_written_arrives_from_uring() {
    if std::env::var_os("MM_TEST_WITHOUT_URING").is_none() {
        let driver = mm_runtime::driver::uring::UringDriver::new(StreamOptions::default());
        what_has_been_written_arrives(driver.unwrap());
    }
}
