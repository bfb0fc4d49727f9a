//! Time as memcached counts it, written down once more for the model.

use mm_base::Now;

/// The time of a run of the service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moment {
    /// Seconds since two before the server's start.
    pub(crate) now_s: u32,
    unix_s: u64,
}

impl Moment {
    /// The time `now` of a server that was first asked for something at `start_ms`.
    pub(crate) fn new(now: Now, start_ms: u64) -> Self {
        let now_s = 2 + (now.monotonic_ms - start_ms) / 1000;
        Self { now_s: u32::try_from(now_s).unwrap_or(u32::MAX), unix_s: now.unix_s }
    }

    /// When a server would have started that has reached this moment and as many seconds of the calendar more by now.
    pub(crate) fn start_ms_after(&self, pause_s: u64, now: Now) -> u64 {
        now.monotonic_ms.saturating_sub((u64::from(self.now_s) - 2 + pause_s) * 1000)
    }

    /// When an item given `exptime` expires; 0 for never. Up to 30 days count from now, more is a date.
    pub(crate) fn expiry_s(&self, exptime: i32) -> u32 {
        let seconds = i64::from(exptime);
        let expiry_s = match seconds {
            0 => return 0,
            ..0 => 1,
            1..=2_592_000 => i64::from(self.now_s) + seconds,
            _ => {
                let left_s = seconds - i64::try_from(self.unix_s).unwrap_or(i64::MAX);
                (i64::from(self.now_s) + left_s).max(1)
            }
        };
        u32::try_from(expiry_s).unwrap_or(u32::MAX)
    }

    /// Seconds left to live; -1 for an item that does not expire.
    pub(crate) fn left_s(&self, expiry_s: u32) -> i64 {
        if expiry_s == 0 { -1 } else { i64::from(expiry_s.saturating_sub(self.now_s)) }
    }

    /// A date so many seconds from now.
    pub(crate) fn date(&self, seconds: i64) -> i32 {
        i32::try_from(self.unix_s.saturating_add_signed(seconds)).unwrap_or(i32::MAX)
    }
}
