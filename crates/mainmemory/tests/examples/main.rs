//! The examples, served on threads of their own and asked by ordinary blocking clients.

#[cfg(test)]
mod clients;
