//! Where a server says what an operator should know.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mm_runtime::offload;
use mm_runtime::task::{Name, Options, spawn_with};

/// A log: lines of text, each written whole. Clones are the same log.
#[derive(Clone)]
pub struct Log {
    sink: Arc<Sink>,
}

enum Sink {
    StandardError {
        /// What each line begins with.
        prefix: String,
    },
    Call(Box<dyn Fn(&str) + Send + Sync>),
    File {
        path: PathBuf,
        file: Mutex<File>,
    },
}

impl Default for Log {
    fn default() -> Self {
        Self::stderr()
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.sink {
            Sink::StandardError { .. } => f.write_str("Log(standard error)"),
            Sink::Call(_) => f.write_str("Log(a function)"),
            Sink::File { path, .. } => write!(f, "Log({})", path.display()),
        }
    }
}

impl Log {
    /// Lines go to the standard error. That it may be closed does not matter.
    #[must_use]
    pub fn stderr() -> Self {
        Self::stderr_after("")
    }

    /// As [`stderr`](Self::stderr), each line after `prefix`: the program's name, say.
    #[must_use]
    pub fn stderr_after(prefix: impl Into<String>) -> Self {
        Self { sink: Arc::new(Sink::StandardError { prefix: prefix.into() }) }
    }

    /// Each line is given to this, without its end, from any thread.
    #[must_use]
    pub fn to(write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { sink: Arc::new(Sink::Call(Box::new(write))) }
    }

    /// Lines are appended to a file, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be opened; the message names it.
    pub fn file(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        let file = Mutex::new(open(&path)?);
        Ok(Self { sink: Arc::new(Sink::File { path, file }) })
    }

    /// A thread that has no descriptors but the standard ones can write lines.
    pub(crate) fn needs_no_file(&self) -> bool {
        matches!(*self.sink, Sink::StandardError { .. })
    }

    /// Writes one line. May block, so no shard calls it. What cannot be written is lost.
    pub fn write(&self, line: &str) {
        match &*self.sink {
            Sink::StandardError { prefix } => drop(writeln!(io::stderr(), "{prefix}{line}")),
            Sink::Call(write) => write(line),
            Sink::File { file, .. } => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                drop(file.write_all(format!("{line}\n").as_bytes()));
            }
        }
    }

    /// Writes lines by another thread, for a shard that must not be blocked. What cannot be written is lost.
    pub(crate) fn write_beside(&self, lines: Vec<String>) {
        let log = self.clone();
        let writing = offload::run(move || lines.iter().for_each(|line| log.write(line)));
        let written = async {
            writing.await.ok();
        };
        spawn_with(Options::new().name(Name::new("log")), written).detach();
    }

    /// Opens the file of this name, where the log is one: who keeps old logs has renamed it. Lines go on to the old one
    /// where that fails.
    ///
    /// # Errors
    /// As for [`file`](Self::file).
    pub fn reopen(&self) -> io::Result<()> {
        if let Sink::File { path, file } = &*self.sink {
            let new = open(path)?;
            *file.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot open the log {}: {error}", path.display()))
    })
}
