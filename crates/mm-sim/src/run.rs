//! A run: one seed, from the first connection to the last check.

mod checks;
mod explained;
mod hand_over;
mod start;

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::Arc;

use mm_base::choice::Choices;
use mm_memcached::{Framed, Shared as Common};
use mm_runtime::driver::sim::{Faults, Network};
use mm_server::Stop;
use mm_server::simulation::{Simulation, Stepped};
use mm_store::{Kept, Sharing};

use crate::checked::Checked;
use crate::client::{Client, Ends, Room, Stage};
use crate::history::History;
use crate::letters::Writer;
use crate::limits::{FAULT_KINDS_MIN, OPS_MIN, PROGRESS_MS_MAX, PROGRESS_STEPS_MIN, SPINS_MAX};
use crate::plan::Plan;
use crate::populating;
use crate::requests::Requests;
use crate::world::{Shared, World};
use explained::Explained;
use start::{Open, Start, kept_memory, own_store, shared_stores};

/// What was wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed that shows it again.
    pub seed: u64,
    /// What was wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

impl std::error::Error for Failure {}

/// What a run has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Requests executed, keys of multigets counted one by one.
    pub ops: u64,
    /// Items lost to eviction, each of them accounted for.
    pub lost: u64,
    /// Requests that were answered that there was no memory.
    pub no_memory: u64,
    /// Requests about items of which nothing certain was known.
    pub unknown: u64,
    /// Searches for an order of what clients have seen of a key.
    pub searches: u64,
    /// How many of them were given up.
    pub given_up: u64,
    /// Kinds of fault that happened.
    pub fault_kinds: usize,
    /// Milliseconds of virtual time.
    pub virtual_ms: u64,
    /// A number that is another one if a byte went another way.
    pub digest: u64,
}

/// Runs a seed.
///
/// # Errors
/// The first thing that was wrong.
pub fn run(seed: u64) -> Result<Report, Failure> {
    run_plan(seed, None)
}

/// The same, with each request and its answer shown as it is executed.
///
/// # Errors
/// The first thing that was wrong.
pub fn run_shown(seed: u64, show: fn(&str)) -> Result<Report, Failure> {
    run_plan(seed, Some(show))
}

/// One shard has a store of its own, several share one: mmem's two builds. What is wrong may show as a panic, too.
fn run_plan(seed: u64, show: Option<fn(&str)>) -> Result<Report, Failure> {
    let whole = catch_unwind(|| {
        let plan = Plan::new(seed);
        match plan.config.shards.get() {
            1 => Run::new(seed, plan, own_store)?.whole(show),
            _ => Run::new(seed, plan, shared_stores)?.whole(show),
        }
    });
    whole.unwrap_or_else(|panic| Err(panicked(&*panic))).map_err(|what| Failure { seed, what })
}

/// What a panic says.
fn panicked(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    format!("a panic: {}", text.or_else(|| panic.downcast_ref().copied()).unwrap_or("without a text"))
}

struct Run<S: Sharing> {
    seed: u64,
    open: Open<S>,
    plan: Plan,
    world: Shared,
    network: Network,
    /// The memory of the store, where it is to outlive its server.
    kept: Option<Kept>,
    /// What the shards' services have in common.
    common: Arc<Common>,
    simulation: Simulation<Checked<S>>,
    clients: Vec<Client>,
    requests: Requests,
    choices: Choices,
    writer: Writer,
    ends: Ends,
    /// Ends that the servers so far have counted as theirs.
    explained: Explained,
    /// Searches for an order of what clients have seen of a key, and how many of them were given up.
    searches: u64,
    given_up: u64,
    jumps: u64,
    drained: bool,
    /// Servers that have taken the place of another.
    handed_over: u64,
    /// One is about to.
    hands_over: bool,
    /// Accepts that had failed when time last passed.
    failed_accepts: u64,
    /// What has been done, when that was last more than before, and steps since then.
    progress: (u64, u64, u64),
    /// Bytes that had passed, and turns since then without time or bytes passing.
    spin: (u64, u32),
}

impl<S: Sharing> Run<S> {
    fn new(seed: u64, plan: Plan, open: Open<S>) -> Result<Self, String> {
        let mut choices = Choices::new(seed).fork(11);
        let keys = (0..plan.keys).map(|number| key(number, &mut choices)).collect();
        let world = Rc::new(RefCell::new(World::new(keys, plan.settings.items.item_size_max, plan.clients)));
        let network = Network::new(seed, plan.faults);
        let kept = kept_memory(&plan)?;
        let (mut simulation, common) =
            Start { network: &network, plan: &plan, seed, open }.anew(kept.as_ref(), &world);
        let port = simulation.listen_datagrams(&Framed);
        if plan.work.is_recorded {
            world.borrow_mut().history = Some(History::default());
        }
        let writer = Writer::new(port, 0, plan.config.output_cap_bytes);
        let requests = Requests::new(&plan.work, plan.settings.items.item_size_max, &mut choices);
        let clients = (0..plan.clients).map(|_| Client::new(&plan.manners, &mut choices)).collect();
        Ok(Self {
            seed,
            open,
            plan,
            world,
            network,
            kept,
            common,
            simulation,
            clients,
            requests,
            choices,
            writer,
            ends: Ends::default(),
            explained: Explained::default(),
            jumps: 0,
            searches: 0,
            given_up: 0,
            drained: false,
            handed_over: 0,
            hands_over: false,
            failed_accepts: 0,
            progress: (0, 0, 0),
            spin: (0, 0),
        })
    }

