//! The loop that drives the connections.

use std::io::{IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::io::ioctl_fionbio;
use rustix::time::Timespec;

use super::arguments::{Plan, Stop, Target};
use super::batch::{Composer, Connection, Outcome};
use super::histogram::Histogram;
use super::report::{Report, Tally};
use super::values::Values;
use super::wire::Wire;
use crate::floor::listener;
use crate::floor::poll::{Poll, Ready};
use crate::limits::EVENTS_PER_WAIT;

/// How long answers are awaited after the last request was sent.
const DRAIN_NS: u64 = 5_000_000_000;

/// The longest wait for answers before the clock is looked at again.
const LOOK_NS: u64 = 100_000_000;

const SECOND_NS: u64 = 1_000_000_000;

/// Runs a plan to its end. Bad answers are in the report; they are no error here.
///
/// # Errors
/// The server cannot be reached, or every connection to it broke.
pub(crate) fn run(plan: &Plan) -> Result<Report, String> {
    Load::connect(plan)?.run(plan.stop)
}

/// Connections to a server, ready to load it as often as wanted.
pub(crate) struct Load {
    wire: Wire,
    composer: Composer,
    poll: Poll,
    /// By descriptor.
    connections: Vec<Option<Connection>>,
    /// Connections with nothing to wait for.
    idle: Vec<usize>,
    /// How many have a batch under way.
    busy: usize,
    start: Instant,
    spin: bool,
    /// Nanoseconds between two batches at a fixed rate.
    interval_ns: Option<f64>,
    schedule: Option<Schedule>,
    tally: Tally,
    latency: Histogram,
    progress: Progress,
}

/// When batches are due.
struct Schedule {
    interval_ns: f64,
    next_ns: f64,
}

impl Load {
    /// Connects as the plan says.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) fn connect(plan: &Plan) -> Result<Self, String> {
        let wire = Wire::new(plan.protocol, &plan.prefix, Values::new(plan.sizes.clone()), plan.checked);
        let poll = Poll::new(EVENTS_PER_WAIT)?;
        let (mut connections, mut idle) = (Vec::new(), Vec::new());
        for _ in 0..plan.connections {
            let stream = connect(&plan.target)?;
            poll.add(&stream, EventFlags::IN)?;
            let index = listener::index(&stream);
            listener::insert(&mut connections, index, Connection::new(stream, &wire));
            idle.push(index);
        }
        Ok(Self {
            wire,
            composer: Composer::new(plan),
            poll,
            connections,
            idle,
            busy: 0,
            start: Instant::now(),
            spin: plan.spin,
            interval_ns: plan.rate.map(|rate| plan.depth as f64 * 1e9 / rate),
            schedule: None,
            tally: Tally::default(),
            latency: Histogram::new(),
            progress: Progress::new(),
        })
    }

    /// Loads the server until `stop`, then awaits what is unanswered. Bad answers are in the report.
    ///
    /// # Errors
    /// Not one request was answered.
    pub(crate) fn run(&mut self, stop: Stop) -> Result<Report, String> {
        self.composer.restart(stop);
        (self.tally, self.latency, self.progress) = (Tally::default(), Histogram::new(), Progress::new());
        self.start = Instant::now();
        self.schedule = self.interval_ns.map(|interval_ns| Schedule { interval_ns, next_ns: 0.0 });
        let ended_ns = self.drive()?;
        self.progress.erase();
        self.count_unanswered();
        let tally = std::mem::take(&mut self.tally);
        match &tally.first_failure {
            Some(first) if tally.requests == 0 => Err(format!("not one request was answered: {first}")),
            _ => Ok(Report { seconds: ended_ns as f64 / 1e9, tally, latency: self.latency.clone() }),
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The loop; gives when it ended.
    fn drive(&mut self) -> Result<u64, String> {
        if self.schedule.is_none() {
            for index in std::mem::take(&mut self.idle) {
                let now_ns = self.now_ns();
                self.send_next(index, now_ns)?;
            }
        }
        let mut give_up_ns = u64::MAX;
        loop {
            let now_ns = self.now_ns();
            self.progress.show(now_ns, &self.tally);
            self.send_due(now_ns)?;
            let over = self.composer.is_done(now_ns);
            if over {
                give_up_ns = give_up_ns.min(now_ns + DRAIN_NS);
            }
            let done =
                over && self.schedule.as_ref().is_none_or(|due| self.composer.is_done(whole(due.next_ns)));
            let nothing_left = self.busy == 0 && (done || self.idle.is_empty());
            if nothing_left || now_ns >= give_up_ns {
                return Ok(now_ns);
            }
            for position in 0..self.wait(now_ns)? {
                self.serve(self.poll.ready(position))?;
            }
        }
    }

    /// Waits for answers until the next batch is due; gives how many connections have some.
    fn wait(&mut self, now_ns: u64) -> Result<usize, String> {
        if self.spin {
            return self.poll.wait(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        }
        let due_ns =
            self.schedule.as_ref().filter(|_| !self.idle.is_empty()).map(|schedule| schedule.next_ns);
        let until_due_ns = due_ns.map_or(LOOK_NS, |due_ns| whole(due_ns).saturating_sub(now_ns).min(LOOK_NS));
        self.poll.wait_exactly(until_due_ns)
    }

    /// Sends the batches that are due, as far as connections are free: those too that became due before the end and are
    /// late, else a server that stands still until the end would have kept nobody waiting.
    fn send_due(&mut self, now_ns: u64) -> Result<(), String> {
        loop {
            let Some(schedule) = &mut self.schedule else { return Ok(()) };
            let due_ns = whole(schedule.next_ns);
            if due_ns > now_ns || self.composer.is_done(due_ns) {
                return Ok(());
            }
            let Some(index) = self.idle.pop() else { return Ok(()) };
            schedule.next_ns += schedule.interval_ns;
            self.send_next(index, due_ns)?;
        }
    }

    /// Composes and sends the next batch of a connection.
    fn send_next(&mut self, index: usize, began_ns: u64) -> Result<(), String> {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return Ok(()) };
        connection.compose(&mut self.composer, &self.wire);
        if connection.unanswered() == 0 {
            self.idle.push(index);
            return Ok(());
        }
        connection.began_ns = began_ns;
        self.busy += 1;
        self.flush(index)
    }

    fn flush(&mut self, index: usize) -> Result<(), String> {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return Ok(()) };
        match connection.flush() {
            Ok(true) => Ok(()),
            Ok(false) => self.poll.modify(&connection.stream, EventFlags::IN | EventFlags::OUT),
            Err(complaint) => {
                self.lose(index, &complaint);
                Ok(())
            }
        }
    }

    fn serve(&mut self, ready: Ready) -> Result<(), String> {
        let index = ready.index;
        if ready.flags.contains(EventFlags::OUT) {
            self.flush(index)?;
            if let Some(Some(connection)) = self.connections.get(index)
                && !connection.is_sending()
            {
                self.poll.modify(&connection.stream, EventFlags::IN)?;
            }
        }
        if !ready.flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return Ok(());
        }
        let Some(Some(connection)) = self.connections.get_mut(index) else { return Ok(()) };
        match connection.receive(&self.composer, &self.wire, &mut self.tally) {
            Outcome::Waiting => Ok(()),
            Outcome::Over(complaint) => {
                self.lose(index, &complaint);
                Ok(())
            }
            Outcome::Answered => {
                let began_ns = connection.began_ns;
                let now_ns = self.now_ns();
                self.latency.record(now_ns.saturating_sub(began_ns));
                self.busy -= 1;
                if self.schedule.is_some() || self.composer.is_done(now_ns) {
                    self.idle.push(index);
                    Ok(())
                } else {
                    self.send_next(index, now_ns)
                }
            }
        }
    }

    /// Gives a broken connection up.
    fn lose(&mut self, index: usize, complaint: &str) {
        let Some(connection) = self.connections.get_mut(index).and_then(Option::take) else { return };
        self.tally.failure(complaint);
        if connection.unanswered() > 0 {
            self.busy -= 1;
        }
        self.idle.retain(|idle| *idle != index);
    }

    fn count_unanswered(&mut self) {
        let missing: usize = self.connections.iter().flatten().map(Connection::unanswered).sum();
        if missing > 0 {
            let seconds = DRAIN_NS / SECOND_NS;
            self.tally.failure(&format!("{missing} requests had no answer after {seconds} s"));
        }
    }
}

