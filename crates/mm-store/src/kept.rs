//! Stores that outlive their process: memory of a file, and the book that says what is in it.
//!
//! A store whose memory is a file leaves a *book* when its last handle goes: what it knew of its segments, index and
//! ghosts besides their bytes. Another store takes memory and book over. The book carries a digest of itself and, where
//! it is to be kept, of all bytes in use, so that what a store takes over is what a store has left, or nothing.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::counters::Totals;
use crate::memory::{MARK_AT, digest};

/// What a book begins with.
const MAGIC: [u8; 16] = *b"MainMemory book\n";

/// The same bytes are another number where the order of bytes is another one.
const ORDER: u64 = 0x0102_0304_0506_0708;

/// The version of books and of what they describe: to be raised whenever either changes in a way that sizes do not
/// tell.
const VERSION: u64 = 4;

/// How a store is to leave its memory when its last handle goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leave {
    /// Nobody will take it over.
    #[default]
    Nothing,
    /// For somebody who takes it over at once from this process.
    Trusted,
    /// To be kept where it may come to harm: with digests of everything, which takes time in proportion to the memory.
    Checked,
}

/// Memory of a file, for a store that another one may take over.
///
/// The file must be this process's alone as long as the store lives (a lock, and a mode that keeps others out): memory
/// that somebody else writes, or a file that somebody else makes shorter, ends the process or worse.
#[derive(Debug, Clone)]
pub struct Kept(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    /// Whether the first store has memory of its own, which goes to the file in the end.
    moves: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the store is to begin with.
    found: Option<Vec<u8>>,
    /// What its owner had noted in the book that it began with.
    found_note: Option<Vec<u8>>,
    /// Whether the one who has left it may take it back.
    is_lent: bool,
    leave: Leave,
    note: Note,
    give_up: GiveUp,
    left: Option<Vec<u8>>,
    /// What the store had counted that is gone.
    totals_left: Option<Totals>,
    /// What the next store goes on from.
    totals_before: Option<Totals>,
}

/// Makes what a store's owner wants to have in the book.
#[derive(Default)]
struct Note(Option<Box<dyn Fn() -> Vec<u8> + Send>>);

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Note").field(&self.0.is_some()).finish()
    }
}

/// Tells whether nobody wants the store any more that is being opened.
#[derive(Default)]
struct GiveUp(Option<Box<dyn Fn() -> bool + Send>>);

impl fmt::Debug for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GiveUp").field(&self.0.is_some()).finish()
    }
}

impl Kept {
    /// The memory of a file. What the file held is dropped when a store is opened.
    #[must_use]
    pub fn new(file: File) -> Self {
        Self(Arc::new(Inner { file, moves: false, state: Mutex::default() }))
    }

    /// For a store with memory of its own, which goes to an empty file when the store is to leave something: that
    /// takes time in proportion to the memory, and the store has huge pages before.
    #[must_use]
    pub fn moved_to(file: File) -> Self {
        Self(Arc::new(Inner { file, moves: true, state: Mutex::default() }))
    }

    /// Whether the memory is the store's own, and goes to the file in the end.
    pub(crate) fn moves(&self) -> bool {
        self.0.moves
    }

    /// The memory of a file, and the book of the store that has left it.
    #[must_use]
    pub fn with_book(file: File, book: Vec<u8>) -> Self {
        let kept = Self::new(file);
        kept.state().found = Some(book);
        kept
    }

    /// As [`with_book`](Self::with_book), where somebody may still go on with memory and book if this process does not:
    /// the store that is opened takes them over without a trace. [`own`](Self::own) must be called before anything is
    /// asked of that store.
    #[must_use]
    pub fn lent(file: File, book: Vec<u8>) -> Self {
        let kept = Self::with_book(file, book);
        kept.state().is_lent = true;
        kept
    }

    /// From here on [lent](Self::lent) memory is in use: nobody takes it for what the book tells of.
    ///
    /// # Errors
    /// The system's.
    pub fn own(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.is_lent {
            self.file().write_all_at(&[0; 8], MARK_AT as u64)?;
            state.is_lent = false;
        }
        Ok(())
    }

    /// Whether the memory may still be taken back.
    pub(crate) fn is_lent(&self) -> bool {
        self.state().is_lent
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.0.file
    }

    /// Sets what the store is to leave when its last handle goes. Of several calls the one that asks for most counts:
    /// what is to be kept may come to harm, whoever else wants to have it.
    pub fn leave(&self, leave: Leave) {
        let mut state = self.state();
        state.leave = state.leave.max(leave);
    }

    /// Sets what makes the note that the book then gets.
    pub fn note_with(&self, note: impl Fn() -> Vec<u8> + Send + 'static) {
        self.state().note = Note(Some(Box::new(note)));
    }

    /// Sets what is asked again and again while a store is taken over, which takes time in proportion to the memory
    /// where that is checked: once it says `true`, the opening fails with [`Interrupted`](io::ErrorKind::Interrupted).
    /// To be called before the store is opened.
    pub fn give_up_when(&self, is_called_off: impl Fn() -> bool + Send + 'static) {
        self.state().give_up = GiveUp(Some(Box::new(is_called_off)));
    }

