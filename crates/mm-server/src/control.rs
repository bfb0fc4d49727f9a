//! What the shards of a server share, and how it is stopped from outside.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use mm_runtime::driver::{Address, Waker};

use crate::Stats;
use crate::hand_over::Handed;
use crate::origin::{Origin, Origins};

/// How a server is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// No new connections; those there are go to another server as soon as they are between two requests:
    /// [`Handle::take_handed`] has them when the server has ended. What is not so far within the time set for it is
    /// closed.
    HandOver,
    /// No new connections; those there are may finish what they have begun, within the time set for it. Until then
    /// every shard does what others [submit](mm_runtime::shards) to it.
    Gracefully,
    /// Now.
    AtOnce,
}

/// Stronger from one to the next: a server that has been told to end one way is so by a stronger one only.
const HAND_OVER: u8 = 1;
/// Gracefully, by a signal that may come once more.
const PASSED_ON: u8 = 2;
const GRACEFULLY: u8 = 3;
const AT_ONCE: u8 = 4;

/// Stops a running server from another thread.
#[derive(Clone)]
pub struct Handle {
    control: Arc<Control>,
}

impl Handle {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self { control }
    }

    /// Asks the server to end. Returns at once.
    pub fn stop(&self, how: Stop) {
        self.control.stop(how);
    }

    /// Asks the server to end gracefully, because of a signal that has come to [the process before
    /// it](crate::process::successor::Predecessor). It may have come to this one too, before or after: that is then no
    /// second signal, which would end the server at once. Returns at once.
    pub fn stop_passed_on(&self) {
        self.control.stop_by(PASSED_ON);
    }

    /// Asks the server to end because of a signal to this process: gracefully the first time, also where a hand-over
    /// is under way, and at once then.
    pub(crate) fn stop_by_signal(&self) {
        let again = self.control.stop.load(Ordering::Relaxed) >= GRACEFULLY;
        self.stop(if again { Stop::AtOnce } else { Stop::Gracefully });
    }

    /// What a server that has ended by [`Stop::HandOver`] has left for another one.
    #[must_use]
    pub fn take_handed(&self) -> Option<Handed> {
        self.control.handed().take()
    }

    /// Has every shard write to the log what it does: its tasks by name, and some hundred of its connections.
    /// Returns at once.
    pub fn dump(&self) {
        self.control.dumps.fetch_add(1, Ordering::Relaxed);
        self.control.wake(None);
    }

    /// Whether the server has been asked to end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping().is_some()
    }

    /// How the server has been asked to end.
    pub(crate) fn stopping(&self) -> Option<Stop> {
        self.control.stopping()
    }

    /// What each shard's connections have done so far.
    #[must_use]
    pub fn stats(&self) -> &[Stats] {
        &self.control.stats
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// How far a shard is with a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// It takes no new connections, and gives none to others.
    Closed = 1,
    /// Its stop is overdue, so that it has told its handlers to end.
    Overdue,
    /// It is gone.
    Ended,
}

/// How far the shards are with their start.
#[derive(Debug, Default)]
struct Begun {
    /// How many shards but the first have what they start with.
    ready: usize,
    /// Whether one of those has ended.
    one_has_ended: bool,
    /// Whether the first has begun; `None` as long as nobody knows.
    first: Option<bool>,
}

/// Shared by all shards.
pub(crate) struct Control {
    /// 0: serve; else a [`Stop`].
    stop: AtomicU8,
    /// By shard. 0: serves; else a [`Phase`].
    phases: Box<[AtomicU8]>,
    /// How many dumps have been asked for.
    dumps: AtomicU32,
    /// Connections open, over all shards.
    connections: AtomicUsize,
    /// Connections open or on their way, by shard.
    loads: Box<[AtomicUsize]>,
    origins: Origins,
    wakers: Mutex<Vec<(usize, Waker)>>,
    begun: Mutex<Begun>,
    begun_changed: Condvar,
    /// The listening sockets, of which the shards have others: they are there as long as there is this one.
    listening: Mutex<Option<Handed>>,
    /// What the server leaves, when it has ended.
    handed: Mutex<Option<Handed>>,
    pub(crate) stats: Arc<[Stats]>,
    /// Whether these are those of a server before this one, which has counted the connections that come from there.
    pub(crate) counts_on: bool,
}

