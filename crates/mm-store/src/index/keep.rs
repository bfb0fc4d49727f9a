//! The index kept over a restart.

use std::fs::File;
use std::io;

use super::Index;
use super::geometry::Geometry;
use crate::kept::{Reading, Refused, Writing};
use crate::limits::MIN_BUCKETS;
use crate::memory::SLOTS;
use crate::sharing::Sharing;

impl<S: Sharing> Index<S> {
    /// Writes down what there is besides the buckets. A growth or shrink may be under way.
    pub(crate) fn save(&mut self, book: &mut Writing, digested: bool) {
        let Geometry { len, next_len, boundary } = self.layout.load::<S>();
        for number in [len, next_len, boundary] {
            book.put(number as u64);
        }
        let buckets = self.buckets();
        book.put(if digested { self.table.digest(buckets) } else { 0 });
    }

    /// Moves the buckets to a file in which they begin at `start`; returns where they end there.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn move_to(&mut self, file: &File, start: u64) -> io::Result<u64> {
        self.table.move_to(self.buckets(), file, start)
    }

    /// Takes over buckets that a store has left in the memory of this one, with so many items in them.
    ///
    /// # Errors
    /// The buckets are not those that were left.
    pub(crate) fn restore(
        &mut self,
        book: &mut Reading<'_>,
        items: u64,
        digested: bool,
    ) -> Result<(), Refused> {
        let geometry =
            Geometry { len: book.take_size()?, next_len: book.take_size()?, boundary: book.take_size()? };
        let digest = book.take()?;
        let Geometry { len, next_len, boundary } = geometry;
        let buckets = len.max(next_len);
        let can_be = len.min(next_len) >= MIN_BUCKETS
            && buckets <= self.table.capacity()
            && boundary <= len
            && !geometry.is_done()
            && items <= (buckets * SLOTS) as u64;
        if !can_be {
            return Err(Refused::book());
        }
        if digested && self.table.digest(buckets) != digest {
            return Err(Refused::memory());
        }
        self.table.clear_from(buckets);
        self.layout.set::<S>(geometry);
        Ok(())
    }
}
