//! The end of a shard.
//!
//! What one shard's connection has begun may need another shard, such as the one that has its key. So a shard without
//! connections goes on until no shard has any; each that has lost its last one wakes the others. Only a stop at once
//! and one that is overdue do not wait, but for this: no shard of handlers is gone before all have told theirs to end.
//! A handler would find the shard gone that works for it, and go wrong by that.

use std::hint::cold_path;

use mm_base::Now;
use mm_runtime::driver::Driver;
use mm_runtime::shard::Next;

use super::{Engine, Marks};
use crate::Service;
use crate::control::{Phase, Stop};
use crate::limits::{HAND_OVER_TURNS_MIN, UNSENT_LOOK_MS};

impl<S: Service, D: Driver> Engine<S, D> {
    /// Begins or goes on with ending, when asked to. Says when the next turn must come for that.
    pub(super) fn stop_if_asked(&mut self, driver: &mut D, now: Now) -> Next {
        let Some(how) = self.control.stopping() else { return Next::Never };
        cold_path();
        if self.drain_since_ms.is_none() {
            self.drain_since_ms = Some(now.monotonic_ms);
            self.datagrams.close_all(driver);
            self.drain_handled();
            self.control.reached(self.shard, Phase::Closed);
        }
        self.count_hand_over(driver, how, now);
        let since_ms = self.drain_since_ms.unwrap_or(now.monotonic_ms);
        let waited_ms = now.monotonic_ms - since_ms;
        let patience_ms = match how {
            Stop::HandOver => self.config.hand_over_ms,
            Stop::Gracefully => self.config.drain_ms,
            Stop::AtOnce => 0,
        };
        let may_be_overdue = how != Stop::HandOver || self.handing_over.turns >= HAND_OVER_TURNS_MIN;
        let is_overdue = waited_ms >= patience_ms && may_be_overdue;
        let is_empty = match how {
            Stop::HandOver => self.hand_over(driver, is_overdue),
            Stop::Gracefully | Stop::AtOnce => self.drain(driver, is_overdue, now),
        };
        if is_overdue && self.handled.is_some() {
            self.control.reached(self.shard, Phase::Overdue);
        }
        if is_empty && (is_overdue && self.may_leave() || self.control.is_drained()) {
            if is_overdue || !driver.has_unsent() {
                // Whoever goes on after a stop was asked for takes back what was sent off by then. What this shard has
                // sent off since is there for nobody else.
                let is_news = how == Stop::HandOver && self.control.stopping() != Some(how);
                return if is_news { Next::Now } else { Next::Stop };
            }
            // The driver would be dropped with what it has taken to be sent.
            return Next::At(now.monotonic_ms + UNSENT_LOOK_MS);
        }
        if how == Stop::HandOver && !is_empty {
            // A driver may need a few turns to let go of a connection.
            return Next::At(now.monotonic_ms + 1);
        }
        if is_overdue {
            // Those that end have this shard woken.
            return Next::Never;
        }
        Next::At(since_ms.saturating_add(patience_ms))
    }

    /// Whether no handler can miss this shard, though the stop is overdue.
    fn may_leave(&self) -> bool {
        self.handled.is_none() || self.control.have_all_reached(Phase::Overdue)
    }

    /// Counts the turns of a hand-over. When it has become a stop, that begins now: connections that were sent off come
    /// back, those that had not been admitted are refused, and all are looked at, since the driver may have stopped to
    /// receive for some.
    fn count_hand_over(&mut self, driver: &mut D, how: Stop, now: Now) {
        if how == Stop::HandOver {
            self.handing_over.turns = self.handing_over.turns.saturating_add(1);
        } else if std::mem::take(&mut self.handing_over).turns > 0 {
            self.drain_since_ms = Some(now.monotonic_ms);
            for sent_off in self.exchange.take_back() {
                if sent_off.packed.is_none() {
                    // It had no place.
                    self.refuse(driver, sent_off);
                    continue;
                }
                self.control.came_back(self.shard);
                self.open(driver, sent_off, now);
            }
            for place in 0..self.connections.places() {
                if let Some(key) = self.connections.key_at(place) {
                    self.enqueue(key, 0);
                }
            }
        }
    }

    /// Stops listening, and closes those that have finished what they had begun, or all when it is high time. `true`
    /// when none are left.
    fn drain(&mut self, driver: &mut D, is_overdue: bool, now: Now) -> bool {
        self.close_listeners(driver);
        if is_overdue {
            let begun =
                self.connections.iter().filter(|(_, connection)| !connection.marks.has(Marks::LINGERS));
            let open = begun.count() + self.end_handled(now);
            let open = u64::try_from(open).unwrap_or(u64::MAX);
            if open > 0 {
                mm_base::mark!("drain deadline passed");
            }
            let is_late = self.control.stopping() != Some(Stop::AtOnce);
            self.stats().drain_timeouts.add(if is_late { open } else { 0 });
            self.cut_all(driver);
        } else {
            self.drains = true;
            self.close_idle(driver, now);
        }
        // What the last of a handler and a refusal have told would be lost with their tasks. These end in a turn, which
        // comes here.
        let lingers = !is_overdue && mm_runtime::net::lingering() > 0;
        // Another shard may have given this one some since it last looked.
        let is_empty = self.connections.is_empty() && self.exchange.is_empty(self.shard);
        is_empty && !lingers && self.handled_is_done(now)
    }
}
