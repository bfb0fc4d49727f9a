//! Memory that outlives the process: the file of `-e`, with a book beside it that says what is in it, and memory
//! that goes to the process of the next version.
//!
//! Whoever finds the book takes it away before the memory is used, and not before: opening a store leaves all as it is.
//! So where there is one, nobody has used the memory since it was left, however the process that did so has ended; and
//! a start that comes to nothing, at whatever point, costs nothing but itself.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mainmemory::server::process::{self, successor};
use mainmemory::store::{Kept, KeptError, Leave};
use mm_memcached::Shared;

use crate::config;
use crate::limits::BOOK_BYTES_MAX;
use crate::refusal::{Refusal, exit};

/// Who may read and write the files: keys and values are the user's own.
const MODE: u32 = 0o600;

/// The memory, as long as the server uses it.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// Memory that can be kept or given away; `None` where the system has none.
    kept: Option<Kept>,
    /// The file of `-e`.
    paths: Option<Paths>,
    /// Why there is no book though the file holds something.
    absent: Option<&'static str>,
    /// Whether nothing is served rather than from an empty store.
    must_be_warm: bool,
}

#[derive(Debug, Clone)]
struct Paths {
    memory: PathBuf,
    book: PathBuf,
    /// What `-m` asks of the file's system.
    limit_bytes: u64,
}

impl Paths {
    /// Those of a file that is there, whatever becomes of the working folder.
    fn of(path: &Path, limit_bytes: u64) -> io::Result<Self> {
        let memory = fs::canonicalize(path)?;
        Ok(Self { book: with_suffix(&memory, ".meta"), memory, limit_bytes })
    }
}

impl Memory {
    /// The memory that the configuration asks for.
    ///
    /// # Errors
    /// As for [`Memory::of_file`].
    pub(crate) fn open(asked: &config::Memory) -> Result<Self, Refusal> {
        let of_file = |path: &PathBuf| Self::of_file(path, asked.limit_bytes);
        asked.file.as_ref().map_or_else(|| Ok(Self::without_file()), of_file)
    }

    /// Memory that has no file.
    pub(crate) fn without_file() -> Self {
        let kept = successor::shareable_memory("mmem").ok().map(Kept::moved_to);
        Self { kept, paths: None, absent: None, must_be_warm: false }
    }

