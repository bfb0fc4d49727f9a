//! Sockets: listening, accepting, connecting, and their options.

use std::ffi::OsStr;
use std::fmt;
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, SocketType, bind, getsockname,
    listen, sockopt,
};
#[cfg(not(target_vendor = "apple"))]
use rustix::net::{SocketFlags, acceptfrom_with, socket_with};
#[cfg(target_vendor = "apple")]
use rustix::net::{acceptfrom, socket};

use crate::driver::Address;
use crate::driver::sockets::Endpoint;
use crate::limits::{DATAGRAM_BUFFER_BYTES, LEAST_DATAGRAM_BUFFER_BYTES, STALE_LOOKS};

/// Where the path begins in the address of a Unix socket: after its family, or its length and family, of a byte each.
const UNIX_PATH_AT: usize = 2;

/// Where a server can be reached. As text: `127.0.0.1:7007`, `[::1]:7007`, or a path with a slash in it, which is made
/// for its owner alone (0o700).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An internet address and port; port 0 has the system choose one.
    Ip(SocketAddr),
    /// A Unix socket of this path, made with these access rights (such as 0o700).
    Unix(PathBuf, u32),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path, _) => path.display().fmt(f),
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// `127.0.0.1:7007` or `[::1]:7007`; what has a slash is the path of a Unix socket that its owner alone may use.
impl FromStr for ListenAddress {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        if text.contains('/') {
            return Ok(Self::Unix(text.into(), 0o700));
        }
        text.parse().map(Self::Ip).map_err(|_not_ip| {
            let expected = "an address and port such as 127.0.0.1:7007, or a path with a slash";
            io::Error::new(io::ErrorKind::InvalidInput, format!("cannot listen on {text:?}: give {expected}"))
        })
    }
}

/// The options set on every accepted socket, whatever it may have inherited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Send at once, without waiting to fill a packet (TCP). By default it does.
    pub nodelay: bool,
    /// Probe silent peers, so that dead ones are noticed (TCP). By default it does.
    pub keepalive: bool,
    /// Bytes of the kernel's buffer for output, instead of its own choice, as by default.
    pub send_buffer_bytes: Option<usize>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { nodelay: true, keepalive: true, send_buffer_bytes: None }
    }
}

/// A bound socket that listens for connections, or one for datagrams.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    address: ListenAddress,
}

impl Listener {
    /// Binds and listens. `backlog` is how many connections may wait to be accepted. A TCP address may be
    /// taken again while connections of a former server linger. An IPv6 address takes no IPv4 connections. A
    /// Unix socket that a former server has left behind is replaced; one that somebody listens on is not.
    ///
    /// # Errors
    /// The system's error, with the address in the message: in use, not ours, not permitted.
    pub fn bind(address: &ListenAddress, backlog: u32) -> io::Result<Self> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        let bound = match address {
            ListenAddress::Ip(ip) => bind_ip(*ip, backlog),
            ListenAddress::Unix(path, mode) => bind_unix(path, *mode, backlog),
        };
        bound.map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {}", plain(&error)))
        })
    }

    /// Binds a socket for datagrams. An IPv6 address takes none of IPv4.
    ///
    /// # Errors
    /// The system's error, with the address in the message: in use, not ours, not permitted.
    pub fn bind_datagrams(address: SocketAddr) -> io::Result<Self> {
        bind_udp(address).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on UDP {address}: {}", plain(&error)))
        })
    }

    /// Where it listens: with the port that the system chose, if that was asked for.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The same listening socket for another shard.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, address: self.address.clone() })
    }

    /// A socket that somebody else has bound to this address, and listens with or takes datagrams with.
    #[must_use]
    pub fn adopt(socket: OwnedFd, address: ListenAddress) -> Self {
        Self { socket, address }
    }

    /// The socket.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket
    }
}

/// The error's text without the "(os error N)" that Rust appends.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

fn bind_ip(address: SocketAddr, backlog: i32) -> io::Result<Listener> {
    let socket = new_socket(family(address), SocketType::STREAM)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    listen(&socket, backlog)?;
    let bound = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok(Listener { socket, address: ListenAddress::Ip(bound) })
}

fn bind_udp(address: SocketAddr) -> io::Result<Listener> {
    let socket = new_socket(family(address), SocketType::DGRAM)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // As large as the system allows, which may be less: what comes in a burst shall wait, not be lost.
    enlarge(|bytes| sockopt::set_socket_recv_buffer_size(&socket, bytes));
    enlarge(|bytes| sockopt::set_socket_send_buffer_size(&socket, bytes));
    bind(&socket, &address)?;
    let bound = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok(Listener { socket, address: ListenAddress::Ip(bound) })
}

/// Sets the size of a datagram socket's buffer: some systems refuse more than they allow, instead of giving that.
fn enlarge(set: impl Fn(usize) -> Result<(), Errno>) {
    let mut bytes = DATAGRAM_BUFFER_BYTES;
    while set(bytes).is_err() && bytes > LEAST_DATAGRAM_BUFFER_BYTES {
        bytes /= 2;
    }
}

