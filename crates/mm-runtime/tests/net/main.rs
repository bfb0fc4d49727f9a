//! What tasks' sockets promise, on the real network of the machine.

#[cfg(test)]
mod ends;
#[cfg(test)]
mod sockets;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod unix_datagrams;