    /// Asks whether to go on with taking a store over.
    ///
    /// # Errors
    /// [`Interrupted`](io::ErrorKind::Interrupted): it is to be given up.
    pub(crate) fn go_on(&self) -> io::Result<()> {
        let is_called_off = self.state().give_up.0.as_ref().is_some_and(|is_called_off| is_called_off());
        if is_called_off { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    /// What was noted in the book of the store that was taken over; `None` where none was. Forgets it.
    #[must_use]
    pub fn take_note(&self) -> Option<Vec<u8>> {
        self.state().found_note.take()
    }

    /// The book that the store has left: `None` as long as there is a handle, where nothing was to be left, and where
    /// something of the store was still in use.
    #[must_use]
    pub fn take_book(&self) -> Option<Vec<u8>> {
        self.state().left.take()
    }

    /// Has the next store go on with the counters of the one in `before`, whose handles are gone: whether it takes over
    /// the items or begins empty. Without this, they begin anew.
    pub fn count_on_from(&self, before: &Self) {
        let totals = before.state().totals_left.take();
        self.state().totals_before = totals;
    }

    /// A store is gone that had counted this.
    pub(crate) fn put_totals(&self, totals: Totals) {
        self.state().totals_left = Some(totals);
    }

    /// What the store that has been opened goes on from. Forgets it.
    pub(crate) fn take_totals(&self) -> Option<Totals> {
        self.state().totals_before.take()
    }

    /// The book that the next store is to begin with: `None` where one has taken it over. Forgets it.
    pub(crate) fn take_found(&self) -> Option<Vec<u8>> {
        self.state().found.take()
    }

    /// Has the next store begin with this book.
    pub(crate) fn put_found(&self, book: Vec<u8>) {
        self.state().found = Some(book);
    }

    /// What is to be left.
    #[must_use]
    pub fn wanted(&self) -> Leave {
        self.state().leave
    }

    /// What the owner notes now.
    pub(crate) fn note(&self) -> Vec<u8> {
        self.state().note.0.as_ref().map_or_else(Vec::new, |note| note())
    }

    /// A store was taken over whose owner had noted this.
    pub(crate) fn put_found_note(&self, note: Vec<u8>) {
        self.state().found_note = Some(note);
    }

    /// Leaves a book.
    pub(crate) fn put_left(&self, book: Vec<u8>) {
        self.state().left = Some(book);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a store could not be opened in kept memory.
#[derive(Debug)]
pub enum KeptError {
    /// The system's error. Nothing was changed; the next attempt begins with what was left there, as this one did.
    System(io::Error),
    /// What was left there cannot be taken over. Nothing was changed; the next attempt drops it.
    Refused(Refused),
}

impl fmt::Display for KeptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for KeptError {}

impl From<io::Error> for KeptError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<Refused> for KeptError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Why memory that a store has left cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(String);

impl Refused {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// The book is damaged.
    pub(crate) fn book() -> Self {
        Self::new("its book is damaged")
    }

    /// The memory is damaged.
    pub(crate) fn memory() -> Self {
        Self::new("its contents are damaged")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// A book that is being written: numbers of eight bytes.
#[derive(Debug)]
pub(crate) struct Writing(Vec<u8>);

impl Writing {
    /// Begins a book; `layout` stands for everything that a store's bytes depend on.
    pub(crate) fn new(layout: u64) -> Self {
        let mut book = Self(MAGIC.to_vec());
        for number in [ORDER, VERSION, u64::from(usize::BITS), layout] {
            book.put(number);
        }
        book
    }

    pub(crate) fn put(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_ne_bytes());
    }

    /// Writes bytes, with their number before them.
    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) {
        self.put(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// The book, and a number other than 0 that stands for it.
    pub(crate) fn finish(mut self) -> (Vec<u8>, u64) {
        let sum = digest(&self.0);
        self.put(sum);
        (self.0, sum | 1)
    }
}

/// A book that is being read.
#[derive(Debug)]
pub(crate) struct Reading<'a>(&'a [u8]);

impl<'a> Reading<'a> {
    /// Begins to read; also the number that stands for the book.
    pub(crate) fn new(book: &'a [u8], layout: u64) -> Result<(Self, u64), Refused> {
        let Some(numbers) = book.strip_prefix(&MAGIC) else {
            return Err(Refused::new("it was not left by a server of this kind"));
        };
        let mut reading = Self(numbers);
        if reading.take()? != ORDER {
            return Err(Refused::new("it was left by a machine with another order of bytes, or is damaged"));
        }
        let version = reading.take()?;
        if version != VERSION {
            return Err(Refused::new(format!("it is of version {version}, this program writes {VERSION}")));
        }
        let bits = reading.take()?;
        if bits != u64::from(usize::BITS) {
            let own = usize::BITS;
            return Err(Refused::new(format!(
                "it was left by a build for {bits} bits, this one is for {own}"
            )));
        }
        let Some((body, sum)) = book.split_last_chunk::<8>() else { return Err(Refused::book()) };
        let sum = u64::from_ne_bytes(*sum);
        if digest(body) != sum {
            return Err(Refused::book());
        }
        reading.0 = &reading.0[..reading.0.len() - 8];
        if reading.take()? != layout {
            return Err(Refused::new("it was left by a build that lays items out in another way"));
        }
        Ok((reading, sum | 1))
    }

    pub(crate) fn take(&mut self) -> Result<u64, Refused> {
        let (number, rest) = self.0.split_first_chunk::<8>().ok_or_else(Refused::book)?;
        self.0 = rest;
        Ok(u64::from_ne_bytes(*number))
    }

    pub(crate) fn take_u32(&mut self) -> Result<u32, Refused> {
        u32::try_from(self.take()?).map_err(|_too_large| Refused::book())
    }

    pub(crate) fn take_size(&mut self) -> Result<usize, Refused> {
        usize::try_from(self.take()?).map_err(|_too_large| Refused::book())
    }

    /// What [`Writing::put_bytes`] wrote.
    pub(crate) fn take_bytes(&mut self) -> Result<&'a [u8], Refused> {
        let len = self.take_size()?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(Refused::book)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// Whether all was read.
    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}
