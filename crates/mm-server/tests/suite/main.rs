//! A small service with every power of the seam, driven without sockets and through real ones.

#[cfg(test)]
mod cut;
#[cfg(test)]
mod datagrams;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod hand_over;
#[cfg(test)]
mod handlers;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod peers;
#[cfg(test)]
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod refused;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod running;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod stalls;
#[cfg(test)]
mod toy;
