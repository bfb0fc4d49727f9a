//! What kind of process a server is: its user, its limits, in the background or not.
//!
//! All of it belongs to the start, before any thread exists. Listening comes before [`Account::assume`], so
//! that a server may listen on a port below 1024 and still not serve as root.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mm_base::Now;
use mm_runtime::sys::clock::Clock;
use mm_runtime::sys::{descriptors, priority};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::{Gid, Uid, User, geteuid, setgid, setuid};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub mod background;
pub mod successor;

/// Whether the process runs as root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// A user of the system, whom the process may become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    user: Uid,
    group: Gid,
}

/// Why there is no [`Account`] by some name.
#[derive(Debug)]
pub enum AccountError {
    /// The system knows no such user.
    Unknown,
    /// The system could not be asked.
    System(io::Error),
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no such user"),
            Self::System(error) => write!(f, "cannot look up users: {error}"),
        }
    }
}

impl std::error::Error for AccountError {}

impl Account {
    /// Looks up a user by name, in whatever way the system does.
    ///
    /// # Errors
    /// [`AccountError`] if there is none, or the look-up fails.
    pub fn find(name: &str) -> Result<Self, AccountError> {
        match User::from_name(name) {
            Ok(Some(user)) => Ok(Self { name: user.name, user: user.uid, group: user.gid }),
            Ok(None) => Err(AccountError::Unknown),
            Err(error) => Err(AccountError::System(error.into())),
        }
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes a file this user's.
    ///
    /// # Errors
    /// The system's: only root may give files away.
    pub fn give(&self, file: &File) -> io::Result<()> {
        std::os::unix::fs::fchown(file, Some(self.user.as_raw()), Some(self.group.as_raw()))
    }

    /// Becomes this user for good: its group, no further groups, then its user id. Does nothing for root
    /// itself.
    ///
    /// # Errors
    /// If the system refuses any of it, or would let the process become root again.
    pub fn assume(&self) -> io::Result<()> {
        if self.user.is_root() {
            return Ok(());
        }
        self.leave_groups()?;
        setgid(self.group)?;
        setuid(self.user)?;
        if setuid(Uid::from_raw(0)).is_ok() {
            return Err(io::Error::other("the process could become root again"));
        }
        Ok(())
    }

    /// Leaves all supplementary groups.
    #[cfg(not(target_vendor = "apple"))]
    #[expect(clippy::unused_self, reason = "on Apple's systems one is left, the user's own")]
    fn leave_groups(&self) -> io::Result<()> {
        Ok(nix::unistd::setgroups(&[])?)
    }

    /// Leaves all supplementary groups but the user's own, for there has to be one.
    #[cfg(target_vendor = "apple")]
    fn leave_groups(&self) -> io::Result<()> {
        mm_runtime::sys::groups::keep_only(self.group.as_raw())
    }
}

/// No bound, now and later.
const UNLIMITED: Rlimit = Rlimit { current: None, maximum: None };

/// Reads a short text file. Unlike [`std::fs::read_to_string`] it follows no symbolic link, waits for nobody at the
/// other end of a pipe, and has a bound: for a file in a folder that belongs to somebody else.
///
/// # Errors
/// The system's; [`InvalidData`](io::ErrorKind::InvalidData) where it is no regular file, is longer than `bytes_max`,
/// or is no text.
pub fn read_regular(path: &Path, bytes_max: usize) -> io::Result<String> {
    let file = open_regular(path, OFlags::RDONLY)?;
    let mut text = String::new();
    file.take(bytes_max as u64 + 1).read_to_string(&mut text)?;
    if text.len() > bytes_max { Err(io::ErrorKind::InvalidData.into()) } else { Ok(text) }
}

/// Opens a file that there is, to write over it in its place. It follows no symbolic link, waits for nobody at the
/// other end of a pipe, and takes no file that has other names: in a folder that belongs to somebody else, these may
/// be there to have another file overwritten.
///
/// # Errors
/// The system's; [`InvalidData`](io::ErrorKind::InvalidData) where it is no regular file or has several names.
pub fn overwrite_regular(path: &Path) -> io::Result<File> {
    let file = open_regular(path, OFlags::WRONLY)?;
    if file.metadata()?.nlink() > 1 { Err(io::ErrorKind::InvalidData.into()) } else { Ok(file) }
}

fn open_regular(path: &Path, access: OFlags) -> io::Result<File> {
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Lets the process have `wanted` files and sockets open, or as many as it may, if that is `least` at least. Returns
/// how many it may have open then.
///
/// # Errors
/// If the system does not allow even `least`, with how many it does; root may raise its own bound, others stay below
/// theirs.
pub fn allow_descriptors(least: u64, wanted: u64) -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(current) = current.filter(|&current| current < wanted) else { return Ok(wanted) };
    let raised = Rlimit { current: Some(wanted), maximum: maximum.map(|maximum| maximum.max(wanted)) };
    let refused = setrlimit(Resource::Nofile, raised).err();
    if refused.is_some() {
        let bound = maximum.map_or(wanted, |maximum| maximum.min(wanted));
        let set = |most| setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum }).is_ok();
        as_near_as_taken(current, bound, set);
    }
    // Some systems grant less than they say.
    let most = getrlimit(Resource::Nofile).current.map_or(wanted, |granted| granted.min(wanted));
    if most < least {
        let kind = refused.map_or(io::ErrorKind::PermissionDenied, |error| io::Error::from(error).kind());
        return Err(io::Error::new(kind, format!("the system allows {most} open files")));
    }
    Ok(most)
}

