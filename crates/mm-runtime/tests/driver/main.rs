//! What every driver promises, asked of each of them.
//!
//! A test is written once, against a [`World`](suite::World): a driver and the peers at the other end of its
//! streams.

#[cfg(test)]
mod kqueue;
#[cfg(test)]
mod real;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod suite;
#[cfg(test)]
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod uring;
