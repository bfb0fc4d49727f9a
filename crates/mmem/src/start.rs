//! From a configuration to a server: everything that can fail does so here, before anyone is served.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use mainmemory::server::process::background::{self, Detachment, Role};
use mainmemory::server::process::successor::Predecessor;
use mainmemory::server::process::{self, Account, AccountError};
use mainmemory::server::{self, DriverChoice, Handle, Log, Server, Signal, SignalFlags, Start, Stop};
#[cfg(feature = "smp")]
use mainmemory::store::StoreHandles;
use mainmemory::store::{Sharing, Store};
use mm_memcached::{Framed, Memcached, Shared};

use crate::config::{Config, Name, processors};
use crate::host::ThisProcess;
use crate::limits::{DESCRIPTORS_RESERVED, STALL_MS};
use crate::listen::{Listened, is_local, listen, write_ports};
use crate::memory::Memory;
use crate::pid_file::PidFile;
use crate::populate;
use crate::refusal::{Refusal, exit};
use crate::say;
use crate::settings::{settings, store_config, threads};
#[cfg(not(feature = "smp"))]
use crate::single::StoreHandles;
use crate::upgrade::{self, Heir, Outcome, Upgrade};

/// What a connection beyond the limit is told; memcached's words.
const REFUSAL: &[u8] = b"ERROR Too many open connections\r\n";

/// Those that end the server.
pub(crate) const ENDING: [Signal; 3] = [Signal::Terminate, Signal::Interrupt, Signal::User1];

/// Those that it acts upon otherwise.
const OTHERS: [Signal; 3] = [Signal::User2, Signal::Hangup, Signal::Quit];

/// Serves until a signal ends it, and returns the exit code.
///
/// # Errors
/// A [`Refusal`] if the start fails; then nothing is left behind.
pub(crate) fn serve(config: &Config) -> Result<u8, Refusal> {
    check_shards(config)?;
    let upgrade = Upgrade::new(config.name.as_str());
    let mut predecessor = Predecessor::find().map_err(|error| system("standard input", &error))?;
    if config.process.daemon && predecessor.is_none() {
        let role = background::enter().map_err(|error| system("-d", &error))?;
        if let Role::Caller(code) = role {
            return Ok(code);
        }
    }
    remark(config);
    let account = account(config)?;
    let config = &raise_limits(config)?;
    let mut server = Server::new(server_config(config)?);
    // A Unix socket belongs to the user who serves; a port below 1024 needs the one who starts.
    let is_unix = config.listening.unix_socket.is_some();
    let pid_path = config.process.pid_file.as_deref();
    let mut claimed = None;
    if is_unix {
        claimed = become_user(account.as_ref(), pid_path)?;
    }
    let (listened, taken) = match &mut predecessor {
        None => (listen(&mut server, &config.listening.endpoints(config.name))?, None),
        Some(predecessor) => {
            // As long as the other one serves, that it cannot be written costs nothing.
            pid_path.map(PidFile::find).transpose()?;
            let (taken_over, listened, memory) = upgrade::take_over(predecessor, server, &config.memory)?;
            server = taken_over;
            (listened, Some(memory))
        }
    };
    let told = config.listening.port_file.as_ref().map(|path| write_ports(&server, path, account.as_ref()));
    match told {
        // What is there was right before, and is.
        Some(Err(refusal)) if predecessor.is_some() => say(&format!("{}: {refusal}", config.name.as_str())),
        Some(told) => told?,
        None => {}
    }
    if !is_unix {
        claimed = become_user(account.as_ref(), pid_path)?;
    }
    if config.process.dumps_core {
        process::stay_dumpable().map_err(|error| system("-r", &error))?;
    }
    // From here on there is something to be left in order.
    let flags =
        SignalFlags::raised_by(&[ENDING, OTHERS].concat()).map_err(|error| system("signals", &error))?;
    let pid_file = pid_path.map(PidFile::find).transpose()?;
    let memory = taken.map_or_else(|| Memory::open(&config.memory), Ok)?;
    let is_new = predecessor.is_none();
    let life = Life { server, memory, listened, predecessor, is_new, before: None, flags: flags.clone() };
    let heir = run(life, config, &upgrade, pid_file.as_ref())?;
    drop((pid_file, claimed, upgrade));
    if config.process.verbosity > 0 {
        say(&format!("{}: stopped", config.name.as_str()));
    }
    if let Some(mut heir) = heir {
        // Behind all that takes time: who comes later finds no process.
        heir.pass_on(&flags);
    }
    Ok(0)
}

/// Whether this program can have so many shards.
fn check_shards(config: &Config) -> Result<(), Refusal> {
    let shards = server_shards(config).get();
    if shards > 1 && !cfg!(feature = "smp") {
        let what = format!("-t {shards}: this program was built for one thread, without the feature smp");
        return Err(Refusal::new(exit::USAGE, what));
    }
    Ok(())
}

