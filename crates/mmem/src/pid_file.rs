//! The file of `-P`, and how files are written that others wait for.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use mainmemory::server::process::{Account, overwrite_regular, read_regular};

use crate::refusal::{Refusal, exit};

/// The file of `-P`, which goes when the server does.
#[derive(Debug)]
pub(crate) struct PidFile {
    /// Whatever becomes of the working folder.
    path: PathBuf,
}

impl PidFile {
    /// As the user who starts: sees to it that `account` may write the file, should its folder be closed to that one.
    /// A process's id stays in it: it may be that of a server which this one fails to start beside. Nothing else does:
    /// what that user put there may lead to a file that only this one can read. Where this user can do nothing, the
    /// other one may. What this returns removes the file should the start fail before it is written.
    pub(crate) fn claim(path: &Path, account: &Account) -> Option<Self> {
        let kept = read_regular(path, ID_BYTES_MAX).ok().filter(|text| is_id(text));
        drop(write_whole(path, &kept.unwrap_or_else(own_id), Some(account)));
        std::path::absolute(path).ok().map(|path| Self { path })
    }

    /// The file at this path, which is not written yet.
    ///
    /// # Errors
    /// A [`Refusal`] that names it, if this user cannot write it.
    pub(crate) fn find(path: &Path) -> Result<Self, Refusal> {
        let refusal = |error| refusal(path, &error);
        can_write_whole(path).map_err(refusal)?;
        Ok(Self { path: std::path::absolute(path).map_err(refusal)? })
    }

    /// Writes this process's id.
    ///
    /// # Errors
    /// A [`Refusal`] that names the file.
    pub(crate) fn write(&self) -> Result<(), Refusal> {
        write_whole(&self.path, &own_id(), None).map_err(|error| refusal(&self.path, &error))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // It may be that of another process: one that goes on in this one's place, or that was there before.
        if read_regular(&self.path, ID_BYTES_MAX).is_ok_and(|id| id == own_id())
            && fs::remove_file(&self.path).is_err()
        {
            // The folder is closed to the user that the server has become: at least the id goes.
            drop(overwrite_regular(&self.path).and_then(|file| file.set_len(0)));
        }
    }
}

/// A number of 32 bits and a line's end.
const ID_BYTES_MAX: usize = 12;

/// Whether a file with this in it tells a process's id.
fn is_id(text: &str) -> bool {
    let digits = text.trim_end();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn own_id() -> String {
    format!("{}\n", std::process::id())
}

fn refusal(path: &Path, error: &io::Error) -> Refusal {
    Refusal::new(exit::SYSTEM, format!("-P {}: {error}", path.display()))
}

/// Writes a file so that whoever sees it sees all of it; where its folder is closed, but the file is not, in its place.
/// It then is `owner`'s, if this user may give files away.
///
/// # Errors
/// The system's.
pub(crate) fn write_whole(path: &Path, text: &str, owner: Option<&Account>) -> io::Result<()> {
    let beside = beside(path);
    let written = create(&beside).and_then(|mut file| {
        owner.into_iter().for_each(|owner| drop(owner.give(&file)));
        file.write_all(text.as_bytes())?;
        fs::rename(&beside, path)
    });
    match written {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            // The folder may be that of another user, who must not choose what file this is.
            let mut file = overwrite_regular(path).map_err(|_closed_too| error)?;
            file.write_all(text.as_bytes())?;
            file.set_len(text.len() as u64)
        }
        Err(error) => {
            drop(fs::remove_file(&beside));
            Err(error)
        }
        written => written,
    }
}

/// Whether [`write_whole`] could write the file.
///
/// # Errors
/// The system's, if not.
fn can_write_whole(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let beside = beside(path);
    match create(&beside) {
        Ok(_) => fs::remove_file(&beside),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            overwrite_regular(path).map(drop).map_err(|_closed_too| error)
        }
        Err(error) => Err(error),
    }
}

/// The name under which a file is written: of this process alone, as another one may write the same file now.
fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.lck", std::process::id()));
    beside.into()
}

/// Creates this very file, whatever was there.
fn create(path: &Path) -> io::Result<fs::File> {
    drop(fs::remove_file(path));
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_process_writes_the_same_file_by_stays() {
        let path = std::env::temp_dir().join(format!("mmem-pid-file-{}", std::process::id()));
        let anothers = [".lck", ".1.lck"].map(|end| PathBuf::from(format!("{}{end}", path.display())));
        anothers.iter().for_each(|another| fs::write(another, "half").unwrap());
        can_write_whole(&path).unwrap();
        assert!(!path.exists());
        write_whole(&path, "1\n", None).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        for another in anothers {
            assert_eq!(fs::read_to_string(&another).unwrap(), "half");
            fs::remove_file(another).unwrap();
        }
        fs::remove_file(&path).unwrap();
    }
}
