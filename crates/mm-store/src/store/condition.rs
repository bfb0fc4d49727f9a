//! On what condition a value is stored.

use super::{Found, Miss, Outcome, Store};
use crate::index::mark;
use crate::memory::flag;
use crate::sharing::Sharing;

/// On what condition a value is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Always.
    #[default]
    Set,
    /// If the key is not there.
    Add,
    /// If the key is there.
    Replace,
    /// If the item's CAS value is this one.
    Cas(u64),
    /// If the item's CAS value is this one, and its expiry and win are these, whose changes alone do not show in the
    /// CAS value.
    CasAndState {
        /// The CAS value.
        cas: u64,
        /// When the item expires, as in [`Put::expiry_s`](super::Put::expiry_s).
        expiry_s: u32,
        /// Whether a reader was told to fetch a new value.
        win_sent: bool,
    },
    /// If the key is there: behind its value, everything else stays.
    Append,
    /// If the key is there: before its value, everything else stays.
    Prepend,
    /// As [`Mode::Append`], if the item's CAS value is this one.
    AppendTo(u64),
    /// As [`Mode::Prepend`], if the item's CAS value is this one.
    PrependTo(u64),
}

impl Mode {
    /// Whether the value is joined with that of the item.
    #[inline]
    pub(super) const fn joins(self) -> bool {
        matches!(self, Self::Append | Self::Prepend | Self::AppendTo(_) | Self::PrependTo(_))
    }

    /// Whether the value is joined behind that of the item.
    pub(super) const fn appends(self) -> bool {
        matches!(self, Self::Append | Self::AppendTo(_))
    }

    /// The CAS value that the item has to have.
    pub(super) const fn compared(self) -> Option<u64> {
        match self {
            Self::Cas(cas) | Self::CasAndState { cas, .. } | Self::AppendTo(cas) | Self::PrependTo(cas) => {
                Some(cas)
            }
            Self::Set | Self::Add | Self::Replace | Self::Append | Self::Prepend => None,
        }
    }
}

impl<S: Sharing> Store<S> {
    /// Why `mode` does not let a value be stored over what `old` found, if it does not.
    #[inline]
    pub(super) fn refusal(&self, mode: Mode, old: Result<Found, Miss>) -> Option<Outcome> {
        if matches!(mode, Mode::Set) { None } else { self.refusal_on_condition(mode, old) }
    }

    fn refusal_on_condition(&self, mode: Mode, old: Result<Found, Miss>) -> Option<Outcome> {
        match (mode, old) {
            (Mode::Set, _) | (Mode::Add, Err(_)) => None,
            (Mode::Cas(_) | Mode::CasAndState { .. }, Err(_)) => Some(Outcome::NotFound),
            (Mode::Cas(cas), Ok(found)) => (self.cas_at(found.location) != cas).then_some(Outcome::Exists),
            (Mode::CasAndState { cas, expiry_s, win_sent }, Ok(found)) => {
                let record = self.core.arena.record(found.location);
                let is_win_sent = record.flags() & flag::WIN_SENT != 0;
                let is_same = self.cas_at(found.location) == cas
                    && record.expiry() == expiry_s
                    && is_win_sent == win_sent;
                (!is_same).then_some(Outcome::Exists)
            }
            (Mode::Add, Ok(found)) => {
                let mark = self.core.index.mark(found.slot);
                if mark & mark::FREQUENCY < mark::FREQUENCY {
                    self.core.index.set_mark(found.slot, mark + 1);
                }
                Some(Outcome::NotStored)
            }
            (Mode::Replace | Mode::Append | Mode::Prepend, old) => old.is_err().then_some(Outcome::NotStored),
            (Mode::AppendTo(_) | Mode::PrependTo(_), Err(_)) => Some(Outcome::NotStored),
            (Mode::AppendTo(cas) | Mode::PrependTo(cas), Ok(found)) => {
                (self.cas_at(found.location) != cas).then_some(Outcome::Exists)
            }
        }
    }
}