/// Says what an operator may have expected otherwise.
fn remark(config: &Config) {
    let name = config.name.as_str();
    if config.process.verbosity > 0 {
        for flag in &config.without_meaning {
            say(&format!("{name}: {flag} has no effect here"));
        }
    }
    let (asked, threads) = (config.service.threads, threads(config));
    if threads < asked {
        say(&format!(
            "{name}: -t {asked}: {threads} threads serve, because each needs memory to write to, and -m {} is too \
             little for more",
            config.memory.limit_bytes >> 20
        ));
    }
    let processors = processors();
    if threads > processors {
        say(&format!(
            "{name}: -t {threads}: more threads than the {processors} processors that there are for them; they will \
             wait for each other"
        ));
    }
}

/// The signals that are memcached's beside those that every server stops on: SIGUSR1 stops it gracefully and has the
/// items kept, SIGUSR2 has it replaced by a new process, and SIGHUP, upon which it reads again what there is to be
/// read, does not end it.
fn with_signals(server: Server, config: &Config, memory: &Memory, upgrade: &Upgrade) -> Server {
    let (name, verbosity) = (config.name.as_str(), config.process.verbosity);
    let (kept, given, upgrade) = (memory.clone(), memory.clone(), upgrade.clone());
    let stop = move |server: &Handle| {
        kept.save_at_end();
        server.stop(Stop::Gracefully);
    };
    let replace = move |server: &Handle| upgrade.begin(server, &given);
    server.on_signal(Signal::User1, stop).on_signal(Signal::User2, replace).on_signal(
        Signal::Hangup,
        move |_| {
            if verbosity > 0 {
                say(&format!("{name}: SIGHUP: there is nothing to read again"));
            }
        },
    )
}

/// To be called when the store is mapped. As in memcached, where this is not allowed the server goes on: it serves as
/// well, but may be slow at times.
fn lock_memory(config: &Config) {
    if let Err(error) = process::lock_memory() {
        let name = config.name.as_str();
        say(&format!("{name}: -k: {error}; memory may be swapped out (ulimit -l, LimitMEMLOCK= of systemd)"));
    }
}

/// What a server needs for its life.
#[derive(Debug)]
struct Life {
    server: Server,
    memory: Memory,
    listened: Listened,
    /// The process that waits to hear that this one serves.
    predecessor: Option<Predecessor>,
    /// Whether this process has not served before, nor another one in its place.
    is_new: bool,
    /// What the server before this one, in this process, had in common.
    before: Option<Arc<Shared>>,
    flags: SignalFlags,
}

/// Serves until it is over: a new process that is to replace this one may fail, and then this one goes on. Keeps the
/// items at the end, where that was asked for. Returns the process that serves in its place, if one does.
fn run(
    mut life: Life,
    config: &Config,
    upgrade: &Upgrade,
    pid_file: Option<&PidFile>,
) -> Result<Option<Heir>, Refusal> {
    loop {
        let (memory, listened, flags) = (life.memory.clone(), life.listened.clone(), life.flags.clone());
        let handle = life.server.handle();
        let shared = serve_once(life, config, upgrade, pid_file)?;
        match upgrade.complete(&handle, &listened, &memory, &flags) {
            Outcome::Replaced(heir) => return Ok(Some(heir)),
            Outcome::Ended => {
                let lost = |error| system(&memory.told("cannot keep the items"), &error);
                return memory.save().map(|()| None).map_err(lost);
            }
            Outcome::GoOn(handed, next) => {
                let next = next.unwrap_or_else(Memory::without_file);
                next.count_on_from(&memory);
                let server = Server::new(server_config(config)?).resume(handed, &Framed);
                let before = Some(shared);
                life =
                    Life { server, memory: next, listened, predecessor: None, is_new: false, before, flags };
            }
        }
    }
}

