//! Tasks' sockets on the operating system's.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::net::sockopt;

use super::{Poller, ReadinessDriver, Role, System};
use crate::driver::sockets::{Endpoint, Sockets};
use crate::driver::{Driver, Owner, SourceId};
use crate::sys::socket::{self, ListenAddress, Listener};

impl<P: Poller> Sockets for ReadinessDriver<System<P>> {
    fn listen(&mut self, address: &ListenAddress, backlog: u32) -> io::Result<(SourceId, ListenAddress)> {
        let listener = Listener::bind(address, backlog)?;
        let bound = listener.address().clone();
        Ok((self.add_listener(listener, Owner::Task)?, bound))
    }

    fn connect(&mut self, endpoint: &Endpoint) -> io::Result<SourceId> {
        let (socket, done) = socket::connect(endpoint, self.kernel.options)?;
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
        let (socket, bound) = socket::datagrams(address)?;
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
        self.receive_one(socket, |_, socket| socket::receive_unix_datagram(socket, space))
    }

    fn send_to_unix(&mut self, socket: SourceId, bytes: &[u8], to: &Path) -> io::Result<bool> {
        socket::send_unix_datagram(&self.table.find(socket)?.handle, bytes, to)
    }
}
