//! What was written in part and ends there does not look whole to the peer.

use std::io::{ErrorKind, Read};
use std::net::TcpListener;

use mm_runtime::net::Stream;
use mm_runtime::timers::timeout;

use crate::sockets::test;

/// More than the kernel takes.
const LONG: usize = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    GivenUp,
    TimedOut,
    /// And again, with nothing sent the second time.
    TimedOutTwice,
    /// And then nothing is written, with success.
    TimedOutThenEmpty,
    /// And an end of output is asked for.
    TimedOutAndShutDown,
    Queued,
}

const WAYS: [Way; 6] = [
    Way::GivenUp,
    Way::TimedOut,
    Way::TimedOutTwice,
    Way::TimedOutThenEmpty,
    Way::TimedOutAndShutDown,
    Way::Queued,
];

/// Writes as much as the peer takes, which is not all, and ends.
async fn write_in_part(mut stream: Stream, way: Way) {
    let long = vec![7; LONG];
    match way {
        Way::GivenUp => assert!(timeout(20, stream.write_all(&long)).await.is_err()),
        Way::TimedOut | Way::TimedOutTwice | Way::TimedOutThenEmpty | Way::TimedOutAndShutDown => {
            stream.set_write_timeout_ms(Some(20));
            let mut left = stream.write_all(&long).await.unwrap_err().left;
            let mut done = usize::from(way == Way::TimedOutTwice);
            while done > 0 {
                let error = stream.write_all(&long[LONG - left..]).await.unwrap_err();
                (done, left) = (error.done, error.left);
            }
            if way == Way::TimedOutThenEmpty {
                stream.write_all(b"").await.unwrap();
            }
            if way == Way::TimedOutAndShutDown {
                assert_eq!(stream.shutdown().unwrap_err().kind(), ErrorKind::BrokenPipe);
            }
        }
        Way::Queued => {
            let mut writer = stream.split().1.buffered();
            writer.set_timeout_ms(Some(20));
            while writer.write(&long[..4096]).await.is_ok() {}
            assert!(writer.queued() > 0);
        }
    }
}

#[test]
fn a_write_in_part_ends_with_a_reset() {
    test(|| async {
        for way in WAYS {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let stream = Stream::connect(listener.local_addr()?).await?;
            let (mut peer, _) = listener.accept()?;
            write_in_part(stream, way).await;
            let reading = std::thread::spawn(move || {
                let mut received = Vec::new();
                (peer.read_to_end(&mut received).map_err(|error| error.kind()), received.len())
            });
            // What has been closed is closed by now, or with the next wait.
            while !reading.is_finished() {
                mm_runtime::timers::sleep(1).await?;
            }
            let (end, received) = reading.join().unwrap();
            assert_eq!(end, Err(ErrorKind::ConnectionReset), "{way:?}, {received} bytes");
        }
        Ok(())
    });
}
