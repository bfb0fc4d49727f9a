//! Checks of flags that only together make sense, once all are known.

use super::Surroundings;
use super::given::show_size;
use crate::config::{Config, Name};
use crate::refusal::{Refusal, exit};

/// Checks the whole and fills in what follows from it.
///
/// # Errors
/// A [`Refusal`] that names the flags that do not go together.
pub(super) fn together(config: &mut Config, surroundings: &Surroundings) -> Result<(), Refusal> {
    let memory = &config.memory;
    if u64::from(memory.item_size_max) > memory.limit_bytes / 2 {
        let item = show_size(u64::from(memory.item_size_max));
        let limit = show_size(memory.limit_bytes);
        let message =
            format!("-I {item}: an item may take at most half of the memory, which is {limit} by -m");
        return Err(Refusal::new(exit::USAGE, message));
    }
    // memcached does start so, and can then only be ended.
    if config.name == Name::Mmem && config.listening.endpoints(config.name).is_empty() {
        let message = "-p 0: there is nothing to listen on; give a port, or a Unix socket with -s";
        return Err(Refusal::new(exit::USAGE, message));
    }
    if surroundings.is_root && config.process.user.is_none() {
        config.process.user = Some(match config.name {
            Name::Mmem => "nobody".to_owned(),
            Name::Memcached { .. } => {
                let message =
                    "-u is missing: started as root, memcached wants to be told which user to become";
                return Err(Refusal::new(exit::USAGE, message));
            }
        });
    }
    Ok(())
}
