//! The process's signals, turned into input of the first shard's driver.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mm_base::slab::Key;
use mm_runtime::driver::{Driver, Owner, Received, SourceId};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::control::Control;
use crate::{Handle, Stop};

/// The number that names the signals' source to the engine.
pub(crate) const SOURCE: u32 = u32::MAX;

/// A signal that a server can be told what to do about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: by default, stop gracefully; a second one, at once.
    Terminate,
    /// SIGINT: as [`Signal::Terminate`].
    Interrupt,
    /// SIGHUP: read configuration, certificates and log files again.
    Hangup,
    /// SIGUSR1: the server's own.
    User1,
    /// SIGUSR2: hot upgrade.
    User2,
    /// SIGQUIT: write down what is going on.
    Quit,
}

impl Signal {
    fn number(self) -> i32 {
        match self {
            Self::Terminate => SIGTERM,
            Self::Interrupt => SIGINT,
            Self::Hangup => SIGHUP,
            Self::User1 => SIGUSR1,
            Self::User2 => SIGUSR2,
            Self::Quit => SIGQUIT,
        }
    }
}

/// What a signal causes.
pub(crate) type Hook = Box<dyn FnMut(&Handle) + Send>;

/// The signals that have been caught and not yet acted upon.
pub(crate) struct Signals {
    source: SourceId,
    arrived: bool,
    caught: Vec<Caught>,
}

struct Caught {
    flag: Arc<AtomicBool>,
    hook: Hook,
    registrations: [SigId; 2],
}

impl Signals {
    /// Catches TERM and INT, which stop the server, and those that `hooks` are for.
    pub(crate) fn install<D>(driver: &mut D, hooks: Vec<(Signal, Hook)>) -> io::Result<Self>
    where
        D: Driver<Socket = OwnedFd>,
    {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        let source = driver.add_stream(reader.into(), Owner::Work(Key::reserved(SOURCE)))?;
        let mut signals = Self { source, arrived: false, caught: Vec::new() };
        for signal in [Signal::Terminate, Signal::Interrupt] {
            if hooks.iter().all(|(hooked, _)| *hooked != signal) {
                signals.catch(signal, Box::new(stop), &writer)?;
            }
        }
        for (signal, hook) in hooks {
            signals.catch(signal, hook, &writer)?;
        }
        Ok(signals)
    }

    fn catch(&mut self, signal: Signal, hook: Hook, writer: &UnixStream) -> io::Result<()> {
        let flag = Arc::new(AtomicBool::new(false));
        // In this order, so that the flag is up when the byte arrives.
        let raised = signal_hook::flag::register(signal.number(), Arc::clone(&flag))?;
        let written = signal_hook::low_level::pipe::register(signal.number(), writer.try_clone()?)?;
        self.caught.push(Caught { flag, hook, registrations: [raised, written] });
        Ok(())
    }

    /// There is news from the source.
    pub(crate) fn arrived(&mut self) {
        self.arrived = true;
    }

    /// Does what the signals that have come are for.
    pub(crate) fn act<D: Driver>(&mut self, driver: &mut D, control: &Arc<Control>) {
        if !std::mem::take(&mut self.arrived) {
            return;
        }
        let mut bytes = [0; 64];
        while let Ok(Received::Bytes(_)) = driver.receive_into(self.source, &mut bytes) {}
        let handle = Handle::new(Arc::clone(control));
        for caught in &mut self.caught {
            if caught.flag.swap(false, Ordering::Relaxed) {
                (caught.hook)(&handle);
            }
        }
    }
}

/// A stop that is graceful the first time.
fn stop(handle: &Handle) {
    let again = handle.is_stopping();
    handle.stop(if again { Stop::AtOnce } else { Stop::Gracefully });
}

impl Drop for Signals {
    fn drop(&mut self) {
        for registration in self.caught.iter().flat_map(|caught| caught.registrations) {
            signal_hook::low_level::unregister(registration);
        }
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("caught", &self.caught.len()).finish_non_exhaustive()
    }
}
