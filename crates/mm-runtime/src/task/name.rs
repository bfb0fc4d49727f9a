//! Names of tasks, as small numbers that another thread can read at any time.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::limits::NAMES_MAX;

static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

const NAMELESS: &str = "(nameless)";
const OTHER: &str = "(other)";

/// The name of a kind of task. Make it once and keep it: making takes a lock.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name(u16);

impl Default for Name {
    fn default() -> Self {
        Self(1)
    }
}

impl Name {
    /// The name of this text. A process has room for [`NAMES_MAX`] names; those after share one.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let index = names.iter().position(|&known| known == text).unwrap_or_else(|| {
            if names.len() < NAMES_MAX {
                names.push(text);
                names.len() - 1
            } else {
                NAMES_MAX
            }
        });
        Self(u16::try_from(index).map_or(1, |index| index + 2))
    }

    /// The text.
    #[must_use]
    pub fn text(self) -> &'static str {
        let Some(index) = self.0.checked_sub(2) else { return NAMELESS };
        let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(usize::from(index)).copied().unwrap_or(OTHER)
    }

    /// The name as a number above 0.
    pub(crate) fn number(self) -> u16 {
        self.0
    }

    pub(crate) fn of_number(number: u16) -> Self {
        Self(number)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
