//! What a run of the load generator is asked for.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::sizes::Sizes;

/// What the server speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Protocol {
    /// memcached's classic text protocol.
    Text,
    /// memcached's meta protocol.
    Meta,
    /// Redis' protocol.
    Resp,
    /// Whatever is sent comes back.
    Echo,
}

/// Load a server, check every value it returns, report rate and latency.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the command line")]
pub(crate) struct LoadArguments {
    /// TCP port on loopback.
    #[arg(long, default_value_t = 11_211, conflicts_with = "unix")]
    port: u16,
    /// Unix socket to connect to instead of a TCP port.
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Connections.
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Requests sent together on a connection before their answers are awaited.
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Keys per get.
    #[arg(long, default_value_t = 1)]
    multiget: usize,
    /// Value lengths: 100, a range 8-1000, or weighted 8-100:70,1000:25,65536:5. A key keeps its length.
    #[arg(long, default_value = "100", value_name = "SIZES")]
    value_bytes: Sizes,
    /// How many different keys there are.
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    /// Number of the first key.
    #[arg(long, default_value_t = 0)]
    first_key: u64,
    /// Exponent of a Zipf distribution over the keys; 0 is uniform.
    #[arg(long, default_value_t = 0.0)]
    zipf: f64,
    /// Share of requests that store, from 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    set_ratio: f64,
    /// How long to run [default: 5, unless --requests or --fill].
    #[arg(long)]
    seconds: Option<f64>,
    /// Stop after this many requests.
    #[arg(long)]
    requests: Option<u64>,
    /// What the server speaks.
    #[arg(long, default_value = "text")]
    protocol: Protocol,
    /// Store every key once and stop.
    #[arg(long)]
    fill: bool,
    /// What every key begins with; its number follows.
    #[arg(long, default_value = "key:")]
    prefix: String,
    /// Seed of every choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Send so many requests per second, due at fixed times; latency counts from when a request was due.
    #[arg(long)]
    rate: Option<f64>,
    /// Never sleep: watch for answers all the time, so that the server need not wake the load.
    #[arg(long)]
    spin: bool,
    /// Do not compare keys and values (a canned floor's are all the same); form is still checked.
    #[arg(long)]
    unchecked: bool,
    /// Report one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Where the server is.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A TCP port on loopback.
    Port(u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// When a run stops sending.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// After so many seconds.
    Seconds(f64),
    /// After so many requests.
    Requests(u64),
    /// When every key has been stored once.
    Filled,
}

/// A run, checked and complete.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) protocol: Protocol,
    pub(crate) connections: usize,
    pub(crate) depth: usize,
    pub(crate) multiget: usize,
    pub(crate) sizes: Sizes,
    pub(crate) keys: u64,
    pub(crate) first_key: u64,
    pub(crate) zipf: f64,
    pub(crate) set_ratio: f64,
    pub(crate) stop: Stop,
    pub(crate) prefix: String,
    pub(crate) seed: u64,
    /// Requests per second; none is a closed loop.
    pub(crate) rate: Option<f64>,
    /// Whether the load watches for answers without ever sleeping.
    pub(crate) spin: bool,
    /// Whether keys and values are compared.
    pub(crate) checked: bool,
}

impl Plan {
    /// One get per round trip on 50 connections for five seconds: what the other plans differ from.
    pub(crate) fn new(port: u16) -> Self {
        Self {
            target: Target::Port(port),
            protocol: Protocol::Text,
            connections: 50,
            depth: 1,
            multiget: 1,
            sizes: Sizes::fixed(100),
            keys: 1_000_000,
            first_key: 0,
            zipf: 0.0,
            set_ratio: 0.0,
            stop: Stop::Seconds(5.0),
            prefix: "key:".to_owned(),
            seed: 1,
            rate: None,
            spin: false,
            checked: true,
        }
    }
}

impl LoadArguments {
    /// The run asked for.
    ///
    /// # Errors
    /// A number is out of range, or two arguments contradict each other.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        self.check()?;
        let stop = match (self.fill, self.requests, self.seconds) {
            (true, None, None) => Stop::Filled,
            (false, Some(requests), None) => Stop::Requests(requests),
            (false, None, seconds) => Stop::Seconds(seconds.unwrap_or(5.0)),
            _ => return Err("give one of --fill, --requests and --seconds".to_owned()),
        };
        Ok(Plan {
            target: self.unix.clone().map_or(Target::Port(self.port), Target::Unix),
            protocol: self.protocol,
            connections: self.connections,
            depth: self.depth,
            multiget: self.multiget,
            sizes: self.value_bytes.clone(),
            keys: self.keys,
            first_key: self.first_key,
            zipf: self.zipf,
            set_ratio: self.set_ratio,
            stop,
            prefix: self.prefix.clone(),
            seed: self.seed,
            rate: self.rate,
            spin: self.spin || self.rate.is_some(),
            checked: !self.unchecked,
        })
    }

    fn check(&self) -> Result<(), String> {
        let counts = [
            ("--connections", self.connections, 60_000),
            ("--depth", self.depth, 100_000),
            ("--multiget", self.multiget, 100_000),
        ];
        for (name, count, most) in counts {
            if count == 0 || count > most {
                return Err(format!("{name} must be from 1 to {most}, not {count}"));
            }
        }
        if self.requests == Some(0) || self.seconds.is_some_and(|seconds| !(seconds > 0.0 && seconds < 1e9)) {
            return Err("--requests and --seconds must be above 0: nothing would be measured".to_owned());
        }
        if self.keys == 0 || self.first_key.checked_add(self.keys).is_none() {
            return Err("--keys must be at least 1, and --first-key leave room for them".to_owned());
        }
        if !(0.0..=1.0).contains(&self.set_ratio) {
            return Err(format!("--set-ratio must be from 0 to 1, not {}", self.set_ratio));
        }
        if !(0.0..=10.0).contains(&self.zipf) {
            return Err(format!("--zipf must be from 0 to 10, not {}", self.zipf));
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate < 1e9)) {
            return Err("--rate must be above 0 and below a billion a second".to_owned());
        }
        if self.prefix.len() > 200 || self.prefix.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err("--prefix must have at most 200 bytes and no blanks or control characters".to_owned());
        }
        Ok(())
    }
}
