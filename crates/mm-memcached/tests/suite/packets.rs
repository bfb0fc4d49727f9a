//! Packets of the binary protocol.

use mm_memcached::Memcached;
use mm_server::harness::{ClientId, Harness, every_cut};

use crate::world::service;

/// The mark of every request.
const OPAQUE: u32 = 0xdead_beef;

#[derive(Clone, Debug)]
pub(crate) struct Request {
    opcode: u8,
    extras: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
    cas: u64,
}

impl Request {
    pub(crate) fn new(opcode: u8) -> Self {
        Self { opcode, extras: Vec::new(), key: Vec::new(), value: Vec::new(), cas: 0 }
    }

    pub(crate) fn extras(self, extras: impl AsRef<[u8]>) -> Self {
        Self { extras: extras.as_ref().to_vec(), ..self }
    }

    pub(crate) fn key(self, key: impl AsRef<[u8]>) -> Self {
        Self { key: key.as_ref().to_vec(), ..self }
    }

    pub(crate) fn value(self, value: impl AsRef<[u8]>) -> Self {
        Self { value: value.as_ref().to_vec(), ..self }
    }

    pub(crate) fn cas(self, cas: u64) -> Self {
        Self { cas, ..self }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let body = self.extras.len() + self.key.len() + self.value.len();
        let (key, extras) =
            (u16::try_from(self.key.len()).unwrap(), u8::try_from(self.extras.len()).unwrap());
        let header = self.lengths(key, extras, u32::try_from(body).unwrap());
        [header.as_slice(), &self.extras, &self.key, &self.value].concat()
    }

    /// A header with these lengths, whatever follows it.
    pub(crate) fn lengths(&self, key: u16, extras: u8, body: u32) -> Vec<u8> {
        let mut bytes = vec![0x80, self.opcode];
        bytes.extend(key.to_be_bytes());
        bytes.extend([extras, 0, 0, 0]);
        bytes.extend(body.to_be_bytes());
        bytes.extend(OPAQUE.to_be_bytes());
        bytes.extend(self.cas.to_be_bytes());
        bytes
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) opcode: u8,
    pub(crate) status: u16,
    pub(crate) extras: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) cas: u64,
}

impl Response {
    pub(crate) fn new(opcode: u8) -> Self {
        Self { opcode, status: 0, extras: Vec::new(), key: Vec::new(), value: Vec::new(), cas: 0 }
    }

    pub(crate) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn extras(self, extras: impl AsRef<[u8]>) -> Self {
        Self { extras: extras.as_ref().to_vec(), ..self }
    }

    pub(crate) fn key(self, key: impl AsRef<[u8]>) -> Self {
        Self { key: key.as_ref().to_vec(), ..self }
    }

    pub(crate) fn value(self, value: impl AsRef<[u8]>) -> Self {
        Self { value: value.as_ref().to_vec(), ..self }
    }

    pub(crate) fn without_cas(&self) -> Self {
        Self { cas: 0, ..self.clone() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let body = u32::try_from(self.extras.len() + self.key.len() + self.value.len()).unwrap();
        let mut bytes = vec![0x81, self.opcode];
        bytes.extend(u16::try_from(self.key.len()).unwrap().to_be_bytes());
        bytes.extend([u8::try_from(self.extras.len()).unwrap(), 0]);
        bytes.extend(self.status.to_be_bytes());
        bytes.extend(body.to_be_bytes());
        bytes.extend(OPAQUE.to_be_bytes());
        bytes.extend(self.cas.to_be_bytes());
        [bytes.as_slice(), &self.extras, &self.key, &self.value].concat()
    }

    /// The responses that `bytes` are.
    fn all(mut bytes: &[u8]) -> Vec<Self> {
        let mut all = Vec::new();
        while let Some((header, rest)) = bytes.split_first_chunk::<24>() {
            let number = |range: std::ops::Range<usize>| {
                header[range].iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
            };
            let length = |range| usize::try_from(number(range)).unwrap();
            let (key, extras, body) = (length(2..4), length(4..5), length(8..12));
            assert_eq!((header[0], number(12..16)), (0x81, u64::from(OPAQUE)), "{header:?}");
            let (body, after) = rest.split_at(body);
            all.push(Self {
                opcode: header[1],
                status: u16::try_from(number(6..8)).unwrap(),
                extras: body[..extras].to_vec(),
                key: body[extras..extras + key].to_vec(),
                value: body[extras + key..].to_vec(),
                cas: number(16..24),
            });
            bytes = after;
        }
        assert!(bytes.is_empty(), "{bytes:?} behind the last response");
        all
    }
}

/// Checks that the requests are answered so by a service without CAS values, however they are cut and however slowly
/// the answer is read.
#[track_caller]
pub(crate) fn check(requests: &[Request], expected: &[Response]) {
    check_with(|| service(1 << 20, |settings| settings.items.has_cas = false), requests, expected);
}

/// The same for another service.
#[track_caller]
pub(crate) fn check_with(make: impl Fn() -> Harness<Memcached>, requests: &[Request], expected: &[Response]) {
    let bytes = requests.iter().flat_map(Request::bytes).collect::<Vec<_>>();
    match every_cut(make, &bytes) {
        Ok(answer) => assert_eq!(Response::all(&answer), expected),
        Err(difference) => panic!("{difference}"),
    }
}

/// A dialogue in packets.
pub(crate) struct Packets {
    harness: Harness<Memcached>,
    id: ClientId,
}

impl Packets {
    pub(crate) fn new(mut harness: Harness<Memcached>) -> Self {
        let id = harness.connect();
        Self { harness, id }
    }

    pub(crate) fn ask(&mut self, requests: &[Request]) -> Vec<Response> {
        self.ask_bytes(&requests.iter().flat_map(Request::bytes).collect::<Vec<_>>())
    }

    pub(crate) fn ask_bytes(&mut self, bytes: &[u8]) -> Vec<Response> {
        Response::all(&self.ask_raw(bytes))
    }

    pub(crate) fn ask_raw(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.harness.exchange(self.id, bytes)
    }

    pub(crate) fn ask_text(&mut self, text: &str) -> String {
        String::from_utf8(self.ask_raw(text.as_bytes())).unwrap()
    }

    pub(crate) fn advance_s(&mut self, seconds: u64) {
        self.harness.advance_ms(seconds * 1000);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.harness.is_open(self.id)
    }
}
