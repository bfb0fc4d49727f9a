//! How tasks share their shard: one that never has to wait, and several that answer.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use mm_runtime::net::Stream;
use mm_runtime::task::spawn;
use mm_runtime::timers::timeout;

use crate::sockets::{pair, test, test_on_calls};

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

/// As many streams as there are peers, each with a byte of input.
async fn with_input(peers: usize) -> io::Result<Vec<(Stream, Stream)>> {
    let mut pairs = Vec::new();
    for _ in 0..peers {
        let (mut client, server) = pair().await?;
        client.write_all(b"?").await?;
        pairs.push((client, server));
    }
    // The turn in which this comes shows the input of the others to the driver.
    let (mut client, mut server) = pair().await?;
    client.write_all(b"?").await?;
    server.read_exact(&mut [0; 1]).await?;
    Ok(pairs)
}

#[test]
fn answers_to_those_who_have_asked_go_out_together() {
    // A ring sends everything with its next wait, in whatever order it was written.
    test_on_calls(|| async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut clients = Vec::new();
        let mut handlers = Vec::new();
        for (number, (client, mut server)) in with_input(3).await?.into_iter().enumerate() {
            clients.push(client);
            let order = Rc::clone(&order);
            handlers.push(spawn(async move {
                let mut byte = [0; 1];
                server.read_exact(&mut byte).await?;
                order.borrow_mut().push(("received", number));
                server.write_all(b"!").await?;
                order.borrow_mut().push(("answered", number));
                io::Result::Ok(())
            }));
        }
        for handler in handlers {
            handler.await.unwrap()?;
        }
        let received = (0..3).map(|number| ("received", number));
        // The last has nobody to wait for.
        let answered = [2, 0, 1].map(|number| ("answered", number));
        assert_eq!(*order.borrow(), received.chain(answered).collect::<Vec<_>>());
        Ok(())
    });
}

#[test]
fn an_answer_that_there_is_room_for_is_written_in_no_time() {
    test(|| async {
        let mut clients = Vec::new();
        let mut handlers = Vec::new();
        for (client, mut server) in with_input(3).await? {
            clients.push(client);
            handlers.push(spawn(async move {
                server.read_exact(&mut [0; 1]).await?;
                Ok::<_, io::Error>(timeout(0, server.write_all(b"!")).await)
            }));
        }
        for handler in handlers {
            assert!(matches!(handler.await.unwrap()?, Ok(Ok(()))));
        }
        for mut client in clients {
            client.read_exact(&mut [0; 1]).await?;
        }
        Ok(())
    });
}
