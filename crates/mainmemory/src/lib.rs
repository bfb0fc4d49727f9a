//! The framework's front door.

#![forbid(unsafe_code)]
