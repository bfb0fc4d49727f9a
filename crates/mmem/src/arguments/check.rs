//! Checks of flags that only together make sense, once all are known.

use super::Surroundings;
use super::given::show_size;
use crate::config::{Config, Name, Shown};
use crate::refusal::{Refusal, exit};

/// What memcached has for these suboptions where they are not given, and the most that both may be, in percent.
const HOT_LRU_PCT: u64 = 20;
const WARM_LRU_PCT: u64 = 40;
const LRU_PCT_MAX: u64 = 80;

/// memcached's `-t` where it is not given.
const MEMCACHED_THREADS: u32 = 4;

/// memcached's `slab_chunk_max` where it is not given, and how far classes of its are apart at least.
const SLAB_CHUNK_MAX: u64 = 512 << 10;
const SLAB_STEP: u64 = 8;

/// memcached's page of slabs.
const SLAB_PAGE_BYTES: u64 = 1 << 20;

/// Checks the whole and fills in what follows from it.
///
/// # Errors
/// A [`Refusal`] that names the flags that do not go together.
pub(super) fn together(config: &mut Config, surroundings: &Surroundings) -> Result<(), Refusal> {
    let memory = &config.memory;
    if u64::from(memory.item_size_max) > memory.limit_bytes / 2 {
        let item = show_size(u64::from(memory.item_size_max));
        let limit = show_size(memory.limit_bytes);
        let message = format!(
            "-I {item}: an item may take at most half of the memory, which is {limit}; give more by -m, or a smaller -I"
        );
        return Err(Refusal::new(exit::USAGE, message));
    }
    // memcached does start so, and can then only be ended.
    if config.name == Name::Mmem && config.listening.endpoints(config.name).is_empty() {
        let message = "-p 0: there is nothing to listen on; give a port, or a Unix socket with -s";
        return Err(Refusal::new(exit::USAGE, message));
    }
    without_effect(config)?;
    follow(&mut config.shown);
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

/// Adds what memcached shows besides where one of these is given.
fn follow(shown: &mut Shown) {
    if let Some(maintains) = shown.text("lru_maintainer_thread").map(str::to_owned) {
        shown.settings.push(("lru_segmented", maintains));
    }
    if shown.text("temporary_ttl").is_some() {
        shown.settings.push(("temp_lru", "yes".to_owned()));
    }
}

/// What has no effect is checked as memcached checks it, so that a command line that starts here starts there.
fn without_effect(config: &Config) -> Result<(), Refusal> {
    let (shown, item_size_max) = (&config.shown, u64::from(config.memory.item_size_max));
    let refuse = |message: String| Err(Refusal::new(exit::USAGE, message));
    let (hot, warm) = (shown.number("hot_lru_pct"), shown.number("warm_lru_pct"));
    if hot.unwrap_or(HOT_LRU_PCT) + warm.unwrap_or(WARM_LRU_PCT) > LRU_PCT_MAX {
        return refuse(format!("-o hot_lru_pct, warm_lru_pct: together at most {LRU_PCT_MAX}"));
    }
    if let Some(sizes) = shown.text("slab_sizes") {
        let most = shown.number("slab_chunk_max").unwrap_or(SLAB_CHUNK_MAX);
        let sizes: Vec<u64> = sizes.split('-').filter_map(|size| size.parse().ok()).collect();
        let bounds = u64::from(shown.chunk_bytes)..=most;
        let are_apart = sizes.is_sorted_by(|one, next| one + SLAB_STEP < *next);
        if !are_apart || !sizes.iter().all(|size| bounds.contains(size)) {
            let (least, most) = (bounds.start(), show_size(most));
            return refuse(format!(
                "-o slab_sizes: must be from -n, which is {least}, to slab_chunk_max, which is {most}, and more than \
                 {SLAB_STEP} apart"
            ));
        }
    }
    if let Some(bytes) = shown.number("slab_chunk_max")
        && !(item_size_max.is_multiple_of(bytes) && SLAB_PAGE_BYTES.is_multiple_of(bytes))
    {
        let sizes = format!("-I, which is {}, and 1m", show_size(item_size_max));
        return refuse(format!("-o slab_chunk_max={bytes}: must be a whole part of {sizes}"));
    }
    if shown.text("temporary_ttl").is_some() && shown.text("lru_maintainer_thread") == Some("no") {
        return refuse("-o temporary_ttl: does not go with no_lru_maintainer".to_owned());
    }
    let service = &config.service;
    // Where -t is not given, memcached has threads of its own.
    let threads =
        if service.are_threads_given { service.threads } else { service.threads.max(MEMCACHED_THREADS) };
    match shown.number("num_napi_ids") {
        Some(ids) if ids > u64::from(threads) => {
            refuse(format!("-N {ids}: must not be more than -t, which is {threads}"))
        }
        _ => Ok(()),
    }
}
