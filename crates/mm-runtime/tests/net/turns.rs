//! How a task that never has to wait shares its shard.

use mm_runtime::timers::timeout;

use crate::sockets::{pair, test};

/// More than a poll may do.
const BYTES: usize = 200;

#[test]
fn what_has_come_is_read_in_no_time_however_much_it_is() {
    test(|| async {
        let (mut client, mut server) = pair().await?;
        client.write_all(&[7; BYTES]).await?;
        let mut byte = [0; 1];
        // All of it comes at once, on this machine and in one segment.
        server.read_exact(&mut byte).await?;
        for received in 1..BYTES {
            let read = timeout(0, server.read(&mut byte)).await;
            assert_eq!(read.map(Result::ok), Ok(Some(1)), "after {received} bytes");
        }
        Ok(())
    });
}