    /// Memory that another server lends, with its book, where the configuration asks for this.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn taken_over(asked: &config::Memory, memory: File, book: Vec<u8>) -> io::Result<Self> {
        let paths = asked.file.as_ref().map(|path| Paths::of(path, asked.limit_bytes)).transpose()?;
        Ok(Self { kept: Some(Kept::lent(memory, book)), paths, absent: None, must_be_warm: true })
    }

    /// To be called before anything is done with the store: from here on neither the server that has lent the memory
    /// nor the next start can go on with what is in it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn own(&self) -> io::Result<()> {
        if let Some(paths) = &self.paths {
            remove_book(&paths.book)
                .map_err(|error| io::Error::other(self.told(&format!("its book stays: {error}"))))?;
        }
        self.kept.as_ref().map_or(Ok(()), Kept::own)
    }

    /// This memory again, with the book that its store has left, where nobody else could go on with it. It serves from
    /// an empty store rather than not at all.
    pub(crate) fn taken_back(&self, memory: File, book: Vec<u8>) -> Self {
        let kept = Some(Kept::with_book(memory, book));
        Self { kept, paths: self.paths.clone(), absent: None, must_be_warm: false }
    }

    /// Has the store of this memory go on with the counters of the one in `before`, which is gone.
    pub(crate) fn count_on_from(&self, before: &Self) {
        if let (Some(kept), Some(before)) = (&self.kept, &before.kept) {
            kept.count_on_from(before);
        }
    }

    /// Memory of the same name, for an empty store, where that of this one cannot be had: somebody may still use it, so
    /// a file is another one from now on.
    ///
    /// # Errors
    /// As for [`Memory::of_file`].
    pub(crate) fn another(&self) -> Result<Self, Refusal> {
        let Some(paths) = &self.paths else { return Ok(Self::without_file()) };
        // One that cannot be removed is still locked.
        drop(fs::remove_file(&paths.memory));
        // What the other file holds is about to be free.
        Self::in_file(locked(&paths.memory)?, &paths.memory, paths.limit_bytes)
    }

    /// Whether a file has room for so much, as far as its system tells; true of memory that has none.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let file = self.kept.as_ref().filter(|_| self.paths.is_some()).map(Kept::file);
        file.is_none_or(|file| lacking(process::room_of(file), bytes).is_none())
    }

    /// Opens or makes the file, which nobody else may then open so, and reads the book.
    ///
    /// # Errors
    /// A [`Refusal`] where the file is another server's, no file at all, its system has no room for the limit, or the
    /// system refuses.
    fn of_file(path: &Path, limit_bytes: u64) -> Result<Self, Refusal> {
        let is_absent = fs::symlink_metadata(path).is_err();
        let file = locked(path)?;
        // Later it would be noticed by a signal that ends the process, or by connections that it cannot serve.
        if let Some(room) = lacking(process::room_of(&file), limit_bytes) {
            if is_absent {
                drop(fs::remove_file(path));
            }
            return Err(refuse(path, &no_room(room, limit_bytes)));
        }
        Self::in_file(file, path, limit_bytes)
    }

    /// Memory in an open file, with the book beside it.
    ///
    /// # Errors
    /// A [`Refusal`] where the system refuses.
    fn in_file(file: File, path: &Path, limit_bytes: u64) -> Result<Self, Refusal> {
        let failed = |error: io::Error| refuse(path, &error.to_string());
        let paths = Paths::of(path, limit_bytes).map_err(failed)?;
        let is_new = file.metadata().map_err(failed)?.len() == 0;
        let book = read_book(&paths.book)
            .map_err(|error| refuse(path, &format!("its book cannot be read: {error}")))?;
        let absent =
            (book.is_none() && !is_new).then_some("it was not left in order: there is no book beside it");
        let kept = match book {
            Some(book) => Kept::lent(file, book),
            None => Kept::new(file),
        };
        Ok(Self { kept: Some(kept), paths: Some(paths), absent, must_be_warm: false })
    }

    /// Sets what is asked while [items are loaded](Self::open_store): once it says `true`, that fails, and all stays as
    /// it was left.
    pub(crate) fn give_up_when(&self, is_called_off: impl Fn() -> bool + Send + 'static) {
        if let Some(kept) = &self.kept {
            kept.give_up_when(is_called_off);
        }
    }

    /// Opens the store that was left in the memory, and has `shared` go on from where it was, or opens an empty one.
    /// Also what an operator should know of it.
    ///
    /// # Errors
    /// The system's, and [`ErrorKind::Interrupted`] where it was [given up](Self::give_up_when).
    pub(crate) fn open_store<T>(
        &self,
        open_own: impl Fn() -> io::Result<T>,
        open_kept: impl Fn(&Kept) -> Result<T, KeptError>,
        shared: &Shared,
    ) -> io::Result<(T, Vec<String>)> {
        let Some(kept) = &self.kept else { return Ok((open_own()?, Vec::new())) };
        let told = |what: &str| vec![self.told(what)];
        let failed = |error: &KeptError| io::Error::other(self.told(&error.to_string()));
        let why = match open_kept(kept) {
            Ok(store) => match (kept.take_note(), self.absent) {
                (Some(note), _) if shared.resume(&note) => {
                    return Ok((store, told("the items that were left there are back")));
                }
                (Some(_), _) => "it was left by another version of this program".to_owned(),
                (None, None) => return Ok((store, Vec::new())),
                (None, Some(why)) => why.to_owned(),
            },
            Err(error @ KeptError::Refused(_)) if self.must_be_warm => return Err(failed(&error)),
            Err(KeptError::Refused(refused)) => refused.to_string(),
            Err(KeptError::System(error)) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(failed(&error)),
        };
        if self.must_be_warm {
            return Err(io::Error::other(self.told(&why)));
        }
        // What was refused is forgotten.
        let store = open_kept(kept).map_err(|error| failed(&error))?;
        Ok((store, told(&format!("the cache starts empty: {why}"))))
    }

    /// A message about the memory.
    pub(crate) fn told(&self, what: &str) -> String {
        match &self.paths {
            Some(paths) => format!("-e {}: {what}", paths.memory.display()),
            None if self.must_be_warm => format!("memory taken over: {what}"),
            None => what.to_owned(),
        }
    }

    /// Sets what makes the note that goes with the items.
    pub(crate) fn note_with(&self, note: impl Fn() -> Vec<u8> + Send + 'static) {
        if let Some(kept) = &self.kept {
            kept.note_with(note);
        }
    }

    /// Has the items kept when the server stops, where they have a file.
    pub(crate) fn save_at_end(&self) {
        if let (Some(kept), true) = (&self.kept, self.paths.is_some()) {
            kept.leave(Leave::Checked);
        }
    }

    /// Has the items left for another process when the server stops. False where that cannot be done.
    pub(crate) fn give_away_at_end(&self) -> bool {
        self.kept.iter().for_each(|kept| kept.leave(Leave::Trusted));
        self.kept.is_some()
    }

    /// The memory and the book of a store whose handles are gone, for another process.
    ///
    /// # Errors
    /// No descriptors are left, or something of the store is still in use.
    pub(crate) fn give_away(&self) -> io::Result<(File, Vec<u8>)> {
        let in_use = || io::Error::other("the items cannot be given away");
        let kept = self.kept.as_ref().ok_or_else(in_use)?;
        Ok((kept.file().try_clone()?, kept.take_book().ok_or_else(in_use)?))
    }

    /// Writes the book of a store whose handles are gone, after all else is where it is to stay, if items are to
    /// be kept. What was left for another process, which has not got it, is not.
    ///
    /// # Errors
    /// The system's; then the next start is a cold one.
    pub(crate) fn save(&self) -> io::Result<()> {
        let to_be_kept = self.kept.as_ref().filter(|kept| kept.wanted() == Leave::Checked);
        let Some(book) = to_be_kept.and_then(Kept::take_book) else { return Ok(()) };
        self.write_book(&book)
    }

    fn write_book(&self, book: &[u8]) -> io::Result<()> {
        let (Some(kept), Some(Paths { book: path, .. })) = (&self.kept, &self.paths) else { return Ok(()) };
        kept.file().sync_all()?;
        let beside = with_suffix(path, ".new");
        drop(fs::remove_file(&beside));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside)?;
        file.write_all(book)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        folder_of(path)?.sync_all()
    }
}

