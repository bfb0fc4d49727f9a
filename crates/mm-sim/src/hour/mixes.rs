//! Times to live as caches meet them.

use mm_base::choice::Choices;

use crate::limits::HOUR_SETS_PER_S;

/// The longest time that memcached counts from now, in seconds; more is a date.
const MONTH_S: u64 = 2_592_000;

/// A mix of times to live.
#[derive(Debug)]
pub struct Mix {
    /// What it is called.
    pub name: &'static str,
    /// Times to live in seconds: how often each comes, and its bounds. None at all: 0.
    lives: &'static [(u64, u64, u64)],
    /// The same for the second half of each ten minutes, where that is another one.
    then: &'static [(u64, u64, u64)],
    /// Times are given as dates.
    dates: bool,
    /// Dates are those of full periods of so many seconds, so that much ends at once. 0: they are not.
    together_s: u64,
    /// One set in so many is followed by a touch, or a gat, of a key of before, with a time from `changed`. 0: none.
    changes: u64,
    changed: (u64, u64),
    /// Keys.
    keys: u64,
}

const USUAL: Mix = Mix {
    name: "",
    lives: &[],
    then: &[],
    dates: false,
    together_s: 0,
    changes: 0,
    changed: (1, 120),
    keys: 1 << 24,
};

/// From a second to months.
const WIDE: &[(u64, u64, u64)] =
    &[(30, 1, 10), (30, 10, 60), (15, 60, 600), (10, 600, 3600), (5, 86_400, MONTH_S), (10, 0, 0)];

/// All mixes.
pub const MIXES: &[Mix] = &[
    Mix { name: "a second to months", lives: WIDE, changes: 6, ..USUAL },
    Mix { name: "a second to months, as dates", lives: WIDE, dates: true, changes: 6, ..USUAL },
    Mix { name: "seconds only", lives: &[(1, 1, 5)], ..USUAL },
    Mix { name: "minutes only", lives: &[(1, 60, 300)], ..USUAL },
    Mix { name: "one time for all", lives: &[(1, 30, 30)], ..USUAL },
    Mix { name: "few seconds among items that stay", lives: &[(1, 1, 3), (9, 0, 0)], ..USUAL },
    Mix { name: "seconds among items of a day", lives: &[(1, 1, 20), (1, 86_400, 86_400)], ..USUAL },
    Mix {
        name: "all of five minutes end at once",
        lives: &[(1, 1, 600)],
        dates: true,
        together_s: 300,
        ..USUAL
    },
    Mix {
        name: "months, cut to seconds by touch and gat",
        lives: &[(1, 86_400, MONTH_S)],
        changes: 1,
        changed: (1, 15),
        keys: 20_000,
        ..USUAL
    },
    Mix {
        name: "seconds, lengthened by touch and gat",
        lives: &[(1, 5, 20)],
        changes: 2,
        changed: (600, 1800),
        keys: 20_000,
        ..USUAL
    },
    Mix { name: "an hour, then seconds, in turn", lives: &[(1, 3600, 3600)], then: &[(1, 2, 30)], ..USUAL },
    Mix { name: "few keys, overwritten", lives: WIDE, changes: 3, keys: 5000, ..USUAL },
];

impl Mix {
    /// The requests of one second, to one of so many shards.
    pub(super) fn requests(
        &self,
        (second, unix_s, shards): (u64, u64, u64),
        choices: &mut Choices,
    ) -> Vec<u8> {
        let mut requests = Vec::new();
        // The load comes and goes: a tenth of it, or all.
        let sets = if second / 300 % 3 == 2 { HOUR_SETS_PER_S / 10 } else { HOUR_SETS_PER_S } / shards;
        let is_later = second % 600 >= 300 && !self.then.is_empty();
        let lives = if is_later { self.then } else { self.lives };
        for _ in 0..sets {
            let key = choices.below(self.keys);
            let exptime = self.exptime(draw(lives, choices), unix_s);
            let len = if choices.one_in(20) { choices.index(4096) } else { choices.index(300) };
            requests.extend_from_slice(format!("set key:{key} 0 {exptime} {len} noreply\r\n").as_bytes());
            requests.resize(requests.len() + len, b'v');
            requests.extend_from_slice(b"\r\n");
            if choices.one_in(self.changes) {
                let exptime = self.exptime(choices.between(self.changed.0, self.changed.1), unix_s);
                let request = if choices.one_in(2) {
                    format!("touch key:{key} {exptime} noreply\r\n")
                } else {
                    format!("gat {exptime} key:{key}\r\n")
                };
                requests.extend_from_slice(request.as_bytes());
            }
        }
        requests
    }

    /// A time to live as it is given.
    fn exptime(&self, life_s: u64, unix_s: u64) -> u64 {
        match self.together_s {
            _ if life_s == 0 || !self.dates => life_s,
            0 => unix_s + life_s,
            period_s => (unix_s + life_s).next_multiple_of(period_s),
        }
    }
}

fn draw(lives: &[(u64, u64, u64)], choices: &mut Choices) -> u64 {
    let mut drawn = choices.below(lives.iter().map(|(weight, _, _)| weight).sum());
    for &(weight, least, most) in lives {
        if drawn < weight {
            return choices.between(least, most);
        }
        drawn -= weight;
    }
    0
}
