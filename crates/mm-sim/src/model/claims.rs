//! What a store has counted, held against what is explained by it.

/// Events that a store has counted, each of which explains one thing at most.
///
/// A thing is explained by an event between two moments. Where things are claimed in the order of the second of these,
/// and each gets the first event that is left to it, all are explained if they can be at all: whoever comes later could
/// use a later event as well.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// For each event, by its number, one that is not before it, so that in the end there is one that is free.
    next: Vec<usize>,
}

impl Claims {
    /// Claims one of the events that come behind the first `after` and are among the first `upto`. False where none is
    /// free. `upto` must not fall from one call to the next.
    pub(crate) fn claim(&mut self, after: u64, upto: u64) -> bool {
        let [after, upto] = [after, upto].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        self.next.extend(self.next.len()..=upto);
        let free = self.free_from(after);
        if free >= upto {
            return false;
        }
        self.next[free] = free + 1;
        true
    }

    /// The first event from this one on that is free. Those on the way to it then lead there at once.
    fn free_from(&mut self, from: usize) -> usize {
        let mut free = from;
        while self.next[free] != free {
            free = self.next[free];
        }
        let mut at = from;
        while at != free {
            at = std::mem::replace(&mut self.next[at], free);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_explains_one_thing_between_its_moments() {
        let mut claims = Claims::default();
        assert!(!claims.claim(0, 0), "nothing has happened");
        assert!(claims.claim(0, 1));
        assert!(!claims.claim(0, 1), "it has explained another thing");
        assert!(!claims.claim(1, 1), "it came before");
        assert!(claims.claim(1, 3));
        assert!(claims.claim(0, 3));
        assert!(!claims.claim(0, 3));
        assert!(!claims.claim(3, 3));
        assert!(claims.claim(2, 4));
    }

    #[test]
    fn who_comes_first_leaves_what_others_need() {
        let mut claims = Claims::default();
        // Of three events the first thing may have any, the second one of the last two, the third the last only.
        assert!([0, 1, 2].map(|after| claims.claim(after, 3)).iter().all(|&claimed| claimed));
        let mut claims = Claims::default();
        assert!([2, 1, 0].map(|after| claims.claim(after, 3)).iter().all(|&claimed| claimed));
    }
}
