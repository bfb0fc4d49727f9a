//! A program in one call: [`block_on`].
//!
//! ```
//! use mm_runtime::net::{Listener, Stream};
//! use mm_runtime::sys::socket::ListenAddress;
//! use mm_runtime::task::spawn;
//!
//! let said = mm_runtime::block_on(async {
//!     let any_port = ListenAddress::Ip("127.0.0.1:0".parse().unwrap());
//!     let mut listener = Listener::bind(&any_port)?;
//!     let ListenAddress::Ip(address) = *listener.address() else { unreachable!() };
//!     spawn(async move { listener.accept().await?.write_all(b"hello").await.map_err(std::io::Error::from) })
//!         .detach();
//!     let mut said = [0; 5];
//!     Stream::connect(address).await?.read_exact(&mut said).await?;
//!     std::io::Result::Ok(said)
//! })?;
//! assert_eq!(&said?, b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use mm_base::Now;
use mm_base::buffer::Pool;

use crate::driver::sockets::Sockets;
use crate::driver::{DefaultDriver, Driver, Event};
use crate::executor::Executor;
use crate::limits::{LINGER_MS, TASK_BUFFER_BYTES};
use crate::net;
use crate::shard::{Next, Shard, Work};
use crate::sys::socket::StreamOptions;
use crate::task::{JoinError, JoinHandle};

/// One shard on the present thread, for a program of tasks.
pub struct Runtime<D: Driver = DefaultDriver> {
    shard: Shard<D>,
}

impl<D: Driver> Drop for Runtime<D> {
    /// What tasks have written is sent before, if that can be done within [`LINGER_MS`].
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Nobody is left to be told of a failure.
            self.shard.driver().flush(LINGER_MS).ok();
        }
    }
}

impl<D: Driver> fmt::Debug for Runtime<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("executor", self.shard.executor()).finish_non_exhaustive()
    }
}

/// Goes on until a task has finished.
struct Until<'a, T>(&'a JoinHandle<T>);

impl<D: Driver, T> Work<D> for Until<'_, T> {
    fn event(&mut self, _: &Event) {}

    fn serve(&mut self, _: &mut D, _: Now) {}

    fn finish(&mut self, _: &mut D, _: Now) -> Next {
        if self.0.is_finished() { Next::Stop } else { Next::Never }
    }
}

impl Runtime {
    /// A runtime on the best driver there is.
    ///
    /// # Errors
    /// The process or the system has no descriptors or memory left.
    pub fn new() -> io::Result<Self> {
        Ok(Self::on(DefaultDriver::new(StreamOptions::default())?))
    }
}

impl<D: Sockets + 'static> Runtime<D> {
    /// A runtime on this driver.
    pub fn on(driver: D) -> Self {
        let shard = Shard::new(driver);
        net::attach(shard.executor(), shard.io(), Pool::new(TASK_BUFFER_BYTES));
        Self { shard }
    }

    /// The executor, to spawn tasks before or between calls of [`block_on`](Self::block_on).
    #[must_use]
    pub fn executor(&self) -> &Executor {
        self.shard.executor()
    }

    /// Runs `future` as a task, and all other tasks beside it, until it has finished. The others then stand still until
    /// the next call, or end with the runtime. A panic of the future goes on in the caller.
    ///
    /// # Errors
    /// The driver cannot wait for events any more.
    pub fn block_on<F: Future + 'static>(&mut self, future: F) -> io::Result<F::Output> {
        let handle = self.shard.executor().spawn(future);
        self.shard.run(&mut Until(&handle))?;
        let mut context = Context::from_waker(Waker::noop());
        match pin!(handle).poll(&mut context) {
            Poll::Ready(Ok(output)) => Ok(output),
            Poll::Ready(Err(JoinError::Panicked(panic))) => std::panic::resume_unwind(panic),
            Poll::Ready(Err(error)) => Err(io::Error::other(error.to_string())),
            Poll::Pending => Err(io::Error::other("the shard was stopped")),
        }
    }
}

/// Runs `future` on a new [`Runtime`] until it has finished; tasks left over are ended then.
///
/// # Errors
/// As for [`Runtime::new`] and [`Runtime::block_on`].
pub fn block_on<F: Future + 'static>(future: F) -> io::Result<F::Output> {
    Runtime::new()?.block_on(future)
}
