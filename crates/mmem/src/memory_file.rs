//! The file of `-e`: memory that outlives the process, and the book beside it that says what is in it.
//!
//! Whoever finds the book takes it away before the memory is used. So where there is one, nobody has used the memory
//! since it was left, however the process that did so has ended.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mainmemory::store::{Kept, KeptError, Leave};
use mm_memcached::Shared;

use crate::limits::BOOK_BYTES_MAX;
use crate::refusal::{Refusal, exit};

/// Who may read and write the files: keys and values are the user's own.
const MODE: u32 = 0o600;

/// The memory, as long as the server uses it.
#[derive(Debug, Clone)]
pub(crate) struct MemoryFile {
    path: PathBuf,
    book_path: PathBuf,
    kept: Kept,
    /// Why there is no book though the file holds something.
    absent: Option<&'static str>,
}

impl MemoryFile {
    /// Opens or makes the file, which nobody else may then open so, and takes the book away.
    ///
    /// # Errors
    /// A [`Refusal`] where the file is another server's, no file at all, or the system refuses.
    pub(crate) fn open(path: &Path) -> Result<Self, Refusal> {
        let refuse = |what: String| Refusal::new(exit::SYSTEM, format!("-e {}: {what}", path.display()));
        let failed = |error: io::Error| refuse(error.to_string());
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(MODE).open(path);
        let file = file.map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(refuse("this is not a file".to_owned()));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(refuse("another server uses it".to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // The working folder may change.
        let path = fs::canonicalize(path).map_err(failed)?;
        let book_path = with_suffix(&path, ".meta");
        let is_new = file.metadata().map_err(failed)?.len() == 0;
        let book =
            take_book(&book_path).map_err(|error| refuse(format!("its book cannot be read: {error}")))?;
        let absent =
            (book.is_none() && !is_new).then_some("it was not left in order: there is no book beside it");
        let kept = match book {
            Some(book) => Kept::with_book(file, book),
            None => Kept::new(file),
        };
        Ok(Self { path, book_path, kept, absent })
    }

    /// Opens the store that was left in the memory, and has `shared` go on from where it was, or opens an empty one.
    /// Also what an operator should know of it.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open_store<T>(
        &self,
        open: impl Fn(&Kept) -> Result<T, KeptError>,
        shared: &Shared,
    ) -> io::Result<(T, Vec<String>)> {
        let in_file = |error: KeptError| io::Error::other(self.told(&error.to_string()));
        let why = match open(&self.kept) {
            Ok(store) => match (self.kept.take_note(), self.absent) {
                (Some(note), _) if shared.resume(&note) => {
                    return Ok((store, vec![self.told("the items that were left there are back")]));
                }
                (Some(_), _) => "it was left by another version of this program".to_owned(),
                (None, None) => return Ok((store, Vec::new())),
                (None, Some(why)) => why.to_owned(),
            },
            Err(KeptError::Refused(refused)) => refused.to_string(),
            Err(error) => return Err(in_file(error)),
        };
        // What was refused is forgotten.
        let store = open(&self.kept).map_err(in_file)?;
        Ok((store, vec![self.told(&format!("the cache starts empty: {why}"))]))
    }

    /// A message about the file.
    pub(crate) fn told(&self, what: &str) -> String {
        format!("-e {}: {what}", self.path.display())
    }

    /// The memory.
    pub(crate) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Has the items kept when the server stops.
    pub(crate) fn save_at_end(&self) {
        self.kept.leave(Leave::Checked);
    }

    /// Writes the book of a store whose handles are gone, after all else is where it is to stay. False where none was
    /// to be left.
    ///
    /// # Errors
    /// The system's; then the next start is a cold one.
    pub(crate) fn save(&self) -> io::Result<bool> {
        let Some(book) = self.kept.take_book() else { return Ok(false) };
        self.kept.file().sync_all()?;
        let beside = with_suffix(&self.book_path, ".new");
        drop(fs::remove_file(&beside));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside)?;
        file.write_all(&book)?;
        file.sync_all()?;
        fs::rename(&beside, &self.book_path)?;
        sync_folder(&self.book_path)?;
        Ok(true)
    }
}

/// Reads the book and removes it, for good before anything else is done.
fn take_book(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut book = Vec::new();
    file.take(BOOK_BYTES_MAX).read_to_end(&mut book)?;
    fs::remove_file(path)?;
    sync_folder(path)?;
    Ok(Some(book))
}

/// Has the system keep the names in a file's folder as they are.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or_else(|| Path::new("/")))?.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