impl Control {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            stop: AtomicU8::new(0),
            phases: (0..shards).map(|_| AtomicU8::new(0)).collect(),
            dumps: AtomicU32::new(0),
            connections: AtomicUsize::new(0),
            loads: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            origins: Origins::default(),
            wakers: Mutex::new(Vec::new()),
            begun: Mutex::default(),
            begun_changed: Condvar::new(),
            listening: Mutex::new(None),
            handed: Mutex::new(None),
            stats: (0..shards).map(|_| Stats::default()).collect(),
            counts_on: false,
        }
    }

    pub(crate) fn listening(&self) -> MutexGuard<'_, Option<Handed>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn handed(&self) -> MutexGuard<'_, Option<Handed>> {
        self.handed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to wake when there is something to do for a shard.
    pub(crate) fn add_waker(&self, shard: usize, waker: Waker) {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner).push((shard, waker));
    }

    /// Makes a shard take a turn, or every shard (`None`).
    pub(crate) fn wake(&self, shard: Option<usize>) {
        let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |(of, _): &&(usize, Waker)| shard.is_none_or(|shard| shard == *of);
        wakers.iter().filter(wanted).for_each(|(_, waker)| waker.wake());
    }

    fn begun(&self) -> MutexGuard<'_, Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is known whether the shards begin.
    fn wait_for_begun<T>(&self, known: impl Fn(&Begun) -> Option<T>) -> T {
        let mut begun = self.begun();
        loop {
            if let Some(known) = known(&begun) {
                return known;
            }
            begun = self.begun_changed.wait(begun).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The first shard has begun, or (`false`) will never do so. What was said first counts.
    pub(crate) fn first_has_begun(&self, has_begun: bool) {
        self.begun().first.get_or_insert(has_begun);
        self.begun_changed.notify_all();
    }

    /// Another shard than the first will never begin, or has ended.
    fn other_has_ended(&self) {
        self.begun().one_has_ended = true;
        self.begun_changed.notify_all();
    }

    /// For the first shard, before it does what cannot be taken back: waits until all others have what they start with.
    /// `false` if one will never have that, and why that is so is said there.
    pub(crate) fn others_may_begin(&self) -> bool {
        let others = self.shards() - 1;
        self.wait_for_begun(|begun| match begun {
            Begun { one_has_ended: true, .. } => Some(false),
            Begun { ready, .. } => (*ready == others).then_some(true),
        })
    }

    /// A shard has what it starts with. Waits until the first one has begun, which this is the news of where it is that
    /// one; `false` if it will never do so, and why that is so is said there.
    pub(crate) fn may_begin(&self, shard: usize) -> bool {
        if shard == 0 {
            self.first_has_begun(true);
        } else {
            self.begun().ready += 1;
            self.begun_changed.notify_all();
        }
        self.wait_for_begun(|begun| begun.first)
    }

    /// How many dumps have been asked for so far.
    pub(crate) fn dumps(&self) -> u32 {
        self.dumps.load(Ordering::Relaxed)
    }

    pub(crate) fn shards(&self) -> usize {
        self.stats.len()
    }

    pub(crate) fn stop(&self, how: Stop) {
        self.stop_by(match how {
            Stop::HandOver => HAND_OVER,
            Stop::Gracefully => GRACEFULLY,
            Stop::AtOnce => AT_ONCE,
        });
    }

    fn stop_by(&self, level: u8) {
        self.stop.fetch_max(level, Ordering::Relaxed);
        if level != HAND_OVER {
            // Who connects from now on is refused.
            drop(self.listening().take());
        }
        self.wake(None);
    }

    /// How the server is to end, if it is.
    pub(crate) fn stopping(&self) -> Option<Stop> {
        match self.stop.load(Ordering::Relaxed) {
            0 => None,
            HAND_OVER => Some(Stop::HandOver),
            PASSED_ON | GRACEFULLY => Some(Stop::Gracefully),
            _ => Some(Stop::AtOnce),
        }
    }

    /// A shard has come so far. The others look whether they may end.
    pub(crate) fn reached(&self, shard: usize, phase: Phase) {
        let before = self.phases[shard].fetch_max(phase as u8, Ordering::Release);
        if before < phase as u8 {
            self.wake_all_of_several();
        }
    }

    /// Wakes every shard, where there is more than one.
    fn wake_all_of_several(&self) {
        if self.shards() > 1 {
            self.wake(None);
        }
    }

    /// Whether a stop has come so far that no shard has a connection or will get one. Then that stays so.
    pub(crate) fn is_drained(&self) -> bool {
        // Acquire: it comes with the connections that the shard has given to others before.
        let phases = self.phases.iter().map(|phase| phase.load(Ordering::Acquire));
        let are_closed = phases.clone().all(|phase| phase >= Phase::Closed as u8);
        // What a shard had when it failed is gone with it.
        let mut shards = phases.zip(&self.loads);
        are_closed
            && shards.all(|(phase, load)| phase == Phase::Ended as u8 || load.load(Ordering::Relaxed) == 0)
    }

    /// Whether every shard has come so far.
    pub(crate) fn have_all_reached(&self, phase: Phase) -> bool {
        self.phases.iter().all(|reached| reached.load(Ordering::Acquire) >= phase as u8)
    }

    /// A shard that takes no new connections has lost one. If that was its last, the others look whether they may end.
    pub(crate) fn lost_while_closed(&self, shard: usize) {
        if self.loads[shard].load(Ordering::Relaxed) == 0 {
            self.wake_all_of_several();
        }
    }

    /// Counts a connection with its peer's others, unless there are `max`. What comes back is to be given to
    /// [`forget`](Self::forget) when it has ended.
    pub(crate) fn note(&self, address: Address, max: usize) -> Result<Option<Origin>, ()> {
        let Some(origin) = Origin::of(address) else { return Ok(None) };
        if self.origins.enter(origin, max) { Ok(Some(origin)) } else { Err(()) }
    }

    /// A connection of this origin has ended.
    pub(crate) fn forget(&self, origin: Option<Origin>) {
        if let Some(origin) = origin {
            self.origins.leave(origin);
        }
    }

    /// Counts one more connection, unless there are `max`, and says which shard is to serve it: the one with
    /// the fewest, `here` rather than another that has as few.
    pub(crate) fn enter(&self, max: usize, here: usize) -> Option<usize> {
        let below = |open: usize| (open < max).then_some(open + 1);
        self.connections.try_update(Ordering::Relaxed, Ordering::Relaxed, below).ok()?;
        loop {
            let loads = self.loads.iter().map(|load| load.load(Ordering::Relaxed)).enumerate();
            let (shard, load) = loads.min_by_key(|(shard, load)| (*load, *shard != here))?;
            // While its load is the one that was seen, no other has fewer, unless one has just lost some.
            let taken =
                self.loads[shard].compare_exchange(load, load + 1, Ordering::Relaxed, Ordering::Relaxed);
            if taken.is_ok() {
                return Some(shard);
            }
        }
    }

    /// One connection less on a shard. Says whether there were `max`, so that somebody may wait for the
    /// place.
    pub(crate) fn leave(&self, max: usize, shard: usize) -> bool {
        self.loads[shard].fetch_sub(1, Ordering::Relaxed);
        self.connections.fetch_sub(1, Ordering::Relaxed) >= max
    }

    /// A connection that had left a shard comes to this one, whatever the limit: its place was its own.
    pub(crate) fn came_back(&self, shard: usize) {
        self.loads[shard].fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection goes from one shard to another.
    pub(crate) fn moved(&self, from: usize, to: usize) {
        self.loads[from].fetch_sub(1, Ordering::Relaxed);
        self.loads[to].fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends the whole server when a shard does.
pub(crate) struct StopOthers {
    pub(crate) control: Arc<Control>,
    pub(crate) shard: usize,
}

impl Drop for StopOthers {
    fn drop(&mut self) {
        // Where a stop was asked for, the others end as was asked.
        if std::thread::panicking() || self.control.stopping().is_none() {
            self.control.stop(Stop::AtOnce);
        }
        if self.shard == 0 {
            // It may have failed before it had a service.
            self.control.first_has_begun(false);
        } else {
            self.control.other_has_ended();
        }
        self.control.reached(self.shard, Phase::Ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_has_come_to_its_end_when_no_shard_takes_or_has_connections() {
        let control = Control::new(2);
        let placed = [0, 0].map(|here| control.enter(10, here));
        assert_eq!(placed, [Some(0), Some(1)]);
        control.leave(10, 0);
        control.reached(0, Phase::Closed);
        control.reached(1, Phase::Closed);
        assert!(!control.is_drained());
        control.leave(10, 1);
        assert!(control.is_drained());

        let control = Control::new(2);
        control.reached(0, Phase::Closed);
        assert!(!control.is_drained(), "the other may still give it a connection");
        control.enter(10, 1);
        // It has failed, with what it had.
        control.reached(1, Phase::Ended);
        assert!(control.is_drained());
    }

    #[test]
    fn a_first_shard_that_never_begins_releases_the_others() {
        let control = Arc::new(Control::new(2));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| control.may_begin(1));
            drop(StopOthers { control: Arc::clone(&control), shard: 0 });
            assert!(!other.join().unwrap());
        });
        let control = Arc::new(Control::new(2));
        assert!(control.may_begin(0));
        drop(StopOthers { control: Arc::clone(&control), shard: 0 });
        assert!(control.may_begin(1), "it had begun");
    }

    #[test]
    fn the_first_shard_waits_for_all_others_or_the_failure_of_one() {
        let control = Arc::new(Control::new(3));
        std::thread::scope(|scope| {
            let others = [1, 2].map(|shard| {
                let control = Arc::clone(&control);
                scope.spawn(move || control.may_begin(shard))
            });
            assert!(control.others_may_begin());
            assert_eq!(control.begun().ready, 2);
            control.may_begin(0);
            assert!(others.into_iter().all(|other| other.join().unwrap()));
        });
        let control = Arc::new(Control::new(3));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| control.may_begin(1));
            drop(StopOthers { control: Arc::clone(&control), shard: 2 });
            assert!(!control.others_may_begin());
            drop(StopOthers { control: Arc::clone(&control), shard: 0 });
            assert!(!other.join().unwrap());
        });
    }

    #[test]
    fn shards_that_accept_at_once_spread_evenly() {
        let rounds: Vec<Control> = (0..100_000).map(|_| Control::new(3)).collect();
        let started = AtomicUsize::new(0);
        let accept = |here: usize| {
            for (round, control) in rounds.iter().enumerate() {
                started.fetch_add(1, Ordering::Relaxed);
                while started.load(Ordering::Relaxed) < 2 * (round + 1) {
                    std::thread::yield_now();
                }
                for _ in 0..3 {
                    control.enter(usize::MAX, here).unwrap();
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| accept(0));
            accept(1);
        });
        for control in &rounds {
            let loads = control.loads.iter().map(|load| load.load(Ordering::Relaxed));
            assert!(loads.clone().all(|load| load == 2), "{:?}", loads.collect::<Vec<_>>());
        }
    }
}
