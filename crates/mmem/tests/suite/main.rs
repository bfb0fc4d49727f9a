//! The program as an operator sees it.

#[cfg(test)]
mod ends;
#[cfg(test)]
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod forbidden;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod start;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod upgrade;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;