/// How much room there is where it is known, and less than is needed.
fn lacking(room: io::Result<Option<u64>>, needed: u64) -> Option<u64> {
    room.ok().flatten().filter(|&room| room < needed)
}

fn refuse(path: &Path, what: &str) -> Refusal {
    Refusal::new(exit::SYSTEM, format!("-e {}: {what}", path.display()))
}

/// Opens or makes the file, for this process alone.
fn locked(path: &Path) -> Result<File, Refusal> {
    let failed = |error: io::Error| refuse(path, &error.to_string());
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(MODE).open(path);
    let file = file.map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(refuse(path, "this is not a file"));
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(refuse(path, "another server uses it")),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn no_room(room: u64, needed: u64) -> String {
    let (room, needed) = (room >> 20, needed.div_ceil(1 << 20));
    format!(
        "its file system has room for {room} MiB of the {needed} MiB of -m; give it more (size= of a tmpfs, --shm-size \
         of a container), or less by -m"
    )
}

fn read_book(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut book = Vec::new();
    file.take(BOOK_BYTES_MAX).read_to_end(&mut book)?;
    Ok(Some(book))
}

/// Removes the book, if there is one, for good before anything else is done.
fn remove_book(path: &Path) -> io::Result<()> {
    // Where it cannot be opened the book is to stay.
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    let folder = folder_of(path)?;
    fs::remove_file(path)?;
    folder.sync_all()
}

/// The folder of a file, to have the system keep the names in it as they are.
fn folder_of(path: &Path) -> io::Result<File> {
    File::open(path.parent().unwrap_or_else(|| Path::new("/")))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use mainmemory::store::{Config, Store};

    use super::*;

    /// The memory of a file of its own for each test, which goes with it.
    struct Files(PathBuf);

    impl Files {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("mmem-{name}-{}", std::process::id())))
        }

        fn open(&self) -> Result<Memory, Refusal> {
            Memory::of_file(&self.0, 1 << 20)
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            drop(fs::remove_file(&self.0));
            drop(fs::remove_file(with_suffix(&self.0, ".meta")));
        }
    }

    /// Has a store with this memory come and go; whether there is a book then.
    fn is_kept_after(name: &str, asked: impl Fn(&Memory)) -> bool {
        let files = Files::new(name);
        let memory = files.open().unwrap();
        let kept = memory.kept.as_ref().unwrap();
        let store = Store::open_kept(&Config::new(1 << 20, 7), kept).unwrap();
        asked(&memory);
        drop(store);
        memory.save().unwrap();
        with_suffix(&files.0, ".meta").exists()
    }

    #[test]
    fn items_are_kept_where_that_was_asked_for_whatever_an_upgrade_wanted() {
        assert!(!is_kept_after("upgrade", |memory| assert!(memory.give_away_at_end())));
        assert!(is_kept_after("first", |memory| {
            memory.save_at_end();
            memory.give_away_at_end();
        }));
        assert!(is_kept_after("then", |memory| {
            memory.give_away_at_end();
            memory.save_at_end();
        }));
    }

    #[test]
    fn room_is_lacking_where_it_is_known_and_too_little() {
        let lacking = |room| lacking(Ok(room), 100);
        assert_eq!([lacking(Some(99)), lacking(Some(100)), lacking(None)], [Some(99), None, None]);
        assert_eq!(super::lacking(Err(ErrorKind::Unsupported.into()), 100), None);
    }

    #[test]
    fn a_file_has_room_for_less_than_its_system_can_hold() {
        let files = Files::new("room");
        let memory = files.open().unwrap();
        let room = process::room_of(memory.kept.as_ref().unwrap().file()).unwrap();
        let room = room.expect("the folder for temporary files has a bound");
        // Others write there, too.
        assert!(memory.has_room(room / 2) && !memory.has_room(room.saturating_mul(2)), "{room}");
        assert!(Memory::without_file().has_room(u64::MAX));
        drop(memory);
        let refused = Memory::of_file(&files.0, room.saturating_mul(2)).unwrap_err();
        assert!(refused.to_string().contains(": its file system has room for "), "{refused}");
        assert_eq!(refused.code(), exit::SYSTEM);
    }

    #[test]
    fn where_memory_cannot_be_had_its_file_is_another_one() {
        let files = Files::new("another");
        let memory = files.open().unwrap();
        assert!(files.open().is_err(), "it is locked");
        let another = memory.another().unwrap();
        assert!(files.open().is_err(), "the new one is");
        assert_eq!(another.paths.unwrap().memory, memory.paths.unwrap().memory);
    }
}