    fn whole(&mut self, show: Option<fn(&str)>) -> Result<Report, String> {
        self.world.borrow_mut().show = show;
        if let Some(show) = show {
            show(&format!("{:#?}", self.plan));
        }
        while self.world.borrow().executed < OPS_MIN {
            self.step(false)?;
            if self.plan.ends.drain_after != 0 && self.world.borrow().executed > self.plan.ends.drain_after {
                self.plan.ends.drain_after = 0;
                self.begin_anew()?;
            }
            if self.is_hand_over_due() {
                self.hand_over()?;
            }
        }
        self.network.set_faults(Faults { resets: 0, failed_accepts: 0, ..self.plan.faults });
        self.settle()?;
        self.stop()?;
        self.explained.check(&self.ends, self.network.happened().resets)?;
        self.check_history()?;
        let fault_kinds = self.fault_kinds();
        if fault_kinds < FAULT_KINDS_MIN {
            return Err(format!("only {fault_kinds} kinds of fault have happened"));
        }
        let world = self.world.borrow();
        Ok(Report {
            ops: world.executed,
            lost: world.model.lost,
            no_memory: world.model.no_memory,
            unknown: world.model.unknown,
            searches: self.searches,
            given_up: self.given_up,
            fault_kinds,
            virtual_ms: self.network.now().monotonic_ms,
            digest: world.digest(),
        })
    }

    /// Drains the server and starts one: with an empty store, or with what the last has left in a file.
    fn begin_anew(&mut self) -> Result<(), String> {
        self.drained = true;
        // Those that had nothing under way when it was drained are closed, and no others have been so far.
        self.explained_so_far().check(&self.ends, self.network.happened().resets)?;
        self.stop()?;
        self.explained.forgive(&self.ends, self.network.happened().resets);
        match self.kept.take() {
            Some(kept) if self.plan.ends.is_in_file => self.begin_with(&kept)?,
            _ => {
                self.check_history()?;
                self.world.borrow_mut().restart();
                self.requests.restart();
                self.kept = kept_memory(&self.plan)?;
                let start =
                    Start { network: &self.network, plan: &self.plan, seed: self.seed, open: self.open };
                (self.simulation, self.common) = start.anew(self.kept.as_ref(), &self.world);
            }
        }
        let port = self.simulation.listen_datagrams(&Framed);
        self.writer = Writer::new(port, self.writer.sent(), self.plan.config.output_cap_bytes);
        Ok(())
    }

    /// Clients act, then the server takes turns, or time passes.
    fn step(&mut self, ending: bool) -> Result<Stepped, String> {
        self.act(ending);
        let now_ms = self.network.now().monotonic_ms;
        let acting = self.clients.iter().filter(|client| !ending || client.is_open());
        let due_ms = acting.filter_map(Client::due_ms).min().unwrap_or(u64::MAX);
        let stepped = self.simulation.step_until(due_ms.max(now_ms + 1));
        match stepped {
            Stepped::Spinning => self.check_spin()?,
            Stepped::Time => self.time_passes(),
            Stepped::Turn | Stepped::Idle => {}
            // What was sent before is still on its way.
            Stepped::Stopped => self.network.advance_to(now_ms + 1),
        }
        if let Some(failure) = self.world.borrow().failure() {
            return Err(failure.to_owned());
        }
        self.check_memory()?;
        self.check_progress(now_ms)?;
        Ok(stepped)
    }

    /// Where nothing is ever under way, time need not pass while bytes do.
    fn check_spin(&mut self) -> Result<(), String> {
        let passed = self.world.borrow().passed;
        if passed != self.spin.0 {
            self.spin = (passed, 0);
        }
        self.spin.1 += 1;
        if self.spin.1 <= SPINS_MAX {
            return Ok(());
        }
        Err(format!("a shard spins: {:?}; {}", self.simulation, self.shown()))
    }

    /// Something is received, or a connection made, every few minutes at least.
    fn check_progress(&mut self, now_ms: u64) -> Result<(), String> {
        let done = self.world.borrow().passed + self.ends.connected;
        if done != self.progress.0 {
            self.progress = (done, now_ms, 0);
        }
        self.progress.2 += 1;
        // A machine that sleeps passes minutes in a few steps.
        if now_ms - self.progress.1 < PROGRESS_MS_MAX || self.progress.2 < PROGRESS_STEPS_MIN {
            return Ok(());
        }
        Err(format!("nothing has happened for minutes; {}", self.shown()))
    }

