//! The framework's front door.

#![forbid(unsafe_code)]

pub use mm_base as base;
pub use mm_runtime as runtime;
pub use mm_server as server;
pub use mm_store as store;
