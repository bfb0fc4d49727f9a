//! A whole server in virtual time, on a simulated network.
//!
//! It has several shards, listeners, time-outs, limits and stops: everything of a server but the sockets and
//! the threads. Its shards take their turns one after the other, in an order that the seed decides. A shard takes
//! one only when it would not sleep: something has happened to it, it is due, or it has been woken; so a wake-up that
//! is forgotten shows. Time passes only when all of them sleep. The same seed replays the same run, byte by byte.
//!
//! It takes services only: a handler's tasks are tried on real sockets.
//!
//! ```
//! use mm_base::{Now, buffer::Output};
//! use mm_runtime::driver::Received;
//! use mm_runtime::driver::sim::Faults;
//! use mm_server::simulation::Simulation;
//! use mm_server::{Config, Peer, Service, Step};
//!
//! struct Echo;
//!
//! impl Service for Echo {
//!     type Connection = ();
//!     fn connect(&mut self, _peer: &Peer) {}
//!     fn run(&mut self, _: &mut (), input: &[u8], output: &mut Output, _now: Now) -> Step {
//!         output.write(input);
//!         Step::Read { consumed: input.len() }
//!     }
//! }
//!
//! let faults = Faults { delay_ms_max: 10, short_receives: 2, ..Faults::default() };
//! let mut simulation = Simulation::new(&Config::default(), 1, faults, |_start| Echo);
//! let peer = simulation.connect();
//! simulation.network().write(peer, b"hello").unwrap();
//! let mut received = Vec::new();
//! while received.len() < 5 {
//!     simulation.step();
//!     if let Received::Bytes(bytes) = simulation.network().read(peer, 5).unwrap() {
//!         received.extend(bytes);
//!     }
//! }
//! assert_eq!(received, b"hello");
//! ```

use std::fmt;
use std::sync::Arc;

use mm_base::buffer::Pool;
use mm_base::choice::Choices;
use mm_runtime::driver::Driver;
use mm_runtime::driver::sim::{Faults, Network, PeerId, Port, SimDriver, SimSocket};
use mm_runtime::shard::{Next, Shard};

use crate::control::Control;
use crate::datagrams::Framing;
use crate::engine::{Engine, Parts};
use crate::exchange::{Arrival, Exchange};
use crate::hand_over::take_up;
use crate::limits::MOVES_MAX;
use crate::{Config, Handle, Ready, Service, Start, Stop, mishaps};

/// One turn in so many that a shard could take is put off, so that the others get ahead of it.
const HESITATION: u64 = 8;

/// Turns that the shards may take without any time passing before a run counts as spinning.
pub const TURNS_WITHOUT_TIME_MAX: usize = 100_000;

/// A server that is run by hand.
pub struct Simulation<S: Service> {
    network: Network,
    port: Port,
    datagrams: Option<(Port, &'static dyn Framing)>,
    control: Arc<Control>,
    exchange: Arc<Exchange<SimSocket>>,
    shards: Vec<Simulated<S>>,
    choices: Choices,
    unrest: Unrest,
    turns_without_time: usize,
}

/// What happens to shards that share a machine and a load. Nothing by default, nor where there is one shard only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unrest {
    /// One turn in so many is cut off in its middle, when all has been served: the shard's thread loses its processor
    /// for a while. 0: none.
    pub cut_turns: u64,
    /// How many steps of the others that may take.
    pub cut_steps_max: u64,
    /// How long it may take, in milliseconds.
    pub cut_ms_max: u64,
    /// One turn in so many is that of a shard which finds that another has much less to do, so that some of its
    /// connections move there. 0: none.
    pub moves: u64,
}

struct Simulated<S: Service> {
    shard: Shard<SimDriver>,
    engine: Engine<S, SimDriver>,
    next: Next,
    cut: Option<Cut>,
}

/// What a server that has ended by [`Simulation::hand_over`] leaves for another one.
pub struct SimHanded {
    port: Port,
    datagrams: Option<(Port, &'static dyn Framing)>,
    connections: Vec<Arrival<SimSocket>>,
}

/// A turn that is cut off in its middle.
#[derive(Clone, Copy)]
struct Cut {
    steps_left: u64,
    end_ms: u64,
}

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// A shard has taken a turn.
    Turn,
    /// Time has passed.
    Time,
    /// Nothing: no shard has anything to do, and nothing is under way or due.
    Idle,
    /// Nothing: every shard has stopped.
    Stopped,
    /// A turn, after so many without any time passing that a shard must be spinning.
    Spinning,
}

impl<S: Service> Simulation<S> {
    /// A server by `config` (its signals and options of sockets are without meaning here) with the services
    /// that `factory` makes, on a network of `seed` with `faults`.
    pub fn new(config: &Config, seed: u64, faults: Faults, factory: impl Fn(&Start) -> S) -> Self {
        Self::on(&Network::new(seed, faults), config, seed, factory)
    }

