//! `mm-bench density`: what caches need beside keys and values, measured from outside.
//!
//! A cache is filled beyond its limit; then every key is looked for, and the values of up to a thousand are read.
//! Overhead is the resident memory less that of the empty server, less keys and values of the items found, divided by
//! their number. After that come five times the memory in overwrites by Zipf with a tenth of deletes, and the same
//! count again.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::machine::tell;
use crate::peer::{KEY_BYTES, Kind, Peer, Request};
use crate::trace::mixes::{Mix, Random, Zipf};

/// What can be typed after `mm-bench density`.
#[derive(Debug, Args)]
pub(crate) struct DensityArguments {
    /// Memory limits, in MiB.
    #[arg(long, value_delimiter = ',', default_value = "64,1024")]
    limits: Vec<u64>,
    /// Only values of this kind: a number of bytes, or the name of a mix.
    #[arg(long)]
    only: Option<String>,
    /// Only this cache.
    #[arg(long)]
    cache: Option<String>,
    /// Only items with a time to live, or without.
    #[arg(long)]
    ttl: Option<Expiry>,
    /// Without the part after churn.
    #[arg(long)]
    fresh: bool,
}

/// Whether items have a time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Expiry {
    No,
    Yes,
}

impl Expiry {
    const fn ttl_s(self) -> u32 {
        match self {
            Self::No => 0,
            Self::Yes => TTL_S,
        }
    }
}

/// Times to live are so long that none expires meanwhile.
const TTL_S: u32 = 100_000;
/// What is written to fill a cache, in percent of the limit.
const FILL_PERCENT: u64 = 130;
/// What is written to churn, in limits.
const CHURN: u64 = 5;
/// One in so many requests of the churn deletes.
const DELETE_ONE_IN: u64 = 10;
/// How many of the keys have their values read, too, if they are there.
const VERIFIED: u64 = 1000;
/// How unequally keys are overwritten.
const ZIPF_ALPHA: f64 = 0.99;

/// The caches that are measured.
const KINDS: [Kind; 3] = [Kind::Mmem, Kind::Memcached, Kind::Redis];

const SIZES: [usize; 5] = [8, 100, 230, 1000, 4000];

