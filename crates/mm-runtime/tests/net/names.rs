//! Names of the internet.

use std::io::ErrorKind;

use mm_runtime::net::look_up;
use mm_runtime::timers::timeout;

use crate::sockets::test;

#[test]
fn names_are_looked_up_and_unknown_ones_are_errors() {
    test(|| async {
        let found = look_up("127.0.0.1:80").await?;
        assert_eq!(found, ["127.0.0.1:80".parse().unwrap()]);
        let found = look_up("localhost:1").await?;
        assert!(!found.is_empty());
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 1), "{found:?}");
        // There never is such a name; a machine without a network cannot ask for it.
        let unknown = timeout(60_000, look_up("name.invalid:1")).await.expect("looking up does not end");
        assert!(unknown.is_err(), "{unknown:?}");
        for without_port in ["localhost", "localhost:", "localhost:65536"] {
            assert_eq!(look_up(without_port).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        Ok(())
    });
}