fn bind_unix(path: &Path, mode: u32, backlog: i32) -> io::Result<Listener> {
    let socket = new_unix_socket(path, mode, SocketType::STREAM)?;
    listen(&socket, backlog)?;
    Ok(Listener { socket, address: ListenAddress::Unix(path.to_owned(), mode) })
}

/// A Unix socket with this path, which takes the place of one that nobody has any more.
fn new_unix_socket(path: &Path, mode: u32, kind: SocketType) -> io::Result<OwnedFd> {
    let name = SocketAddrUnix::new(path)?;
    let socket = new_socket(AddressFamily::UNIX, kind)?;
    match bind(&socket, &name) {
        Err(Errno::ADDRINUSE) => {
            remove_stale(path, &name, kind)?;
            bind(&socket, &name)?;
        }
        bound => bound?,
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(socket)
}

/// A stream that begins to connect, and whether it has connected already.
pub(crate) fn connect(endpoint: &Endpoint, options: StreamOptions) -> io::Result<(OwnedFd, bool)> {
    let (socket, begun) = match endpoint {
        Endpoint::Ip(address) => {
            let socket = new_socket(family(*address), SocketType::STREAM)?;
            sockopt::set_tcp_nodelay(&socket, options.nodelay)?;
            let begun = rustix::net::connect(&socket, address);
            (socket, begun)
        }
        Endpoint::Unix(path) => {
            let socket = new_socket(AddressFamily::UNIX, SocketType::STREAM)?;
            let begun = rustix::net::connect(&socket, &SocketAddrUnix::new(path)?);
            (socket, begun)
        }
    };
    match begun {
        Ok(()) => Ok((socket, true)),
        Err(Errno::INPROGRESS | Errno::INTR) => Ok((socket, false)),
        Err(error) => Err(error.into()),
    }
}

/// A UDP socket of this address, and the address with the port that was chosen.
pub(crate) fn datagrams(address: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = new_socket(family(address), SocketType::DGRAM)?;
    bind(&socket, &address)?;
    let bound = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, bound))
}

/// A Unix socket for datagrams: with a path and access rights, or nameless.
pub(crate) fn unix_datagrams(name: Option<(&Path, u32)>) -> io::Result<OwnedFd> {
    let Some((path, mode)) = name else { return Ok(new_socket(AddressFamily::UNIX, SocketType::DGRAM)?) };
    new_unix_socket(path, mode, SocketType::DGRAM).map_err(|error| {
        let text = format!("cannot take datagrams at {}: {}", path.display(), plain(&error));
        io::Error::new(error.kind(), text)
    })
}

/// Removes the socket of a server that is no more. Anything else of that name stays.
fn remove_stale(path: &Path, name: &SocketAddrUnix, kind: SocketType) -> io::Result<()> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(Errno::ADDRINUSE.into());
    }
    for look in 0..STALE_LOOKS {
        if look != 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let probe = new_socket(AddressFamily::UNIX, kind)?;
        if rustix::net::connect(&probe, name) != Err(Errno::CONNREFUSED) {
            return Err(Errno::ADDRINUSE.into());
        }
    }
    std::fs::remove_file(path)
}

/// The family of an internet address.
pub(crate) fn family(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// How to send so that a peer that has gone is an error and no signal. Apple's sockets are set so once instead.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const QUIETLY: SendFlags = SendFlags::NOSIGNAL;
/// How to send: the sockets themselves have been told not to raise a signal.
#[cfg(target_vendor = "apple")]
pub(crate) const QUIETLY: SendFlags = SendFlags::empty();

/// A socket that does not block and that no other program inherits.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn new_socket(family: AddressFamily, kind: SocketType) -> Result<OwnedFd, Errno> {
    socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

/// A socket that does not block and that no other program inherits.
#[cfg(target_vendor = "apple")]
pub(crate) fn new_socket(family: AddressFamily, kind: SocketType) -> Result<OwnedFd, Errno> {
    let socket = socket(family, kind, None)?;
    set_flags(&socket)?;
    Ok(socket)
}

/// Takes the next connection, as a socket that does not block and that no other program inherits, whatever the listener
/// is like.
#[cfg(not(target_vendor = "apple"))]
fn accept_socket(listener: &OwnedFd) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
}

/// Takes the next connection, as a socket that does not block and that no other program inherits, whatever the listener
/// is like.
#[cfg(target_vendor = "apple")]
fn accept_socket(listener: &OwnedFd) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    let (socket, peer) = acceptfrom(listener)?;
    set_flags(&socket)?;
    Ok((socket, peer))
}

/// Sets what other systems set in the call that makes a socket.
#[cfg(target_vendor = "apple")]
fn set_flags(socket: &OwnedFd) -> Result<(), Errno> {
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(socket, true)?;
    // Of a connection that its peer has already reset Apple's system says that this is not valid.
    match sockopt::set_socket_nosigpipe(socket, true) {
        Err(Errno::INVAL) => Ok(()),
        set => set,
    }
}