/// Runs the command.
///
/// # Errors
/// A server does not start or breaks off, or the arguments name nothing.
pub(crate) fn command(arguments: &DensityArguments) -> Result<ExitCode, String> {
    let mut mixes: Vec<Mix> = SIZES.iter().map(|&size| Mix::fixed(size)).collect();
    mixes.extend(Mix::meta());
    if let Some(only) = arguments.only.as_ref().filter(|only| mixes.iter().all(|mix| mix.name != **only)) {
        let names: Vec<&str> = mixes.iter().map(|mix| mix.name.as_str()).collect();
        return Err(format!("--only {only} names no values; there are {}", names.join(", ")));
    }
    if let Some(cache) =
        arguments.cache.as_ref().filter(|cache| KINDS.iter().all(|kind| kind.name() != **cache))
    {
        return Err(format!("--cache {cache}: there are {}", KINDS.map(Kind::name).join(", ")));
    }
    mixes.retain(|mix| arguments.only.as_ref().is_none_or(|only| mix.name == *only));
    let out = &mut io::stdout().lock();
    let printed = |error: io::Error| error.to_string();
    writeln!(out, "bytes beside key ({KEY_BYTES}) and value per item that can be read back")
        .map_err(printed)?;
    writeln!(
        out,
        "{:10} {:18} {:4} {:>5} {:>9} {:>9} {:>7} {:>9} {:>9} {:>7} {:>8} {:>9}",
        "cache",
        "values",
        "TTL",
        "MiB",
        "items",
        "overhead",
        "%",
        "churned",
        "overhead",
        "%",
        "refused",
        "peak MiB"
    )
    .map_err(printed)?;
    for &limit_mib in &arguments.limits {
        for mix in &mixes {
            for expiry in [Expiry::No, Expiry::Yes] {
                for kind in KINDS {
                    let is_other = arguments.cache.as_ref().is_some_and(|cache| cache != kind.name());
                    if is_other || arguments.ttl.is_some_and(|ttl| ttl != expiry) {
                        continue;
                    }
                    let cell = Cell { kind, limit_mib, mix, ttl_s: expiry.ttl_s() };
                    let line = cell.measure(arguments.fresh)?;
                    tell("");
                    writeln!(out, "{line}").map_err(printed)?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One line of the table.
struct Cell<'mix> {
    kind: Kind,
    limit_mib: u64,
    mix: &'mix Mix,
    ttl_s: u32,
}

/// What can be read back, and what it takes.
struct Found {
    items: u64,
    /// Bytes beside key and value, of each.
    overhead: f64,
    /// The same in percent of key and value.
    percent: f64,
}

impl Cell<'_> {
    fn measure(&self, fresh_only: bool) -> Result<String, String> {
        let mut peer = Peer::start(self.kind, self.limit_mib)?;
        let empty = peer.resident_bytes()?;
        let limit_bytes = self.limit_mib << 20;
        let mut keys = 0;
        let mut written = 0;
        while written < limit_bytes * FILL_PERCENT / 100 {
            written += self.set(&mut peer, keys)?;
            keys += 1;
        }
        let fresh = self.found(&mut peer, keys, empty)?;
        let mut line = format!(
            "{:10} {:18} {:4} {:5} {:9} {:9.1} {:7.1}",
            self.kind.name(),
            self.mix.name,
            if self.ttl_s == 0 { "no" } else { "yes" },
            self.limit_mib,
            fresh.items,
            fresh.overhead,
            fresh.percent
        );
        if !fresh_only {
            self.churn(&mut peer, keys, limit_bytes * CHURN)?;
            let churned = self.found(&mut peer, keys, empty)?;
            line += &format!(" {:9} {:9.1} {:7.1}", churned.items, churned.overhead, churned.percent);
        }
        Ok(format!("{line} {:8} {:9.1}", peer.refused, mib(peer.peak_bytes()?)))
    }

    /// Writes one item; how many bytes of key and value it has.
    fn set(&self, peer: &mut Peer, key: u64) -> Result<u64, String> {
        let len = self.mix.len(key);
        peer.send(Request::Set { key, len, ttl_s: self.ttl_s }, &mut |_, _| {})?;
        if key.is_multiple_of(1 << 16) {
            tell(&format!("{} {} at {} MiB: key {key}", self.kind.name(), self.mix.name, self.limit_mib));
        }
        Ok((KEY_BYTES + len) as u64)
    }

    fn churn(&self, peer: &mut Peer, keys: u64, bytes: u64) -> Result<(), String> {
        let (zipf, mut random) = (Zipf::new(keys, ZIPF_ALPHA), Random::new(3));
        let mut written = 0;
        while written < bytes {
            // Popular keys lie anywhere among those written.
            let key = zipf.draw(&mut random).wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys;
            if random.below(DELETE_ONE_IN) == 0 {
                peer.send(Request::Delete { key }, &mut |_, _| {})?;
            } else {
                written += self.set(peer, key)?;
            }
        }
        peer.flush(&mut |_, _| {})
    }

    fn found(&self, peer: &mut Peer, keys: u64, empty: u64) -> Result<Found, String> {
        let (mut items, mut bytes, mut sample) = (0_u64, 0_u64, Vec::new());
        let step = keys.div_ceil(VERIFIED).max(1);
        let mut count = |request: Request, there: bool| {
            if let (Request::Get { key }, true) = (request, there) {
                items += 1;
                bytes += (KEY_BYTES + self.mix.len(key)) as u64;
                if key % step == 0 {
                    sample.push(key);
                }
            }
        };
        peer.flush(&mut count)?;
        let resident = peer.resident_bytes()?;
        for key in 0..keys {
            peer.send(Request::Get { key }, &mut count)?;
        }
        peer.flush(&mut count)?;
        let sampled = sample.len() as u64;
        let verified = peer.verify(sample, |key| Some(self.mix.len(key)))?;
        // A cache may drop some on its own account between the two looks, but hardly half of them.
        if verified < sampled / 2 {
            let name = self.kind.name();
            return Err(format!("{name}: of {sampled} items that are there only {verified} can be read"));
        }
        let beside = real(resident.saturating_sub(empty)) - real(bytes);
        Ok(Found {
            items,
            overhead: beside / real(items.max(1)),
            percent: 100.0 * beside / real(bytes.max(1)),
        })
    }
}

fn mib(bytes: u64) -> f64 {
    real(bytes) / real(1 << 20)
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
const fn real(value: u64) -> f64 {
    value as f64
}
