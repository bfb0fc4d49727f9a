//! Starting and running a server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mm_runtime::driver::Kind;
use mm_runtime::net::Stream;
use mm_runtime::sys::socket::{self, ListenAddress, Listener};

use crate::choice::{self, Chosen};
use crate::control::Control;
use crate::datagrams::Framing;
use crate::exchange::{Arrival, Exchange};
use crate::hand_over::{Carried, Handed, take_up};
use crate::handler::{NoService, spawner};
use crate::signals::{Hook, Reload, Signal, SignalFlags, Traps};
use crate::socket_files::SocketFiles;
use crate::stall::{Ends, Watch};
use crate::{Config, Handle, Service, Start, Stats, Stop};

mod plan;

use plan::{Factory, First, OnStart, Plan};

/// A server: where it listens, and by which rules.
///
/// ```no_run
/// use mm_server::{Config, ListenAddress, Server};
///
/// # fn main() -> std::io::Result<()> {
/// let server = Server::new(Config::default()).listen(&ListenAddress::Ip(([127, 0, 0, 1], 7).into()))?;
/// println!("{server}");
/// server.serve(async |mut stream| {
///     let mut space = [0; 1024];
///     loop {
///         match stream.read(&mut space).await? {
///             0 => return Ok(()),
///             received => stream.write_all(&space[..received]).await?,
///         }
///     }
/// })?;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    config: Config,
    chosen: Chosen,
    listeners: Vec<Listener>,
    datagrams: Vec<(Listener, &'static dyn Framing)>,
    control: Arc<Control>,
    hooks: Vec<(Signal, Hook)>,
    reloads: Vec<Reload>,
    starts: Vec<OnStart>,
    flags: Option<SignalFlags>,
    /// Connections that another server has left.
    carried: Vec<Carried>,
}

/// What a server has done in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Connections served.
    pub connections_total: u64,
    /// Connections that a graceful stop closed because they had not finished by its deadline.
    pub drain_timeouts: u64,
}

