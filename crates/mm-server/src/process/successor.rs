//! Hot upgrade: the program is started again and goes on where this process stops.
//!
//! The one that is replaced ([`Successor`]) starts the new one with one end of a pair of sockets as its standard
//! input, waits until that one says that it could serve, stops serving by a hand-over, gives it everything, and
//! ends when it has heard that the new one serves. Up to then it can take everything back: nothing is given that it
//! does not have as well. From then on to its end it [passes on](Serving::pass_on) what signals it gets.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mm_runtime::sys::affinity;
use mm_runtime::sys::socket::{ListenAddress, Listener};
use nix::unistd::dup2_stdin;
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::limits::{
    DESCRIPTORS_PER_MESSAGE_MAX, DESCRIPTORS_TAKEN_MAX, PACKAGE_BYTES_MAX, PACKAGE_DESCRIPTORS_MAX,
};
use crate::{Carried, Handed, Packed, Signal};

/// Set for the new process.
const MARK: &str = "MM_SUCCESSOR";
/// What it says when it could serve, and when it does.
const READY: u8 = b'r';
const SERVES: u8 = b's';

/// How this process was called.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    /// Where it was called; `None` where the system did not tell.
    folder: Option<PathBuf>,
    name: OsString,
    arguments: Vec<OsString>,
}

impl Program {
    /// To be asked before the working folder changes: the program will be started in this one, if it can be,
    /// for its arguments may name files by paths from there. A name with a slash is looked up anew then, so that what
    /// it stands for at that time is started; else it is the file that runs now.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn of_this_process() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        let is_path = name.as_encoded_bytes().contains(&b'/');
        let folder = env::current_dir();
        let (path, folder) = if is_path {
            let folder = folder?;
            (folder.join(&name), Some(folder))
        } else {
            (env::current_exe()?, folder.ok())
        };
        Ok(Self { path, folder, name, arguments: arguments.collect() })
    }

    /// Where it is to be started, unless this process works there already, or may not go there, as one that has become
    /// another user may not.
    fn folder_to_enter(&self) -> Option<&Path> {
        let is_elsewhere = |folder: &&PathBuf| !env::current_dir().is_ok_and(|present| present == **folder);
        // To look at this name in it takes the right to enter it.
        let may_be_entered = |folder: &&PathBuf| folder.join(".").is_dir();
        self.folder.as_ref().filter(is_elsewhere).filter(may_be_entered).map(PathBuf::as_path)
    }

    /// The file that would be started.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What goes from the old process to the new one.
#[derive(Debug, Default)]
pub struct Package {
    /// Listeners and connections.
    pub handed: Handed,
    /// Open files, and what the two processes know of them.
    pub files: Vec<OwnedFd>,
    /// Bytes that mean something to both.
    pub notes: Vec<Vec<u8>>,
}

/// The process that is to go on.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    channel: UnixStream,
}

impl Successor {
    /// Starts the program and waits until it could serve. This thread runs on one processor no longer, and the program
    /// does not either, where a pinned shard has started it.
    ///
    /// # Errors
    /// It cannot be started, ends, or does not say so within the time.
    pub fn start(program: &Program, patience: Duration) -> io::Result<Self> {
        affinity::free();
        let (channel, theirs) = UnixStream::pair()?;
        let mut command = Command::new(&program.path);
        command.arg0(&program.name).args(&program.arguments).env(MARK, "1");
        if let Some(folder) = program.folder_to_enter() {
            command.current_dir(folder);
        }
        let child = command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
        // The other end is the child's alone: should it end, the channel does.
        drop(command);
        let mut successor = Self { child, channel };
        successor.wait_for(READY, patience).map_err(|error| successor.explained(error))?;
        Ok(successor)
    }

    /// Gives it everything and waits until it serves.
    ///
    /// # Errors
    /// The package is too large, or the system refuses to send it; the process has ended, or does not say so within
    /// the time. It is ended then, and has done nothing with what it was given but what it may have done to the memory
    /// in `files`.
    pub fn give(mut self, package: &Package, patience: Duration) -> io::Result<Serving> {
        let given = self
            .channel
            .set_write_timeout(Some(patience))
            .and_then(|()| send(&mut self.channel, package))
            .and_then(|()| self.wait_for(SERVES, patience));
        given.map_err(|error| self.explained(error))?;
        Ok(Serving { channel: self.channel })
    }

    fn wait_for(&mut self, word: u8, patience: Duration) -> io::Result<()> {
        self.channel.set_read_timeout(Some(patience))?;
        let mut said = [0];
        self.channel.read_exact(&mut said)?;
        if said == [word] { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Ends the process; why it was no use. How it has ended tells that only where it did so by itself, or spoke
    /// otherwise.
    fn explained(&mut self, error: io::Error) -> io::Error {
        let was_killed = self.child.try_wait().is_ok_and(|ended| ended.is_none());
        let has_left = [
            io::ErrorKind::UnexpectedEof,
            // It has not read all that was sent.
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe,
        ];
        if was_killed && has_left.contains(&error.kind()) {
            // It is about to end by itself, and to say why.
            std::thread::sleep(Duration::from_millis(100));
        }
        self.child.kill().ok();
        let ended = self.child.wait();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                io::Error::other("the new process did not say in time that it serves")
            }
            kind if has_left.contains(&kind) || kind == io::ErrorKind::InvalidData => match ended {
                Ok(status) => io::Error::other(format!("the new process has ended ({status})")),
                Err(error) => error,
            },
            _ => error,
        }
    }

