//! Listening on what the configuration says, and writing down where that is.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;

use mainmemory::server::{ListenAddress, Server};

use crate::config::{Endpoint, Host};
use crate::refusal::{Refusal, exit};

/// Listens on every endpoint.
///
/// Where a host stands for addresses of both families, one suffices if the system lacks the other; a port that
/// somebody else has is never passed over.
///
/// # Errors
/// A [`Refusal`] that names the address.
pub(crate) fn listen(server: &mut Server, endpoints: &[Endpoint]) -> Result<(), Refusal> {
    for endpoint in endpoints {
        match endpoint {
            Endpoint::Unix { path, mode } => {
                server
                    .try_listen(&ListenAddress::Unix(path.clone(), *mode))
                    .map_err(|error| refusal(&error))?;
            }
            Endpoint::Tcp { host, port } => listen_tcp(server, host, *port)?,
        }
    }
    Ok(())
}

fn listen_tcp(server: &mut Server, host: &Host, port: u16) -> Result<(), Refusal> {
    let mut port = port;
    let mut failure = None;
    let mut bound = 0;
    for address in addresses(host)? {
        match server.try_listen(&ListenAddress::Ip(SocketAddr::new(address, port))) {
            Ok(()) => {
                bound += 1;
                // Any free port: the same one for all addresses of the host.
                port = last_port(server).unwrap_or(port);
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

fn last_port(server: &Server) -> Option<u16> {
    match server.addresses().last()? {
        ListenAddress::Ip(address) => Some(address.port()),
        ListenAddress::Unix(..) => None,
    }
}

/// Whether all of the server's addresses are on loopback.
pub(crate) fn is_local(server: &Server) -> bool {
    server.addresses().all(|address| match address {
        ListenAddress::Ip(address) => address.ip().is_loopback(),
        ListenAddress::Unix(..) => true,
    })
}

/// Writes the ports to a file, as memcached does: a line for each, all of them at once.
///
/// # Errors
/// A [`Refusal`] that names the file.
pub(crate) fn write_ports(server: &Server, path: &Path) -> Result<(), Refusal> {
    let line = |address: &ListenAddress| match address {
        ListenAddress::Ip(SocketAddr::V4(address)) => Some(format!("TCP INET: {}\n", address.port())),
        ListenAddress::Ip(SocketAddr::V6(address)) => Some(format!("TCP INET6: {}\n", address.port())),
        ListenAddress::Unix(..) => None,
    };
    let text: String = server.addresses().filter_map(line).collect();
    write_whole(path, &text).map_err(|error| {
        let message = format!("MEMCACHED_PORT_FILENAME={}: {error}", path.display());
        Refusal::new(exit::SYSTEM, message)
    })
}

/// Writes a file so that whoever sees it sees all of it.
///
/// # Errors
/// The system's.
pub(crate) fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lck");
    fs::write(&beside, text)?;
    fs::rename(&beside, path)
}