impl Server {
    /// A server that listens nowhere yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let control = Arc::new(Control::new(config.shards.get()));
        Self {
            chosen: choice::choose(config.driver),
            config,
            listeners: Vec::new(),
            datagrams: Vec::new(),
            control,
            hooks: Vec::new(),
            reloads: Vec::new(),
            starts: Vec::new(),
            flags: None,
            carried: Vec::new(),
        }
    }

    /// Goes on where another server has stopped: listens where it did, with its sockets, and serves the
    /// connections that it had. Where that was in this process, it goes on counting, too, unless the number of shards
    /// is another one, or somebody has a [`handle`](Self::handle) of this server already.
    #[must_use]
    pub fn resume(mut self, handed: Handed, framing: &'static dyn Framing) -> Self {
        self.listeners.extend(handed.listeners);
        self.datagrams.extend(handed.datagrams.into_iter().map(|socket| (socket, framing)));
        self.carried.extend(handed.connections);
        if let Some(counted) = handed.counted.filter(|counted| counted.len() == self.control.shards())
            && let Some(control) = Arc::get_mut(&mut self.control)
        {
            (control.stats, control.counts_on) = (counted, true);
        }
        self
    }

    /// Listens here, too, from now on; what connects waits until the server serves.
    ///
    /// # Errors
    /// What [`Listener::bind`] says, with the address in it.
    pub fn listen(mut self, address: &ListenAddress) -> io::Result<Self> {
        self.try_listen(address)?;
        Ok(self)
    }

    /// As [`listen`](Self::listen), for those who can do without this address.
    ///
    /// # Errors
    /// What [`Listener::bind`] says, with the address in it; the server is as before.
    pub fn try_listen(&mut self, address: &ListenAddress) -> io::Result<()> {
        self.listeners.push(Listener::bind(address, self.config.backlog)?);
        Ok(())
    }

    /// Answers datagrams that come here, too, each as a [conversation of its own](crate::datagrams) of the service. A
    /// server that [has a handler](Self::serve) does not: its tasks bind
    /// [sockets of their own](mm_runtime::net::Datagrams).
    ///
    /// # Errors
    /// What [`Listener::bind_datagrams`] says, with the address in it; the server is as before.
    pub fn try_listen_datagrams(
        &mut self,
        address: SocketAddr,
        framing: &'static dyn Framing,
    ) -> io::Result<()> {
        self.datagrams.push((Listener::bind_datagrams(address)?, framing));
        Ok(())
    }

    /// What to do on a signal, on the first shard's thread, between two requests. It must not block; a panic of it is
    /// counted as one of `panics`, and written to the log. Without this a server stops on TERM and INT, gracefully the
    /// first time; on HUP it opens its log again and reads again [what there is](Self::on_reload); on QUIT it writes a
    /// [dump](Handle::dump); USR1 and USR2 it leaves alone.
    #[must_use]
    pub fn on_signal(mut self, signal: Signal, hook: impl FnMut(&Handle) + Send + 'static) -> Self {
        self.hooks.push((signal, Box::new(hook)));
        self
    }

    /// Has it act upon signals that came before it began, too.
    #[must_use]
    pub fn with_signal_flags(mut self, flags: &SignalFlags) -> Self {
        self.flags = Some(flags.clone());
        self
    }

    /// What to read again on SIGHUP, such as configuration and certificates, unless [`on_signal`](Self::on_signal) has
    /// something else done then. It runs on a thread of its own, one after the other; what it returns as an error
    /// becomes a line in the log, and must say what is kept instead.
    #[must_use]
    pub fn on_reload(mut self, reload: impl FnMut() -> Result<(), String> + Send + 'static) -> Self {
        self.reloads.push(Box::new(reload));
        self
    }

    /// What each shard does before any connection is served, such as to start tasks that end with the server, or to
    /// bind sockets. It runs on the shard's thread, where its tasks and sockets are; several run in the order given. An
    /// error of it ends the server.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    ///
    /// use mm_runtime::task::spawn;
    /// use mm_runtime::timers::sleep;
    /// use mm_server::{Config, Server};
    ///
    /// let server = Server::new(Config::default()).on_start(|start| {
    ///     if start.shard == 0 {
    ///         let stats = Arc::clone(&start.stats);
    ///         spawn(async move {
    ///             while sleep(60_000).await.is_ok() {
    ///                 let open: u64 = stats.iter().map(|stats| stats.connections.get()).sum();
    ///                 eprintln!("{open} connections");
    ///             }
    ///         })
    ///         .detach();
    ///     }
    ///     Ok(())
    /// });
    /// ```
    #[must_use]
    pub fn on_start(mut self, start: impl Fn(&Start) -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.starts.push(Arc::new(start));
        self
    }

    /// Where it listens, in the order given, with the ports that the system chose.
    pub fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.listeners.iter().map(Listener::address)
    }

    /// Where it takes datagrams, in the order given, with the ports that the system chose.
    pub fn datagram_addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.datagrams.iter().map(|(socket, _)| socket.address())
    }

    /// The driver that it uses.
    #[must_use]
    pub fn driver(&self) -> Kind {
        self.chosen.kind
    }

    /// What an operator should know: why the driver is not the one that was asked for.
    #[must_use]
    pub fn notice(&self) -> Option<&str> {
        self.chosen.notice.as_deref()
    }

    /// What stops it, and shows what it does, from other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.control))
    }

    /// Serves until stopped: each connection by a task that runs `handler`, on the shard it has come to. The
    /// first shard is the calling thread.
    ///
    /// The connection is closed when the handler has ended and dropped the stream. Limits, time-outs and stops
    /// are those of the configuration: a connection past a time-out is ended where it waits; on a graceful
    /// stop a stream that waits for the peer's next request sees the end of its input, and one whose last
    /// request has not been answered goes on. A whole write counts as the answer; where that is not so, or requests
    /// have no answer, the handler says [what it is in](Stream::set_busy).
    ///
    /// A handler that waits for something else sees neither the stop nor that its peer has gone, unless it waits for
    /// that, too, by [`select`](mm_runtime::sync::select): in the midst of a request by
    /// [`finished`](mm_runtime::net::BufferedReader::finished), between two by reading the next. The idle time-out is
    /// for peers that say nothing: it ends no handler in the midst of a request, unless that waits for more of it. So
    /// a handler bounds itself what else it waits for, by [`timeout`](mm_runtime::timers::timeout).
    ///
    /// What a handler returns as an error is counted, no more (in [`Stats`]: `TimedOut` as `write_timeouts` where it is
    /// [a write's](mm_runtime::net::is_write_timeout), else as `idle_timeouts`; resets, broken pipes and unexpected
    /// ends as `socket_errors`; `ConnectionAborted`, which is what a connection's calls give when the server has ended
    /// it, not again; everything else as `faults`). A handler that is to say more does so before it returns; a panic is
    /// counted as one of `panics`.
    ///
    /// A connection stays on the shard whose handler serves it, which is the one that had the fewest when it came; only
    /// those of [services](Self::serve_with) move when the load is uneven.
    ///
    /// Tasks that a handler has [started](mm_runtime::task::spawn) do not end with it. When the server has stopped they
    /// are dropped where they wait. The shards have [met](mm_runtime::shards): [`Sharded`](mm_runtime::shards::Sharded)
    /// values and [`submit_to`](mm_runtime::shards::Shards::submit_to) work from the start.
    ///
    /// # Errors
    /// The system has no resources to start with, a shard cannot go on, or the server is to answer datagrams
    /// ([`InvalidInput`](io::ErrorKind::InvalidInput)): those need a service.
    pub fn serve<F>(self, handler: F) -> io::Result<Summary>
    where
        F: AsyncFn(Stream) -> io::Result<()> + Send + Sync + 'static,
    {
        if let Some((socket, _)) = self.datagrams.first() {
            let reason = format!("datagrams that come to {} need a service, not a handler", socket.address());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let handler = Arc::new(handler);
        self.run(&|_start| Ok((NoService, Some(spawner(Arc::clone(&handler))))), |_, _| Ok(()))
    }

    /// Serves until stopped, by services: `factory` makes one for each shard, on the shard's thread. The first
    /// shard is the calling thread. No shard accepts, reads or answers anything before all services are made, so that
    /// making one cannot wait for what another shard is to do.
    ///
    /// # Errors
    /// The system has no resources to start with, or a shard cannot go on.
    pub fn serve_with<S: Service>(self, factory: impl Fn(&Start) -> S + Sync) -> io::Result<Summary> {
        self.try_serve_with(|start| Ok(factory(start)))
    }

    /// As [`serve_with`](Self::serve_with), with services that may fail to start: one failure ends the server, and
    /// nothing has been done with any connection.
    ///
    /// # Errors
    /// The factory's, too.
    pub fn try_serve_with<S: Service>(
        self,
        factory: impl Fn(&Start) -> io::Result<S> + Sync,
    ) -> io::Result<Summary> {
        self.try_serve_begun_by(factory, |_start, _service| Ok(()))
    }

    /// As [`try_serve_with`](Self::try_serve_with), with a last step between the start and serving: when every shard
    /// has its driver and its service, `begin` is called on the first one's thread. It is the place for what cannot be
    /// taken back, such as to tell others that this server serves, or to take what another start could have had.
    ///
    /// # Errors
    /// Those of `begin`, too; then nothing has been done with any connection.
    pub fn try_serve_begun_by<S: Service>(
        self,
        factory: impl Fn(&Start) -> io::Result<S> + Sync,
        begin: impl FnOnce(&Start, &S) -> io::Result<()>,
    ) -> io::Result<Summary> {
        self.run(&|start| Ok((factory(start)?, None)), begin)
    }

    /// Runs all shards until the server stops.
    fn run<S: Service>(
        self,
        factory: &(impl Factory<S> + Sync),
        begin: impl FnOnce(&Start, &S) -> io::Result<()>,
    ) -> io::Result<Summary> {
        let exchange = Arc::new(Exchange::new(self.config.shards.get()));
        let watch = Arc::new(Watch::default());
        let mut plans = self.plans(&exchange, &watch)?;
        // Before anybody is served by any shard.
        let traps = Traps::for_server(&self.config, self.hooks, self.reloads, self.flags)?;
        let mut first = plans.remove(0);
        let arrivals = self.carried.into_iter().filter_map(|carried| carried.arrive(&self.config)).collect();
        first.carried = take_up(arrivals, &self.config, &self.control, &exchange);
        let files = SocketFiles::of(&self.listeners);
        // A stop closes those of the shards, and these unless it hands them over.
        let datagrams = self.datagrams.into_iter().map(|(socket, _)| socket).collect();
        let listening =
            Handed { listeners: self.listeners, datagrams, connections: Vec::new(), counted: None };
        *self.control.listening() = Some(listening);
        if self.control.stopping().is_some_and(|how| how != Stop::HandOver) {
            // It was stopped before it began.
            drop(self.control.listening().take());
        }
        let result = std::thread::scope(|scope| {
            let _ends = Ends(&watch);
            if let Some(limit_ms) = self.config.stall_ms {
                let thread = std::thread::Builder::new().name("stalls".to_owned());
                let (watch, log) = (&watch, &self.config.log);
                thread.spawn_scoped(scope, move || watch.run(limit_ms.get(), log))?;
            }
            let mut others = Vec::with_capacity(plans.len());
            for plan in plans {
                let thread = std::thread::Builder::new().name(format!("shard-{}", plan.shard));
                let spawned = thread.spawn_scoped(scope, move || plan.run(factory, None));
                others.push(spawned.inspect_err(|_| {
                    self.control.stop(Stop::AtOnce);
                    self.control.first_has_begun(false);
                })?);
            }
            let mut ended = first.run(factory, Some(First { traps, begin: Box::new(begin) }));
            for other in others {
                let other = other.join().unwrap_or_else(|_| Err(io::Error::other("a shard has panicked")));
                ended = ended.and(other);
            }
            ended
        });
        match self.control.listening().take() {
            Some(listening) if result.is_ok() => {
                let connections = exchange.take_leaving().into_iter().map(Carried::from).collect();
                self.control.stats.iter().for_each(Stats::settle);
                let counted = Some(Arc::clone(&self.control.stats));
                *self.control.handed() = Some(Handed { connections, counted, ..listening });
            }
            _ => files.remove(),
        }
        let total = |of: fn(&Stats) -> u64| self.control.stats.iter().map(of).sum();
        result.map(|()| Summary {
            connections_total: total(|stats| stats.connections_total.get()),
            drain_timeouts: total(|stats| stats.drain_timeouts.get()),
        })
    }

    /// What each shard starts with.
    fn plans(&self, exchange: &Arc<Exchange<OwnedFd>>, watch: &Arc<Watch>) -> io::Result<Vec<Plan>> {
        let mut plans = Vec::with_capacity(self.config.shards.get());
        for place in mm_runtime::shards::meet(self.config.shards.get()) {
            let clone = |(socket, framing): &(Listener, _)| Ok((socket.try_clone()?, *framing));
            plans.push(Plan {
                shard: plans.len(),
                driver: Chosen { kind: self.chosen.kind, notice: None },
                place,
                config: self.config.clone(),
                control: Arc::clone(&self.control),
                exchange: Arc::clone(exchange),
                listeners: self.listeners.iter().map(Listener::try_clone).collect::<io::Result<_>>()?,
                datagrams: self.datagrams.iter().map(clone).collect::<io::Result<_>>()?,
                carried: Vec::new(),
                watch: Arc::clone(watch),
                starts: self.starts.clone(),
            });
        }
        Ok(plans)
    }
}

