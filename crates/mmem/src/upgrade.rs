//! Hot upgrade: SIGUSR2 has the program started again, which goes on with listeners, connections and items.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mainmemory::server::process::successor::{Package, Predecessor, Program, Serving, Successor};
use mainmemory::server::{Handed, Handle, Server, Signal, SignalFlags, Stop};
use mm_memcached::{Framed, Protocol};

use crate::config;
use crate::limits::UPGRADE_PATIENCE;
use crate::listen::Listened;
use crate::memory::Memory;
use crate::refusal::{Refusal, exit};
use crate::say;
use crate::start::ENDING;

/// An upgrade of this process, of which there is one at a time.
#[derive(Debug, Clone)]
pub(crate) struct Upgrade {
    name: &'static str,
    program: Arc<io::Result<Program>>,
    is_under_way: Arc<AtomicBool>,
    successor: Arc<Mutex<Option<Successor>>>,
}

impl Upgrade {
    /// Notes how this process was called; `name` is that of its messages.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            program: Arc::new(Program::of_this_process()),
            is_under_way: Arc::default(),
            successor: Arc::default(),
        }
    }

    fn say(&self, what: &str) {
        say(&format!("{}: SIGUSR2: {what}", self.name));
    }

    /// Begins: starts the program, and when it could serve, has this server end by a hand-over. Does not wait.
    pub(crate) fn begin(&self, server: &Handle, memory: &Memory) {
        if self.is_under_way.swap(true, Ordering::Relaxed) {
            return self.say("an upgrade is under way already");
        }
        let (upgrade, server, memory) = (self.clone(), server.clone(), memory.clone());
        let thread = std::thread::Builder::new().name("upgrade".to_owned());
        let begun = thread.spawn(move || match upgrade.start() {
            Ok(successor) if memory.give_away_at_end() => {
                *upgrade.slot() = Some(successor);
                server.stop(Stop::HandOver);
            }
            Ok(successor) => {
                successor.abandon();
                upgrade.failed("this system has no memory that can be given to another process");
            }
            Err(error) => upgrade.failed(&error.to_string()),
        });
        if let Err(error) = begun {
            self.failed(&error.to_string());
        }
    }

    fn start(&self) -> io::Result<Successor> {
        let program = self.program.as_ref().as_ref().map_err(|error| io::Error::other(error.to_string()))?;
        self.say(&format!("starting {}", program.path().display()));
        Successor::start(program, UPGRADE_PATIENCE)
    }

    fn failed(&self, why: &str) {
        self.is_under_way.store(false, Ordering::Relaxed);
        self.say(&format!("the upgrade failed: {why}; this process goes on serving"));
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Successor>> {
        self.successor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After the server has ended: gives what it has left to the new process. A signal that ends this one is not lost
    /// meanwhile: where it has come, this process goes on, and ends as it does when it serves; where the new one
    /// already serves, it gets the signal.
    pub(crate) fn complete(
        &self,
        server: &Handle,
        listened: &Listened,
        memory: &Memory,
        flags: &SignalFlags,
    ) -> Outcome {
        let Some(successor) = self.slot().take() else { return Outcome::Ended };
        let Some(handed) = server.take_handed() else {
            successor.abandon();
            return Outcome::Ended;
        };
        let (file, book) = match memory.give_away() {
            Ok(given) => given,
            Err(error) => {
                successor.abandon();
                self.failed(&error.to_string());
                let another = memory.another().inspect_err(|refusal| self.failed(&refusal.to_string()));
                return Outcome::GoOn(handed, another.ok());
            }
        };
        if ending(flags).next().is_some() {
            successor.abandon();
            self.is_under_way.store(false, Ordering::Relaxed);
            self.say("no upgrade: this process is to end");
            return Outcome::GoOn(handed, Some(memory.taken_back(file, book)));
        }
        let protocols = listened.protocols.iter().map(|protocol| to_byte(*protocol)).collect();
        let mut package = Package { handed, files: Vec::new(), notes: vec![protocols, book] };
        let given = file.try_clone().and_then(|copy| {
            package.files.push(copy.into());
            successor.give(&package, UPGRADE_PATIENCE)
        });
        match given {
            Ok(serving) => {
                self.say("the new process serves");
                let mut heir = Heir { serving, told: Vec::new() };
                heir.pass_on(flags);
                Outcome::Replaced(heir)
            }
            Err(error) => {
                self.failed(&error.to_string());
                let book = package.notes.pop().unwrap_or_default();
                Outcome::GoOn(package.handed, Some(memory.taken_back(file, book)))
            }
        }
    }
}

/// Those of the signals that have come that end the server.
fn ending(flags: &SignalFlags) -> impl Iterator<Item = Signal> {
    ENDING.into_iter().filter(|signal| flags.has(*signal))
}

/// The process that serves in place of this one.
#[derive(Debug)]
pub(crate) struct Heir {
    serving: Serving,
    told: Vec<Signal>,
}

impl Heir {
    /// Tells it of the signals that have come and that end a server, of each once: what this process still has to do
    /// takes time, and whoever sends one to it means the server. It is told and not sent a signal, for one that both
    /// get, as by a terminal, would be its second, and end it at once.
    pub(crate) fn pass_on(&mut self, flags: &SignalFlags) {
        for signal in ending(flags) {
            if !self.told.contains(&signal) {
                self.told.push(signal);
                drop(self.serving.pass_on(signal));
            }
        }
    }
}

/// What has come of the end of a server.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was stopped.
    Ended,
    /// Another process serves in its place.
    Replaced(Heir),
    /// This process is to serve what it has left; `None` where its memory cannot be had.
    GoOn(Handed, Option<Memory>),
}

/// Takes over what an older process serves.
///
/// # Errors
/// A [`Refusal`]; the older process then goes on.
pub(crate) fn take_over(
    predecessor: &mut Predecessor,
    server: Server,
    memory: &config::Memory,
) -> Result<(Server, Listened, Memory), Refusal> {
    let refuse = |error: io::Error| {
        Refusal::new(exit::SYSTEM, format!("cannot take over from the process that serves: {error}"))
    };
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let Package { handed, files, notes } = predecessor.receive().map_err(refuse)?;
    let [file] = <[_; 1]>::try_from(files).map_err(|_other_number| refuse(invalid()))?;
    let [protocols, book] = <[_; 2]>::try_from(notes).map_err(|_other_number| refuse(invalid()))?;
    let protocols = protocols.into_iter().map(from_byte).collect();
    let memory = Memory::taken_over(memory, File::from(file), book).map_err(refuse)?;
    let server = server.resume(handed, &Framed);
    let listened = Listened::of(&server, protocols);
    Ok((server, listened, memory))
}

/// Has this process act upon the signals that come to the older one once this one serves.
///
/// # Errors
/// The system's.
pub(crate) fn heed(predecessor: &Predecessor, server: Handle, memory: Memory) -> io::Result<()> {
    predecessor.listen(move |signal| {
        if signal == Signal::User1 {
            memory.save_at_end();
        }
        server.stop_passed_on();
    })
}

fn to_byte(protocol: Option<Protocol>) -> u8 {
    match protocol {
        None => b'-',
        Some(Protocol::Auto) => b'a',
        Some(Protocol::Ascii) => b't',
        Some(Protocol::Binary) => b'b',
    }
}

fn from_byte(byte: u8) -> Option<Protocol> {
    match byte {
        b'a' => Some(Protocol::Auto),
        b't' => Some(Protocol::Ascii),
        b'b' => Some(Protocol::Binary),
        _ => None,
    }
}