/// Sets a bound that is `current` as near to `wanted` as is taken: some systems refuse more than a bound that they do
/// not tell.
fn as_near_as_taken(current: u64, wanted: u64, mut set: impl FnMut(u64) -> bool) {
    let (mut taken, mut refused, mut next) = (current, wanted.saturating_add(1), wanted);
    while next > taken {
        if set(next) {
            taken = next;
        } else {
            refused = next;
        }
        next = taken + (refused - taken) / 2;
    }
}

/// Lets the process dump core, as much as the system allows.
///
/// # Errors
/// If the system refuses.
pub fn allow_core_dumps() -> io::Result<()> {
    raise(Resource::Core)
}

/// Takes a limit away, or else raises it as far as it goes.
fn raise(resource: Resource) -> io::Result<()> {
    if setrlimit(resource, UNLIMITED).is_err() {
        let maximum = getrlimit(resource).maximum;
        setrlimit(resource, Rlimit { current: maximum, maximum })?;
    }
    Ok(())
}

/// Lets a process that has become another user dump core, which the system forbids with that. To be called after it.
///
/// # Errors
/// If the system refuses. Systems other than Linux are not asked.
pub fn stay_dumpable() -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?;
    Ok(())
}

/// Lets the process lock as much memory as the system allows: any amount where root asks, for itself and for the user
/// whom it becomes.
///
/// # Errors
/// If the system refuses.
pub fn allow_locked_memory() -> io::Result<()> {
    raise(Resource::Memlock)
}

/// Keeps the process's memory from being swapped out: all that is mapped, and all that will be unless the system bounds
/// locked memory, as a mapping beyond the bound would then fail. On Linux nothing becomes resident by it before it is
/// used.
///
/// # Errors
/// If the system does not allow so much locked memory.
pub fn lock_memory() -> io::Result<()> {
    let is_bounded = getrlimit(Resource::Memlock).current.is_some();
    let future = if is_bounded { MlockAllFlags::empty() } else { MlockAllFlags::MCL_FUTURE };
    Ok(mlockall(MlockAllFlags::MCL_CURRENT | future | WHEN_USED)?)
}

/// Locks pages when they are used, and so leaves those alone that are only reserved.
#[cfg(any(target_os = "linux", target_os = "android"))]
const WHEN_USED: MlockAllFlags = MlockAllFlags::from_bits_retain(nix::libc::MCL_ONFAULT);

/// Other systems have no such thing.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const WHEN_USED: MlockAllFlags = MlockAllFlags::empty();

/// Has the calling thread give way to the shards where it wants the same processor as one of them. It still gets some
/// of one that they would use wholly.
///
/// # Errors
/// The system refuses, or has no call for it (anything but Linux).
pub fn give_way() -> io::Result<()> {
    priority::give_way()
}