impl Carried {
    /// As a connection to be served by a server of this configuration. `None`: its peer has reset it meanwhile.
    fn arrive(self, config: &Config) -> Option<Arrival<OwnedFd>> {
        let Self { socket, listener, packed } = self;
        let peer = socket::adopt(&socket, config.stream)?;
        Some(Arrival { socket, peer, origin: None, listener, luggage: None, packed: packed.map(Box::new) })
    }
}

impl From<Arrival<OwnedFd>> for Carried {
    fn from(arrival: Arrival<OwnedFd>) -> Self {
        let Arrival { socket, listener, packed, .. } = arrival;
        Self { socket, listener, packed: packed.map(|packed| *packed) }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nowhere = self.listeners.is_empty() && self.datagrams.is_empty();
        f.write_str(if nowhere { "listening nowhere" } else { "listening on " })?;
        for (number, address) in self.addresses().enumerate() {
            write!(f, "{}{address}", if number > 0 { ", " } else { "" })?;
        }
        for (number, address) in self.datagram_addresses().enumerate() {
            let is_first = number == 0 && self.listeners.is_empty();
            write!(f, "{}UDP {address}", if is_first { "" } else { ", " })?;
        }
        let shards = self.config.shards;
        write!(
            f,
            " (driver {}, {shards} {})",
            self.driver(),
            if shards.get() == 1 { "shard" } else { "shards" }
        )
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.config)
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}