/// Serves with one store until the server ends; what its services had in common.
fn serve_once(
    life: Life,
    config: &Config,
    upgrade: &Upgrade,
    pid_file: Option<&PidFile>,
) -> Result<Arc<Shared>, Refusal> {
    let Life { server, memory, listened, predecessor, is_new, before, flags } = life;
    let shards = server_shards(config).get();
    populate::start();
    let host = Box::new(ThisProcess::new(server.handle(), memory.clone()));
    let shared = &match before {
        Some(before) => before.next(host),
        None => Shared::new(settings(config, listened), shards, host),
    };
    let noted = Arc::downgrade(shared);
    memory.note_with(move || noted.upgrade().map_or_else(Vec::new, |shared| shared.note(process::now())));
    let server = with_signals(server, config, &memory, upgrade).with_signal_flags(&flags);
    let beginning = Beginning {
        config,
        server: server.handle(),
        greeting: greeting(&server, config),
        memory: &memory,
        pid_file,
        predecessor: Mutex::new(predecessor),
        is_new,
        flags: &flags,
        notices: OnceLock::new(),
        is_called_off: AtomicBool::new(false),
    };
    if is_new {
        // Nobody is served yet who would have to wait for the items.
        let flags = flags.clone();
        memory.give_up_when(move || is_to_end(&flags));
    }
    let store_config = store_config(config, random_seed());
    let no_memory = |error: io::Error| {
        if error.kind() == io::ErrorKind::Interrupted {
            beginning.is_called_off.store(true, Ordering::Relaxed);
        }
        io::Error::other(system(&format!("-m {}", store_config.limit_bytes >> 20), &error).to_string())
    };
    let served = if shards == 1 {
        let make = |start: &Start| {
            let open = || Store::open(&store_config);
            let opened = memory.open_store(open, |kept| Store::open_kept(&store_config, kept), shared);
            let (store, notices) = opened.map_err(no_memory)?;
            beginning.notices.get_or_init(|| notices);
            Ok(Memcached::new(start, shared, store))
        };
        server.try_serve_begun_by(make, |_start, service| beginning.begin(service.store()))
    } else {
        let open = || StoreHandles::open(&store_config, shards);
        let open_kept = |kept: &_| StoreHandles::open_kept(&store_config, shards, kept);
        let opened = memory.open_store(open, open_kept, shared).map_err(no_memory);
        let make = |start: &Start| {
            let (handles, notices) = opened.as_ref().map_err(|error| io::Error::other(error.to_string()))?;
            beginning.notices.get_or_init(|| notices.clone());
            let store = handles.take().ok_or_else(|| io::Error::other("more shards than were asked for"))?;
            Ok(Memcached::new(start, shared, store))
        };
        server.try_serve_begun_by(make, |_start, service| beginning.begin(service.store()))
    };
    match served {
        Err(error) if !beginning.is_called_off.load(Ordering::Relaxed) => {
            Err(Refusal::new(exit::SYSTEM, error.to_string()))
        }
        _ => Ok(Arc::clone(shared)),
    }
}

/// Whether a signal has come that ends the server.
fn is_to_end(flags: &SignalFlags) -> bool {
    ENDING.iter().any(|signal| flags.has(*signal))
}

/// What the first shard does when all have what they start with, before anybody is served.
struct Beginning<'a> {
    config: &'a Config,
    server: Handle,
    greeting: Vec<String>,
    memory: &'a Memory,
    pid_file: Option<&'a PidFile>,
    predecessor: Mutex<Option<Predecessor>>,
    is_new: bool,
    flags: &'a SignalFlags,
    /// What an operator should know of the memory.
    notices: OnceLock<Vec<String>>,
    /// Whether nobody is to be served any more.
    is_called_off: AtomicBool,
}

impl Beginning<'_> {
    /// Says what an operator should know, and that this process serves. The file of `-P` is written here
    /// and not before: a start that fails must leave it to the server that runs.
    ///
    /// # Errors
    /// The system's; then nobody is to be served.
    fn begin<S: Sharing>(&self, store: &Store<S>) -> io::Result<()> {
        let process = &self.config.process;
        let predecessor = self.predecessor.lock().unwrap_or_else(PoisonError::into_inner).take();
        match self.pid_file.map(PidFile::write) {
            Some(Err(refusal)) if self.is_new || predecessor.is_some() => {
                return Err(io::Error::other(refusal.to_string()));
            }
            Some(Err(refusal)) => self.say(&refusal.to_string()),
            _ => {}
        }
        self.greeting.iter().for_each(|line| say(line));
        self.notices.get().into_iter().flatten().for_each(|notice| self.say(notice));
        if let Some(mut predecessor) = predecessor {
            if process.daemon && !process.dumps_core {
                background::leave_folder()?;
            }
            upgrade::heed(&predecessor, self.server.clone(), self.memory.clone())?;
            // All that may fail, or take long, comes before or after: in between the items are nobody's.
            self.memory.own()?;
            predecessor.replace()?;
        }
        self.make_resident(store);
        if !self.is_new {
            return Ok(());
        }
        if is_to_end(self.flags) {
            self.is_called_off.store(true, Ordering::Relaxed);
            return Err(io::ErrorKind::Interrupted.into());
        }
        if process.daemon {
            detach(self.config)?;
        }
        // All that may fail comes before: what the last server has left is this one's from here on.
        self.memory.own()
    }

    /// For `-k` and `-L`, whose time grows with the memory: no other process may wait for it. What hinders it is no
    /// error, as in memcached, but said.
    fn make_resident<S: Sharing>(&self, store: &Store<S>) {
        let memory = &self.config.memory;
        if memory.locked {
            lock_memory(self.config);
        }
        if memory.populated
            && let Err(error) = store.populate()
        {
            self.say(&format!(
                "-L: not all of the memory can be had now ({error}); the rest is taken as it is used"
            ));
        }
    }

    fn say(&self, what: &str) {
        say(&format!("{}: {what}", self.config.name.as_str()));
    }
}

