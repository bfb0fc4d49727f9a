//! The examples: served on threads of their own and asked by ordinary blocking clients, and one in virtual time.

#[cfg(test)]
mod clients;
#[cfg(test)]
mod simulated;