    /// What clients wait for, for messages.
    fn shown(&self) -> String {
        let mut world = self.world.borrow_mut();
        let shown = self.clients.iter().filter_map(|client| client.shown(&self.simulation, &mut world));
        shown.collect::<Vec<String>>().join("; ")
    }

    fn act(&mut self, ending: bool) {
        let mut world = self.world.borrow_mut();
        self.writer.read(&self.network, &mut world);
        if !ending && self.choices.one_in(self.plan.work.letters) {
            self.writer.write(&self.network, (&mut world, &mut self.requests), &mut self.choices);
        }
        let mut stage = Stage {
            simulation: &self.simulation,
            world: &mut world,
            requests: &mut self.requests,
            choices: &mut self.choices,
            ends: &mut self.ends,
            manners: &self.plan.manners,
            work: &self.plan.work,
            ending,
        };
        for client in &mut self.clients {
            client.act(&mut stage);
        }
    }

    /// Time passes only when all shards sleep: then there must be nothing for them to do.
    fn time_passes(&mut self) {
        let mut world = self.world.borrow_mut();
        let failed_accepts = self.network.happened().failed_accepts;
        let room = Room {
            descriptors: std::mem::replace(&mut self.failed_accepts, failed_accepts) == failed_accepts,
            memory: !self.simulation.is_short_of_memory(),
            place: self.simulation.connections() < self.plan.config.connections_max,
        };
        // Whoever is served by a shard without a processor waits for that, and all wait for the next server.
        let is_forgiven = self.simulation.is_cut_off() || self.hands_over;
        for client in &mut self.clients {
            if is_forgiven {
                client.forgive_stall();
            } else {
                client.check_stall(&self.simulation, &mut world, room);
            }
        }
        if self.choices.one_in(self.plan.populates) {
            populating::finish_one();
        }
        if self.choices.one_in(self.plan.clock_jumps) {
            self.jumps += 1;
            if self.choices.one_in(2) {
                self.network.step_clock(i64::try_from(self.choices.below(7200)).unwrap_or(0) - 3600);
            } else {
                let now_ms = self.network.now().monotonic_ms;
                self.network.advance_to(now_ms + self.choices.between(1000, 20_000));
                self.clients.iter_mut().for_each(Client::forgive_stall);
            }
        }
    }

    /// Brings everything to its end: each client reads all its answers and finishes.
    fn settle(&mut self) -> Result<(), String> {
        let start_ms = self.network.now().monotonic_ms;
        while self.clients.iter().any(Client::is_open) {
            self.step(true)?;
            if self.network.now().monotonic_ms - start_ms > 3_600_000 {
                return Err("clients still wait for answers after an hour".to_owned());
            }
        }
        Ok(())
    }

    /// Stops the server in good order and sees to it that nothing is left over.
    fn stop(&mut self) -> Result<(), String> {
        self.shrink()?;
        let start_ms = self.network.now().monotonic_ms;
        self.check_store()?;
        self.simulation.handle().stop(Stop::Gracefully);
        while self.step(true)? != Stepped::Stopped {
            let waited_ms = self.network.now().monotonic_ms - start_ms;
            if waited_ms > self.plan.config.drain_ms + 30_000 {
                return Err(format!("the server has not stopped after {waited_ms} ms"));
            }
        }
        self.check_leaks()?;
        self.check_refusals()?;
        // What the server has sent is still on its way.
        self.settle()?;
        self.explain()
    }

    /// Adds up the ends of connections that the server, which has stopped, has counted.
    fn explain(&mut self) -> Result<(), String> {
        self.explained = self.explained_so_far();
        for stats in self.simulation.handle().stats() {
            if stats.panics.get() > 0 || stats.faults.get() > 0 {
                return Err(format!("panics or faults of the service: {stats:?}"));
            }
        }
        Ok(())
    }

    /// The ends that all servers have counted, the present one too.
    fn explained_so_far(&self) -> Explained {
        let mut explained = self.explained;
        for stats in self.simulation.handle().stats() {
            let cut = stats.write_timeouts.get() + stats.memory_timeouts.get() + stats.drain_timeouts.get();
            explained.cut += cut;
            explained.closed += cut + stats.idle_timeouts.get() + stats.connections_rejected.get();
            explained.closed += stats.addresses_rejected.get();
        }
        explained
    }
}

/// The bytes of a key: short ones mostly, some as long as they may be.
fn key(number: usize, choices: &mut Choices) -> Vec<u8> {
    let mut key = format!("k{number}").into_bytes();
    let len = if choices.one_in(10) { 250 } else { key.len() + choices.index(20) };
    while key.len() < len {
        key.push(b"-_abc:"[choices.index(6)]);
    }
    key
}
