//! Why connections have ended that their clients wanted to keep.

use crate::client::Ends;

/// Ends of connections that servers have made, by their counters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Explained {
    /// Idle clients, slow readers, and those above the limit, told so or not.
    pub(super) closed: u64,
    /// Slow readers.
    pub(super) cut: u64,
}

impl Explained {
    /// Every end that a client did not want is one that a server or the network has counted.
    pub(super) fn check(&self, ends: &Ends, resets: u64) -> Result<(), String> {
        if ends.unwanted() > self.closed + resets {
            return Err(format!("connections ended that nobody ended: {ends:?}, {self:?}, {resets} resets"));
        }
        if ends.cut > self.cut {
            return Err(format!("answers were cut short: {ends:?}, {self:?}"));
        }
        Ok(())
    }

    /// All connections so far have ended for good reasons, by a drain if nothing else. No other end is explained by
    /// what was counted for them.
    pub(super) fn forgive(&mut self, ends: &Ends, resets: u64) {
        self.closed = ends.unwanted().saturating_sub(resets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_client_does_not_explain_that_another_is_closed() {
        let explained = Explained { closed: 3, cut: 0 };
        let ends = Ends { refused: 3, ..Ends::default() };
        assert_eq!(explained.check(&ends, 0), Ok(()));
        for ends in [Ends { closed: 1, ..ends }, Ends { resets: 1, ..ends }] {
            let wrong = explained.check(&ends, 0).unwrap_err();
            assert!(wrong.starts_with("connections ended that nobody ended"), "{wrong}");
            assert_eq!(explained.check(&ends, 1), Ok(()), "the network has reset it");
        }
        let cut = Ends { closed: 1, cut: 1, ..Ends::default() };
        assert!(explained.check(&cut, 0).unwrap_err().starts_with("answers were cut short"));
    }

    #[test]
    fn what_a_drain_has_ended_explains_nothing_later() {
        let mut explained = Explained { closed: 8, cut: 0 };
        let drained = Ends { closed: 5, refused: 1, resets: 2, ..Ends::default() };
        explained.forgive(&drained, 2);
        assert_eq!(explained.check(&drained, 2), Ok(()));
        assert!(explained.check(&Ends { closed: 6, ..drained }, 2).is_err());
    }
}
