//! Where the traces come from: generators always, files where a folder is given.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::dress::{Ttl, dress};
use super::generate::{Workload, builtin};
use super::read::ids::Form;
use super::read::{self, arc, ids, meta, twitter};
use super::request::Trace;

/// Unless all is asked for, a file is read up to so many requests.
const REQUESTS_MAX: u64 = 2_000_000;
/// A trace is cut where so much has been read and written: 32 times the footprint that traces of few objects are given,
/// and a minute or so for the real store, which moves the bytes.
const BYTES_MAX: u64 = 16 << 30;
/// Meta's workloads, as their files are called.
const META: [&str; 8] = [
    "cdn",
    "graph_cache_follower_assocs",
    "graph_cache_follower_fbobj",
    "graph_cache_leader_assocs",
    "graph_cache_leader_fbobj",
    "kvcache_l2_reg",
    "kvcache_l2_wc",
    "kvcache_reg",
];

/// Traces of one kind: the means are also given for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// One difficulty each, made up.
    Pattern,
    /// Made up after statistics of production caches.
    Production,
    /// Real accesses, sizes made up.
    Recorded,
    /// Real accesses with times to live made up as well.
    RecordedTtl,
    /// The small traces of the LIRS paper: loops, scans and mixes of a few thousand blocks.
    Lirs,
}

impl Family {
    pub(crate) const ALL: [Self; 5] =
        [Self::Pattern, Self::Production, Self::Recorded, Self::RecordedTtl, Self::Lirs];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pattern => "patterns",
            Self::Production => "production-like",
            Self::Recorded => "recorded",
            Self::RecordedTtl => "recorded with TTLs",
            Self::Lirs => "LIRS",
        })
    }
}

/// A trace that can be had.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) family: Family,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    Generator(Box<Workload>),
    File { path: PathBuf, format: Format, ttl: Ttl, requests_max: u64 },
}

#[derive(Debug, Clone, Copy)]
enum Format {
    Arc,
    Ids(Form),
}

impl Source {
    /// Reads or generates the trace.
    ///
    /// # Errors
    /// The file cannot be read or is not what its name says; the error names it.
    pub(crate) fn load(&self, seed: u64) -> io::Result<Trace> {
        let mut trace = self.load_whole(seed)?;
        trace.truncate_to_bytes(BYTES_MAX);
        Ok(trace)
    }

    fn load_whole(&self, seed: u64) -> io::Result<Trace> {
        match &self.origin {
            Origin::Generator(workload) => Ok(workload.generate(seed)),
            Origin::File { path, format, ttl, requests_max } => {
                let ids = match format {
                    Format::Arc => arc::read(path)?,
                    Format::Ids(form) => ids::read(path, *form)?,
                };
                let mut trace = dress(&self.name, &ids, *ttl);
                trace.truncate(*requests_max);
                Ok(trace)
            }
        }
    }
}

/// Everything there is: the generators, and with a folder its files.
///
/// # Errors
/// A file that describes workloads cannot be read.
pub(crate) fn sources(folder: Option<&Path>, all: bool) -> io::Result<Vec<Source>> {
    let mut sources: Vec<Source> = builtin::patterns().into_iter().map(pattern).collect();
    let Some(folder) = folder else {
        sources.extend(builtin::production().into_iter().map(production));
        return Ok(sources);
    };
    sources.extend(described(folder, all)?.into_iter().map(production));
    let requests_max = if all { u64::MAX } else { REQUESTS_MAX };
    for (file, family) in FILES {
        let path = folder.join(file);
        if !path.exists() {
            continue;
        }
        sources.push(recorded(&path, *family, Ttl::None, requests_max));
        if *family == Family::Recorded {
            sources.push(recorded(&path, Family::RecordedTtl, Ttl::Mixed, requests_max));
        }
    }
    Ok(sources)
}

/// Production workloads from the figures in the folder where they are there, and those built in.
fn described(folder: &Path, all: bool) -> io::Result<Vec<Workload>> {
    let clusters = folder.join("twitter/2020Mar.stat.csv");
    let mut workloads = if all && clusters.exists() {
        twitter::workloads(&String::from_utf8_lossy(&read::content(&clusters)?))
    } else {
        builtin::production()
    };
    for name in META {
        if folder.join(format!("cachelib/{name}.pop.json")).exists() {
            workloads.push(meta::workload(&folder.join("cachelib"), name)?);
        }
    }
    Ok(workloads)
}

fn pattern(workload: Workload) -> Source {
    Source {
        name: workload.name.clone(),
        family: Family::Pattern,
        origin: Origin::Generator(Box::new(workload)),
    }
}

fn production(workload: Workload) -> Source {
    Source { family: Family::Production, ..pattern(workload) }
}

fn recorded(path: &Path, family: Family, ttl: Ttl, requests_max: u64) -> Source {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = file.split('.').next().unwrap_or_default();
    let name = if ttl == Ttl::Mixed { format!("{stem} TTL") } else { stem.to_owned() };
    let format = if file.contains(".lis") {
        Format::Arc
    } else if family == Family::Lirs {
        Format::Ids(Form::Lines)
    } else if file.starts_with("corda") {
        Format::Ids(Form::Words8)
    } else {
        Format::Ids(Form::Words4)
    };
    Source { name, family, origin: Origin::File { path: path.to_owned(), format, ttl, requests_max } }
}

/// Files of accesses, looked for below the folder.
const FILES: &[(&str, Family)] = &[
    ("arc/OLTP.lis.zst", Family::Recorded),
    ("arc/P2.lis.zst", Family::Recorded),
    ("arc/P3.lis.zst", Family::Recorded),
    ("caffeine/cache2k-orm-busy.trace.xz", Family::Recorded),
    ("caffeine/cache2k-web07.trace.xz", Family::Recorded),
    ("caffeine/cache2k-web12.trace.xz", Family::Recorded),
    ("caffeine/cloud_physics-w106.trace.xz", Family::Recorded),
    ("caffeine/corda-trace_vaultservice.gz", Family::Recorded),
    ("caffeine/lirs-2_pools.trace.gz", Family::Lirs),
    ("caffeine/lirs-cpp.trace.gz", Family::Lirs),
    ("caffeine/lirs-cs.trace.gz", Family::Lirs),
    ("caffeine/lirs-gli.trace.gz", Family::Lirs),
    ("caffeine/lirs-loop.trace.gz", Family::Lirs),
    ("caffeine/lirs-multi1.trace.gz", Family::Lirs),
    ("caffeine/lirs-multi2.trace.gz", Family::Lirs),
    ("caffeine/lirs-multi3.trace.gz", Family::Lirs),
    ("caffeine/lirs-ps.trace.gz", Family::Lirs),
    ("caffeine/lirs-scan.trace.gz", Family::Lirs),
    ("caffeine/lirs-sprite.trace.gz", Family::Lirs),
    ("caffeine/lirs-zigzag.trace.gz", Family::Lirs),
];