    /// Ends the process, which is not wanted any more.
    pub fn abandon(mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The process that serves in place of this one, which has not ended yet.
#[derive(Debug)]
pub struct Serving {
    channel: UnixStream,
}

impl Serving {
    /// Tells it of a signal that this process got and that means the server.
    ///
    /// # Errors
    /// It has ended.
    pub fn pass_on(&mut self, signal: Signal) -> io::Result<()> {
        self.channel.write_all(&[signal.to_byte()])
    }
}

/// The process that is to be replaced, as the new one sees it.
#[derive(Debug)]
pub struct Predecessor {
    channel: Arc<UnixStream>,
}

impl Predecessor {
    /// The process that has started this one to be replaced by it, if one has. To be asked once.
    ///
    /// # Errors
    /// The standard input is not the other end.
    pub fn find() -> io::Result<Option<Self>> {
        if env::var_os(MARK).is_none() {
            return Ok(None);
        }
        let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        channel.peer_addr()?;
        dup2_stdin(File::open("/dev/null")?)?;
        Ok(Some(Self { channel: Arc::new(channel) }))
    }

    /// Says that this process could serve, and waits for what it is to serve with.
    ///
    /// # Errors
    /// The other one has changed its mind, or speaks otherwise.
    pub fn receive(&mut self) -> io::Result<Package> {
        (&*self.channel).write_all(&[READY])?;
        receive(&self.channel)
    }

    /// Calls `act` for each signal that the other one [passes on](Serving::pass_on), on a thread of its own, which ends
    /// with the other one. To be called before [it is replaced](Self::replace), so that no signal is lost.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn listen(&self, mut act: impl FnMut(Signal) + Send + 'static) -> io::Result<()> {
        let channel = Arc::clone(&self.channel);
        let listen = move || {
            affinity::free();
            let mut byte = [0];
            while (&*channel).read_exact(&mut byte).is_ok() {
                Signal::from_byte(byte[0]).into_iter().for_each(&mut act);
            }
        };
        std::thread::Builder::new().name("predecessor".to_owned()).spawn(listen).map(drop)
    }

    /// Says that this process serves; the other one ends.
    ///
    /// # Errors
    /// It has ended before.
    pub fn replace(&mut self) -> io::Result<()> {
        (&*self.channel).write_all(&[SERVES])
    }
}

/// Counts what is written to it.
#[derive(Default)]
struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes numbers and bytes, one after the other: a copy of all of them may be more than there is memory for.
struct Writing<W>(W);

impl<W: Write> Writing<W> {
    fn number(&mut self, number: usize) -> io::Result<()> {
        self.0.write_all(&(number as u64).to_ne_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.number(bytes.len())?;
        self.0.write_all(bytes)
    }

    fn address(&mut self, address: &ListenAddress) -> io::Result<()> {
        match address {
            ListenAddress::Ip(address) => {
                self.number(usize::MAX)?;
                self.bytes(address.to_string().as_bytes())
            }
            ListenAddress::Unix(path, mode) => {
                self.number(usize::try_from(*mode).unwrap_or(0))?;
                self.bytes(path.as_os_str().as_encoded_bytes())
            }
        }
    }

    /// All of a package but its descriptors.
    fn package(&mut self, package: &Package) -> io::Result<()> {
        let Package { handed, files, notes } = package;
        for listeners in [&handed.listeners, &handed.datagrams] {
            self.number(listeners.len())?;
            listeners.iter().try_for_each(|listener| self.address(listener.address()))?;
        }
        self.number(handed.connections.len())?;
        for Carried { listener, packed, .. } in &handed.connections {
            self.number(*listener)?;
            self.number(usize::from(packed.is_some()))?;
            for part in packed.iter().flat_map(|packed| [&packed.state, &packed.input, &packed.output]) {
                self.bytes(part)?;
            }
        }
        self.number(files.len())?;
        self.number(notes.len())?;
        notes.iter().try_for_each(|note| self.bytes(note))
    }
}

/// The descriptors of a package, in the order in which the rest tells of them.
fn descriptors(package: &Package) -> Vec<BorrowedFd<'_>> {
    let Package { handed, files, .. } = package;
    let listeners = handed.listeners.iter().chain(&handed.datagrams).map(Listener::as_fd);
    let connections = handed.connections.iter().map(|carried| carried.socket.as_fd());
    listeners.chain(connections).chain(files.iter().map(AsFd::as_fd)).collect()
}

fn send(channel: &mut UnixStream, package: &Package) -> io::Result<()> {
    let mut count = Count::default();
    Writing(&mut count).package(package)?;
    let descriptors = descriptors(package);
    if count.0 > PACKAGE_BYTES_MAX || descriptors.len() > PACKAGE_DESCRIPTORS_MAX {
        let (bytes, number) = (count.0, descriptors.len());
        let what = format!("{bytes} bytes and {number} descriptors are more than can be handed over");
        return Err(io::Error::other(what));
    }
    write(&*channel, package, [count.0, descriptors.len()])?;
    for some in descriptors.chunks(DESCRIPTORS_PER_MESSAGE_MAX) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(some));
        retry_on_intr(|| {
            rustix::net::sendmsg(&*channel, &[IoSlice::new(&[0])], &mut control, SendFlags::empty())
        })?;
    }
    Ok(())
}

