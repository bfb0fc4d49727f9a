//! mmem in virtual time.
//!
//! A run is decided by one number, its seed: a whole server (service, store, engine, limits) with one shard or several,
//! many clients, and a network that delays, cuts, fills up and breaks. Everything that the service is given and answers
//! is held against what was sent and against a model of each key ([`run`]). A seed that fails fails again in the same
//! way.

#![forbid(unsafe_code)]

mod answer;
mod canaries;
mod checked;
mod client;
mod history;
mod hour;
mod letters;
pub mod limits;
pub mod linear;
mod marks;
mod model;
mod op;
mod plan;
mod populating;
mod requests;
mod run;
mod stream;
mod time;
mod world;

pub use canaries::{CANARIES, Canary, catch};
pub use hour::{Hour, MIXES, Mix, hour};
pub use marks::{MARKS, reached};
pub use run::{Failure, Report, run, run_shown};
