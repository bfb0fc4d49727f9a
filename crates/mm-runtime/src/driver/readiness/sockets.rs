//! Tasks' sockets on the operating system's.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, getsockname, sockopt};

use super::{Poller, ReadinessDriver, Role, System};
use crate::driver::sockets::{Endpoint, Sockets};
use crate::driver::{Driver, Owner, SourceId};
use crate::sys::socket::{self, ListenAddress, Listener, family, new_socket};

impl<P: Poller> Sockets for ReadinessDriver<System<P>> {
    fn listen(&mut self, address: &ListenAddress, backlog: u32) -> io::Result<(SourceId, ListenAddress)> {
        let listener = Listener::bind(address, backlog)?;
        let bound = listener.address().clone();
        Ok((self.add_listener(listener, Owner::Task)?, bound))
    }

    fn connect(&mut self, endpoint: &Endpoint) -> io::Result<SourceId> {
        let (socket, begun) = match endpoint {
            Endpoint::Ip(address) => {
                let socket = new_socket(family(*address), SocketType::STREAM)?;
                sockopt::set_tcp_nodelay(&socket, self.kernel.options.nodelay)?;
                let begun = rustix::net::connect(&socket, address);
                (socket, begun)
            }
            Endpoint::Unix(path) => {
                let socket = new_socket(AddressFamily::UNIX, SocketType::STREAM)?;
                let begun = rustix::net::connect(&socket, &SocketAddrUnix::new(path)?);
                (socket, begun)
            }
        };
        let done = match begun {
            Ok(()) => true,
            Err(Errno::INPROGRESS | Errno::INTR) => false,
            Err(error) => return Err(error.into()),
        };
        let stream = self.add_stream(socket, Owner::Task)?;
        self.table.find(stream)?.writable = done;
        Ok(stream)
    }

    fn connected(&mut self, stream: SourceId) -> io::Result<bool> {
        let source = self.table.find(stream)?;
        if !source.writable {
            return Ok(false);
        }
        match sockopt::socket_error(&source.handle)? {
            Ok(()) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn bind_datagram(&mut self, address: SocketAddr) -> io::Result<(SourceId, SocketAddr)> {
        let socket = new_socket(family(address), SocketType::DGRAM)?;
        bind(&socket, &address)?;
        let bound = SocketAddr::try_from(getsockname(&socket)?)?;
        let source = self.add(socket, Owner::Task, Role::Datagrams)?;
        Ok((source, bound))
    }

    fn receive_from(
        &mut self,
        socket: SourceId,
        space: &mut [u8],
    ) -> io::Result<Option<(usize, SocketAddr)>> {
        self.receive_datagram(socket, space)
    }

    fn send_to(&mut self, socket: SourceId, bytes: &[u8], to: SocketAddr) -> io::Result<bool> {
        self.send_datagram(socket, bytes, to)
    }

    fn bind_unix_datagram(&mut self, name: Option<(&Path, u32)>) -> io::Result<SourceId> {
        self.add(socket::unix_datagrams(name)?, Owner::Task, Role::Datagrams)
    }

    fn receive_from_unix(
        &mut self,
        socket: SourceId,
        space: &mut [u8],
    ) -> io::Result<Option<(usize, Option<PathBuf>)>> {
        let source = self.table.find(socket)?;
        if !source.readable {
            return Ok(None);
        }
        match socket::receive_unix_datagram(&source.handle, space) {
            Ok(received) => Ok(Some(received)),
            Err(Errno::AGAIN | Errno::INTR) => {
                source.readable = false;
                source.blocked(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn send_to_unix(&mut self, socket: SourceId, bytes: &[u8], to: &Path) -> io::Result<bool> {
        socket::send_unix_datagram(&self.table.find(socket)?.handle, bytes, to)
    }
}
