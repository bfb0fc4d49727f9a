//! The program as an operator sees it.

#[cfg(test)]
mod limits;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod start;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;
