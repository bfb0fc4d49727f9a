//! Connections move to another shard where that has much less to do.
//!
//! A new connection goes to the shard with the fewest. But some ask for more than others, and those that end may all
//! be of one shard. So a busy shard compares now and then how often it has run with how often the others have. Where it
//! has run much more often than another, and that again, it gives that one some of the connections that it has just
//! served, each when it is between two requests: a quarter of what would even the load, so that it does not swing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mm_base::Now;
use mm_base::slab::Key;
use mm_runtime::driver::Driver;
use mm_runtime::shard::Next;

use super::{Connection, Engine, Marks};
use crate::connection::Want;
use crate::exchange::Arrival;
use crate::limits::{BALANCE_MS, BALANCE_RUNS_MIN, MOVE_TURNS_MAX, MOVES_MAX, UNEVEN_LOOKS, UNEVEN_RATIO};
use crate::{Luggage, Peer, Service};

/// What a shard knows of the others' load, and which of its connections are about to move.
#[derive(Debug)]
pub(super) struct Balance {
    /// How often each shard had run at the last look.
    runs: Vec<u64>,
    look_ms: u64,
    /// How many looks in a row have found the load uneven.
    uneven: u32,
    /// The shard with the least to do.
    target: usize,
    /// How many more connections are to go there.
    quota: usize,
    /// Connections that are to go, and how many turns more they may take.
    leaving: Vec<(Key, u32)>,
}

/// How often this shard has run between two looks, and how often the one with the least to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Uneven {
    mine: u64,
    least: u64,
}

impl Balance {
    pub(super) fn new(shards: usize) -> Self {
        Self { runs: vec![0; shards], look_ms: 0, uneven: 0, target: 0, quota: 0, leaving: Vec::new() }
    }

    /// Whether connections are to be chosen.
    #[inline]
    pub(super) fn wants_some(&self) -> bool {
        self.quota > 0
    }

    /// Has so many connections go to the shard `target`.
    pub(super) fn ask(&mut self, target: usize, count: usize) {
        (self.target, self.quota) = (target, count);
    }

    /// Has a connection go, when it can.
    pub(super) fn choose(&mut self, key: Key) {
        if self.quota > 0 && !self.leaving.iter().any(|(leaving, _)| *leaving == key) {
            self.quota -= 1;
            self.leaving.push((key, MOVE_TURNS_MAX));
        }
    }

    /// When those that are to go want another turn.
    pub(super) fn next(&self) -> Next {
        if self.leaving.is_empty() { Next::Never } else { Next::Now }
    }

    /// Looks how often each shard has run in all, this being the shard `here`, if it is time to. Gives what it has
    /// found when it has found the load uneven often enough.
    fn look(&mut self, now_ms: u64, here: usize, runs: impl Iterator<Item = u64>) -> Option<Uneven> {
        // A shard that has slept meanwhile has little to do, and what it compares were not two like stretches of time.
        let in_time = now_ms < self.look_ms + BALANCE_MS;
        self.look_ms = now_ms + BALANCE_MS;
        self.quota = 0;
        let (mut mine, mut least) = (0, u64::MAX);
        for (shard, (before, runs)) in self.runs.iter_mut().zip(runs).enumerate() {
            let run = runs.wrapping_sub(*before);
            *before = runs;
            if shard == here {
                mine = run;
            } else if run < least {
                (self.target, least) = (shard, run);
            }
        }
        let is_uneven = in_time && mine >= BALANCE_RUNS_MIN && mine / UNEVEN_RATIO >= least;
        self.uneven = if is_uneven { self.uneven + 1 } else { 0 };
        if self.uneven < UNEVEN_LOOKS {
            return None;
        }
        self.uneven = 0;
        Some(Uneven { mine, least })
    }
}

impl Uneven {
    /// How many of so many connections that have been active are to go. The only one is as much load elsewhere.
    fn share_of(self, active: usize) -> usize {
        if active < 2 {
            return 0;
        }
        let active = u64::try_from(active).unwrap_or(u64::MAX);
        let even = active.saturating_mul(self.mine.saturating_sub(self.least)) / self.mine.max(1) / 2;
        usize::try_from(even / 2).unwrap_or(usize::MAX).clamp(1, MOVES_MAX)
    }
}

impl<S: Service, D: Driver> Engine<S, D> {
    /// Has so many of the connections that are served next move to the shard `target`.
    pub(crate) fn send_some_to(&mut self, target: usize, count: usize) {
        if self.handled.is_none() {
            self.balance.ask(target, count);
        }
    }

    /// Compares the load of the shards, if it is time to.
    pub(super) fn compare_load(&mut self, now: Now) {
        let shards = self.control.shards();
        if shards == 1 || self.handled.is_some() || now.monotonic_ms < self.balance.look_ms {
            return;
        }
        let runs = self.control.stats.iter().map(|stats| stats.runs.get());
        let Some(uneven) = self.balance.look(now.monotonic_ms, self.shard, runs) else { return };
        let since_ms = now.monotonic_ms.saturating_sub(BALANCE_MS);
        let active = self.connections.iter().filter(|(_, connection)| connection.progress_ms >= since_ms);
        self.balance.quota = uneven.share_of(active.count());
    }

