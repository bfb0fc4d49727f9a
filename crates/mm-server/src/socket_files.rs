//! The files of Unix sockets, which a server removes when it ends.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf, absolute};

use mm_runtime::sys::socket::{ListenAddress, Listener};

/// Files that listeners have made. While a server drains, another one may already have removed such a file as stale,
/// and listen at one of its own with the same name.
#[derive(Debug)]
pub(crate) struct SocketFiles(Vec<(PathBuf, Option<Identity>)>);

/// Tells a file from a later one at the same path: device, inode, which a file system may use again, and when it was
/// made.
type Identity = (u64, u64, (i64, i64));

impl SocketFiles {
    /// Those of these listeners.
    pub(crate) fn of(listeners: &[Listener]) -> Self {
        let path = |listener: &Listener| match listener.address() {
            // The process may go to another folder meanwhile.
            ListenAddress::Unix(path, _) => Some((absolute(path).ok()?, identity(path))),
            ListenAddress::Ip(_) => None,
        };
        Self(listeners.iter().filter_map(path).collect())
    }

    /// Removes those that are still there.
    pub(crate) fn remove(self) {
        for (path, made) in self.0 {
            if made.is_some() && identity(&path) == made {
                // What cannot be removed is found to be stale by whoever listens there next.
                fs::remove_file(&path).ok();
            }
        }
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let file = fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino(), (file.mtime(), file.mtime_nsec())))
}
