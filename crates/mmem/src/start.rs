//! From a configuration to a server: everything that can fail does so here, before anyone is served.

use mainmemory::server::process::{self, Account, AccountError};

use crate::config::Config;
use crate::limits::DESCRIPTORS_RESERVED;
use crate::refusal::{Refusal, exit};
use crate::say;

/// Serves until a signal ends it.
///
/// # Errors
/// A [`Refusal`] if the start fails; then nothing is left behind.
pub(crate) fn serve(config: &Config) -> Result<(), Refusal> {
    if config.process.verbosity > 0 {
        for flag in &config.without_meaning {
            say(&format!("{}: {flag} has no effect here", config.name.as_str()));
        }
    }
    let account = account(config)?;
    raise_limits(config)?;
    become_user(account.as_ref())?;
    Err(Refusal::new(exit::FAILURE, "there is no server yet"))
}

/// The user to become, looked up before anything is done.
fn account(config: &Config) -> Result<Option<Account>, Refusal> {
    let Some(name) = &config.process.user else {
        return Ok(None);
    };
    if !process::is_root() {
        return Ok(None);
    }
    let refusal = |error: AccountError| Refusal::new(exit::NO_USER, format!("-u {name}: {error}"));
    Account::find(name).map(Some).map_err(refusal)
}

fn raise_limits(config: &Config) -> Result<(), Refusal> {
    let connections = config.service.connections_max;
    process::allow_descriptors(u64::from(connections) + DESCRIPTORS_RESERVED).map_err(|error| {
        let why = format!("-c {connections}: the system does not allow so many open files: {error}");
        Refusal::new(exit::SYSTEM, why)
    })?;
    if config.process.dumps_core {
        process::allow_core_dumps().map_err(|error| {
            Refusal::new(exit::SYSTEM, format!("-r: core dumps are not allowed: {error}"))
        })?;
    }
    Ok(())
}

fn become_user(account: Option<&Account>) -> Result<(), Refusal> {
    let Some(account) = account else {
        return Ok(());
    };
    let refusal = |error| Refusal::new(exit::SYSTEM, format!("-u {}: {error}", account.name()));
    account.assume().map_err(refusal)
}
