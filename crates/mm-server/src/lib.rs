//! Services, listeners and the life cycle of connections.

#![forbid(unsafe_code)]
