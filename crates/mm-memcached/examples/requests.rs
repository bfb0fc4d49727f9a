//! Serves requests in process, without sockets, so that an instruction counter sees nothing but the service:
//! `valgrind --tool=callgrind target/release/examples/requests get 100000 20`, for `get`, `set`, `mg` or `ms`, so many
//! requests, so many in one input, and `shared` behind it for a store of several shards. The difference of two runs is
//! the cost of the requests between them.

use std::process::ExitCode;
use std::sync::Arc;

use mm_base::Now;
use mm_base::buffer::{Output, Pool};
use mm_memcached::{Memcached, NoHost, Settings, Shared};
use mm_server::harness::Harness;
use mm_server::{Peer, Ready, Service, Start, Stats, Step};
use mm_store::{Config, Sharing, Store, StoreHandles};

/// Keys of 20 bytes: not so many that the index is growing when they are there, as nothing here would end that.
const KEYS: usize = 9_000;
const VALUE: [u8; 64] = [b'v'; 64];
const OUTPUT_CAP_BYTES: usize = 64 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = arguments.iter().skip(1).filter_map(|number| number.parse().ok()).collect();
    let (Some(verb), &[requests, depth]) = (arguments.first(), &numbers[..]) else {
        return ExitCode::FAILURE;
    };
    let config = Config::new(64 << 20, 1);
    let served = if arguments.iter().any(|argument| argument == "shared") {
        let handles = StoreHandles::open(&config, 2).ok();
        handles
            .and_then(|handles| handles.take())
            .and_then(World::new)
            .map(|world| serve(world, verb, (requests, depth)))
    } else {
        Store::open(&config).ok().and_then(World::new).map(|world| serve(world, verb, (requests, depth)))
    };
    served.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// Stores all items and then makes the requests.
fn serve<S: Sharing>(mut world: World<S>, verb: &str, (requests, depth): (usize, usize)) {
    let set = |key: usize| [format!("set key-{key:016} 0 0 64\r\n").as_bytes(), &VALUE, b"\r\n"].concat();
    for key in 0..KEYS {
        world.serve(&set(key));
    }
    let request = |key: usize| match verb {
        "set" => set(key),
        "ms" => [format!("ms key-{key:016} 64\r\n").as_bytes(), &VALUE, b"\r\n"].concat(),
        "mg" => format!("mg key-{key:016} v\r\n").into_bytes(),
        _ => format!("get key-{key:016}\r\n").into_bytes(),
    };
    let inputs: Vec<Vec<u8>> = (0..KEYS / depth)
        .map(|input| (0..depth).flat_map(|index| request((input * depth + index) * 7919 % KEYS)).collect())
        .collect();
    for input in inputs.iter().cycle().take(requests / depth) {
        world.serve(input);
    }
}

/// A service that only remembers its last peer, because nobody but a server can make one.
struct Introduction(Option<Peer>);

impl Service for Introduction {
    type Connection = ();

    fn connect(&mut self, peer: &Peer) {
        self.0 = Some(peer.clone());
    }

    fn run(&mut self, (): &mut (), _input: &[u8], _output: &mut Output, _now: Now) -> Step {
        Step::Read { consumed: 0 }
    }
}

struct World<S: Sharing> {
    service: Memcached<S>,
    connection: mm_memcached::Connection,
    output: Output,
}

impl<S: Sharing> World<S> {
    fn new(store: Store<S>) -> Option<Self> {
        let shared = Shared::new(Settings::default(), 1, Box::new(NoHost));
        let stats: Arc<[Stats]> = Arc::new([Stats::default()]);
        let start = Start { shard: 0, shards: 1, notice: None, ready: Ready::default(), stats };
        let mut service = Memcached::new(&start, &shared, store);
        let mut harness = Harness::new(|_| Introduction(None));
        let _client = harness.connect();
        let connection = service.connect(&harness.into_service().0?);
        let output = Output::new(&Pool::new(1 << 20), OUTPUT_CAP_BYTES);
        Some(Self { service, connection, output })
    }

    fn serve(&mut self, input: &[u8]) {
        let now = Now { monotonic_ms: 1000, unix_s: 1_000_000_000 };
        self.service.prepare(&mut self.connection, input, 0);
        self.service.prepare(&mut self.connection, input, 1);
        let step = self.service.run(&mut self.connection, input, &mut self.output, now);
        assert_eq!(step, Step::Read { consumed: input.len() });
        let answered = self.output.len();
        self.output.advance(answered);
    }
}