fn connect(target: &Target) -> Result<OwnedFd, String> {
    let stream: OwnedFd = match target {
        Target::Port(port) => TcpStream::connect((Ipv4Addr::LOCALHOST, *port))
            .map_err(|error| format!("cannot connect to 127.0.0.1:{port}: {error}"))?
            .into(),
        Target::Unix(path) => UnixStream::connect(path)
            .map_err(|error| format!("cannot connect to {}: {error}", path.display()))?
            .into(),
    };
    if matches!(target, Target::Port(_)) {
        listener::no_delay(&stream);
    }
    ioctl_fionbio(&stream, true).map_err(|error| format!("cannot make a socket non-blocking: {error}"))?;
    Ok(stream)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time since the start, above zero"
)]
fn whole(nanoseconds: f64) -> u64 {
    nanoseconds as u64
}

/// The line on a terminal that tells once a second how the run goes.
struct Progress {
    shown: bool,
    next_ns: u64,
    keys: u64,
}

impl Progress {
    fn new() -> Self {
        let shown = std::io::stderr().is_terminal();
        Self { shown, next_ns: if shown { SECOND_NS } else { u64::MAX }, keys: 0 }
    }

    fn show(&mut self, now_ns: u64, tally: &Tally) {
        if now_ns < self.next_ns {
            return;
        }
        let rate = tally.keys() - self.keys;
        let (seconds, bad) = (now_ns / SECOND_NS, tally.errors + tally.failures + tally.wrong);
        let line = format!(
            "\r{seconds} s: {rate} keys/s, {} keys, {} misses, {bad} bad ",
            tally.keys(),
            tally.misses
        );
        // A progress line that cannot be written is no reason to stop measuring.
        drop(std::io::stderr().write_all(line.as_bytes()));
        (self.next_ns, self.keys) = (self.next_ns + SECOND_NS, tally.keys());
    }

    fn erase(&self) {
        if self.shown {
            drop(std::io::stderr().write_all(b"\r\x1b[K"));
        }
    }
}
