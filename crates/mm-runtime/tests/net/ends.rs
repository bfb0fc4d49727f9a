//! What is left when a runtime ends.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};

use mm_runtime::Runtime;
use mm_runtime::driver::uring::UringDriver;
use mm_runtime::net::Stream;
use mm_runtime::sys::socket::StreamOptions;
use mm_runtime::timers::timeout;

/// What this driver takes as a whole or not at all.
const PIECE: [u8; 4000] = [7; 4000];

#[test]
fn what_has_been_written_arrives() {
    if std::env::var_os("MM_TEST_WITHOUT_URING").is_some() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut runtime = Runtime::on(UringDriver::new(StreamOptions::default()).unwrap());
    let written = runtime.block_on(async move {
        let mut stream = Stream::connect(address).await?;
        let mut written = 0;
        // Nobody reads, so that one of them has to wait, with none of it taken.
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
    assert_eq!(reading.join().unwrap().unwrap(), written.unwrap().unwrap());
}
