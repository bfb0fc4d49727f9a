//! Storage for things that come and go, each named by a key that is never mistaken for a later one's.

use std::fmt;

/// Names a thing in a [`Slab`]: its index, and the serial number of its insertion.
///
/// A key kept after its thing has been removed finds nothing, even when something else has taken the same
/// place. So late news about a closed connection cannot reach its successor. (Serial numbers repeat after
/// 4,294,967,295 insertions; a stale key would have to be that old and name the same place.)
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    index: u32,
    serial: u32,
}

impl Key {
    /// The place of the thing, below [`Slab::places`]. Reused after removal.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// The serial number of the insertion; 0 in [reserved](Key::reserved) keys only.
    #[must_use]
    pub fn serial(self) -> u32 {
        self.serial
    }

    /// A key that no slab ever gives out, for an owner that names other things besides those in its slab.
    #[must_use]
    pub const fn reserved(number: u32) -> Self {
        Self { index: number, serial: 0 }
    }

    /// The number that [`reserved`](Key::reserved) made this key of. `None` for the key of a thing in a slab.
    #[must_use]
    pub const fn as_reserved(self) -> Option<u32> {
        if self.serial == 0 { Some(self.index) } else { None }
    }

    /// The key as one number, for a kernel interface or a message that has room for no more.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        (u64::from(self.serial) << 32) | u64::from(self.index)
    }

    /// The key that [`to_u64`](Key::to_u64) made this number of.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are taken apart")]
    pub fn from_u64(number: u64) -> Self {
        Self { index: number as u32, serial: (number >> 32) as u32 }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.index, self.serial)
    }
}

/// Things by [`Key`]. Inserting, finding and removing take constant time.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    /// The vacant place to be taken next, or `places.len()` when there is none.
    vacant: u32,
    len: usize,
    serial: u32,
}

#[derive(Debug)]
enum Place<T> {
    Taken { serial: u32, thing: T },
    Vacant { next: u32 },
}

/// The memory of more places than these is given back when a slab becomes empty.
const PLACES_KEPT: usize = 1024;

impl<T> Slab<T> {
    /// The most things that a slab holds.
    pub const LEN_MAX: usize = u32::MAX as usize;

    /// An empty slab, for which nothing has been allocated.
    #[must_use]
    pub const fn new() -> Self {
        Self { places: Vec::new(), vacant: 0, len: 0, serial: 0 }
    }

    /// How many things are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of places, taken or vacant. Every [`Key::index`] is below it.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// The key that the next insertion will return, for things that know their own. `None` when the slab is
    /// full.
    #[must_use]
    pub fn next_key(&self) -> Option<Key> {
        let full = self.vacant as usize >= Self::LEN_MAX;
        if full { None } else { Some(Key { index: self.vacant, serial: self.serial.wrapping_add(1).max(1) }) }
    }

    /// Puts a thing in. Gives it back when there are [`LEN_MAX`](Slab::LEN_MAX) of them.
    ///
    /// # Errors
    /// The thing itself, when the slab is full.
    pub fn insert(&mut self, thing: T) -> Result<Key, T> {
        let Some(key) = self.next_key() else { return Err(thing) };
        let taken = Place::Taken { serial: key.serial, thing };
        if let Some(place) = self.places.get_mut(key.index()) {
            if let Place::Vacant { next } = std::mem::replace(place, taken) {
                self.vacant = next;
            }
        } else {
            self.places.push(taken);
            self.vacant = key.index + 1;
        }
        self.serial = key.serial;
        self.len += 1;
        Ok(key)
    }

    /// The thing of this key, if it is still there.
    #[must_use]
    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.places.get(key.index())? {
            Place::Taken { serial, thing } if *serial == key.serial => Some(thing),
            _ => None,
        }
    }

    /// The thing of this key, if it is still there.
    #[must_use]
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.places.get_mut(key.index())? {
            Place::Taken { serial, thing } if *serial == key.serial => Some(thing),
            _ => None,
        }
    }

    /// Takes the thing of this key out, if it is still there.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index())?;
        if !matches!(place, Place::Taken { serial, .. } if *serial == key.serial) {
            return None;
        }
        let Place::Taken { thing, .. } = std::mem::replace(place, Place::Vacant { next: self.vacant }) else {
            return None;
        };
        self.vacant = key.index;
        self.len -= 1;
        if self.len == 0 && self.places.len() > PLACES_KEPT {
            self.places = Vec::new();
            self.vacant = 0;
        }
        Some(thing)
    }

    /// The key of what is at a place, if something is: for walks in steps over everything.
    #[must_use]
    pub fn key_at(&self, index: usize) -> Option<Key> {
        match self.places.get(index)? {
            Place::Taken { serial, .. } => Some(Key { index: u32::try_from(index).ok()?, serial: *serial }),
            Place::Vacant { .. } => None,
        }
    }

    /// Everything with its key, in the order of the places.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0..).zip(&self.places).filter_map(|(index, place)| match place {
            Place::Taken { serial, thing } => Some((Key { index, serial: *serial }, thing)),
            Place::Vacant { .. } => None,
        })
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_its_own_thing_only() {
        let mut slab = Slab::new();
        let next = slab.next_key().unwrap();
        let first = slab.insert("first").unwrap();
        assert_eq!(first, next);
        let second = slab.insert("second").unwrap();
        assert_eq!(slab.remove(first), Some("first"));
        let next = slab.next_key().unwrap();
        let third = slab.insert("third").unwrap();
        assert_eq!(third, next);
        assert_eq!(third.index(), first.index());
        assert_eq!((slab.remove(first), slab.get(first)), (None, None));
        assert_eq!((slab.get(second), slab.get(third)), (Some(&"second"), Some(&"third")));
        assert_eq!(Key::from_u64(third.to_u64()), third);
    }

    #[test]
    fn places_are_reused_and_given_back() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..5000).map(|i| slab.insert(i).unwrap()).collect();
        for key in &keys[1..] {
            slab.remove(*key);
        }
        assert_eq!((slab.len(), slab.places()), (1, 5000));
        for i in 0..4999 {
            slab.insert(i).unwrap();
        }
        assert_eq!(slab.places(), 5000);
        let all: Vec<Key> = slab.iter().map(|(key, _)| key).collect();
        for key in all {
            assert_eq!(slab.key_at(key.index()), Some(key));
            slab.remove(key);
        }
        assert_eq!((slab.len(), slab.places()), (0, 0));
        assert_eq!(slab.get(keys[0]), None);
    }
}