    /// The same on a network that there is already, such as that of a server that has stopped.
    pub fn on(network: &Network, config: &Config, seed: u64, factory: impl Fn(&Start) -> S) -> Self {
        Self::at(network.port(), network, (config, seed), factory)
    }

    /// A server that goes on where another one on this network has ended.
    pub fn resume(
        handed: SimHanded,
        network: &Network,
        (config, seed): (&Config, u64),
        factory: impl Fn(&Start) -> S,
    ) -> Self {
        let SimHanded { port, datagrams, connections } = handed;
        let mut simulation = Self::at(port, network, (config, seed), factory);
        network.let_go(port);
        if let Some((port, framing)) = datagrams {
            simulation.add_datagrams(port, framing);
        }
        let above = take_up(connections, config, &simulation.control, &simulation.exchange);
        if let Some(first) = simulation.shards.first_mut() {
            first.engine.take_in(above);
        }
        simulation
    }

    /// A server that listens on a port.
    fn at(
        port: Port,
        network: &Network,
        (config, seed): (&Config, u64),
        factory: impl Fn(&Start) -> S,
    ) -> Self {
        let network = network.clone();
        let count = config.shards.get();
        let control = Arc::new(Control::new(count));
        let exchange = Arc::new(Exchange::new(count));
        let shards = (0..count).map(|number| {
            let ready = Ready::default();
            let stats = Arc::clone(&control.stats);
            let start = Start { shard: number, shards: count, notice: None, ready: ready.clone(), stats };
            let service = factory(&start);
            let mut shard = Shard::new(network.driver(false));
            control.add_waker(number, shard.driver().waker());
            let (config, control, exchange) = (config.clone(), Arc::clone(&control), Arc::clone(&exchange));
            mishaps::attend(shard.executor(), number, &control, &config.log);
            let pool = Pool::new(config.buffer_bytes_max / count);
            let parts = Parts { service, pool, ready, config, control, exchange, shard: number };
            let mut engine = Engine::new(parts);
            // A simulated driver has room for as many sources as a table.
            let listening = engine.add_listener(&mut *shard.driver(), port);
            debug_assert!(listening.is_ok(), "a simulated driver refused a listener");
            Simulated { shard, engine, next: Next::Now, cut: None }
        });
        let shards = shards.collect();
        let (choices, unrest) = (Choices::new(seed).fork(1), Unrest::default());
        let (datagrams, turns_without_time) = (None, 0);
        Self { network, port, datagrams, control, exchange, shards, choices, unrest, turns_without_time }
    }

    /// Asks the server to end and to leave everything to another one: when it has stopped, see
    /// [`take_handed`](Self::take_handed). Who connects meanwhile waits.
    pub fn hand_over(&self) {
        self.network.hold(self.port);
        self.control.stop(Stop::HandOver);
    }

    /// What a server that has stopped after [`hand_over`](Self::hand_over) leaves. Its services are dropped.
    pub fn take_handed(&mut self) -> SimHanded {
        self.shards.clear();
        let leaving = self.exchange.take_leaving();
        let connections =
            leaving.into_iter().map(|arrival| Arrival { origin: None, luggage: None, ..arrival });
        SimHanded { port: self.port, datagrams: self.datagrams, connections: connections.collect() }
    }

    /// Sets what happens to the shards from now on.
    pub fn set_unrest(&mut self, unrest: Unrest) {
        self.unrest = unrest;
    }

