//! Services to test, and what the tests do with them.

use mm_memcached::{Memcached, NoHost, Settings, Shared};
use mm_server::harness::{ClientId, Harness, every_cut};
use mm_store::{Config, Store};

/// The seed of every store's hash.
const SEED: u64 = 1;

/// A service with a store of so many bytes.
pub(crate) fn service(limit_bytes: usize, change: impl FnOnce(&mut Settings)) -> Harness<Memcached> {
    let mut settings = Settings::default();
    settings.items.limit_bytes = limit_bytes as u64;
    change(&mut settings);
    let config = Config { evict: settings.items.evicts, ..Config::new(limit_bytes, SEED) };
    let shared = Shared::new(settings, 1, Box::new(NoHost));
    Harness::new(|start| Memcached::new(start, &shared, Store::open(&config).unwrap()))
}

/// A service with the default settings and a small store.
pub(crate) fn plain() -> Harness<Memcached> {
    service(1 << 20, |_| {})
}

/// Checks that `input` is answered by `expected`, however it is cut and however slowly the answer is read.
#[track_caller]
pub(crate) fn check(input: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) {
    check_with(plain, input, expected);
}

/// The same for another service.
#[track_caller]
pub(crate) fn check_with(
    make: impl Fn() -> Harness<Memcached>,
    input: impl AsRef<[u8]>,
    expected: impl AsRef<[u8]>,
) {
    let input = crlf(input.as_ref());
    let expected = crlf(expected.as_ref());
    match every_cut(make, &input) {
        Ok(answer) => assert_eq!(
            String::from_utf8_lossy(&answer),
            String::from_utf8_lossy(&expected),
            "in answer to {:?}",
            String::from_utf8_lossy(&input)
        ),
        Err(difference) => panic!("{difference}"),
    }
}

/// A dialogue with a service. Lines are written and shown with `\n` alone.
pub(crate) struct Client {
    pub(crate) harness: Harness<Memcached>,
    id: ClientId,
}

impl Client {
    pub(crate) fn new(mut harness: Harness<Memcached>) -> Self {
        let id = harness.connect();
        Self { harness, id }
    }

    /// Sends `input`; returns the answer.
    pub(crate) fn ask(&mut self, input: impl AsRef<[u8]>) -> String {
        let answer = self.harness.exchange(self.id, &crlf(input.as_ref()));
        String::from_utf8_lossy(&answer).replace("\r\n", "\n")
    }

    /// Sends `input` and checks the answer.
    #[track_caller]
    pub(crate) fn expect(&mut self, input: impl AsRef<[u8]>, expected: &str) {
        let shown = String::from_utf8_lossy(input.as_ref()).into_owned();
        assert_eq!(self.ask(input), expected, "in answer to {shown:?}");
    }

    /// The CAS of a key.
    #[track_caller]
    pub(crate) fn cas(&mut self, key: &str) -> u64 {
        let answer = self.ask(format!("gets {key}\n"));
        let header = answer.lines().next().unwrap();
        header.split(' ').nth(4).unwrap().parse().unwrap()
    }

    /// A statistic of a group.
    #[track_caller]
    pub(crate) fn stat(&mut self, group: &str, name: &str) -> String {
        let answer = self.ask(format!("stats{group}\n"));
        let start = format!("STAT {name} ");
        let line = answer.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
    }

    /// Lets seconds pass.
    pub(crate) fn wait_s(&mut self, seconds: u64) {
        self.harness.advance_ms(seconds * 1000);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.harness.is_open(self.id)
    }

    pub(crate) fn send(&mut self, input: &[u8]) {
        self.harness.send(self.id, input);
    }

    pub(crate) fn receive(&mut self, bytes: usize) -> Vec<u8> {
        self.harness.receive(self.id, bytes)
    }
}

/// Line ends of the protocol, for bytes written with `\n` alone. What has `\r` already is left as it is.
fn crlf(bytes: &[u8]) -> Vec<u8> {
    if bytes.contains(&b'\r') {
        return bytes.to_vec();
    }
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    lines.join(b"\r\n".as_slice())
}