    /// Moves those connections that are to go and can.
    pub(super) fn move_leaving(&mut self, driver: &mut D) {
        if self.balance.leaving.is_empty() {
            return;
        }
        let mut leaving = std::mem::take(&mut self.balance.leaving);
        leaving.retain_mut(|(key, turns)| {
            if self.control.stopping().is_some() || self.connections.get(*key).is_none() {
                return false;
            }
            if self.try_move(driver, *key) {
                return false;
            }
            *turns -= 1;
            if *turns == 0 {
                // The driver may have stopped to receive for it.
                self.enqueue(*key, 0);
            }
            *turns > 0
        });
        self.balance.leaving = leaving;
    }

    /// Moves a connection to the shard with the least to do. `false`: not now.
    fn try_move(&mut self, driver: &mut D, key: Key) -> bool {
        let Some(connection) = self.connections.get(key) else { return true };
        let (service, state) = (&self.service, connection.machine.state());
        match catch_unwind(AssertUnwindSafe(|| connection.may_leave() && service.may_move(state))) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(_panic) => {
                self.end_panicked(driver, key);
                return true;
            }
        }
        let Some((socket, peer)) = driver.release(connection.stream) else { return false };
        let Some(connection) = self.connections.remove(key) else { return true };
        mm_base::mark!("connection moved to another shard");
        self.stats().connections.sub(1);
        let (state, origin) = (connection.machine.into_state(), connection.origin);
        let Ok(luggage) = catch_unwind(AssertUnwindSafe(|| self.service.depart(state))) else {
            self.stats().panics.add(1);
            self.left(origin);
            return true;
        };
        let (target, listener) = (self.balance.target, connection.listener as usize);
        self.control.moved(self.shard, target);
        let luggage = Some(luggage);
        self.exchange.give(target, Arrival { socket, peer, origin, listener, luggage, packed: None });
        self.control.wake(Some(target));
        true
    }

    /// A connection that has come from another shard cannot be served for want of resources.
    pub(super) fn lose(&mut self, peer: &Peer, luggage: Luggage) {
        let service = &mut self.service;
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let state = service.arrive(peer, luggage);
            service.disconnect(state);
        }));
        self.stats().panics.add(u64::from(ended.is_err()));
    }
}

impl<C> Connection<C> {
    /// Whether it is between two requests, so that it could go on elsewhere.
    fn may_leave(&self) -> bool {
        const WAITS: u8 = Marks::QUEUED | Marks::WOKEN | Marks::BLOCKED | Marks::STARVED;
        let is_busy = self.marks.has(WAITS | Marks::ENDED | Marks::LINGERS);
        self.machine.want() == Want::Input && !is_busy && !self.has_output() && !self.machine.has_carry()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks of the first of two shards, a second apart, with what both have run since the last.
    fn looks(balance: &mut Balance, begin_ms: u64, run: &[[u64; 2]]) -> Vec<Option<Uneven>> {
        let mut runs = [balance.runs[0], balance.runs[1]];
        let look = |(number, run): (u64, &[u64; 2])| {
            runs = [runs[0] + run[0], runs[1] + run[1]];
            balance.look(begin_ms + number * BALANCE_MS, 0, runs.into_iter())
        };
        (0..).zip(run).map(look).collect()
    }

    #[test]
    fn a_load_that_stays_uneven_is_acted_upon_and_then_watched_again() {
        let mut balance = Balance::new(2);
        let uneven = Some(Uneven { mine: 5000, least: 100 });
        let found =
            looks(&mut balance, 10_000, &[[0, 0], [5000, 100], [5000, 100], [5000, 100], [5000, 100]]);
        assert_eq!(found, [None, None, uneven, None, uneven]);
        assert_eq!(balance.target, 1);
    }

    #[test]
    fn what_is_even_or_little_or_passes_is_left_alone() {
        let even = [[5000, 2600]; 6];
        let little = [[BALANCE_RUNS_MIN - 1, 0]; 6];
        let passing = [[5000, 0], [5000, 5000], [5000, 0], [5000, 5000]];
        for run in [&even[..], &little, &passing] {
            let mut balance = Balance::new(2);
            looks(&mut balance, 10_000, &[[0, 0]]);
            assert!(looks(&mut balance, 11_000, run).iter().all(Option::is_none), "{run:?}");
        }
    }

    #[test]
    fn a_shard_that_has_slept_compares_nothing() {
        let mut balance = Balance::new(2);
        assert_eq!(looks(&mut balance, 10_000, &[[0, 0], [9000, 0]]), [None, None]);
        assert_eq!(looks(&mut balance, 60_000, &[[9000, 0], [9000, 0]]), [None, None]);
    }

    #[test]
    fn a_quarter_of_what_would_even_it_goes_and_never_the_only_one() {
        assert_eq!(Uneven { mine: 1000, least: 0 }.share_of(40), 10);
        assert_eq!(Uneven { mine: 1000, least: 500 }.share_of(40), 5);
        assert_eq!(Uneven { mine: 1000, least: 0 }.share_of(10_000), MOVES_MAX);
        assert_eq!(Uneven { mine: 1000, least: 0 }.share_of(2), 1);
        assert_eq!(Uneven { mine: 1000, least: 0 }.share_of(1), 0);
    }
}
