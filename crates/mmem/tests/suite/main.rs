//! The program as an operator sees it.

#[cfg(test)]
mod memory;
#[cfg(test)]
mod start;
#[cfg(test)]
mod world;
