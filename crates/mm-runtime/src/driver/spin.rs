//! Looking for events for a while before sleeping.
//!
//! A wait that sleeps costs two changes of threads and a wake-up, some microseconds of latency; one that looks costs
//! processor time. How long to look adapts: half as long after looking in vain, down to a sixteenth, and twice as long
//! after it paid.

use std::io;
use std::time::{Duration, Instant};

/// How long to look, between waits.
#[derive(Debug, Default)]
pub(super) struct Spin {
    longest_us: u32,
    present_us: u32,
}

/// What has come of looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// Something was found.
    Found,
    /// Nothing was, and so much of the wait's time is left (`None`: for ever).
    InVain(Option<Duration>),
}

impl Spin {
    /// Looks at most so long, in microseconds; 0: not at all.
    pub(super) fn set_us(&mut self, longest_us: u32) {
        (self.longest_us, self.present_us) = (longest_us, longest_us);
    }

    /// Whether it looks at all.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.longest_us != 0
    }

    /// Looks until `find` has found something, for a while that is no longer than the wait, whose `timeout` this is
    /// (`None`: for ever).
    ///
    /// # Errors
    /// What `find` says.
    pub(super) fn look(
        &mut self,
        timeout: Option<Duration>,
        mut find: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<Looked> {
        let present = Duration::from_micros(self.present_us.into());
        let longest = timeout.map_or(present, |timeout| timeout.min(present));
        let since = Instant::now();
        loop {
            let found = find()?;
            let looked = since.elapsed();
            if found || looked >= longest {
                self.adapt(found);
                // A timer that is due must not wait for what has been looked besides.
                let left = timeout.map(|timeout| timeout.saturating_sub(looked));
                return Ok(if found { Looked::Found } else { Looked::InVain(left) });
            }
        }
    }

    /// Looks longer the next time if something was found, else less long.
    fn adapt(&mut self, found: bool) {
        let shortest_us = (self.longest_us / 16).max(1);
        self.present_us = if found {
            self.present_us.saturating_mul(2).min(self.longest_us)
        } else {
            (self.present_us / 2).max(shortest_us)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_in_vain_makes_it_shorter_and_success_longer() {
        let mut spin = Spin::default();
        assert!(!spin.is_on());
        spin.set_us(160);
        assert!(spin.is_on());
        for expected in [80, 40, 20, 10, 10] {
            assert_eq!(spin.look(None, || Ok(false)).unwrap(), Looked::InVain(None));
            assert_eq!(spin.present_us, expected);
        }
        for expected in [20, 40, 80, 160, 160] {
            assert_eq!(spin.look(None, || Ok(true)).unwrap(), Looked::Found);
            assert_eq!(spin.present_us, expected);
        }
    }

    #[test]
    fn what_has_been_looked_is_taken_off_the_wait() {
        const HOUR: Duration = Duration::from_secs(3600);
        let mut spin = Spin::default();
        spin.set_us(100);
        let Looked::InVain(Some(left)) = spin.look(Some(HOUR), || Ok(false)).unwrap() else {
            panic!("nothing was to be found, for a time")
        };
        assert!(left <= HOUR - Duration::from_micros(100), "{left:?}");
        spin.set_us(u32::MAX);
        let timeout = Some(Duration::from_micros(100));
        assert_eq!(spin.look(timeout, || Ok(false)).unwrap(), Looked::InVain(Some(Duration::ZERO)));
    }
}
