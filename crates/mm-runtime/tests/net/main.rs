//! What tasks' sockets promise, on the real network of the machine.

#[cfg(test)]
mod cut;
#[cfg(test)]
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod ends;
#[cfg(test)]
mod finished;
#[cfg(test)]
mod names;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod unix_datagrams;