    /// Whether a shard is in the middle of a turn, without a processor.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.shards.iter().any(|simulated| simulated.cut.is_some())
    }

    /// The network, with the clock and the far ends of the connections.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Connects to the server.
    #[must_use]
    pub fn connect(&self) -> PeerId {
        self.network.connect(self.port)
    }

    /// Has the server answer datagrams, too. Returns the port to send them to.
    pub fn listen_datagrams(&mut self, framing: &'static dyn Framing) -> Port {
        let port = self.network.datagram_port();
        self.add_datagrams(port, framing);
        port
    }

    fn add_datagrams(&mut self, port: Port, framing: &'static dyn Framing) {
        self.datagrams = Some((port, framing));
        for Simulated { shard, engine, .. } in &mut self.shards {
            let added = engine.add_datagrams(&mut *shard.driver(), port, (framing, 0, 1));
            debug_assert!(added.is_ok(), "a simulated driver refused a socket");
        }
    }

    /// What stops it, and shows what it does.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.control))
    }

    /// The services, by shard.
    pub fn services(&self) -> impl Iterator<Item = &S> {
        self.shards.iter().map(|simulated| simulated.engine.service())
    }

    /// Bytes that the connections hold in buffers, over all shards.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.shards.iter().map(|simulated| simulated.engine.buffered_bytes()).sum()
    }

    /// Whether a shard's connection memory is used up, so that it receives nothing until some is given back.
    #[must_use]
    pub fn is_short_of_memory(&self) -> bool {
        self.shards.iter().any(|simulated| simulated.engine.is_short_of_memory())
    }

    /// Connections that the shards serve.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shards.iter().map(|simulated| simulated.engine.connections()).sum()
    }

    /// Lets every shard that does not sleep take a turn, in an order of chance; where all sleep, lets time pass until
    /// something is due.
    pub fn step(&mut self) -> Stepped {
        self.step_until(u64::MAX)
    }

    /// The same, with time passing no further than to `end_ms` on the monotonic clock.
    pub fn step_until(&mut self, end_ms: u64) -> Stepped {
        let mut order: Vec<usize> = (0..self.shards.len()).collect();
        self.choices.shuffle(&mut order);
        let now_ms = self.network.now().monotonic_ms;
        let mut all_sleep = true;
        for &index in &order {
            let simulated = &mut self.shards[index];
            if simulated.is_cut_off(now_ms) || !simulated.is_awake(now_ms) {
                continue;
            }
            all_sleep = false;
            if order.len() == 1 {
                simulated.turn();
            } else if !self.choices.one_in(HESITATION) {
                self.turn_among_others(index, now_ms);
            }
        }
        if self.shards.iter().all(|simulated| simulated.next == Next::Stop) {
            return Stepped::Stopped;
        }
        if !all_sleep {
            self.turns_without_time += 1;
            let spins = self.turns_without_time > TURNS_WITHOUT_TIME_MAX;
            return if spins { Stepped::Spinning } else { Stepped::Turn };
        }
        let timers = self.shards.iter().filter_map(Simulated::due_ms);
        let bound = (end_ms < u64::MAX).then_some(end_ms);
        let Some(due_ms) = timers.chain(self.network.next_ms()).chain(bound).min() else {
            return Stepped::Idle;
        };
        self.turns_without_time = 0;
        self.network.advance_to(due_ms);
        Stepped::Time
    }

    /// A turn of one shard of several, with what the unrest among them does to it.
    fn turn_among_others(&mut self, index: usize, now_ms: u64) {
        let Unrest { cut_turns, cut_steps_max, cut_ms_max, moves } = self.unrest;
        if self.choices.one_in(moves) {
            let target = (index + 1 + self.choices.index(self.shards.len() - 1)) % self.shards.len();
            let count = 1 + self.choices.index(MOVES_MAX);
            self.shards[index].engine.send_some_to(target, count);
        }
        let simulated = &mut self.shards[index];
        if self.choices.one_in(cut_turns) {
            let steps_left = self.choices.between(1, cut_steps_max);
            simulated.cut = Some(Cut { steps_left, end_ms: now_ms + self.choices.between(0, cut_ms_max) });
            simulated.begin_turn();
        } else {
            simulated.turn();
        }
    }
}

impl SimHanded {
    /// How many connections go on.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }
}

impl fmt::Debug for SimHanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = &self.connections.len();
        f.debug_struct("SimHanded")
            .field("port", &self.port)
            .field("connections", connections)
            .finish_non_exhaustive()
    }
}

impl<S: Service> Simulated<S> {
    /// Whether the shard would not sleep.
    fn is_awake(&mut self, now_ms: u64) -> bool {
        let is_due = match self.next {
            Next::Stop => return false,
            Next::Now => true,
            Next::At(time) => time <= now_ms,
            Next::Never => false,
        };
        is_due || self.shard.has_work() || self.shard.driver().is_ready()
    }

    /// When it has something to do, if that does not depend on others.
    fn due_ms(&self) -> Option<u64> {
        match (self.cut, self.next) {
            (Some(cut), _) => Some(cut.end_ms),
            (None, Next::At(time)) => Some(time),
            _ => None,
        }
    }

    /// Whether the shard is in the middle of a turn for one more step. If it has been for long enough, the turn ends.
    fn is_cut_off(&mut self, now_ms: u64) -> bool {
        let Some(cut) = &mut self.cut else { return false };
        cut.steps_left -= 1;
        if cut.steps_left > 0 && now_ms < cut.end_ms {
            return true;
        }
        self.cut = None;
        self.next = self.shard.end_turn(&mut self.engine);
        false
    }

    fn begin_turn(&mut self) {
        // A simulated driver never fails to poll.
        let begun = self.shard.begin_turn(&mut self.engine);
        debug_assert!(begun.is_ok(), "a simulated driver failed to poll");
    }

    fn turn(&mut self) {
        self.begin_turn();
        self.next = self.shard.end_turn(&mut self.engine);
    }
}

impl<S: Service> fmt::Debug for Simulation<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = self.shards.iter().map(|simulated| simulated.next);
        let mut shown = f.debug_struct("Simulation");
        shown.field("network", &self.network).field("next", &next.collect::<Vec<_>>());
        shown.finish_non_exhaustive()
    }
}
