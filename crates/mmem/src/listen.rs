//! Listening on what the configuration says, and writing down where that is.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;

use mainmemory::server::process::Account;
use mainmemory::server::{ListenAddress, Server};
use mm_memcached::{Framed, Protocol};

use crate::config::{Endpoint, Host, Transport};
use crate::pid_file::write_whole;
use crate::refusal::{Refusal, exit};

/// What has come of listening.
#[derive(Debug, Clone)]
pub(crate) struct Listened {
    /// The protocol of each of the server's listeners that has one of its own.
    pub(crate) protocols: Vec<Option<Protocol>>,
    /// The address of each listener, as memcached writes it.
    pub(crate) names: Vec<String>,
    /// The first TCP port; 0 for none.
    pub(crate) tcp_port: u16,
    /// The first UDP port; 0 for none.
    pub(crate) udp_port: u16,
}

/// Listens on every endpoint.
///
/// Where a host stands for addresses of both families, one suffices if the system lacks the other; a port that
/// somebody else has is never passed over.
///
/// Endpoints for datagrams come last, as they do among the server's listeners.
///
/// # Errors
/// A [`Refusal`] that names the address.
pub(crate) fn listen(server: &mut Server, endpoints: &[Endpoint]) -> Result<Listened, Refusal> {
    let mut protocols = Vec::new();
    for endpoint in endpoints {
        let mut own = None;
        match endpoint {
            Endpoint::Unix { path, mode } => {
                server
                    .try_listen(&ListenAddress::Unix(path.clone(), *mode))
                    .map_err(|error| refusal(&error))?;
            }
            Endpoint::Port { transport, host, port, protocol } => {
                own = *protocol;
                listen_port(server, *transport, host, *port)?;
            }
        }
        protocols.resize(server.addresses().count() + server.datagram_addresses().count(), own);
    }
    Ok(Listened::of(server, protocols))
}

impl Listened {
    /// That of a server whose listeners have these protocols.
    pub(crate) fn of(server: &Server, protocols: Vec<Option<Protocol>>) -> Self {
        let port = |address: Option<&ListenAddress>| match address {
            Some(ListenAddress::Ip(address)) => address.port(),
            Some(ListenAddress::Unix(..)) | None => 0,
        };
        let (tcp_port, udp_port) =
            (port(server.addresses().next()), port(server.datagram_addresses().next()));
        let connections = server.addresses().map(|address| name("tcp", address));
        let names =
            connections.chain(server.datagram_addresses().map(|address| name("udp", address))).collect();
        Self { protocols, names, tcp_port, udp_port }
    }
}

/// An address as memcached writes it in statistics.
fn name(kind: &str, address: &ListenAddress) -> String {
    match address {
        ListenAddress::Ip(address @ SocketAddr::V4(_)) => format!("{kind}:{address}"),
        ListenAddress::Ip(address @ SocketAddr::V6(_)) => format!("{kind}6:{address}"),
        ListenAddress::Unix(path, _) => format!("unix:{}", path.display()),
    }
}

fn listen_port(server: &mut Server, transport: Transport, host: &Host, port: u16) -> Result<(), Refusal> {
    let mut port = port;
    let mut failure = None;
    let mut bound = 0;
    for address in addresses(host)? {
        let address = SocketAddr::new(address, port);
        let listening = match transport {
            Transport::Tcp => server.try_listen(&ListenAddress::Ip(address)),
            Transport::Udp => server.try_listen_datagrams(address, &Framed),
        };
        match listening {
            Ok(()) => {
                bound += 1;
                // Any free port: the same one for all addresses of the host.
                port = last_port(server, transport).unwrap_or(port);
            }
            Err(error) if matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied) => {
                return Err(refusal(&error));
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if bound == 0 || !host.is_of_both_families() => Err(refusal(&error)),
        _ => Ok(()),
    }
}

/// The system's error names the address.
fn refusal(error: &io::Error) -> Refusal {
    Refusal::new(exit::SYSTEM, error.to_string())
}

fn addresses(host: &Host) -> Result<Vec<IpAddr>, Refusal> {
    match host {
        Host::Loopback => Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        Host::Any => Ok(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]),
        Host::Named(name) => {
            let unknown = |why: String| Refusal::new(exit::SYSTEM, format!("-l {name}: {why}"));
            let found = (name.as_str(), 0).to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
            let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            addresses.dedup();
            if addresses.is_empty() { Err(unknown("has no address".to_owned())) } else { Ok(addresses) }
        }
    }
}

fn last_port(server: &Server, transport: Transport) -> Option<u16> {
    let last = match transport {
        Transport::Tcp => server.addresses().last(),
        Transport::Udp => server.datagram_addresses().last(),
    };
    match last? {
        ListenAddress::Ip(address) => Some(address.port()),
        ListenAddress::Unix(..) => None,
    }
}

/// Whether all of the server's addresses are on loopback.
pub(crate) fn is_local(server: &Server) -> bool {
    server.addresses().chain(server.datagram_addresses()).all(|address| match address {
        ListenAddress::Ip(address) => address.ip().is_loopback(),
        ListenAddress::Unix(..) => true,
    })
}

/// Writes the ports to a file of `owner`'s, as memcached does: a line for each, all of them at once.
///
/// # Errors
/// A [`Refusal`] that names the file.
pub(crate) fn write_ports(server: &Server, path: &Path, owner: Option<&Account>) -> Result<(), Refusal> {
    let line = |kind: &str, address: &ListenAddress| match address {
        ListenAddress::Ip(SocketAddr::V4(address)) => Some(format!("{kind} INET: {}\n", address.port())),
        ListenAddress::Ip(SocketAddr::V6(address)) => Some(format!("{kind} INET6: {}\n", address.port())),
        ListenAddress::Unix(..) => None,
    };
    let connections = server.addresses().filter_map(|address| line("TCP", address));
    let datagrams = server.datagram_addresses().filter_map(|address| line("UDP", address));
    let text: String = connections.chain(datagrams).collect();
    write_whole(path, &text, owner).map_err(|error| {
        let message = format!("MEMCACHED_PORT_FILENAME={}: {error}", path.display());
        Refusal::new(exit::SYSTEM, message)
    })
}
