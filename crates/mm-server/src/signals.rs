//! The process's signals, turned into input of the first shard's driver.

use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mm_base::slab::Key;
use mm_runtime::driver::{Driver, Owner, Received, SourceId};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::control::Control;
use crate::{Config, Handle, Log};

/// The number that names the signals' source to the engine.
pub(crate) const SOURCE: u32 = u32::MAX;

/// A signal that a server can be told what to do about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: by default, stop gracefully; a second one, at once.
    Terminate,
    /// SIGINT: as [`Signal::Terminate`].
    Interrupt,
    /// SIGHUP: by default, open the log again and read again [what there is](crate::Server::on_reload).
    Hangup,
    /// SIGUSR1: the server's own.
    User1,
    /// SIGUSR2: hot upgrade.
    User2,
    /// SIGQUIT: by default, write to the log [what is going on](Handle::dump).
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

    /// What stands for it between two processes.
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Terminate => b'T',
            Self::Interrupt => b'I',
            Self::Hangup => b'H',
            Self::User1 => b'1',
            Self::User2 => b'2',
            Self::Quit => b'Q',
        }
    }

    /// What [`Signal::to_byte`] stands for.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        ALL.into_iter().find(|signal| signal.to_byte() == byte)
    }
}

const ALL: [Signal; 6] =
    [Signal::Terminate, Signal::Interrupt, Signal::Hangup, Signal::User1, Signal::User2, Signal::Quit];

/// Flags that signals raise from now on, as long as the process lives: these signals end it no more. What comes while
/// no [server](crate::Server::with_signal_flags) serves is acted upon by the next one, before it serves anybody.
#[derive(Clone, Debug)]
pub struct SignalFlags(Arc<[(Signal, Arc<AtomicBool>)]>);

impl SignalFlags {
    /// Has each of these signals raise a flag of its own.
    ///
    /// # Errors
    /// The system's.
    pub fn raised_by(signals: &[Signal]) -> io::Result<Self> {
        let flag = |signal: &Signal| {
            let flag = Arc::default();
            signal_hook::flag::register(signal.number(), Arc::clone(&flag))?;
            Ok((*signal, flag))
        };
        signals.iter().map(flag).collect::<io::Result<_>>().map(Self)
    }

    /// Whether this signal has come, and no server has acted upon it.
    #[must_use]
    pub fn has(&self, signal: Signal) -> bool {
        self.of(signal).is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    fn of(&self, signal: Signal) -> Option<&Arc<AtomicBool>> {
        self.0.iter().find_map(|(of, flag)| (*of == signal).then_some(flag))
    }
}

/// What a signal causes.
pub(crate) type Hook = Box<dyn FnMut(&Handle) + Send>;

/// Signals that are caught, and wait for a driver to tell of them.
pub(crate) struct Traps {
    reader: UnixStream,
    caught: Vec<Caught>,
    /// Those that are raised whether there is a server or not.
    flags: Option<SignalFlags>,
}

impl Traps {
    /// Catches the signals that a server acts on, if it is to. `reloads` are for HUP, unless there is a hook for it.
    pub(crate) fn for_server(
        config: &Config,
        mut hooks: Vec<(Signal, Hook)>,
        reloads: Vec<Reload>,
        flags: Option<SignalFlags>,
    ) -> io::Result<Option<Self>> {
        if !config.signals {
            return Ok(None);
        }
        if hooks.iter().all(|(signal, _)| *signal != Signal::Hangup) {
            hooks.push((Signal::Hangup, reloader(config.log.clone(), reloads)));
        }
        Self::set(hooks, flags).map(Some)
    }

    /// Catches TERM and INT, which stop the server, QUIT, which has it write a dump, and those that `hooks` are for.
    /// What comes from now on is acted upon when there is somebody to do so.
    fn set(hooks: Vec<(Signal, Hook)>, flags: Option<SignalFlags>) -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        let mut traps = Self { reader, caught: Vec::new(), flags };
        for signal in [Signal::Terminate, Signal::Interrupt, Signal::Quit] {
            if hooks.iter().all(|(hooked, _)| *hooked != signal) {
                let act = if signal == Signal::Quit { Handle::dump } else { Handle::stop_by_signal };
                traps.catch(signal, Box::new(act), &writer)?;
            }
        }
        for (signal, hook) in hooks {
            traps.catch(signal, hook, &writer)?;
        }
        Ok(traps)
    }