/// Accepts one connection and sets its options.
pub(crate) fn accept(listener: &OwnedFd, options: StreamOptions) -> Result<(OwnedFd, Address), Errno> {
    let (socket, peer) = accept_socket(listener).map_err(|error| {
        // Some systems take a descriptor before they look.
        if are_used_up(error) && !has_connection(listener) { Errno::AGAIN } else { error }
    })?;
    let address = match peer.map(SocketAddr::try_from) {
        Some(Ok(address)) => Address::Ip(address),
        _ => Address::Unix,
    };
    set_options(&socket, address, options);
    Ok((socket, address))
}

/// Whether there are no descriptors left, of the process or of the system.
pub(crate) fn are_used_up(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE)
}

/// Whether a connection waits to be accepted.
#[cold]
pub(crate) fn has_connection(listener: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(listener, PollFlags::IN)];
    !matches!(poll(&mut asked, Some(&Timespec::default())), Ok(0))
}

/// Sets the options of a socket that has been accepted; its peer's address. `None`: it has reset the connection.
pub fn adopt(socket: &OwnedFd, options: StreamOptions) -> Option<Address> {
    let address = peer_address(socket)?;
    set_options(socket, address, options);
    Some(address)
}

/// The address of a stream's peer; `None` where it has gone.
pub(crate) fn peer_address(socket: &OwnedFd) -> Option<Address> {
    Some(address(rustix::net::getpeername(socket).ok()?))
}

/// Our own address in a stream.
pub(crate) fn local_address(socket: &OwnedFd) -> Option<Address> {
    Some(address(Some(getsockname(socket).ok()?)))
}

fn address(any: Option<SocketAddrAny>) -> Address {
    let address = any.map(SocketAddr::try_from);
    if let Some(Ok(address)) = address { Address::Ip(address) } else { Address::Unix }
}

/// A peer that has reset the connection meanwhile makes these fail; the first receive will tell.
fn set_options(socket: &OwnedFd, address: Address, options: StreamOptions) {
    if matches!(address, Address::Ip(_)) {
        sockopt::set_tcp_nodelay(socket, options.nodelay).ok();
        sockopt::set_socket_keepalive(socket, options.keepalive).ok();
    }
    if let Some(bytes) = options.send_buffer_bytes {
        sockopt::set_socket_send_buffer_size(socket, bytes).ok();
    }
}

/// Receives one datagram, from a socket that does not block: its length, at most that of `space`, and its sender.
pub(crate) fn receive_datagram(socket: &OwnedFd, space: &mut [u8]) -> Result<(usize, SocketAddr), Errno> {
    let (_, received, from) = rustix::net::recvfrom(socket, space, RecvFlags::empty())?;
    let from = from.and_then(|from| SocketAddr::try_from(from).ok()).ok_or(Errno::INVAL)?;
    Ok((received, from))
}

/// The same of a Unix socket, whose sender may be nameless.
pub(crate) fn receive_unix_datagram(
    socket: &OwnedFd,
    space: &mut [u8],
) -> Result<(usize, Option<PathBuf>), Errno> {
    let (_, received, from) = rustix::net::recvfrom(socket, space, RecvFlags::empty())?;
    Ok((received, from.as_ref().and_then(path_of)))
}

/// The path of a Unix socket. Rustix's own conversion wants the one NUL behind it that Linux puts there: elsewhere
/// there may be none, or as many as there is room for.
#[expect(unsafe_code, reason = "an address is known by where it lies and its length")]
fn path_of(name: &SocketAddrAny) -> Option<PathBuf> {
    let len = usize::try_from(name.addr_len()).ok()?;
    // SAFETY: an address has so many bytes there, all of which the kernel has written.
    let bytes = unsafe { std::slice::from_raw_parts(name.as_ptr().cast::<u8>(), len) };
    // Of another name than a path, on Linux, the first byte is 0.
    let path = bytes.get(UNIX_PATH_AT..)?.split(|&byte| byte == 0).next()?;
    (!path.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(path)))
}

/// Sends one datagram to a Unix socket. False: there is no room, here or with the receiver.
pub(crate) fn send_unix_datagram(socket: &OwnedFd, bytes: &[u8], to: &Path) -> io::Result<bool> {
    match rustix::net::sendto(socket, bytes, QUIETLY, &SocketAddrUnix::new(to)?) {
        Ok(_) => Ok(true),
        Err(Errno::AGAIN | Errno::NOBUFS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Closes a stream so that the kernel drops its output instead of sending it.
pub(crate) fn reset(socket: OwnedFd) {
    drop_output(&socket);
    drop(socket);
}

/// Has the kernel drop a stream's output when it is closed, instead of sending it.
pub(crate) fn drop_output(socket: &OwnedFd) {
    sockopt::set_socket_linger(socket.as_fd(), Some(Duration::ZERO)).ok();
}