/// Where the server can be reached, and how to open it to others where it is not.
fn greeting(server: &Server, config: &Config) -> Vec<String> {
    let name = config.name.as_str();
    let mut lines = vec![format!("{name}: {server}")];
    lines.extend(server.notice().map(|notice| format!("{name}: {notice}")));
    let listening = &config.listening;
    let is_default = listening.hosts.is_empty() && listening.unix_socket.is_none();
    if config.name == Name::Mmem && is_default && is_local(server) {
        lines.push(format!(
            "{name}: reachable from this machine only; -l '*' opens it to all, -l ADDRESS to some"
        ));
    }
    lines
}

fn detach(config: &Config) -> io::Result<()> {
    background::ready(Detachment {
        keeps_stderr: config.process.verbosity > 0,
        keeps_folder: config.process.dumps_core,
    })
    .map_err(|error| io::Error::other(format!("-d: nobody hears that it serves: {error}")))
}

/// A seed that nobody outside can guess, from the standard library's own source of them.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The user to become, looked up before anything is done.
fn account(config: &Config) -> Result<Option<Account>, Refusal> {
    let Some(name) = &config.process.user else {
        return Ok(None);
    };
    if !process::is_root() {
        return Ok(None);
    }
    let refusal = |error: AccountError| Refusal::new(exit::NO_USER, format!("-u {name}: {error}"));
    Account::find(name).map(Some).map_err(refusal)
}

/// Becomes the user, who is to write the file of `-P`, which goes with what this returns.
fn become_user(account: Option<&Account>, pid_path: Option<&Path>) -> Result<Option<PidFile>, Refusal> {
    let Some(account) = account else {
        return Ok(None);
    };
    let claimed = pid_path.and_then(|path| PidFile::claim(path, account));
    account.assume().map_err(|error| system(&format!("-u {}", account.name()), &error))?;
    Ok(claimed)
}

/// Raises the process's limits to what the configuration asks for. Where the system allows as many files as there may
/// be connections, but not the program's own besides, there may be fewer connections; that is how memcached counts.
fn raise_limits(config: &Config) -> Result<Config, Refusal> {
    let mut config = config.clone();
    let connections = config.service.connections_max;
    let wanted = u64::from(connections) + DESCRIPTORS_RESERVED;
    let least = u64::from(connections).max(DESCRIPTORS_RESERVED + 1);
    let allowed = process::allow_descriptors(least, wanted).map_err(|error| {
        let what = format!("-c {connections}: {error} (ulimit -n, LimitNOFILE= of systemd)");
        Refusal::new(exit::SYSTEM, what)
    })?;
    if allowed < wanted {
        let served = u32::try_from(allowed - DESCRIPTORS_RESERVED).unwrap_or(connections);
        let name = config.name.as_str();
        say(&format!(
            "{name}: -c {connections}: the system allows {allowed} open files, so {served} connections"
        ));
        config.service.connections_max = served;
    }
    if config.process.dumps_core {
        process::allow_core_dumps().map_err(|error| system("-r", &error))?;
    }
    if config.memory.locked {
        process::allow_locked_memory().map_err(|error| system("-k", &error))?;
    }
    Ok(config)
}

/// The system's answer to what a flag asks for.
fn system(flag: &str, error: &io::Error) -> Refusal {
    Refusal::new(exit::SYSTEM, format!("{flag}: {error}"))
}

fn server_shards(config: &Config) -> NonZeroUsize {
    usize::try_from(threads(config)).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN)
}

fn server_config(config: &Config) -> Result<server::Config, Refusal> {
    let name = &config.service.driver;
    let driver = DriverChoice::named(name)
        .map_err(|what| Refusal::new(exit::USAGE, format!("--driver {name}: {what}")))?;
    let service = &config.service;
    Ok(server::Config {
        driver,
        spin_us: service.spin_us,
        pinned: service.is_pinned,
        shards: server_shards(config),
        connections_max: usize::try_from(service.connections_max).unwrap_or(usize::MAX),
        refusal: service.refuses_when_full.then_some(REFUSAL),
        idle_timeout_ms: config.idle_timeout_ms(),
        backlog: config.listening.backlog,
        log: Log::stderr_after(format!("{}: ", config.name.as_str())),
        stall_ms: NonZeroU32::new(STALL_MS),
        ..server::Config::default()
    })
}