    fn catch(&mut self, signal: Signal, hook: Hook, writer: &UnixStream) -> io::Result<()> {
        let number = signal.number();
        // In this order, so that the flag is up when the byte arrives.
        let (flag, raised) = match self.flags.as_ref().and_then(|flags| flags.of(signal)) {
            Some(flag) => (Arc::clone(flag), None),
            None => {
                let flag = Arc::default();
                let raised = signal_hook::flag::register(number, Arc::clone(&flag))?;
                (flag, Some(raised))
            }
        };
        let written = signal_hook::low_level::pipe::register(number, writer.try_clone()?)?;
        self.caught.push(Caught { signal, flag, hook, registrations: [raised, Some(written)] });
        Ok(())
    }
}

/// The signals that have been caught and not yet acted upon.
pub(crate) struct Signals {
    source: SourceId,
    arrived: bool,
    caught: Vec<Caught>,
}

struct Caught {
    signal: Signal,
    flag: Arc<AtomicBool>,
    hook: Hook,
    registrations: [Option<SigId>; 2],
}

impl Signals {
    /// Has the driver tell of the signals.
    pub(crate) fn attach<D>(driver: &mut D, traps: Traps) -> io::Result<Self>
    where
        D: Driver<Socket = OwnedFd>,
    {
        let Traps { reader, caught, .. } = traps;
        let source = driver.add_stream(reader.into(), Owner::Work(Key::reserved(SOURCE)))?;
        // Flags may have been raised before.
        Ok(Self { source, arrived: true, caught })
    }

    /// There is news from the source.
    pub(crate) fn arrived(&mut self) {
        self.arrived = true;
    }

    /// Whether some have, since they were last acted upon.
    pub(crate) fn have_arrived(&self) -> bool {
        self.arrived
    }

    /// Does what the signals that have come are for, and gives `panicked` the panics of that.
    pub(crate) fn act<D: Driver>(
        &mut self,
        driver: &mut D,
        control: &Arc<Control>,
        mut panicked: impl FnMut(Signal, Box<dyn Any + Send>),
    ) {
        if !std::mem::take(&mut self.arrived) {
            return;
        }
        let mut bytes = [0; 64];
        while let Ok(Received::Bytes(_)) = driver.receive_into(self.source, &mut bytes) {}
        let handle = Handle::new(Arc::clone(control));
        for caught in &mut self.caught {
            if caught.flag.swap(false, Ordering::Relaxed) {
                let acted = catch_unwind(AssertUnwindSafe(|| (caught.hook)(&handle)));
                acted.unwrap_or_else(|panic| panicked(caught.signal, panic));
            }
        }
    }
}

/// What is to be done to read something again.
pub(crate) type Reload = Box<dyn FnMut() -> Result<(), String> + Send>;

/// What a signal to read again does: on a thread of its own, since files may be slow.
fn reloader(log: Log, reloads: Vec<Reload>) -> Hook {
    let reloads = Arc::new(Mutex::new(reloads));
    Box::new(move |_server| {
        let (log, reloads) = (log.clone(), Arc::clone(&reloads));
        let reload = move || {
            mm_runtime::sys::affinity::free();
            let mut reloads = reloads.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = log.reopen() {
                log.write(&format!("SIGHUP: {error}; the old one goes on"));
            }
            for reload in &mut *reloads {
                if let Err(what) = reload() {
                    log.write(&format!("SIGHUP: {what}"));
                }
            }
        };
        // Where there is no thread to be had, nothing is read again; there is no thread to say so either.
        drop(std::thread::Builder::new().name("reload".to_owned()).spawn(reload));
    })
}

impl Drop for Caught {
    fn drop(&mut self) {
        for registration in self.registrations.into_iter().flatten() {
            signal_hook::low_level::unregister(registration);
        }
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("caught", &self.caught.len()).finish_non_exhaustive()
    }
}