/// Writes all of a package but its descriptors, behind its sizes.
fn write(sink: impl Write, package: &Package, sizes: [usize; 2]) -> io::Result<()> {
    let mut writing = Writing(BufWriter::new(sink));
    let written = sizes
        .into_iter()
        .try_for_each(|size| writing.number(size))
        .and_then(|()| writing.package(package))
        .and_then(|()| writing.0.flush());
    // Dropped as it is, it would try once more to write what could not be written, and wait as long again.
    drop(writing.0.into_parts());
    written
}

/// Reads what [`Writing`] writes.
struct Reading<'a>(&'a [u8]);

impl<'a> Reading<'a> {
    fn number(&mut self) -> io::Result<usize> {
        let (number, rest) = self.0.split_first_chunk::<8>().ok_or(io::ErrorKind::InvalidData)?;
        self.0 = rest;
        Ok(usize::try_from(u64::from_ne_bytes(*number)).unwrap_or(usize::MAX))
    }

    fn bytes(&mut self) -> io::Result<&'a [u8]> {
        let len = self.number()?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(io::ErrorKind::InvalidData)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn address(&mut self) -> io::Result<ListenAddress> {
        let (kind, bytes) = (self.number()?, self.bytes()?);
        let text = std::str::from_utf8(bytes).map_err(|_not_text| io::ErrorKind::InvalidData)?;
        match u32::try_from(kind) {
            Ok(mode) if kind != usize::MAX => Ok(ListenAddress::Unix(text.into(), mode)),
            _ => text.parse(),
        }
    }
}

fn receive(mut channel: &UnixStream) -> io::Result<Package> {
    let mut sizes = [[0; 8]; 2];
    for size in &mut sizes {
        channel.read_exact(size)?;
    }
    let [len, count] = sizes.map(|size| usize::try_from(u64::from_ne_bytes(size)).unwrap_or(usize::MAX));
    if len > PACKAGE_BYTES_MAX || count > PACKAGE_DESCRIPTORS_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; len];
    channel.read_exact(&mut bytes)?;
    let mut descriptors = receive_descriptors(channel, count)?.into_iter();
    let mut next = || descriptors.next().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData));
    let mut reading = Reading(&bytes);
    let mut package = Package::default();
    for kind in [&mut package.handed.listeners, &mut package.handed.datagrams] {
        for _ in 0..reading.number()? {
            let address = reading.address()?;
            kind.push(Listener::adopt(next()?, address));
        }
    }
    for _ in 0..reading.number()? {
        let listener = reading.number()?;
        let packed = if reading.number()? == 0 {
            None
        } else {
            let mut part = || reading.bytes().map(<[u8]>::to_vec);
            Some(Packed { state: part()?, input: part()?, output: part()? })
        };
        package.handed.connections.push(Carried { socket: next()?, listener, packed });
    }
    for _ in 0..reading.number()? {
        package.files.push(next()?);
    }
    for _ in 0..reading.number()? {
        package.notes.push(reading.bytes()?.to_vec());
    }
    Ok(package)
}

/// Descriptors that come are not for processes that this one starts.
#[cfg(not(target_vendor = "apple"))]
const NOT_INHERITED: RecvFlags = RecvFlags::CMSG_CLOEXEC;
/// Where it cannot be said while they come, it is said of each afterwards.
#[cfg(target_vendor = "apple")]
const NOT_INHERITED: RecvFlags = RecvFlags::empty();

fn receive_descriptors(channel: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut descriptors = Vec::new();
    while descriptors.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_TAKEN_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let received = retry_on_intr(|| {
            rustix::net::recvmsg(channel, &mut [IoSliceMut::new(&mut byte)], &mut control, NOT_INHERITED)
        })?;
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            // Those that are missing will never come.
            return Err(io::Error::other(
                "not all open files have come: this process may have no more (ulimit -n)",
            ));
        }
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                descriptors.extend(some);
            }
        }
    }
    #[cfg(target_vendor = "apple")]
    for descriptor in &descriptors {
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(descriptors)
}

/// Memory that can be given to another process.
///
/// # Errors
/// The system has none.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub fn shareable_memory(name: &str) -> io::Result<File> {
    Ok(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

/// Memory that can be given to another process.
///
/// # Errors
/// The system has none.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub fn shareable_memory(_name: &str) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests;
