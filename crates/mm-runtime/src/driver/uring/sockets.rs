//! Tasks' sockets on `io_uring`.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::net::sockopt;

use super::UringDriver;
use super::source::Marks;
use crate::driver::sockets::{Endpoint, Sockets};
use crate::driver::{Driver, Owner, SourceId};
use crate::sys::socket::{self, ListenAddress, Listener};

impl Sockets for UringDriver {
    fn listen(&mut self, address: &ListenAddress, backlog: u32) -> io::Result<(SourceId, ListenAddress)> {
        let listener = Listener::bind(address, backlog)?;
        let bound = listener.address().clone();
        Ok((self.add_listener(listener, Owner::Task)?, bound))
    }

    fn connect(&mut self, endpoint: &Endpoint) -> io::Result<SourceId> {
        let (socket, done) = socket::connect(endpoint, self.options)?;
        if done {
            return self.add_stream(socket, Owner::Task);
        }
        let key = self.add(socket, Owner::Task, Marks::CONNECTING)?;
        self.await_room(key);
        Ok(SourceId(key))
    }

    fn connected(&mut self, stream: SourceId) -> io::Result<bool> {
        let source = self.source(stream)?;
        if !source.marks.has(Marks::WRITABLE) {
            return Ok(false);
        }
        sockopt::socket_error(&source.socket)??;
        source.marks.clear(Marks::CONNECTING);
        self.await_input(stream.0);
        Ok(true)
    }

    fn bind_datagram(&mut self, address: SocketAddr) -> io::Result<(SourceId, SocketAddr)> {
        let (socket, bound) = socket::datagrams(address)?;
        let key = self.add(socket, Owner::Task, Marks::DATAGRAMS | Marks::WRITABLE)?;
        self.await_input(key);
        Ok((SourceId(key), bound))
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
        let socket = socket::unix_datagrams(name)?;
        let key = self.add(socket, Owner::Task, Marks::DATAGRAMS | Marks::WRITABLE)?;
        self.await_input(key);
        Ok(SourceId(key))
    }

    fn receive_from_unix(
        &mut self,
        socket: SourceId,
        space: &mut [u8],
    ) -> io::Result<Option<(usize, Option<PathBuf>)>> {
        self.receive_one(socket, |socket| socket::receive_unix_datagram(socket, space))
    }

    fn send_to_unix(&mut self, socket: SourceId, bytes: &[u8], to: &Path) -> io::Result<bool> {
        socket::send_unix_datagram(&self.source(socket)?.socket, bytes, to)
    }
}
