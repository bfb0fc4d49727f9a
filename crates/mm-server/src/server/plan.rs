//! What each shard of a server starts with, and its life on its thread.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mm_base::buffer::Pool;
#[cfg(any(target_os = "linux", target_os = "android"))]
use mm_runtime::driver::epoll::EpollDriver;
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
))]
use mm_runtime::driver::kqueue::KqueueDriver;
use mm_runtime::driver::poll::PollDriver;
use mm_runtime::driver::sockets::Sockets;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
use mm_runtime::driver::uring::UringDriver;
use mm_runtime::driver::{Driver, Kind};
use mm_runtime::shard::Shard;
use mm_runtime::shards::Place;
use mm_runtime::sys::affinity;
use mm_runtime::sys::socket::{ListenAddress, Listener};

use crate::choice::Chosen;
use crate::control::{Control, StopOthers};
use crate::datagrams::Framing;
use crate::engine::{Engine, Parts};
use crate::exchange::{Arrival, Exchange};
use crate::handler::Spawn;
use crate::signals::{Signals, Traps};
use crate::stall::Watch;
use crate::{Config, Ready, Service, Start, mishaps};

/// Makes what serves a shard's connections: a service, or the handler to be used in its stead.
pub(super) trait Factory<S>: Fn(&Start) -> io::Result<(S, Option<Spawn>)> {}

impl<S, F: Fn(&Start) -> io::Result<(S, Option<Spawn>)>> Factory<S> for F {}

/// What a shard does before it serves.
pub(super) type OnStart = Arc<dyn Fn(&Start) -> io::Result<()> + Send + Sync>;

/// The last step before the shards serve.
pub(super) type Begin<'a, S> = Box<dyn FnOnce(&Start, &S) -> io::Result<()> + 'a>;

/// What the first shard does besides.
pub(super) struct First<'a, S> {
    pub(super) traps: Option<Traps>,
    pub(super) begin: Begin<'a, S>,
}

/// What a shard starts with.
pub(super) struct Plan {
    pub(super) shard: usize,
    pub(super) driver: Chosen,
    /// Among the shards that give each other work.
    pub(super) place: Place,
    pub(super) config: Config,
    pub(super) control: Arc<Control>,
    pub(super) exchange: Arc<Exchange<OwnedFd>>,
    pub(super) listeners: Vec<Listener>,
    pub(super) datagrams: Vec<(Listener, &'static dyn Framing)>,
    /// What comes from another server and is above a limit.
    pub(super) carried: Vec<Arrival<OwnedFd>>,
    pub(super) watch: Arc<Watch>,
    pub(super) starts: Vec<OnStart>,
}

impl Plan {
    /// Runs the shard on this thread until the server stops. However it ends, the others then end too.
    pub(super) fn run<S: Service>(
        self,
        factory: &impl Factory<S>,
        first: Option<First<'_, S>>,
    ) -> io::Result<()> {
        let _stop = StopOthers { control: Arc::clone(&self.control), shard: self.shard };
        let _pin = self.config.pinned.then(|| affinity::pin(self.shard)).transpose()?;
        let options = self.config.stream;
        match self.driver.kind {
            Kind::Poll => self.run_on(PollDriver::new(options)?, factory, first),
            #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
            Kind::Uring => match UringDriver::new(options) {
                Ok(driver) => self.run_on(driver, factory, first),
                // The first ring could be made, or it was made by another user.
                Err(error) => {
                    let notice = crate::choice::instead(&error);
                    self.config.log.write(&format!("shard {}: {notice}", self.shard));
                    let driver = Chosen { kind: Kind::Epoll, notice: Some(notice) };
                    let plan = Self { driver, ..self };
                    plan.run_on(EpollDriver::new(options)?, factory, first)
                }
            },
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Kind::Epoll => self.run_on(EpollDriver::new(options)?, factory, first),
            #[cfg(any(
                target_vendor = "apple",
                target_os = "freebsd",
                target_os = "dragonfly",
                target_os = "netbsd",
                target_os = "openbsd"
            ))]
            Kind::Kqueue => self.run_on(KqueueDriver::new(options)?, factory, first),
            other => {
                Err(io::Error::new(io::ErrorKind::Unsupported, format!("this system has no driver {other}")))
            }
        }
    }

    /// Runs the shard on this driver.
    fn run_on<S: Service, D>(
        self,
        driver: D,
        factory: &impl Factory<S>,
        first: Option<First<'_, S>>,
    ) -> io::Result<()>
    where
        D: Sockets<Socket = OwnedFd, Listener = Listener> + 'static,
    {
        let Self {
            shard,
            place,
            driver: Chosen { notice, .. },
            config,
            control,
            exchange,
            listeners,
            datagrams,
            carried,
            watch,
            starts,
        } = self;
        control.add_waker(shard, driver.waker());
        // There may be connections to be taken over.
        control.wake(Some(shard));
        let mut runner = Shard::new(driver);
        runner.driver().set_spin_us(config.spin_us);
        let pool = Pool::new(config.buffer_bytes_max / control.shards());
        mm_runtime::net::attach(runner.executor(), runner.io(), pool.clone());
        let ready = Ready::default();
        let stats = Arc::clone(&control.stats);
        let start = Start { shard, shards: stats.len(), notice, ready: ready.clone(), stats };
        let executor = runner.executor();
        mishaps::attend(executor, shard, &control, &config.log);
        if let Some(limit_ms) = config.stall_ms {
            let stalled = Arc::clone(&control.stats);
            executor.stall().set_hook(move |_| stalled[shard].stalls.add(1));
            watch.add(shard, executor.stall().watcher(limit_ms.get()));
        }
        executor.enter(|| drop(place.join()));
        let (service, handler) = executor.enter(|| factory(&start))?;
        executor.enter(|| starts.iter().try_for_each(|begin| begin(&start)))?;
        let mut traps = None;
        if let Some(first) = first {
            if !control.others_may_begin() {
                return Ok(());
            }
            executor.enter(|| (first.begin)(&start, &service))?;
            traps = first.traps;
        }
        if !control.may_begin(shard) {
            return Ok(());
        }
        let mut engine = Engine::new(Parts { service, pool, ready, config, control, exchange, shard });
        if let Some(spawn) = handler {
            runner.executor().enter(|| engine.set_handler(spawn))?;
        }
        engine.take_in(carried);
        listen(&mut engine, &mut *runner.driver(), listeners, datagrams)?;
        if let Some(traps) = traps {
            engine.set_signals(Signals::attach(&mut *runner.driver(), traps)?);
        }
        let ended = runner.run(&mut engine);
        runner.end_with(|driver| drop(engine.end(driver)));
        ended
    }
}

/// Has the engine listen on these sockets.
fn listen<S: Service, D: Driver<Listener = Listener>>(
    engine: &mut Engine<S, D>,
    driver: &mut D,
    listeners: Vec<Listener>,
    datagrams: Vec<(Listener, &'static dyn Framing)>,
) -> io::Result<()> {
    let streams = listeners.len();
    for listener in listeners {
        engine.add_listener(driver, listener)?;
    }
    for (place, (socket, framing)) in datagrams.into_iter().enumerate() {
        let port = match socket.address() {
            ListenAddress::Ip(address) => address.port(),
            ListenAddress::Unix(..) => 0,
        };
        engine.add_datagrams(driver, socket, (framing, port, streams + place))?;
    }
    Ok(())
}
