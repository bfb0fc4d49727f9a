//! A way to end a wait from another thread that needs nothing but sockets.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crate::driver::Waker;

/// A pair of sockets: a byte sent to the one makes the other ready, which is waited for like any source.
#[derive(Debug)]
pub(in crate::driver) struct Bell {
    near: UnixStream,
    far: Arc<UnixStream>,
}

impl Bell {
    pub(in crate::driver) fn new() -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok(Self { near, far: Arc::new(far) })
    }

    pub(in crate::driver) fn waker(&self) -> Waker {
        let far = Arc::clone(&self.far);
        // When there is no room, there are bytes enough to end the wait. When the other end is gone, so is the wait.
        Waker::new(move || {
            (&*far).write_all(&[1]).ok();
        })
    }

    /// Makes it quiet again, so that only a later wake ends a later wait.
    pub(in crate::driver) fn hush(&self) {
        let mut space = [0; 256];
        while matches!((&self.near).read(&mut space), Ok(received) if received == space.len()) {}
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.near.as_fd()
    }
}
