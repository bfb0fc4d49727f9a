//! Mistakes made on purpose, each of which has to be caught.

use mm_base::canary;

use crate::limits::CANARY_SEEDS;
use crate::{Failure, run};

/// A mistake made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// What it is called in the code.
    pub name: &'static str,
    /// What it breaks, in the words of a failure that shows it: one of these.
    shows_as: &'static [&'static str],
}

/// The mistakes.
pub const CANARIES: &[Canary] = &[
    Canary { name: "lost wake-up", shows_as: &["the server slept from"] },
    Canary {
        name: "dropped byte",
        shows_as: &["is not the one that was answered", "bytes were received", "answers were cut short"],
    },
    Canary { name: "stale read", shows_as: &["was due", "were due"] },
    Canary { name: "leaked buffer", shows_as: &["bytes of buffers are left"] },
    Canary { name: "pin ignored", shows_as: &["is not the one that was answered"] },
    Canary { name: "expired item served", shows_as: &["should hold nothing"] },
    Canary { name: "connection closed for nothing", shows_as: &["connections ended that nobody ended"] },
    Canary { name: "eviction not counted", shows_as: &["is gone, and"] },
    Canary { name: "lent memory marked", shows_as: &["the store cannot be taken over"] },
];

impl Canary {
    /// Whether this is what the mistake breaks, and not something else that is wrong.
    fn shows_as(&self, failure: &Failure) -> bool {
        self.shows_as.iter().any(|words| failure.what.contains(words))
    }
}

/// Runs seeds with a mistake built in until one shows it. `None`: none did, whatever else they have shown. Without the
/// feature `canaries` no mistake is made.
#[must_use]
pub fn catch(mistake: &Canary) -> Option<Failure> {
    let caught = (0..CANARY_SEEDS).find_map(|seed| {
        canary::choose(Some(mistake.name));
        run(seed).err().filter(|failure| mistake.shows_as(failure))
    });
    canary::choose(None);
    caught
}