/// Leaves the process's descriptors to its other threads: the calling thread keeps the first three only, and takes no
/// signals. The system calls of a shard that nobody shares them with are cheaper ([`descriptors::stop_sharing`]).
///
/// # Errors
/// The system refuses, or has no call for it (Linux before 5.9, or anything else), or the process is not yet
/// [`ready`](background::ready) in the background: those three are its caller's, who waits until no thread has them.
/// A program that goes into the background in another way does so before it serves.
pub fn stop_sharing_descriptors() -> io::Result<()> {
    if background::is_awaited() {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    take_no_signals()?;
    descriptors::stop_sharing(descriptors::STANDARD)
}

/// From now on the calling thread runs the handler of no signal but those that it causes itself. A handler writes to a
/// pipe of the process, which a thread without its descriptors does not have.
fn take_no_signals() -> io::Result<()> {
    use nix::sys::signal::{SigSet, Signal};
    let mut signals = SigSet::all();
    let own =
        [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT, Signal::SIGTRAP];
    own.into_iter().for_each(|own| signals.remove(own));
    Ok(signals.thread_block()?)
}

/// As [`stop_sharing_descriptors`], for a thread that writes nothing at all: it keeps no descriptor, and so none of a
/// caller's who waits.
///
/// # Errors
/// The system refuses, or has no call for it (Linux before 5.9, or anything else).
pub fn leave_descriptors() -> io::Result<()> {
    take_no_signals()?;
    descriptors::stop_sharing(0)
}

/// How many bytes of memory or disk a file can come to have: those that it has, and all that its file system has left.
/// `None` where the file system tells no bound. Nothing is set aside: whoever writes there first has it.
///
/// # Errors
/// The system's.
pub fn room_of(file: &File) -> io::Result<Option<u64>> {
    let (held, system) = (file.metadata()?.blocks(), rustix::fs::fstatvfs(file)?);
    // As memory that no mount bounds.
    let is_bounded = system.f_blocks != 0;
    Ok(is_bounded.then(|| {
        let free_bytes = system.f_bavail.saturating_mul(system.f_frsize);
        free_bytes.saturating_add(held.saturating_mul(BLOCK_BYTES))
    }))
}

/// In what a file's own size is told, whatever the blocks of its file system are.
const BLOCK_BYTES: u64 = 512;

/// The time, as the shards of this process take it.
#[must_use]
pub fn now() -> Now {
    Clock::new().now()
}

/// The processor time used so far by all threads, in user and in system mode, in microseconds.
pub fn processor_us() -> (u64, u64) {
    let us = |time: TimeVal| u64::try_from(time.num_microseconds()).unwrap_or(0);
    getrusage(UsageWho::RUSAGE_SELF).map_or((0, 0), |usage| (us(usage.user_time()), us(usage.system_time())))
}

#[cfg(test)]
mod tests {
    use super::{Account, AccountError, allow_descriptors, as_near_as_taken, processor_us};

    #[test]
    fn an_unknown_user_is_no_account() {
        let error = Account::find("nobody-by-that-name").unwrap_err();
        assert!(matches!(error, AccountError::Unknown));
        assert_eq!(error.to_string(), "there is no such user");
    }

    #[test]
    fn root_is_found_by_name() {
        assert_eq!(Account::find("root").unwrap().name(), "root");
    }

    #[test]
    fn processor_time_grows_with_work() {
        let before = processor_us();
        while processor_us() == before {
            std::hint::black_box(before);
        }
        let after = processor_us();
        assert!(after.0 + after.1 > before.0 + before.1);
    }

    #[test]
    fn a_bound_that_is_not_told_is_found() {
        for (bound, wanted) in
            [(256, 4096), (257, 4096), (4095, 4096), (1000, 4096), (9999, 4096), (300, 257)]
        {
            let (mut last, mut asked) = (256, 0);
            as_near_as_taken(256, wanted, |most| {
                asked += 1;
                if most <= bound {
                    last = most;
                }
                most <= bound
            });
            assert_eq!(last, bound.min(wanted), "{wanted} wanted");
            assert!(asked <= 13, "asked {asked} times");
        }
    }

    #[test]
    fn descriptors_beyond_what_any_system_grants_are_refused() {
        assert_eq!(allow_descriptors(1, 1).unwrap(), 1);
        let most = allow_descriptors(1, u64::MAX - 1).unwrap();
        assert!((1..u64::MAX - 1).contains(&most), "{most}");
        let error = allow_descriptors(u64::MAX - 1, u64::MAX - 1).unwrap_err();
        assert_eq!(error.to_string(), format!("the system allows {most} open files"));
    }
}
